#pragma once

// Memory that is written to disk, sent and read from, without copies in between: blocks aligned for
// direct writes, shared by reference count, recycled by size.

#include <cstddef>
#include <memory>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"

namespace walraft::wal {

class Chunk {
 public:
  // At least `bytes`, from a pool of the process (8 KiB, 16 KiB, 64 KiB, 256 KiB, 1 MiB, 4 MiB; larger ones
  // are made and freed). The content is undefined. Any thread, also for the last release.
  static std::shared_ptr<Chunk> make(std::size_t bytes);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  MutableBytes bytes() { return {data_, size_}; }
  ByteView bytes() const { return {data_, size_}; }

  Chunk(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

 private:
  std::byte* data_;
  std::size_t size_;
};

// One stamped batch, wherever its bytes are. The bytes do not change while it lives.
struct BatchRef {
  std::shared_ptr<const Chunk> owner;
  ByteView bytes;  // header and body
  Index index;
  Offset base_offset;
  std::uint32_t record_count = 0;

  Offset next_offset() const { return base_offset + record_count; }
};

}  // namespace walraft::wal
