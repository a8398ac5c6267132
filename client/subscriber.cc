#include "client/subscriber.h"

#include <algorithm>

#include "client/records_builder.h"
#include "client/wire_from.h"

namespace walraft {
namespace client_inside {
SubscriberChannel::SubscriberChannel(std::shared_ptr<Connection> connection, std::string log,
                                     const SubscribeOptions& options)
    : connection_(std::move(connection)),
      log_(std::move(log)),
      from_(options.from),
      credit_bytes_(static_cast<std::int64_t>(std::clamp<std::uint64_t>(options.credit_bytes, 1, rpc::Credit::kMax))) {}

std::future<Result<rpc::Opened>> SubscriberChannel::begin() {
  connection_->post([self = shared_from_this()] { self->connection_->attach(self); });
  return opening_.get_future();
}

void SubscriberChannel::end() {
  connection_->post([self = shared_from_this()] { self->connection_->detach(*self); });
}

// --- The caller's thread ----------------------------------------------------------------------------------------------

Result<Event> SubscriberChannel::next(std::optional<std::chrono::microseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto there = [this] { return !events_.empty() || final_error_ || connection_->stopped(); };
  if (timeout) {
    if (!changed_.wait_for(lock, *timeout, there)) return error(Code::unavailable, "no record came within the timeout");
  } else {
    changed_.wait(lock, there);
  }
  if (events_.empty()) {
    return std::unexpected(final_error_.value_or(Error{Code::unavailable, "the client was closed", 0}));
  }
  Queued queued = std::move(events_.front());
  events_.pop_front();
  queued_bytes_ -= queued.bytes;
  if (const auto* records = std::get_if<Records>(&queued.event)) position_ = records->next();
  if (const auto* gap = std::get_if<Gap>(&queued.event)) position_ = gap->to;
  if (may_give()) connection_->post([self = shared_from_this()] { self->give_credit(); });
  return std::move(queued.event);
}

Offset SubscriberChannel::position() {
  const std::lock_guard lock(mutex_);
  return position_;
}

Offset SubscriberChannel::committed() {
  const std::lock_guard lock(mutex_);
  return committed_;
}

// --- The client's thread ----------------------------------------------------------------------------------------------

std::int64_t SubscriberChannel::owed() const {
  return credit_bytes_ - static_cast<std::int64_t>(queued_bytes_) - window_bytes_;
}

// In quarters: not a frame for every event, and never so late that the server stops.
void SubscriberChannel::give_credit() {
  if (!active_) return;  // between OPEN and OPENED, too: OPENED gives what was taken since
  std::int64_t bytes;
  {
    const std::lock_guard lock(mutex_);
    if (!may_give()) return;
    bytes = std::min<std::int64_t>(owed(), rpc::Credit::kMax);
    window_bytes_ += bytes;
  }
  connection_->send(rpc::FrameType::credit, *this, rpc::encode(rpc::Credit{static_cast<std::uint64_t>(bytes)}));
}

void SubscriberChannel::on_ready() {
  refused_ = false;
  std::int64_t credit;
  {
    const std::lock_guard lock(mutex_);
    credit = window_bytes_ = std::max<std::int64_t>(credit_bytes_ - static_cast<std::int64_t>(queued_bytes_), 0);
  }
  connection_->send(
      rpc::FrameType::open, *this,
      rpc::encode(rpc::Open{.log_name = log_,
                            .kind = rpc::SessionKind::subscriber,
                            .from = positioned_ ? rpc::From{rpc::From::Kind::offset, expected_.value} : to_wire(from_),
                            .credit = static_cast<std::uint64_t>(credit)}));
}

void SubscriberChannel::on_frame(const rpc::FrameDecoder::Frame& frame) {
  switch (frame.header.type) {
    case rpc::FrameType::opened: {
      const auto opened = rpc::decode_opened(frame.payload);
      if (!opened) return connection_->drop(opened.error());
      return on_opened(*opened);
    }
    case rpc::FrameType::records: {
      const auto message = rpc::decode_records(frame.payload);
      if (!message) return connection_->drop(message.error());
      if (!active_) return connection_->drop({Code::invalid, "records came before OPENED", 0});
      RecordsBuilder builder(expected_);
      if (auto ok = builder.add(*message, frame.payload.subspan(rpc::Records::kBytes)); !ok) {
        return connection_->drop(ok.error());  // damaged on its way: it is sent again
      }
      const std::size_t bytes = message->bytes;
      bool granted;
      {
        const std::lock_guard lock(mutex_);
        granted = window_bytes_ > 0;
        if (granted) {
          window_bytes_ -= static_cast<std::int64_t>(bytes);
          committed_ = std::max(committed_, message->commit);
        }
      }
      // Not with mutex_ held: callbacks of appends run in it, which may ask for our position.
      if (!granted) return connection_->drop({Code::invalid, "the server sent more than it had credit for", 0});
      expected_ = message->next;
      if (!builder.records().empty()) deliver(builder.take(), bytes);
      return;
    }
    case rpc::FrameType::error: {
      auto message = rpc::decode_error(frame.payload);
      if (!message) return connection_->drop(message.error());
      return on_error(std::move(message->error));
    }
    case rpc::FrameType::close: return finish({Code::unavailable, "the server closed the session", 0});
    default: return connection_->drop({Code::invalid, "the server sent a subscriber a frame of another session", 0});
  }
}

void SubscriberChannel::on_opened(const rpc::Opened& opened) {
  if (began_ && opened.log_uuid != log_uuid_) {
    return finish({Code::deleted, "log \"" + log_ + "\": it was deleted, and another log has its name now", 0});
  }
  if (active_ || (positioned_ && opened.start != expected_)) {
    return connection_->drop({Code::invalid, "the server sent a bad OPENED", 0});
  }
  active_ = true;
  positioned_ = true;
  expected_ = opened.start;
  log_uuid_ = opened.log_uuid;
  {
    const std::lock_guard lock(mutex_);
    if (!began_) position_ = expected_;
    committed_ = std::max(committed_, opened.commit);
    changed_.notify_all();
  }
  if (!began_) {
    began_ = true;
    opening_.set_value(opened);
  }
  give_credit();
}

void SubscriberChannel::on_error(Error error) {
  active_ = false;
  if (began_ && may_pass(error)) {
    refused_ = true;
    return;
  }
  if (error.code == Code::trimmed && began_ && Offset(error.detail) > expected_) {
    const Gap gap{expected_, Offset(error.detail)};
    expected_ = gap.to;
    deliver(gap, 0);
    return on_ready();
  }
  finish(std::move(error));
}

void SubscriberChannel::deliver(Event event, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  queued_bytes_ += bytes;
  events_.push_back({std::move(event), bytes});
  changed_.notify_all();
}

void SubscriberChannel::on_tick() {
  if (refused_) on_ready();
}

void SubscriberChannel::on_lost(const Error& reason) {
  active_ = false;
  refused_ = false;
  // Refused by name, not broken: trying again does not help.
  if (reason.code == Code::denied || (!began_ && reason.code != Code::unavailable)) finish(reason);
}

void SubscriberChannel::on_expired(const Error& reason) {
  if (!began_) finish(reason);
}

void SubscriberChannel::on_stop() { finish({Code::unavailable, "the client was closed", 0}); }

void SubscriberChannel::finish(Error error) {
  const auto self = shared_from_this();
  connection_->detach(*this);
  {
    const std::lock_guard lock(mutex_);
    if (!final_error_) final_error_ = error;
    changed_.notify_all();
  }
  if (!began_) {
    began_ = true;
    opening_.set_value(std::unexpected(std::move(error)));
  }
}

}  // namespace client_inside

Subscription::Subscription(std::shared_ptr<client_inside::SubscriberChannel> channel) : channel_(std::move(channel)) {}
Subscription::Subscription(Subscription&&) noexcept = default;
Subscription& Subscription::operator=(Subscription&& other) noexcept {
  std::swap(channel_, other.channel_);
  return *this;
}
Subscription::~Subscription() {
  if (channel_) channel_->end();
}

Result<Event> Subscription::next(std::optional<std::chrono::microseconds> timeout) { return channel_->next(timeout); }
Offset Subscription::position() const { return channel_->position(); }
Offset Subscription::committed() const { return channel_->committed(); }

}  // namespace walraft
