#include <algorithm>
#include <optional>

#include "rpc/stream/record_source.h"
#include "rpc/stream/server.h"
#include "rpc/stream/sessions.h"
#include "wal/base/mutant.h"

namespace walraft::rpc {
namespace {

class SubscriberSession final : public Session, public replication::Replica::Listener {
 public:
  SubscriberSession(Connection& connection, std::uint32_t channel, replication::Replica& replica, const Open& open)
      : Session(connection, channel),
        replica_(replica),
        source_(replica, connection),
        credit_(static_cast<std::int64_t>(std::min<std::uint64_t>(open.credit, Credit::kMax))) {
    replica_.add_listener(*this);
  }
  ~SubscriberSession() override { replica_.remove_listener(*this); }

  // Apart from the constructor: the session may end in it.
  void begin(const From& from) {
    fetching_ = true;
    source_.resolve(from, [this](Result<Offset> start) {
      fetching_ = false;
      if (!start) return fail(start.error());
      next_ = *start;
      begun_ = true;
      connection_.send(FrameType::opened, channel_, replica_.term(),
                       encode(Opened{.log_id = replica_.identity().id, .log_uuid = replica_.identity().log,
                                     .trim = replica_.first_offset(), .commit = replica_.committed(), .start = next_,
                                     .record_bytes_max = replica_.record_bytes_max(),
                                     .batch_bytes_max = connection_.server().shard().limits().batch_bytes_max}));
      push();
    });
  }

  const replication::Replica* replica() const override { return &replica_; }

  Result<void> on_frame(const FrameDecoder::Frame& frame) override {
    if (frame.header.type != FrameType::credit) {
      return error(Code::invalid, "a subscriber does not send " + std::string(name_of(frame.header.type)));
    }
    const auto message = decode_credit(frame.payload);
    if (!message) return std::unexpected(message.error());
    if (message->bytes > Credit::kMax) return error(Code::invalid, "CREDIT is above 1 GiB");
    credit_ = std::min(credit_ + static_cast<std::int64_t>(message->bytes), Credit::kMax);
    push();
    return {};
  }

  void on_writable() override { push(); }
  void on_commit() override { push(); }

 private:
  // While there is credit, one more batch may go, whatever its size: a small window cannot lock out a large batch.
  void push() {
    if (!begun_ || pushing_) return;
    pushing_ = true;
    const auto keep = weak_from_this().lock();
    while (!fetching_ && !failed_ && has_credit() && next_ < replica_.committed() && connection_.may_send()) {
      fetching_ = true;
      const auto bytes = static_cast<std::size_t>(
          std::clamp<std::int64_t>(credit_, 1, static_cast<std::int64_t>(connection_.fetch_bytes_max())));
      room_.emplace(connection_);
      source_.fetch(next_, bytes, [this](Result<RecordSource::Batches> batches) {
        fetching_ = false;
        if (batches) {
          take(std::move(*batches));
        } else {
          fail(batches.error());
        }
        room_.reset();
        push();  // does nothing if the loop that asked is still running
      });
    }
    pushing_ = false;
  }

  bool has_credit() const { return credit_ > 0 || mutant(Mutant::c4_credit_ignored); }

  void take(RecordSource::Batches batches) {
    const Offset reached = batches.empty() ? next_ : batches.back().next_offset();
    if (reached <= next_) {
      return fail({Code::failed, "log \"" + replica_.name() + "\": nothing could be read at offset " +
                                     std::to_string(next_.value), 0});
    }
    std::size_t bytes = 0;
    for (const auto& batch : batches) bytes += batch.bytes.size();
    credit_ -= static_cast<std::int64_t>(bytes);
    connection_.send_records(channel_, replica_.term(),
                             {.request = 0, .from = next_, .next = reached, .commit = replica_.committed(),
                              .last = false, .bytes = static_cast<std::uint32_t>(bytes)},
                             std::move(batches));
    next_ = reached;
  }

  // The session is destroyed by this, at the next turn of the loop: its callers are still on the stack.
  void fail(const Error& error) {
    failed_ = true;
    connection_.server().loop().post([connection = connection_.weak_from_this(), session = weak_from_this(),
                                      channel = channel_, error] {
      const auto alive = connection.lock();
      if (alive && session.lock()) alive->end_session(channel, error);
    });
  }

  replication::Replica& replica_;
  RecordSource source_;
  std::int64_t credit_;  // below 0: what the last frame overdrew; it is owed
  Offset next_;
  std::optional<Connection::Room> room_;  // while fetching
  bool begun_ = false;
  bool fetching_ = false;
  bool pushing_ = false;
  bool failed_ = false;
};

}  // namespace

std::shared_ptr<Session> make_subscriber_session(Connection& connection, std::uint32_t channel,
                                                 replication::Replica& replica, const Open& open) {
  const auto session = std::make_shared<SubscriberSession>(connection, channel, replica, open);
  session->begin(open.from);
  return session;
}

}  // namespace walraft::rpc
