#pragma once

// One accepted connection: cuts its bytes into frames, does the handshake, hands frames to the sessions of its
// channels, and sends what they give it from one bounded queue.
//
// What bounds its memory: one frame being read; requests, whose answers are small, up to kUnansweredMax, after which it
// stops reading; sessions that fetch what they send only while may_send(), and hold Room for it meanwhile.
// Thread: shard.

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "rpc/stream/byte_stream.h"
#include "rpc/stream/loop.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "wal/chunk.h"

namespace walraft::rpc {

class Server;
class Connection;

// One channel of a connection after its OPEN. Destroyed when the channel closes; completions that come later find it
// gone by a weak pointer.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Connection& connection, std::uint32_t channel) : connection_(connection), channel_(channel) {}
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // An error ends the connection: the frame does not belong here or is malformed.
  virtual Result<void> on_frame(const FrameDecoder::Frame& frame) = 0;
  // may_send() was false and would now be true.
  virtual void on_writable() {}

 protected:
  Connection& connection_;  // outlives the session
  std::uint32_t channel_;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  static constexpr std::chrono::seconds kHandshakeDeadline{5};
  static constexpr std::chrono::seconds kLingerDeadline{2};
  static constexpr std::size_t kChannelsMax = 1024;
  static constexpr std::size_t kQueueBytesMax = 4u << 20;  // sessions stop sending data above it
  static constexpr std::size_t kUnansweredMax = 8192;      // requests
  static constexpr std::size_t kUnansweredBytesMax = 32u << 20;

  Connection(Server& server, std::unique_ptr<ByteStream> stream);
  ~Connection();

  void start();
  // Says why, then closes.
  void fail(Error error);
  void close();

  // For sessions.
  Server& server() { return server_; }
  // Whether the queue has room for more; if not, on_writable() comes when it has.
  bool may_send();
  // A part of the queue's room, held while records are fetched: what many sessions fetch at once fits as well.
  class Room {
   public:
    explicit Room(Connection& connection);
    ~Room();
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;

   private:
    Connection& connection_;
  };
  void send(FrameType type, std::uint32_t channel, Term term, ByteView payload);
  // The batches are sent from where they are, without a copy.
  void send_records(std::uint32_t channel, Term term, const Records& records, std::vector<wal::BatchRef> batches);
  void send_error(std::uint32_t channel, std::uint64_t request, const Error& error);
  void end_session(std::uint32_t channel, const Error& error);  // ERROR, then the channel is free
  // Requests under way; the connection reads on only below the limits.
  void add_unanswered(std::size_t bytes);
  void answered(std::size_t bytes);

 private:
  struct Piece {
    std::vector<std::byte> bytes;          // frame headers and small frames
    std::vector<wal::BatchRef> batches;    // sent behind them
    std::size_t total = 0;
  };

  void read_more();
  void on_read(std::size_t bytes);
  void take_frames();
  Result<void> on_frame(const FrameDecoder::Frame& frame);
  Result<void> on_hello(const FrameDecoder::Frame& frame);
  Result<void> on_open(const FrameDecoder::Frame& frame);
  void open_session(const Open& open, std::uint32_t channel);
  Piece& tail_piece();
  void schedule_write();
  void write_more();
  void on_written(bool ok);
  bool can_send() const { return queue_bytes_ + room_bytes_ < kQueueBytesMax && !failed_ && !closed_; }
  void wake_sessions();
  bool saturated() const { return unanswered_ >= kUnansweredMax || unanswered_bytes_ >= kUnansweredBytesMax; }

  Server& server_;
  std::unique_ptr<ByteStream> stream_;
  FrameDecoder decoder_;
  Loop::Timer deadline_;
  std::map<std::uint32_t, std::shared_ptr<Session>> sessions_;
  std::deque<Piece> queue_;
  std::size_t in_write_ = 0;  // pieces at the queue's front that the stream holds
  std::size_t queue_bytes_ = 0;
  std::size_t room_bytes_ = 0;       // held by sessions
  bool waiting_ = false;             // a session found no room
  std::uint32_t woken_last_ = 0;     // its channel: the next one comes first
  std::size_t unanswered_ = 0;
  std::size_t unanswered_bytes_ = 0;
  bool welcomed_ = false;
  bool reading_ = false;
  bool taking_ = false;
  bool write_scheduled_ = false;
  bool failed_ = false;  // an ERROR on channel 0 is the last thing sent
  bool closed_ = false;
};

}  // namespace walraft::rpc
