#include "tests/sim/file_state.h"

#include <algorithm>
#include <cstring>

#include "wal/base/check.h"

namespace walraft::sim {
namespace {

std::uint64_t end_page(std::uint64_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes; }

std::uint8_t sectors_of(std::uint64_t page, std::uint64_t position, std::uint64_t end) {
  std::uint8_t mask = 0;
  for (std::uint64_t sector = 0; sector < kPageSectors; ++sector) {
    const std::uint64_t start = page * kPageBytes + sector * kSectorBytes;
    if (start < end && start + kSectorBytes > position) mask |= static_cast<std::uint8_t>(1u << sector);
  }
  return mask;
}

}  // namespace

void FileState::remember_pages(std::uint64_t sequence, std::uint64_t position, std::uint64_t bytes) {
  for (std::uint64_t page = position / kPageBytes; page < end_page(position + bytes); ++page) {
    std::vector<PageVersion>& versions = pages_[page];
    versions.push_back({sequence, sectors_of(page, position, position + bytes), seen_.page(page)});
    if (versions.size() > kVersionsMax) {  // a version holds what the older ones wrote, so merging loses only choices
      versions[1].sectors |= versions[0].sectors;
      versions.erase(versions.begin());
    }
  }
}

void FileState::write(std::uint64_t sequence, std::uint64_t position, ByteView bytes) {
  if (bytes.empty()) return;
  if (position + bytes.size() > seen_.size()) {
    sizes_.push_back({SizeChange::Kind::grow, sequence, position + bytes.size()});
  }
  seen_.write(position, bytes);
  remember_pages(sequence, position, bytes.size());
}

void FileState::allocate(std::uint64_t sequence, std::uint64_t bytes) {
  seen_.allocate(bytes);
  sizes_.push_back({SizeChange::Kind::allocate, sequence, bytes});
}

void FileState::resize(std::uint64_t sequence, std::uint64_t bytes) {
  if (bytes == seen_.size()) return;
  const bool cut = bytes < seen_.size();
  seen_.resize(bytes);
  sizes_.push_back({cut ? SizeChange::Kind::cut : SizeChange::Kind::grow, sequence, bytes});
  if (!cut) return;
  pages_.erase(pages_.lower_bound(end_page(bytes)), pages_.end());
  if (const auto boundary = pages_.find(bytes / kPageBytes); boundary != pages_.end()) {
    // The unsynced part before the cut stays unsynced; what lay behind the cut is zeros now.
    std::uint8_t mask = 0;
    for (const PageVersion& version : boundary->second) mask |= version.sectors;
    mask &= sectors_of(bytes / kPageBytes, align_down(bytes, kPageBytes), bytes);
    if (mask == 0) {
      pages_.erase(boundary);
    } else {
      boundary->second.push_back({sequence, mask, seen_.page(bytes / kPageBytes)});
    }
  }
}

void FileState::apply_sizes(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const SizeChange& change = sizes_[i];
    switch (change.kind) {
      case SizeChange::Kind::grow:
        if (change.bytes > medium_.size()) medium_.resize(change.bytes);
        break;
      case SizeChange::Kind::cut:
        if (change.bytes < medium_.size()) medium_.resize(change.bytes);
        break;
      case SizeChange::Kind::allocate: medium_.allocate(change.bytes); break;
    }
  }
}

void FileState::sync() {
  apply_sizes(sizes_.size());
  sizes_.clear();
  for (const auto& [number, versions] : pages_) {
    std::uint8_t mask = 0;
    for (const PageVersion& version : versions) mask |= version.sectors;
    const PagePtr& newest = versions.back().page;
    if (mask == 0xff || !diverged_) {
      medium_.set_page(number, newest);
    } else {
      for (std::uint64_t sector = 0; sector < kPageSectors; ++sector) {
        if ((mask >> sector & 1) == 0) continue;
        medium_.write_inside(number * kPageBytes + sector * kSectorBytes,
                             ByteView(newest->bytes).subspan(sector * kSectorBytes, kSectorBytes));
      }
    }
    heal(number * kPageBytes, kPageBytes);
  }
  pages_.clear();
}

