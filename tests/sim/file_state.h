#pragma once

// One file's contents in the simulator: what the process sees, what the medium has, and the changes
// in between. sim_filesystem.h says what survives; this carries it out.

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "tests/sim/crash_choice.h"
#include "tests/sim/image.h"
#include "wal/base/bytes.h"

namespace walraft::sim {

// A disk write (wal/disk.h) between issue and completion. Whole pages.
struct InFlightWrite {
  std::uint64_t sequence = 0;
  std::uint64_t file = 0;
  std::uint64_t position = 0;
  std::vector<PagePtr> pages;

  std::uint64_t end() const { return position + pages.size() * kPageBytes; }
};

class FileState {
 public:
  const Image& seen() const { return seen_; }
  const Image& medium() const { return medium_; }

  // Buffered changes: seen at once, durable with sync().
  void write(std::uint64_t sequence, std::uint64_t position, ByteView bytes);
  void allocate(std::uint64_t sequence, std::uint64_t bytes);
  void resize(std::uint64_t sequence, std::uint64_t bytes);
  void sync();

  // A durable write: seen and on the medium, and the size as well if it is needed to read it.
  void complete(const InFlightWrite& write);
  // A volatile cache took it: seen, and on the medium after sync().
  void complete_in_cache(const InFlightWrite& write);
  // Some sectors of a write that failed: on the medium, or lost, as `fate` says.
  void complete_torn(const InFlightWrite& write, Fate& fate);

  // The kernel dropped the unsynced bytes and calls the pages clean: still seen, never written.
  void forget_unsynced();
  // What is seen becomes what is on the medium, but for unsynced pages.
  void drop_cache();
  // The bytes are seen and a later sync() leaves them out.
  void write_lost(std::uint64_t position, ByteView bytes);

  // Damage done behind the process's back: to both.
  void flip_bit(std::uint64_t position, unsigned bit);
  void write_on_medium(std::uint64_t position, ByteView bytes);  // not seen before drop_cache()
  void replace(const Image& image);  // nothing is unsynced afterwards
  void mark_unreadable(std::uint64_t position, std::uint64_t bytes);
  bool readable(std::uint64_t position, std::uint64_t bytes) const;

  // The power cut. Afterwards what is seen is what is on the medium.
  void crash(Fate& fate, std::span<const InFlightWrite* const> in_flight);
  // The process alone ended: its writes in flight reached the medium.
  bool clean() const { return pages_.empty() && sizes_.empty() && !diverged_; }
  // Widens [oldest, newest] to the sequences of everything unsynced.
  void add_unsynced(std::uint64_t& oldest, std::uint64_t& newest) const;

  // Whether every power cut at this instant leaves these bytes here.
  bool survives(std::uint64_t position, ByteView bytes, std::span<const InFlightWrite* const> in_flight) const;

 private:
  // The page as a write left it; `sectors` are those that it, or versions merged into it, wrote.
  struct PageVersion {
    std::uint64_t sequence = 0;
    std::uint8_t sectors = 0;
    PagePtr page;
  };
  struct SizeChange {
    enum class Kind : std::uint8_t { grow, cut, allocate };
    Kind kind = Kind::grow;
    std::uint64_t sequence = 0;
    std::uint64_t bytes = 0;
  };
  static constexpr std::size_t kVersionsMax = 6;  // of a page; more are merged into the next newer one

  void remember_pages(std::uint64_t sequence, std::uint64_t position, std::uint64_t bytes);
  void apply_sizes(std::size_t count);  // the first `count`, to the medium
  bool eligible(const PageVersion& version, std::uint64_t sector_start, std::size_t kept_sizes) const;
  void heal(std::uint64_t position, std::uint64_t bytes);

  Image seen_;
  Image medium_;
  std::map<std::uint64_t, std::vector<PageVersion>> pages_;  // unsynced, oldest version first
  std::vector<SizeChange> sizes_;                            // unsynced, oldest first
  std::set<std::uint64_t> unreadable_sectors_;
  bool diverged_ = false;  // what is seen and clean may differ from the medium
};

}  // namespace walraft::sim
