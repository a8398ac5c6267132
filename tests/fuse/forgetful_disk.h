#pragma once

// A disk with a volatile cache, as a model in memory: a write is seen by every later read, and lives
// on after a power cut only if a sync followed it. In a cut every unsynced sector is kept or lost by
// itself, as a real cache may write its sectors back in any order.
//
// Thread: one at a time.

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <unordered_map>

namespace forgetful {

inline constexpr std::size_t kBlockBytes = 4096;
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kSectorsPerBlock = kBlockBytes / kSectorBytes;

struct CutOptions {
  std::uint64_t seed = 1;
  unsigned keep_percent = 0;             // of the unsynced sectors, by chance
  std::size_t sector_bytes = kSectorBytes;  // the unit that is kept or lost whole: 512 or 4096
};

struct CutResult {
  std::uint64_t kept_bytes = 0;
  std::uint64_t dropped_bytes = 0;
};

class Disk {
 public:
  // `medium` is what survives. It outlives the disk.
  explicit Disk(std::span<std::byte> medium) : medium_(medium) {}

  std::uint64_t size() const { return medium_.size(); }

  // The range lies inside the disk.
  void read(std::uint64_t position, std::span<std::byte> into) const {
    for_each_block(position, into.size(),
                   [&](std::uint64_t block, std::size_t start, std::size_t bytes, std::size_t at) {
                     const std::byte* from = medium_.data() + block * kBlockBytes;
                     if (const auto found = cache_.find(block); found != cache_.end()) {
                       from = found->second->bytes.data();
                     }
                     std::memcpy(into.data() + at, from + start, bytes);
                   });
  }

  void write(std::uint64_t position, std::span<const std::byte> bytes) {
    for_each_block(position, bytes.size(),
                   [&](std::uint64_t block, std::size_t start, std::size_t count, std::size_t at) {
                     auto& cached = cache_[block];
                     if (!cached) {
                       cached = std::make_unique<Cached>();
                       std::memcpy(cached->bytes.data(), medium_.data() + block * kBlockBytes, medium_bytes(block));
                     }
                     std::memcpy(cached->bytes.data() + start, bytes.data() + at, count);
                     for (std::size_t sector = start / kSectorBytes; sector * kSectorBytes < start + count; ++sector) {
                       cached->unsynced.set(sector);
                     }
                   });
  }

  // Everything written before survives from now on.
  void sync() {
    for (const auto& [block, cached] : cache_) {
      for (std::size_t sector = 0; sector < kSectorsPerBlock; ++sector) {
        if (cached->unsynced.test(sector)) {
          save(block, *cached, sector);
        }
      }
    }
    cache_.clear();
  }

  // The power fails.
  CutResult cut(const CutOptions& options) {
    CutResult result;
    const std::size_t group = options.sector_bytes / kSectorBytes;
    for (const auto& [block, cached] : cache_) {
      // Chance depends on seed and place alone, not on the order of the map.
      std::mt19937_64 random(options.seed * 0x9e3779b97f4a7c15ull + block);
      for (std::size_t first = 0; first < kSectorsPerBlock; first += group) {
        const bool keep = random() % 100 < options.keep_percent;
        for (std::size_t sector = first; sector < first + group; ++sector) {
          if (!cached->unsynced.test(sector)) {
            continue;
          }
          if (keep) {
            save(block, *cached, sector);
          }
          (keep ? result.kept_bytes : result.dropped_bytes) += kSectorBytes;
        }
      }
    }
    cache_.clear();
    return result;
  }

  std::uint64_t unsynced_bytes() const {
    std::uint64_t sectors = 0;
    for (const auto& [block, cached] : cache_) {
      sectors += cached->unsynced.count();
    }
    return sectors * kSectorBytes;
  }

 private:
  struct Cached {
    std::array<std::byte, kBlockBytes> bytes{};
    std::bitset<kSectorsPerBlock> unsynced;
  };

  template <class Visit>
  static void for_each_block(std::uint64_t position, std::size_t bytes, Visit visit) {
    for (std::size_t at = 0; at < bytes;) {
      const std::uint64_t block = (position + at) / kBlockBytes;
      const std::size_t start = (position + at) % kBlockBytes;
      const std::size_t count = std::min(kBlockBytes - start, bytes - at);
      visit(block, start, count, at);
      at += count;
    }
  }

  std::size_t medium_bytes(std::uint64_t block) const {
    return std::min<std::size_t>(kBlockBytes, medium_.size() - block * kBlockBytes);
  }

  void save(std::uint64_t block, const Cached& cached, std::size_t sector) {
    const std::uint64_t position = block * kBlockBytes + sector * kSectorBytes;
    if (position < medium_.size()) {
      std::memcpy(medium_.data() + position, cached.bytes.data() + sector * kSectorBytes,
                  std::min<std::size_t>(kSectorBytes, medium_.size() - position));
    }
  }

  std::span<std::byte> medium_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Cached>> cache_;
};

}  // namespace forgetful
