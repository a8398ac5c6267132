#include <algorithm>
#include <deque>
#include <optional>

#include "rpc/stream/record_source.h"
#include "rpc/stream/server.h"
#include "rpc/stream/sessions.h"

namespace walraft::rpc {
namespace {

constexpr std::size_t kRequestsMax = 64;  // waiting on one session

class ReaderSession final : public Session {
 public:
  ReaderSession(Connection& connection, std::uint32_t channel, replication::Replica& replica)
      : Session(connection, channel), replica_(replica), source_(replica, connection) {
    connection_.send(FrameType::opened, channel_, replica_.term(),
                     encode(Opened{.log_id = replica_.identity().id, .log_uuid = replica_.identity().log,
                                   .trim = replica_.first_offset(), .commit = replica_.committed(),
                                   .start = replica_.first_offset(), .record_bytes_max = replica_.record_bytes_max(),
                                   .batch_bytes_max = connection_.server().shard().limits().batch_bytes_max}));
  }

  const replication::Replica* replica() const override { return &replica_; }

  Result<void> on_frame(const FrameDecoder::Frame& frame) override {
    if (frame.header.type != FrameType::read) {
      return error(Code::invalid, "a reader does not send " + std::string(name_of(frame.header.type)));
    }
    const auto message = decode_read(frame.payload);
    if (!message) return std::unexpected(message.error());
    if (requests_.size() >= kRequestsMax) {
      connection_.send_error(channel_, message->request,
                             {Code::over_limit, "64 reads of this session are waiting", 0});
      return {};
    }
    requests_.push_back(*message);
    if (requests_.size() == 1) begin();
    return {};
  }

  void on_writable() override { go_on(); }

 private:
  void begin() {
    fetching_ = true;
    source_.resolve(requests_.front().from, [this](Result<Offset> from) {
      fetching_ = false;
      if (!from) return end_with(from.error());
      const Read& request = requests_.front();
      next_ = *from;
      bytes_left_ = request.bytes;
      const Offset committed = replica_.committed();
      const std::uint64_t by_count = next_.value + std::min(request.count, UINT64_MAX - next_.value);
      end_ = std::min({committed, request.until, Offset(by_count)});
      go_on();
    });
  }

  void go_on() {
    while (!requests_.empty() && !fetching_ && connection_.may_send()) {
      if (next_ >= end_) return send({}, next_, true);
      fetching_ = true;
      const std::size_t bytes = std::clamp<std::size_t>(bytes_left_, 1, connection_.fetch_bytes_max());
      room_.emplace(connection_);
      returned_ = false;
      source_.fetch(next_, bytes, [this](Result<RecordSource::Batches> batches) {
        fetching_ = false;
        if (batches) {
          take(std::move(*batches));
        } else {
          end_with(batches.error());
        }
        room_.reset();
        if (returned_) go_on();  // from the reader thread: the loop below is long over
      });
      returned_ = true;
    }
  }

  void take(RecordSource::Batches batches) {
    while (!batches.empty() && batches.back().base_offset >= end_) batches.pop_back();
    const Offset reached = batches.empty() ? next_ : std::min(batches.back().next_offset(), end_);
    if (reached <= next_) {
      return end_with({Code::failed, "log \"" + replica_.name() + "\": nothing could be read at offset " +
                                         std::to_string(next_.value), 0});
    }
    std::size_t bytes = 0;
    for (const auto& batch : batches) bytes += batch.bytes.size();
    bytes_left_ -= std::min(bytes_left_, bytes);
    send(std::move(batches), reached, reached >= end_ || bytes_left_ == 0);
  }

  void send(RecordSource::Batches batches, Offset reached, bool last) {
    std::size_t bytes = 0;
    for (const auto& batch : batches) bytes += batch.bytes.size();
    connection_.send_records(channel_, replica_.term(),
                             {.request = requests_.front().request, .from = next_, .next = reached,
                              .commit = replica_.committed(), .last = last,
                              .bytes = static_cast<std::uint32_t>(bytes)},
                             std::move(batches));
    next_ = reached;
    if (last) finish();
  }

  void end_with(const Error& error) {
    connection_.send_error(channel_, requests_.front().request, error);
    finish();
  }

  void finish() {
    requests_.pop_front();
    if (requests_.empty()) return;
    // From the loop, so that a row of small reads does not nest.
    fetching_ = true;
    connection_.server().loop().post([weak = weak_from_this()] {
      if (const auto self = std::static_pointer_cast<ReaderSession>(weak.lock())) self->begin();
    });
  }

  replication::Replica& replica_;
  RecordSource source_;
  std::deque<Read> requests_;  // the first one is being answered
  Offset next_;
  Offset end_;
  std::size_t bytes_left_ = 0;
  std::optional<Connection::Room> room_;  // while fetching
  bool fetching_ = false;
  bool returned_ = false;
};

}  // namespace

std::shared_ptr<Session> make_reader_session(Connection& connection, std::uint32_t channel,
                                             replication::Replica& replica) {
  return std::make_shared<ReaderSession>(connection, channel, replica);
}

}  // namespace walraft::rpc
