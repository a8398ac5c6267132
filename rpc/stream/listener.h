#pragma once

// Accepts TCP connections on one address.
//
// Descriptors run out before connections may (fault:P6): the last quarter of what the process may open, at most 128, is
// left to the log's files, and a connection that would take one of them is closed at once. When even accepting fails,
// a spare descriptor is given up to take the next connection and close it, so that its peer is told instead of kept
// waiting; then the listener rests for a moment.
// Thread: shard.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rpc/stream/asio_loop.h"
#include "rpc/stream/byte_stream.h"
#include "wal/base/result.h"

namespace walraft::rpc {

class Listener {
 public:
  using OnAccept = std::function<void(std::unique_ptr<ByteStream>)>;

  // Takes the address, without listening on it yet: who comes is refused. `address` is "127.0.0.1:7400" or "[::1]:7400"
  // ("[::]:7400" listens on both families); port 0 takes a free one.
  // Errors: `exists` if the address is in use, `invalid` if it is no address, `failed` for the rest.
  static Result<std::unique_ptr<Listener>> bind(AsioLoop& loop, const std::string& address);
  // Listens and accepts, from now on; once. `on_refuse` runs for each connection that is closed for want of descriptors.
  // Errors: `exists` if another process was faster, `failed`.
  Result<void> listen(OnAccept on_accept, Loop::Task on_refuse);
  ~Listener();  // stops accepting

  std::uint16_t port() const;

 private:
  struct Inside;
  explicit Listener(std::shared_ptr<Inside> inside) : inside_(std::move(inside)) {}
  std::shared_ptr<Inside> inside_;
};

}  // namespace walraft::rpc
