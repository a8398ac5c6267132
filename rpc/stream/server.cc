#include "rpc/stream/server.h"

#include "rpc/stream/connection.h"

namespace walraft::rpc {

Server::Server(Loop& loop, replication::Shard& shard, replication::Catalogue& catalogue, const ServerOptions& options)
    : loop_(loop), shard_(shard), catalogue_(catalogue), options_(options), readers_(loop) {}

Result<std::unique_ptr<Server>> Server::start(Loop& loop, replication::Shard& shard,
                                              replication::Catalogue& catalogue, const ServerOptions& options) {
  std::unique_ptr<Server> server(new Server(loop, shard, catalogue, options));
  auto listener = Listener::listen(loop, options.address,
                                   [s = server.get()](std::unique_ptr<ByteStream> stream) { s->accept(std::move(stream)); });
  if (!listener) return std::unexpected(std::move(listener.error()));
  server->listener_ = std::move(*listener);
  return server;
}

Server::~Server() {
  const auto connections = std::move(connections_);
  connections_.clear();
  for (const auto& connection : connections) connection->close();
}

void Server::drain() {
  draining_ = true;
  listener_.reset();
}

void Server::accept(std::unique_ptr<ByteStream> stream) {
  const auto connection = std::make_shared<Connection>(*this, std::move(stream));
  const bool full = connections_.size() >= options_.connections_max;
  connections_.insert(connection);
  connection->start();
  if (full) {
    ++stats_.connections_refused;
    connection->fail({Code::over_limit, "this node has all its " + std::to_string(options_.connections_max) +
                                            " connections in use (limits.connections_max)", 0});
  } else {
    ++stats_.connections_accepted;
  }
}

void Server::forget(Connection& connection) { connections_.erase(connection.shared_from_this()); }

}  // namespace walraft::rpc
