#include "client/appender.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"

namespace walraft {
namespace client_inside {

AppenderChannel::AppenderChannel(std::shared_ptr<Connection> connection, std::string log, const AppenderOptions& options)
    : connection_(std::move(connection)), log_(std::move(log)), options_(options) {}

std::future<Result<rpc::Opened>> AppenderChannel::begin() {
  connection_->post([self = shared_from_this()] { self->connection_->attach(self); });
  return opening_.get_future();
}

void AppenderChannel::end() {
  connection_->post([self = shared_from_this()] {
    self->connection_->detach(*self);
    self->break_off({Code::unavailable, "the appender was closed", 0});
  });
}

// --- The caller's thread ----------------------------------------------------------------------------------------------

void AppenderChannel::append(std::span<const ByteView> records, const AppendOptions& options, Appender::Callback done) {
  Outgoing outgoing{.frame = {}, .refusal = {}, .bytes = 0, .done = std::move(done)};
  builder_.clear();
  if (records.empty()) outgoing.refusal = Error{Code::invalid, "an append needs at least one record", 0};
  for (const ByteView record : records) {
    if (builder_.add(record)) continue;
    outgoing.refusal = Error{Code::too_large,
                             "the batch or a record is larger than any may be: 8 MiB of records, 65536 of them", 0};
    break;
  }
  if (!outgoing.refusal) {
    const ByteView batch = builder_.finish({.log_id = opened_.log_id, .writer_epoch = {}, .producer_id = {}});
    // The request number is put in when the frame is sent.
    outgoing.frame =
        rpc::make_frame(rpc::FrameType::append, number, Term(),
                        rpc::encode(rpc::Append{.request = 0, .expect_offset = options.expect_offset}), batch);
  }
  {
    std::unique_lock lock(mutex_);
    const auto room = [this] {
      return broken_ || unanswered_bytes_ == 0 || unanswered_bytes_ < options_.inflight_bytes_max;
    };
    if (!connection_->on_client_thread()) {
      changed_.wait(lock, room);
    } else if (!room()) {
      outgoing.refusal = Error{Code::over_limit, "inflight_bytes_max of this appender are unanswered", 0};
      outgoing.frame = {};
    }
    outgoing.bytes = sizeof outgoing + outgoing.frame.size();  // small and refused ones take memory, too
    unanswered_bytes_ += outgoing.bytes;
    ++unanswered_;
    outbox_.push_back(std::move(outgoing));
    if (std::exchange(flush_posted_, true)) return;
  }
  connection_->post([self = shared_from_this()] { self->flush(); });
  if (connection_->stopped()) refuse_outbox();  // the task may have been dropped: nobody else will answer
}

void AppenderChannel::refuse_outbox() {
  std::deque<Outgoing> outbox;
  {
    const std::lock_guard lock(mutex_);
    outbox.swap(outbox_);
    flush_posted_ = false;
  }
  for (Outgoing& outgoing : outbox) {
    outgoing.done(error(Code::unavailable, "the client was closed"));
    const std::lock_guard lock(mutex_);
    unanswered_bytes_ -= outgoing.bytes;
    --unanswered_;
    changed_.notify_all();
  }
}

void AppenderChannel::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return unanswered_ == 0; });
}

// --- The client's thread ----------------------------------------------------------------------------------------------

void AppenderChannel::flush() {
  std::deque<Outgoing> outbox;
  std::optional<Error> broken;
  {
    const std::lock_guard lock(mutex_);
    outbox.swap(outbox_);
    flush_posted_ = false;
    broken = broken_;
  }
  for (Outgoing& outgoing : outbox) {
    if (broken && !outgoing.refusal) outgoing.refusal = broken;
    if (refused_ && !outgoing.refusal) {
      outgoing.refusal = Error{Code::unavailable, "an earlier append was refused, so this one was not sent", 0};
    }
    if (outgoing.refusal && options_.stop_on_refusal) refused_ = true;
    if (!outgoing.refusal) {
      store_le(outgoing.frame.data() + rpc::kFrameHeaderBytes, request_next_++);
      connection_->send_frame(std::move(outgoing.frame));
    }
    inflight_.push_back({.request = outgoing.refusal ? 0 : request_next_ - 1, .refusal = std::move(outgoing.refusal),
                         .bytes = outgoing.bytes, .sent = Clock::now(), .done = std::move(outgoing.done)});
  }
  answer_refused();
}

void AppenderChannel::answer_refused() {
  while (!inflight_.empty() && inflight_.front().refusal) {
    Inflight inflight = std::move(inflight_.front());
    inflight_.pop_front();
    answer(inflight, std::unexpected(std::move(*inflight.refusal)));
  }
}

void AppenderChannel::answer(Inflight& inflight, Result<Appended> result) {
  inflight.done(std::move(result));
  const std::lock_guard lock(mutex_);
  unanswered_bytes_ -= inflight.bytes;
  --unanswered_;
  changed_.notify_all();
}

void AppenderChannel::on_ready() {
  if (ready_) return;
  connection_->send(rpc::FrameType::open, *this,
                    rpc::encode(rpc::Open{.log_name = log_, .kind = rpc::SessionKind::appender,
                                          .stop_on_refusal = options_.stop_on_refusal}));
}

