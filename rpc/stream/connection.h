#pragma once

// One accepted connection: cuts its bytes into frames, does the handshake, hands frames to the sessions of its
// channels, and sends what they give it from one bounded queue.
//
// What bounds its memory: one frame being read; requests and reads from disk, also those of sessions that are gone, up
// to kUnansweredMax, and answers queued, up to twice kQueueBytesMax, after which it takes no frames; sessions that
// fetch what they send only while may_send(), and hold Room for it meanwhile. What bounds its time: tick().
// Thread: shard.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "rpc/stream/byte_stream.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "wal/chunk.h"

namespace walraft::replication {
class Replica;
}

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
  // The log that it is of; null while that is being made.
  virtual const replication::Replica* replica() const { return nullptr; }
  // may_send() was false and would now be true.
  virtual void on_writable() {}

 protected:
  Connection& connection_;  // outlives the session
  std::uint32_t channel_;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  static constexpr std::chrono::seconds kTick{1};
  // In ticks.
  static constexpr unsigned kHandshakeDeadline = 5;
  static constexpr unsigned kLingerDeadline = 2;   // of a connection that failed
  static constexpr unsigned kFrameDeadline = 30;   // for a frame to arrive, and one more for each kFrameBytesATick
  static constexpr unsigned kWriteDeadline = 30;   // without a byte taken by a peer that is sent something
  static constexpr unsigned kQuietDeadline = 30;   // without a byte from the peer: PING
  static constexpr unsigned kSilentDeadline = 60;  // the end
  static constexpr std::size_t kFrameBytesATick = 64u << 10;
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
  // Every kTick: ends what has waited for its peer long enough.
  void tick();

  // For sessions.
  Server& server() { return server_; }
  // Whether the queue has room for more; if not, on_writable() comes when it has.
  bool may_send();
  // What a session may fetch at once.
  std::size_t fetch_bytes_max() const;
  // That much of the queue's room, held while records are fetched: what many sessions fetch at once fits as well.
  class Room {
   public:
    explicit Room(Connection& connection);
    ~Room();
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;

   private:
    Connection& connection_;
    std::size_t bytes_;
  };
  void send(FrameType type, std::uint32_t channel, Term term, ByteView payload);
  // The batches are sent from where they are, without a copy, unless that would keep far more memory than they have.
  void send_records(std::uint32_t channel, Term term, const Records& records, std::vector<wal::BatchRef> batches);
  void send_error(std::uint32_t channel, std::uint64_t request, const Error& error);
  void end_session(std::uint32_t channel, const Error& error);  // ERROR, then the channel is free
  void end_sessions_of(const replication::Replica& replica, const Error& error);
  // Requests under way; the connection reads on only below the limits.
  void add_unanswered(std::size_t bytes);
  void answered(std::size_t bytes);
  // ReaderPool::run(), counted among the unanswered until `done` ran; `bytes` is what the job holds. `done` runs even
  // if the connection is gone by then.
  void read_elsewhere(std::size_t bytes, std::function<void()> work, std::function<void()> done);

 private:
  struct Piece {
    std::vector<std::byte> bytes;          // frame headers and small frames
    std::vector<wal::BatchRef> batches;    // sent behind them
    std::size_t total = 0;
  };
  // What tick() counts, in ticks.
  struct Waiting {
    unsigned handshake = 0;
    unsigned linger = 0;
    unsigned frame = 0;
    unsigned write = 0;
    unsigned silence = 0;
    bool heard = false;  // since the last tick
    bool frame_done = false;  // since the last tick
    bool taken = false;  // the peer took bytes since the last tick
  };

  void read_more();
  void on_read(std::size_t bytes);
  void take_frames();
  bool may_take() const;
  Result<void> on_frame(const FrameDecoder::Frame& frame);
  Result<void> on_hello(const FrameDecoder::Frame& frame);
  Result<void> on_open(const FrameDecoder::Frame& frame);
  void open_session(const Open& open, std::uint32_t channel);
  Piece& tail_piece();
  void schedule_write();
  void write_more();
  void on_written(std::size_t bytes);
  void add_queued(Piece& piece, std::size_t bytes);
  void release_queued(std::size_t bytes);
  bool can_send() const;
  void wake_sessions();
  bool saturated() const { return unanswered_ >= kUnansweredMax || unanswered_bytes_ >= kUnansweredBytesMax; }

  Server& server_;
  std::unique_ptr<ByteStream> stream_;
  FrameDecoder decoder_;
  Waiting waiting_for_;
  std::map<std::uint32_t, std::shared_ptr<Session>> sessions_;
  std::deque<Piece> queue_;
  std::size_t in_write_ = 0;  // pieces at the queue's front that the stream holds
  std::vector<ByteView> unwritten_;  // of those, what it has not taken yet
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
