#include "rpc/stream/server.h"

#include <vector>

#include "rpc/stream/asio_loop.h"
#include "rpc/stream/connection.h"
#include "rpc/stream/listener.h"
#include "wal/base/check.h"

namespace walraft::rpc {

Server::Server(Loop& loop, std::unique_ptr<ReaderPool> readers, replication::Shard& shard,
               replication::Catalogue& catalogue, const ServerOptions& options)
    : loop_(loop),
      shard_(shard),
      catalogue_(catalogue),
      options_(options),
      readers_(std::move(readers)),
      ticker_(loop) {
  ticker_.start(Connection::kTick, [this] { tick(); });
  catalogue_.on_removed([this](replication::Replica& replica) { end_sessions_of(replica); });
}

Result<std::unique_ptr<Server>> Server::start(AsioLoop& loop, std::unique_ptr<Listener> listener,
                                              replication::Shard& shard, replication::Catalogue& catalogue,
                                              const ServerOptions& options) {
  auto server = std::make_unique<Server>(
      loop, std::make_unique<ReaderThread>(loop, [&shard] { return shard.inflight_bytes() > 0; }), shard, catalogue,
      options);
  server->listener_ = std::move(listener);
  auto listening = server->listener_->listen(
      [s = server.get()](std::unique_ptr<ByteStream> stream) { s->accept(std::move(stream)); },
      [s = server.get()] { ++s->stats_.connections_without_descriptor; });
  if (!listening) return std::unexpected(std::move(listening.error()));
  return server;
}

Server::~Server() {
  catalogue_.on_removed({});
  const auto connections = std::move(connections_);
  connections_.clear();
  for (const auto& [connection, machine] : connections) connection->close();
}

std::uint16_t Server::port() const {
  CHECK(listener_ != nullptr);
  return listener_->port();
}

void Server::drain() {
  draining_ = true;
  listener_.reset();
}

// How many connections there may be in all when this machine asks for one more; 0 if it has its share.
std::size_t Server::places_for(const std::string& machine) const {
  const std::size_t most = options_.connections_max;
  const auto its = machines_.find(machine);
  if (its != machines_.end() && its->second >= most - most / 4) return 0;
  return machine == "local" ? most : most - most / 16;
}

void Server::accept(std::unique_ptr<ByteStream> stream) {
  const std::string machine = stream->peer();
  const std::size_t places = places_for(machine);
  const bool refused = connections() >= places;
  if (refused) ++stats_.connections_refused;
  if (refused && refused_ >= kRefusedMax) return;  // the stream closes
  const auto connection = std::make_shared<Connection>(*this, std::move(stream));
  connections_.emplace(connection, refused ? std::string() : machine);
  connection->start();
  if (!refused) {
    ++stats_.connections_accepted;
    ++machines_[machine];
    return;
  }
  ++refused_;
  const std::string most = std::to_string(options_.connections_max);
  connection->fail({Code::over_limit,
                    places == 0 ? "one machine may have three quarters of this node's " + most +
                                      " connections (limits.connections_max), and yours has them"
                                : "this node has all its " + most + " connections in use (limits.connections_max)",
                    0});
}

void Server::forget(Connection& connection) {
  const auto at = connections_.find(connection.shared_from_this());
  if (at == connections_.end()) return;  // the server ends
  if (at->second.empty()) {
    --refused_;
  } else if (--machines_[at->second] == 0) {
    machines_.erase(at->second);
  }
  connections_.erase(at);
}

void Server::end_sessions_of(const replication::Replica& replica) {
  const Error deleted{Code::deleted, "log \"" + replica.name() + "\": it was deleted", 0};
  for (const auto& [connection, machine] : connections_) connection->end_sessions_of(replica, deleted);
}

void Server::tick() {
  std::vector<std::shared_ptr<Connection>> connections;  // they may go while they are told
  for (const auto& [connection, machine] : connections_) connections.push_back(connection);
  for (const auto& connection : connections) connection->tick();
  ticker_.start(Connection::kTick, [this] { tick(); });
}

}  // namespace walraft::rpc
