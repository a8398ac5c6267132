#pragma once

// The contents of a file in the simulator: sparse, and shared by all copies until one of them
// changes. Copying a 64 MiB file costs 256 pointers; allocating it costs as much.
//
// A page is absent (a hole: reads as zeros, takes no space), or there (allocated). What is allocated
// but was never written is one shared page of zeros.

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "wal/base/bytes.h"

namespace walraft::sim {

inline constexpr std::uint64_t kSectorBytes = 512;  // what a power cut leaves whole
inline constexpr std::uint64_t kPageBytes = 4096;
inline constexpr std::uint64_t kPageSectors = kPageBytes / kSectorBytes;

struct Page {
  std::array<std::byte, kPageBytes> bytes;
};
// Never changed while more than one owner has it.
using PagePtr = std::shared_ptr<Page>;

PagePtr new_page(ByteView bytes);  // at most kPageBytes, zeros behind them

class Image {
 public:
  std::uint64_t size() const { return size_; }
  std::uint64_t allocated_pages() const { return allocated_pages_; }

  // The page's bytes: `number` counts pages from 0. Null in a hole and past the end.
  PagePtr page(std::uint64_t number) const;
  void set_page(std::uint64_t number, PagePtr page);  // null makes a hole; the size stays

  // Reads what lies within the size; returns how many bytes that are.
  std::uint64_t read(std::uint64_t position, MutableBytes into) const;
  // Grows the size where needed.
  void write(std::uint64_t position, ByteView bytes);
  // The same without touching the size; what lies past it stays unseen until the size grows.
  void write_inside(std::uint64_t position, ByteView bytes);

  // Fills the holes of [0, bytes) and grows the size to at least that.
  void allocate(std::uint64_t bytes);
  // Pages that allocate(bytes) would add.
  std::uint64_t holes_before(std::uint64_t bytes) const;
  // Grows with a hole, or cuts: what is cut off reads as zeros if the size grows again.
  void resize(std::uint64_t bytes);

 private:
  static constexpr std::uint64_t kChunkPages = 64;
  struct Chunk {
    std::array<PagePtr, kChunkPages> pages;
    std::uint64_t allocated = 0;
  };
  static const std::shared_ptr<Chunk>& zero_chunk();

  Chunk& own_chunk(std::uint64_t number);
  Page& own_page(std::uint64_t number);

  std::uint64_t size_ = 0;
  std::uint64_t allocated_pages_ = 0;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace walraft::sim
