#include "wal/posix_disk.h"

#include "wal/thread_disk.h"
#include "wal/uring_disk.h"

namespace walraft::wal {

std::unique_ptr<Disk> make_disk(DiskMethod method, Clock& clock) {
  if (method != DiskMethod::thread) {
    std::unique_ptr<Disk> disk = UringDisk::make(clock);
    if (disk != nullptr || method == DiskMethod::uring) return disk;
  }
  return std::make_unique<ThreadDisk>(clock);
}

}  // namespace walraft::wal
