#include "wal/chunk.h"

#include <array>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "wal/base/check.h"
#include "wal/filesystem.h"

namespace walraft::wal {
namespace {

// Free memory by size. A mutex, since readers on other threads release chunks; it is taken once a
// group or a read, not once a batch.
class ChunkPool {
 public:
  std::byte* take(std::size_t size_class) {
    {
      const std::lock_guard lock(mutex_);
      auto& free = free_[size_class];
      if (!free.empty()) {
        std::byte* data = free.back();
        free.pop_back();
        return data;
      }
    }
    return allocate(kSizes[size_class]);
  }

  void give(std::size_t size_class, std::byte* data) {
    {
      const std::lock_guard lock(mutex_);
      auto& free = free_[size_class];
      if (free.size() * kSizes[size_class] < kKeptBytesMax) {
        free.push_back(data);
        return;
      }
    }
    std::free(data);
  }

  static std::byte* allocate(std::size_t bytes) {
    void* data = std::aligned_alloc(kBlockBytes, bytes);
    CHECK(data != nullptr, bytes);
    return static_cast<std::byte*>(data);
  }

  static constexpr std::array<std::size_t, 6> kSizes = {8u << 10, 16u << 10, 64u << 10, 256u << 10, 1u << 20, 4u << 20};
  static constexpr std::size_t kKeptBytesMax = 8u << 20;  // of one size; what is above goes back to the allocator

 private:
  std::mutex mutex_;
  std::array<std::vector<std::byte*>, kSizes.size()> free_;
};

ChunkPool& pool() {
  static auto* instance = new ChunkPool;  // outlives chunks that are released during exit
  return *instance;
}

}  // namespace

std::shared_ptr<Chunk> Chunk::make(std::size_t bytes) {
  for (std::size_t i = 0; i < ChunkPool::kSizes.size(); ++i) {
    if (bytes > ChunkPool::kSizes[i]) continue;
    std::byte* data = pool().take(i);
    return {new Chunk(data, ChunkPool::kSizes[i]), [i](Chunk* chunk) {
              pool().give(i, chunk->data());
              delete chunk;
            }};
  }
  const std::size_t size = align_up(bytes, kBlockBytes);
  return {new Chunk(ChunkPool::allocate(size), size), [](Chunk* chunk) {
            std::free(chunk->data());
            delete chunk;
          }};
}

}  // namespace walraft::wal