void AppenderChannel::on_frame(const rpc::FrameDecoder::Frame& frame) {
  switch (frame.header.type) {
    case rpc::FrameType::opened: {
      auto opened = rpc::decode_opened(frame.payload);
      if (!opened || ready_) return connection_->drop({Code::invalid, "the server sent a bad OPENED", 0});
      opened_ = *opened;
      ready_ = true;
      return opening_.set_value(opened_);
    }
    case rpc::FrameType::appended: {
      const auto message = rpc::decode_appended(frame.payload);
      if (!message) return connection_->drop(message.error());
      return on_answer(message->request,
                       Appended{.first = message->first, .last = message->last, .term = message->term,
                                .duplicate = message->duplicate, .durable_on = {message->durable_on},
                                .timing = {.queue_us = message->queue_us, .own_sync_us = message->own_sync_us,
                                           .network_us = message->network_us,
                                           .follower_sync_us = message->follower_sync_us,
                                           .quorum_us = message->quorum_us}});
    }
    case rpc::FrameType::error: {
      auto message = rpc::decode_error(frame.payload);
      if (!message) return connection_->drop(message.error());
      if (message->request != 0) return on_answer(message->request, std::unexpected(std::move(message->error)));
      const auto self = shared_from_this();
      connection_->detach(*this);
      return break_off(message->error);
    }
    case rpc::FrameType::close: {
      const auto self = shared_from_this();
      connection_->detach(*this);
      return break_off({Code::unavailable, "the server closed the session", 0});
    }
    default: return connection_->drop({Code::invalid, "the server sent an appender a frame of another session", 0});
  }
}

void AppenderChannel::on_answer(std::uint64_t request, Result<Appended> result) {
  if (inflight_.empty() || inflight_.front().request != request) {
    return connection_->drop({Code::invalid, "the server answered appends out of order", 0});
  }
  Inflight inflight = std::move(inflight_.front());
  inflight_.pop_front();
  answer(inflight, std::move(result));
  answer_refused();
}

void AppenderChannel::on_tick() {
  if (inflight_.empty() || inflight_.front().refusal) return;
  if (Clock::now() - inflight_.front().sent > connection_->options().timeout) {
    connection_->drop({Code::unavailable, "no answer within the timeout", 0});
  }
}

void AppenderChannel::on_lost(const Error& reason) {
  if (!ready_ && reason.code == Code::unavailable) return;  // OPEN is sent again
  const auto self = shared_from_this();
  connection_->detach(*this);
  break_off(reason, connection_->unsent_appends(*this));
}

void AppenderChannel::on_expired(const Error& reason) {
  if (ready_) return;  // opened at the last moment
  const auto self = shared_from_this();
  connection_->detach(*this);
  break_off(reason);
}

void AppenderChannel::on_stop() { break_off({Code::unavailable, "the client was closed", 0}); }

// The last `unsent` of the appends under way are certainly not there.
void AppenderChannel::break_off(const Error& reason, std::size_t unsent) {
  if (!ready_) {
    ready_ = true;
    opening_.set_value(std::unexpected(reason));
  }
  {
    const std::lock_guard lock(mutex_);
    if (broken_) return;
    broken_ = Error{reason.code == Code::deleted ? Code::deleted : Code::unavailable, reason.message, 0};
    changed_.notify_all();
  }
  std::deque<Inflight> inflight = std::move(inflight_);
  inflight_.clear();
  for (auto one = inflight.rbegin(); one != inflight.rend() && unsent > 0; ++one) {
    if (one->refusal) continue;
    one->refusal = Error{Code::unavailable, "the append was not sent: " + reason.message, 0};
    --unsent;
  }
  for (Inflight& one : inflight) {
    answer(one, one.refusal ? std::unexpected(std::move(*one.refusal))
                            : error(Code::unknown, "the append may or may not be there: " + reason.message));
  }
  flush();
}

}  // namespace client_inside

Appender::Appender(std::shared_ptr<client_inside::AppenderChannel> channel) : channel_(std::move(channel)) {}
Appender::Appender(Appender&&) noexcept = default;
Appender& Appender::operator=(Appender&& other) noexcept {
  std::swap(channel_, other.channel_);
  return *this;
}
Appender::~Appender() {
  if (channel_) channel_->end();
}

void Appender::append(std::span<const ByteView> records, const AppendOptions& options, Callback done) {
  channel_->append(records, options, std::move(done));
}

std::future<Result<Appended>> Appender::append(std::span<const ByteView> records, const AppendOptions& options) {
  auto promise = std::make_shared<std::promise<Result<Appended>>>();
  auto result = promise->get_future();
  channel_->append(records, options, [promise](Result<Appended> r) { promise->set_value(std::move(r)); });
  return result;
}

void Appender::wait() { channel_->wait(); }
std::uint32_t Appender::record_bytes_max() const { return channel_->opened().record_bytes_max; }
std::uint32_t Appender::batch_bytes_max() const { return channel_->opened().batch_bytes_max; }

}  // namespace walraft
