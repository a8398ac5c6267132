#include "rpc/stream/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "rpc/stream/administration.h"
#include "rpc/stream/server.h"
#include "rpc/stream/sessions.h"
#include "wal/base/check.h"
#include "wal/base/mutant.h"

namespace walraft::rpc {
namespace {

constexpr std::size_t kWriteBytes = 1u << 20;  // handed to the stream at once
constexpr std::size_t kWritePieces = 256;
constexpr std::size_t kSmallBytes = 64u << 10;  // small frames are gathered up to here
constexpr std::size_t kCrowdedFetchBytes = 64u << 10;
constexpr std::size_t kCrowdedQueueBytes = 64u << 10;  // no more frames are taken above it
constexpr std::size_t kKeptPerByte = 4;         // memory that a sent byte may keep

// Holds a channel while its log is being made.
class OpeningSession final : public Session {
 public:
  using Session::Session;
  Result<void> on_frame(const FrameDecoder::Frame&) override {
    return error(Code::invalid, "a request came before the answer to OPEN");
  }
};

// The memory that these batches keep.
std::size_t kept_by(const std::vector<wal::BatchRef>& batches) {
  std::size_t bytes = 0;
  const wal::Chunk* last = nullptr;
  for (const wal::BatchRef& batch : batches) {
    if (batch.owner.get() != last) bytes += batch.owner->size();
    last = batch.owner.get();
  }
  return bytes;
}

}  // namespace

Connection::Connection(Server& server, std::unique_ptr<ByteStream> stream)
    : server_(server), stream_(std::move(stream)) {}

Connection::~Connection() = default;

void Connection::start() { read_more(); }

void Connection::fail(Error error) {
  if (failed_ || closed_) return;
  sessions_.clear();
  send_error(0, 0, error);
  // The peer reads the reason before the end: closing at once with bytes of its own unread would reset the connection.
  failed_ = true;
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  const auto self = shared_from_this();
  sessions_.clear();
  stream_->close();
  queue_.clear();
  unwritten_.clear();
  release_queued(queue_bytes_);
  server_.forget(*this);
}

void Connection::tick() {
  if (closed_) return;
  Waiting& w = waiting_for_;
  const auto over = [&] {
    server_.count_timeout();
    close();
  };
  if (failed_) {
    if (++w.linger > kLingerDeadline) close();
    return;
  }
  // Only what the peer could have done counts against it: nothing is expected of it while we do not read.
  if (!welcomed_ && ++w.handshake > kHandshakeDeadline) {
    server_.count_timeout();
    return fail({Code::invalid, "no HELLO came within " + std::to_string(kHandshakeDeadline) + " s", 0});
  }
  const bool same_frame = reading_ && decoder_.in_frame() && !std::exchange(w.frame_done, false);
  w.frame = same_frame ? w.frame + 1 : 0;
  if (w.frame > kFrameDeadline + decoder_.frame_bytes() / kFrameBytesATick) {
    server_.count_timeout();
    return fail({Code::invalid, "a frame did not arrive whole within " + std::to_string(w.frame - 1) + " s", 0});
  }
  // A peer that does not read would not read why.
  w.write = in_write_ > 0 && !std::exchange(w.taken, false) ? w.write + 1 : 0;
  if (w.write > kWriteDeadline) return over();
  w.silence = reading_ && !std::exchange(w.heard, false) ? w.silence + 1 : 0;
  if (w.silence > kSilentDeadline) return over();
  if (w.silence == kQuietDeadline && welcomed_) send(FrameType::ping, 0, Term(), encode(Ping{}));
}

// --- Reading ----------------------------------------------------------------------------------------------------------

void Connection::read_more() {
  if (reading_ || closed_) return;
  if (!failed_ && !may_take()) return;
  reading_ = true;
  stream_->read(decoder_.space(), [self = shared_from_this()](std::size_t bytes) { self->on_read(bytes); });
}

void Connection::on_read(std::size_t bytes) {
  reading_ = false;
  waiting_for_.heard = true;
  if (bytes == 0) return close();
  if (failed_) return read_more();  // what still comes is dropped: the same memory is filled again
  decoder_.filled(bytes);
  take_frames();
}

// Not while too much is unanswered or queued: a small request may have a large answer. Either is followed by answered()
// or on_written(), which take up again what was left.
bool Connection::may_take() const {
  return !saturated() && queue_bytes_ < (server_.crowded() ? kCrowdedQueueBytes : 2 * kQueueBytesMax);
}

void Connection::take_frames() {
  if (taking_ || closed_) return;
  taking_ = true;
  const auto self = shared_from_this();
  while (!failed_ && may_take()) {
    const auto frame = decoder_.next();
    if (!frame) break;
    waiting_for_.frame_done = true;
    const Result<void> taken = *frame ? on_frame(**frame) : std::unexpected(frame->error());
    if (!taken) {
      server_.count_protocol_error();
      fail(taken.error());
    }
    if (closed_) break;
  }
  taking_ = false;
  read_more();
}

void Connection::add_unanswered(std::size_t bytes) {
  ++unanswered_;
  unanswered_bytes_ += bytes;
}

void Connection::answered(std::size_t bytes) {
  const bool was_saturated = saturated();
  --unanswered_;
  unanswered_bytes_ -= bytes;
  if (was_saturated && !saturated()) {
    server_.loop().post([self = shared_from_this()] { self->take_frames(); });
  }
}

void Connection::read_elsewhere(std::size_t bytes, std::function<void()> work, std::function<void()> done) {
  add_unanswered(bytes);
  server_.readers().run(std::move(work), [weak = weak_from_this(), bytes, done = std::move(done)] {
    done();
    if (const auto self = weak.lock()) self->answered(bytes);
  });
}

Result<void> Connection::on_frame(const FrameDecoder::Frame& frame) {
  if (!welcomed_) {
    if (frame.header.type == FrameType::hello && frame.header.channel == 0) return on_hello(frame);
    return error(Code::invalid, "the first frame must be HELLO, not " + std::string(name_of(frame.header.type)));
  }
  switch (frame.header.type) {
    case FrameType::ping: {
      const auto ping = decode_ping(frame.payload);
      if (!ping) return std::unexpected(ping.error());
      send(FrameType::pong, 0, Term(), encode(*ping));
      return {};
    }
    case FrameType::pong: return {};
    case FrameType::open: return on_open(frame);
    case FrameType::request: return administer(*this, frame);
    case FrameType::close:
      sessions_.erase(frame.header.channel);
      return {};
    case FrameType::append:
    case FrameType::read:
    case FrameType::credit: {
      const auto session = sessions_.find(frame.header.channel);
      // The session may have ended while the frame was on its way; its ERROR told the client.
      if (session == sessions_.end()) return {};
      const auto keep = session->second;
      return keep->on_frame(frame);
    }
    default:
      return error(Code::invalid, "a client does not send " + std::string(name_of(frame.header.type)));
  }
}

// --- Handshake and sessions -------------------------------------------------------------------------------------------

Result<void> Connection::on_hello(const FrameDecoder::Frame& frame) {
  const auto hello = decode_hello(frame.payload);
  if (!hello) return std::unexpected(hello.error());
  const ServerOptions& options = server_.options();
  if (hello->version_min > kProtocolVersion || hello->version_max < kProtocolVersion) {
    return error(Code::invalid, "the client speaks stream protocol " + std::to_string(hello->version_min) + " to " +
                                    std::to_string(hello->version_max) + "; this node speaks 1");
  }
  if (hello->kind == PeerKind::node) {
    return error(Code::invalid, "this release runs one node: it takes no connections of other members");
  }
  if (!hello->cluster_name.empty() && hello->cluster_name != options.cluster_name) {
    return error(Code::denied, "this is cluster \"" + options.cluster_name + "\", not \"" + hello->cluster_name + "\"");
  }
  if (!hello->cluster_uuid.is_none() && hello->cluster_uuid != options.cluster_uuid) {
    return error(Code::denied, "this is another cluster of the name \"" + options.cluster_name + "\": its uuid is " +
                                   to_string(options.cluster_uuid) + ", not " + to_string(hello->cluster_uuid));
  }
  welcomed_ = true;
  const replication::Limits& limits = server_.shard().limits();
  send(FrameType::welcome, 0, Term(),
       encode(Welcome{.version = kProtocolVersion, .cluster_name = options.cluster_name,
                      .cluster_uuid = options.cluster_uuid, .node = options.node, .software = options.software,
                      .features = 0, .record_bytes_max = limits.record_bytes_max,
                      .batch_bytes_max = limits.batch_bytes_max, .inflight_bytes_max = limits.inflight_bytes_max}));
  return {};
}

Result<void> Connection::on_open(const FrameDecoder::Frame& frame) {
  const std::uint32_t channel = frame.header.channel;
  if (channel == 0) return error(Code::invalid, "OPEN names channel 0, which is the connection itself");
  if (sessions_.contains(channel)) {
    return error(Code::invalid, "OPEN names channel " + std::to_string(channel) + ", which is in use");
  }
  const auto open = decode_open(frame.payload);
  if (!open) return std::unexpected(open.error());
  if (sessions_.size() >= kChannelsMax) {
    send_error(channel, 0, {Code::over_limit, "a connection carries at most 1024 sessions", 0});
    return {};
  }
  if (server_.draining()) {
    send_error(channel, 0, {Code::unavailable, "this node is shutting down", 0});
    return {};
  }
  if (server_.catalogue().entry(open->log_name) != nullptr) {
    const auto replica = server_.catalogue().open_log(open->log_name);
    if (replica) open_session(*open, channel);
    if (!replica) send_error(channel, 0, replica.error());
    return {};
  }
  if (auto good = check_log_name(open->log_name); !good) {
    send_error(channel, 0, Error(good.error()).at("log \"" + open->log_name + "\""));
    return {};
  }
  if (!open->create) {
    send_error(channel, 0, {Code::not_found, "log \"" + open->log_name + "\": there is no such log", 0});
    return {};
  }
  const auto opening = std::make_shared<OpeningSession>(*this, channel);
  sessions_[channel] = opening;
  server_.catalogue().create({.name = open->log_name},
                             [weak = weak_from_this(), opening = std::weak_ptr<Session>(opening), open = *open,
                              channel](Result<replication::Catalogue::MadeLog> made) {
                               const auto self = weak.lock();
                               if (!self || self->closed_ || self->failed_) return;
                               const auto at = self->sessions_.find(channel);
                               // Closed meanwhile; the channel may carry another session by now.
                               if (at == self->sessions_.end() || at->second != opening.lock()) return;
                               self->sessions_.erase(at);
                               if (!made) return self->send_error(channel, 0, made.error());
                               self->open_session(open, channel);
                             });
  return {};
}

void Connection::open_session(const Open& open, std::uint32_t channel) {
  replication::Replica& replica = *server_.catalogue().find(open.log_name);
  switch (open.kind) {
    case SessionKind::appender:
      if (open.writer_epoch != Epoch(0)) {
        return send_error(channel, 0, {Code::invalid, "this release has no writer epochs yet", 0});
      }
      sessions_[channel] = make_appender_session(*this, channel, replica, open);
      return;
    case SessionKind::reader: sessions_[channel] = make_reader_session(*this, channel, replica); return;
    case SessionKind::subscriber:
      sessions_[channel] = make_subscriber_session(*this, channel, replica, open);
      return;
  }
}

void Connection::end_session(std::uint32_t channel, const Error& error) {
  if (closed_ || failed_) return;
  const auto at = sessions_.find(channel);
  if (at == sessions_.end()) return;
  const auto keep = at->second;  // it may be the caller
  sessions_.erase(at);
  send_error(channel, 0, error);
}

void Connection::end_sessions_of(const replication::Replica& replica, const Error& error) {
  std::vector<std::uint32_t> channels;
  for (const auto& [channel, session] : sessions_) {
    if (session->replica() == &replica) channels.push_back(channel);
  }
  for (const std::uint32_t channel : channels) end_session(channel, error);
}

// --- Writing ----------------------------------------------------------------------------------------------------------

Connection::Piece& Connection::tail_piece() {
  if (queue_.size() <= in_write_ || !queue_.back().batches.empty() || queue_.back().bytes.size() >= kSmallBytes) {
    queue_.emplace_back();
  }
  return queue_.back();
}

void Connection::send(FrameType type, std::uint32_t channel, Term term, ByteView payload) {
  if (closed_ || failed_) return;
  Piece& piece = tail_piece();
  const auto header = encode(FrameHeader{
      .type = type, .length = static_cast<std::uint32_t>(payload.size()), .channel = channel, .term = term});
  const std::size_t at = piece.bytes.size();
  piece.bytes.resize(at + header.size() + payload.size());
  std::copy(header.begin(), header.end(), piece.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  std::copy(payload.begin(), payload.end(), piece.bytes.begin() + static_cast<std::ptrdiff_t>(at + header.size()));
  add_queued(piece, header.size() + payload.size());
}

void Connection::send_records(std::uint32_t channel, Term term, const Records& records,
                              std::vector<wal::BatchRef> batches) {
  if (closed_ || failed_) return;
  Piece& piece = tail_piece();
  const auto header = encode(FrameHeader{.type = FrameType::records,
                                         .length = static_cast<std::uint32_t>(Records::kBytes + records.bytes),
                                         .channel = channel, .term = term});
  const auto fixed = encode(records);
  const std::size_t at = piece.bytes.size();
  piece.bytes.resize(at + header.size() + fixed.size());
  std::copy(header.begin(), header.end(), piece.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  std::copy(fixed.begin(), fixed.end(), piece.bytes.begin() + static_cast<std::ptrdiff_t>(at + header.size()));
  if (kept_by(batches) >
      kKeptPerByte * records.bytes) {  // small batches of large chunks, or each of a chunk of its own
    for (const wal::BatchRef& batch : batches)
      piece.bytes.insert(piece.bytes.end(), batch.bytes.begin(), batch.bytes.end());
  } else {
    piece.batches = std::move(batches);
  }
  add_queued(piece, header.size() + fixed.size() + records.bytes);
}

void Connection::add_queued(Piece& piece, std::size_t bytes) {
  piece.total += bytes;
  queue_bytes_ += bytes;
  server_.add_queued(bytes);
  server_.note_queue(queue_bytes_);
  schedule_write();
}

void Connection::release_queued(std::size_t bytes) {
  queue_bytes_ -= bytes;
  server_.remove_queued(bytes);
}

void Connection::send_error(std::uint32_t channel, std::uint64_t request, const Error& error) {
  send(FrameType::error, channel, Term(), encode(ErrorMessage{.request = request, .error = error}));
}

// What one turn of the loop produces goes out in one write.
void Connection::schedule_write() {
  if (write_scheduled_ || in_write_ > 0) return;
  write_scheduled_ = true;
  server_.loop().post([self = shared_from_this()] {
    self->write_scheduled_ = false;
    self->write_more();
  });
}

void Connection::write_more() {
  if (closed_) return;
  if (in_write_ == 0) {
    if (queue_.empty()) return;
    std::size_t bytes = 0;
    while (in_write_ < queue_.size() && bytes < kWriteBytes && unwritten_.size() < kWritePieces) {
      const Piece& piece = queue_[in_write_++];
      unwritten_.emplace_back(piece.bytes);
      for (const wal::BatchRef& batch : piece.batches) unwritten_.push_back(batch.bytes);
      bytes += piece.total;
    }
  }
  stream_->write(unwritten_, [self = shared_from_this()](std::size_t bytes) { self->on_written(bytes); });
}

void Connection::on_written(std::size_t bytes) {
  if (bytes == 0) return close();
  waiting_for_.taken = true;
  std::size_t whole = 0;
  while (whole < unwritten_.size() && unwritten_[whole].size() <= bytes) bytes -= unwritten_[whole++].size();
  unwritten_.erase(unwritten_.begin(), unwritten_.begin() + static_cast<std::ptrdiff_t>(whole));
  if (!unwritten_.empty()) {
    unwritten_.front() = unwritten_.front().subspan(bytes);
    return write_more();
  }
  for (; in_write_ > 0; --in_write_) {
    release_queued(queue_.front().total);
    queue_.pop_front();
  }
  if (failed_ && queue_.empty()) return stream_->finish();
  write_more();
  take_frames();  // first: sessions that always have more to send would leave no room for it
  wake_sessions();
}

// --- Room for records -------------------------------------------------------------------------------------------------

bool Connection::may_send() {
  if (!can_send()) waiting_ = true;
  return can_send();
}

// One that has nothing to send yet may always fetch something, or those who do not read would lock out those who do.
bool Connection::can_send() const {
  if (mutant(Mutant::c3_queue_not_bounded)) return !failed_ && !closed_;
  const std::size_t held = queue_bytes_ + room_bytes_;
  return held < kQueueBytesMax && !failed_ && !closed_ && (held == 0 || !server_.crowded());
}

std::size_t Connection::fetch_bytes_max() const { return server_.crowded() ? kCrowdedFetchBytes : kRecordsFrameBytes; }

Connection::Room::Room(Connection& connection) : connection_(connection), bytes_(connection.fetch_bytes_max()) {
  connection_.room_bytes_ += bytes_;
  connection_.server_.add_queued(bytes_);
}

Connection::Room::~Room() {
  connection_.room_bytes_ -= bytes_;
  connection_.server_.remove_queued(bytes_);
  if (!connection_.waiting_ || !connection_.can_send()) return;
  if (const auto self = connection_.weak_from_this().lock()) {
    self->server_.loop().post([self] { self->wake_sessions(); });
  }
}

// In turn, so that one that always has more to send does not keep the others from it.
void Connection::wake_sessions() {
  if (!waiting_ || !can_send()) return;
  waiting_ = false;
  std::vector<std::pair<std::uint32_t, std::shared_ptr<Session>>> sessions;  // they may end while they send
  const auto first = sessions_.upper_bound(woken_last_);
  for (auto at = first; at != sessions_.end(); ++at) sessions.emplace_back(*at);
  for (auto at = sessions_.begin(); at != first; ++at) sessions.emplace_back(*at);
  for (const auto& [channel, session] : sessions) {
    if (!may_send()) return;
    woken_last_ = channel;
    session->on_writable();
  }
}

}  // namespace walraft::rpc
