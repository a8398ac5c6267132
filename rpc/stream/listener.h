#pragma once

// Accepts TCP connections on one address. Thread: shard.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rpc/stream/byte_stream.h"
#include "rpc/stream/loop.h"
#include "wal/base/result.h"

namespace walraft::rpc {

class Listener {
 public:
  using OnAccept = std::function<void(std::unique_ptr<ByteStream>)>;

  // `address` is "127.0.0.1:7400" or "[::1]:7400" ("[::]:7400" listens on both families); port 0 takes a free one.
  // Errors: `exists` if the address is in use, `invalid` if it is no address, `failed` for the rest.
  static Result<std::unique_ptr<Listener>> listen(Loop& loop, const std::string& address, OnAccept on_accept);
  ~Listener();  // stops accepting

  std::uint16_t port() const;

 private:
  struct Inside;
  explicit Listener(std::shared_ptr<Inside> inside) : inside_(std::move(inside)) {}
  std::shared_ptr<Inside> inside_;
};

}  // namespace walraft::rpc
