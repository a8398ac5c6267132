#pragma once

// Which real disk to use (disk.h). wal/DISK_FIGURES.md has the figures behind the default.

#include <cstdint>
#include <memory>

#include "wal/base/clock.h"
#include "wal/disk.h"

namespace walraft::wal {

enum class DiskMethod : std::uint8_t {
  automatic,  // io_uring where it works, else thread; Disk::method() tells which
  uring,
  thread,
};

// Null only for `uring` where there is no io_uring. `clock` outlives the disk and can be read from
// any thread. Made and used by one thread: the shard's, once made.
std::unique_ptr<Disk> make_disk(DiskMethod method, Clock& clock);

}  // namespace walraft::wal
