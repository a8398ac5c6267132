#include "tests/sim/image.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "wal/base/check.h"

namespace walraft::sim {
namespace {

const PagePtr& zero_page() {
  static const PagePtr page = std::make_shared<Page>();
  return page;
}

std::uint64_t pages_for(std::uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes; }

}  // namespace

PagePtr new_page(ByteView bytes) {
  CHECK(bytes.size() <= kPageBytes, bytes.size());
  PagePtr page = std::make_shared_for_overwrite<Page>();
  std::memcpy(page->bytes.data(), bytes.data(), bytes.size());
  std::memset(page->bytes.data() + bytes.size(), 0, kPageBytes - bytes.size());
  return page;
}

const std::shared_ptr<Image::Chunk>& Image::zero_chunk() {
  static const std::shared_ptr<Chunk> chunk = [] {
    auto made = std::make_shared<Chunk>();
    made->pages.fill(zero_page());
    made->allocated = kChunkPages;
    return made;
  }();
  return chunk;
}

PagePtr Image::page(std::uint64_t number) const {
  const std::uint64_t at = number / kChunkPages;
  if (at >= chunks_.size() || !chunks_[at]) return nullptr;
  return chunks_[at]->pages[number % kChunkPages];
}

Image::Chunk& Image::own_chunk(std::uint64_t number) {
  if (number >= chunks_.size()) chunks_.resize(number + 1);
  std::shared_ptr<Chunk>& chunk = chunks_[number];
  if (!chunk) {
    chunk = std::make_shared<Chunk>();
  } else if (chunk.use_count() > 1) {
    chunk = std::make_shared<Chunk>(*chunk);
  }
  return *chunk;
}

void Image::set_page(std::uint64_t number, PagePtr page) {
  const std::uint64_t at = number / kChunkPages;
  if (!page && (at >= chunks_.size() || !chunks_[at])) return;
  Chunk& chunk = own_chunk(at);
  PagePtr& slot = chunk.pages[number % kChunkPages];
  if (page && !slot) {
    ++chunk.allocated;
    ++allocated_pages_;
  } else if (!page && slot) {
    --chunk.allocated;
    --allocated_pages_;
  }
  slot = std::move(page);
}

Page& Image::own_page(std::uint64_t number) {
  Chunk& chunk = own_chunk(number / kChunkPages);
  PagePtr& slot = chunk.pages[number % kChunkPages];
  if (!slot) {
    slot = std::make_shared<Page>();
    ++chunk.allocated;
    ++allocated_pages_;
  } else if (slot.use_count() > 1) {
    slot = std::make_shared<Page>(*slot);
  }
  return *slot;
}

std::uint64_t Image::read(std::uint64_t position, MutableBytes into) const {
  if (position >= size_) return 0;
  const std::uint64_t length = std::min<std::uint64_t>(into.size(), size_ - position);
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t number = (position + done) / kPageBytes;
    const std::uint64_t inside = (position + done) % kPageBytes;
    const std::uint64_t part = std::min(length - done, kPageBytes - inside);
    const std::uint64_t at = number / kChunkPages;
    const Page* page = at < chunks_.size() && chunks_[at] ? chunks_[at]->pages[number % kChunkPages].get() : nullptr;
    if (page) {
      std::memcpy(into.data() + done, page->bytes.data() + inside, part);
    } else {
      std::memset(into.data() + done, 0, part);
    }
    done += part;
  }
  return length;
}

void Image::write(std::uint64_t position, ByteView bytes) {
  write_inside(position, bytes);
  size_ = std::max(size_, position + bytes.size());
}

void Image::write_inside(std::uint64_t position, ByteView bytes) {
  for (std::uint64_t done = 0; done < bytes.size();) {
    const std::uint64_t number = (position + done) / kPageBytes;
    const std::uint64_t inside = (position + done) % kPageBytes;
    const std::uint64_t part = std::min<std::uint64_t>(bytes.size() - done, kPageBytes - inside);
    if (part == kPageBytes) {
      set_page(number, new_page(bytes.subspan(done, part)));
    } else {
      std::memcpy(own_page(number).bytes.data() + inside, bytes.data() + done, part);
    }
    done += part;
  }
}

std::uint64_t Image::holes_before(std::uint64_t bytes) const {
  const std::uint64_t pages = pages_for(bytes);
  std::uint64_t holes = 0;
  for (std::uint64_t first = 0; first < pages; first += kChunkPages) {
    const std::uint64_t count = std::min(kChunkPages, pages - first);
    const std::uint64_t at = first / kChunkPages;
    if (at >= chunks_.size() || !chunks_[at]) {
      holes += count;
    } else if (chunks_[at]->allocated < kChunkPages) {
      const auto& slots = chunks_[at]->pages;
      holes += static_cast<std::uint64_t>(std::count(slots.begin(), slots.begin() + static_cast<std::ptrdiff_t>(count), nullptr));
    }
  }
  return holes;
}

void Image::allocate(std::uint64_t bytes) {
  const std::uint64_t pages = pages_for(bytes);
  if (pages > 0 && (pages - 1) / kChunkPages >= chunks_.size()) chunks_.resize((pages - 1) / kChunkPages + 1);
  for (std::uint64_t first = 0; first < pages; first += kChunkPages) {
    const std::uint64_t count = std::min(kChunkPages, pages - first);
    std::shared_ptr<Chunk>& chunk = chunks_[first / kChunkPages];
    if (chunk && chunk->allocated == kChunkPages) continue;
    if (count == kChunkPages && (!chunk || chunk->allocated == 0)) {
      chunk = zero_chunk();
      allocated_pages_ += kChunkPages;
      continue;
    }
    for (std::uint64_t number = first; number < first + count; ++number) {
      if (!page(number)) set_page(number, zero_page());
    }
  }
  size_ = std::max(size_, bytes);
}

void Image::resize(std::uint64_t bytes) {
  if (bytes < size_) {
    const std::uint64_t keep = pages_for(bytes);
    for (std::uint64_t at = keep / kChunkPages; at < chunks_.size(); ++at) {
      if (!chunks_[at]) continue;
      if (at * kChunkPages >= keep) {
        allocated_pages_ -= chunks_[at]->allocated;
        chunks_[at].reset();
        continue;
      }
      for (std::uint64_t number = keep; number < (at + 1) * kChunkPages; ++number) set_page(number, nullptr);
    }
    if (bytes % kPageBytes != 0 && page(bytes / kPageBytes)) {
      std::byte* tail = own_page(bytes / kPageBytes).bytes.data();
      std::memset(tail + bytes % kPageBytes, 0, kPageBytes - bytes % kPageBytes);
    }
  }
  size_ = bytes;
}

}  // namespace walraft::sim
