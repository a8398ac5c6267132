#pragma once

// The file of a segment, with its header; shared by the log and by the views that read it.
//
// The segment that is written is open. The others are opened when they are read, and the last few that were stay open
// (OpenFiles): a log has more segments than a process has descriptors, and a reader that rests keeps no file from being
// removed.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "wal/base/result.h"
#include "wal/filesystem.h"
#include "wal/segment_format.h"

namespace walraft::wal {

// The files that were opened for reading last, of all logs. Thread: any.
class OpenFiles {
 public:
  explicit OpenFiles(std::size_t files_max = 32) : files_max_(files_max) {}

  // Keeps it open until files_max others were opened after it.
  void keep(std::shared_ptr<File> file);
  void forget(const File* file);
  std::size_t size() const;

 private:
  const std::size_t files_max_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<File>> files_;  // newest last
};

// Thread: any, but what says otherwise.
class SegmentFile {
 public:
  // `access` is how it is opened until seal(). `pinned` is the open file of a segment that is written.
  SegmentFile(const SegmentHeader& its_header, std::shared_ptr<Directory> directory, Access access,
              std::shared_ptr<OpenFiles> open_files, std::shared_ptr<File> pinned = nullptr);

  const SegmentHeader header;

  // For reading: open as long as the caller keeps it. `not_found` if the segment was removed: a view that still names
  // it is older than a trim or a truncation. `over_limit` for want of descriptors. Blocks.
  Result<std::shared_ptr<File>> open();

  // Opens it for writing, and keeps it open until seal(). Blocks; before others know this object.
  Result<void> pin();
  // What pin() or the constructor keeps open. Thread: shard; not after seal().
  File& pinned() const { return *pinned_; }
  // Nobody writes it any more: from here on it is read through the page cache. Blocks; the disk's background thread.
  void seal();

  // The log does not need it any more: who has not opened it cannot any more. True if somebody has, and may be reading.
  // Waits for nobody. Thread: shard.
  bool retire();

 private:
  const std::shared_ptr<Directory> directory_;
  const std::shared_ptr<OpenFiles> open_files_;
  std::atomic<bool> retired_ = false;
  std::mutex mutex_;  // of what follows; held while a file is opened
  Access access_;
  std::shared_ptr<File> pinned_;
  std::weak_ptr<File> was_pinned_;  // readers may have it for a while after seal()
  std::weak_ptr<File> opened_;  // kept by readers and by open_files_
};

}  // namespace walraft::wal
