#pragma once

// The recent batches of a log, in the memory that was written to disk: streams and tailing readers
// read here, not from the file.
// Thread: shard.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "wal/base/ids.h"
#include "wal/batch.h"
#include "wal/chunk.h"

namespace walraft::wal {

// What the caches of all logs of a shard may take together, in whole chunks.
struct TailMemory {
  std::size_t bytes_max = 64u << 20;
  std::size_t bytes = 0;
};

class TailCache {
 public:
  // `bytes_max` of this log, in whole chunks; with its neighbours it also keeps to `memory`, and who
  // appends makes the room. The newest group, and batches that are not durable, stay in any case.
  explicit TailCache(std::size_t bytes_max, std::shared_ptr<TailMemory> memory = nullptr)
      : bytes_max_(bytes_max), memory_(memory ? std::move(memory) : std::make_shared<TailMemory>()) {}
  ~TailCache() { memory_->bytes -= bytes_; }
  TailCache(const TailCache&) = delete;
  TailCache& operator=(const TailCache&) = delete;

  // The batches added from now on lie in a chunk of their own.
  void begin_group(std::size_t chunk_bytes);
  // The next batch of the log. `at` lies in `owner`.
  void add(const BatchHeader& header, const std::shared_ptr<Chunk>& owner, const std::byte* at);
  // The open group moved to a larger chunk, with the same layout.
  void move_group(const std::shared_ptr<Chunk>& to);
  // Groups below are on disk: they may go when there are too many.
  void evict(Index durable);
  // The log rests: leaves memory to its neighbours where that is getting short.
  void rest(Index durable);
  // Forgets what is at or behind `to`.
  void cut(Index to);
  void clear();

  bool empty() const { return size_ == 0; }
  Index first_index() const { return at(0).index; }

  // As Log::read_tail; false if `from` is older than all that is here.
  template <class Position>
  bool read(Position from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const;

 private:
  struct Entry {
    std::shared_ptr<Chunk> owner;
    std::size_t at = 0;
    Index index;
    Offset base_offset;
    std::uint32_t bytes = 0;
    std::uint32_t record_count = 0;
  };
  struct Group {
    std::size_t chunk_bytes = 0;
    std::size_t batches = 0;
  };

  const Entry& at(std::size_t i) const { return ring_[(head_ + i) & (ring_.size() - 1)]; }
  Entry& at(std::size_t i) { return ring_[(head_ + i) & (ring_.size() - 1)]; }
  void grow();
  bool pop_durable_group(Index durable);
  void pop_group();
  void count(std::size_t more, std::size_t less);

  std::size_t bytes_max_;
  std::shared_ptr<TailMemory> memory_;
  std::size_t bytes_ = 0;
  std::vector<Entry> ring_ = std::vector<Entry>(64);  // a power of two; grows, never shrinks
  std::size_t head_ = 0;
  std::size_t size_ = 0;
  std::deque<Group> groups_;
};

}  // namespace walraft::wal
