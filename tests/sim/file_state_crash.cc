// The power cut, and the ghost disk that knows what it would leave: the part of FileState that the
// whole simulator rests on.

#include <algorithm>
#include <cstring>

#include "tests/sim/file_state.h"
#include "wal/base/check.h"

namespace walraft::sim {

void FileState::add_unsynced(std::uint64_t& oldest, std::uint64_t& newest) const {
  const auto widen = [&](std::uint64_t sequence) {
    oldest = std::min(oldest, sequence);
    newest = std::max(newest, sequence);
  };
  for (const SizeChange& change : sizes_) widen(change.sequence);
  for (const auto& [number, versions] : pages_) {
    for (const PageVersion& version : versions) widen(version.sequence);
  }
}

// Bytes written before a cut that survived, behind it, are gone; and bytes written after a cut that
// did not survive lie in blocks that the file never got.
bool FileState::eligible(const PageVersion& version, std::uint64_t sector_start, std::size_t kept_sizes) const {
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    const SizeChange& change = sizes_[i];
    if (change.kind != SizeChange::Kind::cut || change.bytes >= sector_start + kSectorBytes) continue;
    if (i < kept_sizes ? change.sequence > version.sequence : change.sequence < version.sequence) return false;
  }
  return true;
}

void FileState::crash(Fate& fate, std::span<const InFlightWrite* const> in_flight) {
  // Sizes and allocation go through the filesystem's journal: what survives of them is a prefix.
  std::size_t kept_sizes = 0;
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (fate.keeps_change(sizes_[i].sequence)) kept_sizes = i + 1;
  }
  apply_sizes(kept_sizes);
  const auto write_sector = [&](std::uint64_t position, const Page& page, std::uint64_t sector) {
    if (position >= medium_.size()) return;
    const std::uint64_t length = std::min(kSectorBytes, medium_.size() - position);
    medium_.write_inside(position, ByteView(page.bytes).subspan(sector * kSectorBytes, length));
  };
  for (const auto& [number, versions] : pages_) {
    for (std::uint64_t sector = 0; sector < kPageSectors; ++sector) {
      const std::uint64_t position = number * kPageBytes + sector * kSectorBytes;
      for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
        if ((version->sectors >> sector & 1) == 0 || !eligible(*version, position, kept_sizes)) continue;
        if (!fate.keeps_sector(version->sequence)) continue;
        write_sector(position, *version->page, sector);
        break;
      }
    }
  }
  for (const InFlightWrite* write : in_flight) {
    std::uint64_t position = write->position;
    for (const PagePtr& page : write->pages) {
      for (std::uint64_t sector = 0; sector < kPageSectors; ++sector, position += kSectorBytes) {
        if (fate.keeps_sector(write->sequence)) write_sector(position, *page, sector);
      }
    }
  }
  sizes_.clear();
  pages_.clear();
  seen_ = medium_;
  diverged_ = false;
}

bool FileState::survives(std::uint64_t position, ByteView bytes,
                         std::span<const InFlightWrite* const> in_flight) const {
  const std::uint64_t end = position + bytes.size();
  if (end > medium_.size() || !readable(position, bytes.size())) return false;
  const auto same = [&](const Page& page, std::uint64_t page_number, std::uint8_t sectors) {
    for (std::uint64_t sector = 0; sector < kPageSectors; ++sector) {
      if ((sectors >> sector & 1) == 0) continue;
      const std::uint64_t start = page_number * kPageBytes + sector * kSectorBytes;
      const std::uint64_t from = std::max(start, position);
      const std::uint64_t to = std::min(start + kSectorBytes, end);
      if (from >= to) continue;
      if (std::memcmp(page.bytes.data() + from % kPageBytes, bytes.data() + (from - position), to - from) != 0) {
        return false;
      }
    }
    return true;
  };
  static const Page zeros{};
  for (std::uint64_t number = position / kPageBytes; number * kPageBytes < end; ++number) {
    const PagePtr page = medium_.page(number);
    if (!same(page ? *page : zeros, number, 0xff)) return false;
    const auto unsynced = pages_.find(number);
    if (unsynced == pages_.end()) continue;
    for (const PageVersion& version : unsynced->second) {
      if (!same(*version.page, number, version.sectors)) return false;
    }
  }
  for (const SizeChange& change : sizes_) {
    if (change.kind == SizeChange::Kind::cut && change.bytes < end) return false;
  }
  for (const InFlightWrite* write : in_flight) {
    std::uint64_t number = write->position / kPageBytes;
    for (const PagePtr& page : write->pages) {
      if (!same(*page, number, 0xff)) return false;
      ++number;
    }
  }
  return true;
}

}  // namespace walraft::sim
