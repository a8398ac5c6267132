#include "rpc/stream/server.h"
#include "rpc/stream/sessions.h"
#include "wal/base/mutant.h"

namespace walraft::rpc {
namespace {

class AppenderSession final : public Session {
 public:
  AppenderSession(Connection& connection, std::uint32_t channel, replication::Replica& replica, bool stop_on_refusal)
      : Session(connection, channel), replica_(replica),
        chain_(stop_on_refusal ? std::make_shared<replication::Replica::Chain>() : nullptr) {
    connection_.send(FrameType::opened, channel_, replica_.term(),
                     encode(Opened{.log_id = replica_.identity().id, .log_uuid = replica_.identity().log,
                                   .trim = replica_.first_offset(), .commit = replica_.committed(),
                                   .start = replica_.committed(), .record_bytes_max = replica_.record_bytes_max(),
                                   .batch_bytes_max = connection_.server().shard().limits().batch_bytes_max}));
  }

  const replication::Replica* replica() const override { return &replica_; }

  Result<void> on_frame(const FrameDecoder::Frame& frame) override {
    if (frame.header.type != FrameType::append) {
      return error(Code::invalid, "an appender does not send " + std::string(name_of(frame.header.type)));
    }
    const auto message = decode_append(frame.payload);
    if (!message) return std::unexpected(message.error());
    if (message->request != request_next_) {
      return error(Code::invalid, "APPEND has request " + std::to_string(message->request) + "; the next one is " +
                                      std::to_string(request_next_));
    }
    ++request_next_;
    const MutableBytes batch = frame.payload.subspan(Append::kBytes);
    const auto header = wal::decode_unstamped_batch(batch);
    // Bytes that were damaged on the way, or never were a batch: nothing that follows can be trusted.
    if (!header && header.error().code != Code::too_large) return std::unexpected(header.error());
    connection_.add_unanswered(batch.size());
    auto answer = [weak = connection_.weak_from_this(), session = weak_from_this(), request = message->request,
                   bytes = batch.size()](Result<replication::Committed> result) {
      const auto connection = weak.lock();
      if (!connection) return;
      if (const auto self = std::static_pointer_cast<AppenderSession>(session.lock())) self->answer(request, result);
      connection->answered(bytes);
    };
    if (connection_.server().draining()) {
      replica_.refuse({Code::unavailable, "this node is shutting down", 0}, chain_, std::move(answer));
    } else if (!header) {
      replica_.refuse(header.error(), chain_, std::move(answer));
    } else if (header->kind != wal::BatchKind::data && mutant(Mutant::c2_refusal_overtakes_answers)) {
      answer(error(Code::invalid, "appenders send batches of data only"));
    } else if (header->kind != wal::BatchKind::data) {
      replica_.refuse({Code::invalid, "appenders send batches of data only", 0}, chain_, std::move(answer));
    } else if (header->writer_epoch != Epoch(0) || header->producer_id != ProducerId(0) || header->sequence != 0) {
      replica_.refuse({Code::invalid, "this release has no writer epochs and no producers yet", 0}, chain_,
                      std::move(answer));
    } else {
      replica_.append(batch, *header, {.expect_offset = message->expect_offset, .chain = chain_}, std::move(answer));
    }
    return {};
  }

 private:
  void answer(std::uint64_t request, const Result<replication::Committed>& result) {
    if (!result) return connection_.send_error(channel_, request, result.error());
    connection_.send(FrameType::appended, channel_, result->term,
                     encode(Appended{.request = request, .first = result->first, .last = result->last,
                                     .term = result->term, .queue_us = result->queue_us,
                                     .own_sync_us = result->own_sync_us, .network_us = 0, .follower_sync_us = 0,
                                     .quorum_us = result->quorum_us,
                                     .durable_on = connection_.server().options().node, .duplicate = false}));
  }

  replication::Replica& replica_;
  const std::shared_ptr<replication::Replica::Chain> chain_;  // null: each append stands alone
  std::uint64_t request_next_ = 1;
};

}  // namespace

std::shared_ptr<Session> make_appender_session(Connection& connection, std::uint32_t channel,
                                               replication::Replica& replica, const Open& open) {
  return std::make_shared<AppenderSession>(connection, channel, replica, open.stop_on_refusal);
}

}  // namespace walraft::rpc