void FileState::complete(const InFlightWrite& write) {
  const bool needs_size = write.end() > medium_.size() ||
                          std::ranges::any_of(sizes_, [&](const SizeChange& change) {
                            return change.kind == SizeChange::Kind::cut && change.bytes < write.end();
                          });
  if (needs_size) {
    apply_sizes(sizes_.size());
    sizes_.clear();
  }
  std::uint64_t number = write.position / kPageBytes;
  for (const PagePtr& page : write.pages) {
    seen_.set_page(number, page);
    medium_.set_page(number, page);
    if (!pages_.empty()) pages_.erase(number);
    ++number;
  }
  heal(write.position, write.end() - write.position);
}

void FileState::complete_in_cache(const InFlightWrite& write) {
  std::uint64_t position = write.position;
  for (const PagePtr& page : write.pages) {
    this->write(write.sequence, position, page->bytes);
    position += kPageBytes;
  }
}

void FileState::complete_torn(const InFlightWrite& write, Fate& fate) {
  std::uint64_t position = write.position;
  for (const PagePtr& page : write.pages) {
    for (std::uint64_t sector = 0; sector < kPageSectors; ++sector, position += kSectorBytes) {
      if (!fate.keeps_sector(write.sequence) || position >= medium_.size()) continue;
      medium_.write_inside(position, ByteView(page->bytes).subspan(sector * kSectorBytes, kSectorBytes));
    }
  }
  diverged_ = true;
}

void FileState::forget_unsynced() {
  // Names and sizes live in the journal and arrive; the bytes do not.
  apply_sizes(sizes_.size());
  sizes_.clear();
  pages_.clear();
  diverged_ = true;
}

void FileState::drop_cache() {
  if (!diverged_) return;
  const Image before = seen_;
  seen_ = medium_;
  for (const SizeChange& change : sizes_) {
    if (change.kind == SizeChange::Kind::allocate) seen_.allocate(change.bytes);
    if (change.kind == SizeChange::Kind::cut) seen_.resize(std::min(change.bytes, seen_.size()));
  }
  seen_.resize(before.size());
  for (const auto& [number, versions] : pages_) seen_.set_page(number, versions.back().page);
  diverged_ = !pages_.empty();
}

void FileState::write_lost(std::uint64_t position, ByteView bytes) {
  if (position + bytes.size() > seen_.size()) {
    sizes_.push_back({SizeChange::Kind::grow, 0, position + bytes.size()});
  }
  seen_.write(position, bytes);
  diverged_ = true;
}

void FileState::flip_bit(std::uint64_t position, unsigned bit) {
  for (Image* image : {&medium_, &seen_}) {
    std::byte byte{};
    if (image->read(position, MutableBytes(&byte, 1)) != 1) continue;
    byte ^= std::byte{1} << bit;
    image->write_inside(position, ByteView(&byte, 1));
  }
}

void FileState::write_on_medium(std::uint64_t position, ByteView bytes) {
  if (position >= medium_.size()) return;
  medium_.write_inside(position, bytes.first(std::min<std::uint64_t>(bytes.size(), medium_.size() - position)));
  diverged_ = true;
}

void FileState::replace(const Image& image) {
  *this = FileState();
  seen_ = medium_ = image;
}

void FileState::mark_unreadable(std::uint64_t position, std::uint64_t bytes) {
  for (std::uint64_t sector = position / kSectorBytes; sector * kSectorBytes < position + bytes; ++sector) {
    unreadable_sectors_.insert(sector);
  }
}

bool FileState::readable(std::uint64_t position, std::uint64_t bytes) const {
  if (unreadable_sectors_.empty()) return true;
  const auto first = unreadable_sectors_.lower_bound(position / kSectorBytes);
  return first == unreadable_sectors_.end() || *first * kSectorBytes >= position + bytes;
}

void FileState::heal(std::uint64_t position, std::uint64_t bytes) {
  if (unreadable_sectors_.empty()) return;
  unreadable_sectors_.erase(unreadable_sectors_.lower_bound(position / kSectorBytes),
                            unreadable_sectors_.lower_bound((position + bytes) / kSectorBytes));
}

}  // namespace walraft::sim
