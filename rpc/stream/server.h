#pragma once

// The server's side of the stream protocol (rpc/wire/STREAM.md): accepts connections and serves sessions on them.
//
//   Listener -> Connection (frames, handshake, bounded queue) -> AppenderSession | ReaderSession | SubscriberSession
//
// Nothing a client does costs more than bounded memory, and nothing it sends can harm another connection.
// Thread: shard, all of it, but what ReaderPool runs.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "replication/state/catalogue.h"
#include "rpc/stream/byte_stream.h"
#include "rpc/stream/loop.h"
#include "rpc/stream/reader_pool.h"
#include "rpc/wire/administration.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::rpc {

class AsioLoop;
class Connection;
class Listener;

struct ServerOptions {
  std::string address = "127.0.0.1:7400";  // where clients find it; for status
  std::string cluster_name;
  Uuid cluster_uuid{};
  NodeId node{};
  std::string software;
  std::size_t connections_max = 4096;
  // Adds to this node's status what the server does not know: zone, addresses, space.
  std::function<void(NodeStatus&)> describe_node = {};
};

struct ServerStats {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;  // above connections_max, or above what one machine may have of it
  std::uint64_t connections_without_descriptor = 0;  // closed: see Listener
  std::uint64_t protocol_errors = 0;      // connections ended because of what they sent
  std::uint64_t timeouts = 0;             // connections ended because of what they did not send, or not take
  std::size_t queue_bytes_max = 0;        // that any connection ever had waiting to be sent
};

class Server {
 public:
  // What waits to be sent on all connections. Beyond it each connection sends one small frame at a time.
  static constexpr std::size_t kQueueBytesMax = 64u << 20;
  // Refused connections that are told why. More of them are closed at once.
  static constexpr std::size_t kRefusedMax = 64;

  // Serves those who come to `listener`. All references outlive the server. Errors: those of Listener::listen().
  static Result<std::unique_ptr<Server>> start(AsioLoop& loop, std::unique_ptr<Listener> listener,
                                               replication::Shard& shard, replication::Catalogue& catalogue,
                                               const ServerOptions& options);
  // One that listens nowhere: accept() gives it what it serves.
  Server(Loop& loop, std::unique_ptr<ReaderPool> readers, replication::Shard& shard, replication::Catalogue& catalogue,
         const ServerOptions& options);
  ~Server();  // closes all connections

  // A connection was made. Of connections_max one machine gets three quarters at most; and the last sixteenth is for
  // those who come from the loopback interface: who runs the node must get in while others flood it.
  void accept(std::unique_ptr<ByteStream> stream);

  std::uint16_t port() const;  // until drain(), of one that listens
  std::size_t connections() const { return connections_.size() - refused_; }
  const ServerStats& stats() const { return stats_; }

  // Takes no new connections and no new requests; answers under way are still sent.
  void drain();

  // For connections and sessions.
  Loop& loop() { return loop_; }
  replication::Shard& shard() { return shard_; }
  replication::Catalogue& catalogue() { return catalogue_; }
  ReaderPool& readers() { return *readers_; }
  const ServerOptions& options() const { return options_; }
  void set_connections_max(std::size_t most) { options_.connections_max = most; }  // those that are open stay
  bool draining() const { return draining_; }
  void count_protocol_error() { ++stats_.protocol_errors; }
  void count_timeout() { ++stats_.timeouts; }
  void note_queue(std::size_t bytes) { stats_.queue_bytes_max = std::max(stats_.queue_bytes_max, bytes); }
  void add_queued(std::size_t bytes) { queued_bytes_ += bytes; }
  void remove_queued(std::size_t bytes) { queued_bytes_ -= bytes; }
  std::size_t queued_bytes() const { return queued_bytes_; }
  bool crowded() const { return queued_bytes_ >= kQueueBytesMax; }
  void forget(Connection& connection);

 private:
  std::size_t places_for(const std::string& machine) const;
  void end_sessions_of(const replication::Replica& replica);
  void tick();

  Loop& loop_;
  replication::Shard& shard_;
  replication::Catalogue& catalogue_;
  ServerOptions options_;
  ServerStats stats_;
  bool draining_ = false;
  std::size_t queued_bytes_ = 0;
  std::unordered_map<std::shared_ptr<Connection>, std::string> connections_;  // by machine; "" for refused ones
  std::unordered_map<std::string, std::size_t> machines_;                     // connections of each
  std::size_t refused_ = 0;                                                   // among connections_
  std::unique_ptr<ReaderPool> readers_;
  Loop::Timer ticker_;  // every second
  std::unique_ptr<Listener> listener_;  // null: none
};

}  // namespace walraft::rpc
