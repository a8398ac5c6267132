#pragma once

// The server's side of the stream protocol (rpc/wire/STREAM.md): accepts connections and serves sessions on them.
//
//   Listener -> Connection (frames, handshake, bounded queue) -> AppenderSession | ReaderSession | SubscriberSession
//
// Nothing a client does costs more than bounded memory, and nothing it sends can harm another connection.
// Thread: shard, all of it, but what ReaderPool runs.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>

#include "replication/state/catalogue.h"
#include "rpc/stream/byte_stream.h"
#include "rpc/stream/listener.h"
#include "rpc/stream/loop.h"
#include "rpc/stream/reader_pool.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::rpc {

class Connection;

struct ServerOptions {
  std::string address = "127.0.0.1:7400";
  std::string cluster_name;
  Uuid cluster_uuid{};
  NodeId node{};
  std::string software;
  std::size_t connections_max = 4096;
};

struct ServerStats {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;  // above connections_max
  std::uint64_t protocol_errors = 0;      // connections ended because of what they sent
  std::size_t queue_bytes_max = 0;        // that any connection ever had waiting to be sent
};

class Server {
 public:
  // All references outlive the server. Errors: those of Listener::listen().
  static Result<std::unique_ptr<Server>> start(Loop& loop, replication::Shard& shard,
                                               replication::Catalogue& catalogue, const ServerOptions& options);
  ~Server();  // closes all connections

  std::uint16_t port() const { return listener_->port(); }
  std::size_t connections() const { return connections_.size(); }
  const ServerStats& stats() const { return stats_; }

  // Takes no new connections and no new requests; answers under way are still sent.
  void drain();

  // For connections and sessions.
  Loop& loop() { return loop_; }
  replication::Shard& shard() { return shard_; }
  replication::Catalogue& catalogue() { return catalogue_; }
  ReaderPool& readers() { return readers_; }
  const ServerOptions& options() const { return options_; }
  bool draining() const { return draining_; }
  void count_protocol_error() { ++stats_.protocol_errors; }
  void note_queue(std::size_t bytes) { stats_.queue_bytes_max = std::max(stats_.queue_bytes_max, bytes); }
  void forget(Connection& connection);

 private:
  Server(Loop& loop, replication::Shard& shard, replication::Catalogue& catalogue, const ServerOptions& options);
  void accept(std::unique_ptr<ByteStream> stream);

  Loop& loop_;
  replication::Shard& shard_;
  replication::Catalogue& catalogue_;
  ServerOptions options_;
  ServerStats stats_;
  bool draining_ = false;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  ReaderPool readers_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace walraft::rpc
