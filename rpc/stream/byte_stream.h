#pragma once

// A connection's bytes, in both directions. TCP today; TLS slips under the same interface.
// Thread: shard. Callbacks come from the loop, never from within the call that asked for them, and not after close().

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "wal/base/bytes.h"
#include "wal/base/result.h"

namespace walraft::rpc {

class ByteStream {
 public:
  // The number of bytes; 0 when the other side has closed or the connection broke.
  using OnRead = std::function<void(std::size_t)>;
  using OnWritten = std::function<void(std::size_t)>;

  virtual ~ByteStream() = default;

  // At most one of each at a time; the memory stays where it is until the callback.
  virtual void read(MutableBytes into, OnRead done) = 0;
  virtual void write(std::span<const ByteView> pieces, OnWritten done) = 0;  // their first bytes, at least one

  // Nothing more will be written; the peer reads the rest, then the end. Reading goes on.
  virtual void finish() = 0;

  // No callback runs any more. What was written is still sent by the kernel.
  virtual void close() = 0;

  // The machine at the other end, for limits: an IPv4 address, or the first half of an IPv6 address, which one machine
  // or household has to itself. Loopback is "local", in either family.
  virtual const std::string& peer() const = 0;
};

}  // namespace walraft::rpc
