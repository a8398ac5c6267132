#pragma once

// Segments ahead of need. An append must not wait for a file to be made, a directory to be synced or
// blocks to be found: all that happens here, on the disk's background thread.
//
// A prepared segment is a file of its final size and name, both durable, with a zero header. Where it
// is not a recycled one, its blocks are then written with zeros, in pieces (Disk::background_slowly): a
// synced write into written blocks costs half of one into merely allocated ones (wal/DISK_FIGURES.md).
//
// Thread: shard, but for adopt() and prepare_first(), which block.

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "wal/base/clock.h"
#include "wal/base/result.h"
#include "wal/disk.h"
#include "wal/filesystem.h"

namespace walraft::wal {

// Whether a prepared segment is being filled with zeros, or belongs to a log and must not be.
enum class PoolUse : std::uint8_t { none, writing, taken };

struct PreparedSegment {
  std::uint64_t number = 0;
  std::uint64_t segment_bytes = 0;
  std::shared_ptr<File> file;
  std::uint64_t written_bytes = 0;  // zeros written so far, from the start
  std::shared_ptr<std::atomic<PoolUse>> use = std::make_shared<std::atomic<PoolUse>>(PoolUse::none);
};

class SegmentPool {
 public:
  struct Options {
    Access access = Access::direct;
    std::uint64_t segment_bytes = 0;       // of a grown log
    std::uint64_t next_segment_bytes = 0;  // the next one to be made; fourfold from one to the next
    std::uint64_t next_number = 1;
  };

  SegmentPool(std::shared_ptr<Directory> directory, Disk& disk, Clock& clock, const Options& options);
  ~SegmentPool();
  SegmentPool(const SegmentPool&) = delete;
  SegmentPool& operator=(const SegmentPool&) = delete;

  // Files that recovery found unused: those above `last_used` become prepared segments again, the
  // others are removed. Blocks.
  Result<void> adopt(const std::vector<std::uint64_t>& unused, std::uint64_t last_used);
  // A segment for a log that has none. Blocks.
  Result<void> prepare_first();

  // The first one that is ready and at least this large. Null if there is none: then one is being made,
  // a piece of zeros is on its way into it, or the disk is full (out_of_space()).
  const PreparedSegment* front(std::uint64_t segment_bytes_min);
  // What front() just returned for the same size. Smaller ones before it are removed: numbers only grow.
  PreparedSegment take(std::uint64_t segment_bytes_min);
  std::size_t ready() const { return ready_.size(); }
  // How many would be left after take().
  std::size_t ready_behind(std::uint64_t segment_bytes_min) const;
  // Makes one more than are there, however many are wanted.
  void make_another();

  // Segments that the log no longer needs, oldest first: recycled if nobody reads them and the pool
  // has use for them, else removed. `done` when that is durable.
  struct Retired {
    std::uint64_t number = 0;
    std::uint64_t segment_bytes = 0;
    bool being_read = false;
  };
  void retire(std::vector<Retired> segments, std::function<void()> done);

  // Removes files, in this order, each durably before the next.
  void remove_in_order(std::vector<std::uint64_t> numbers, std::function<void()> done);

  // Makes what is missing; tries again after no_space.
  void tick();

  bool out_of_space() const { return out_of_space_; }
  std::uint64_t disk_bytes() const;

 private:
  struct RetireJob {
    std::vector<Retired> segments;
    std::vector<std::uint64_t> numbers;  // new number of each that is recycled, 0 for the others
    std::size_t next = 0;                // those before are done
    std::vector<PreparedSegment> recycled;
    std::function<void()> done;
  };
  void start_retiring(const std::shared_ptr<RetireJob>& job, std::uint64_t delay_us);
  std::deque<PreparedSegment>::const_iterator first_of(std::uint64_t segment_bytes_min) const;
  void start_making(std::uint64_t bytes_min);
  void start_writing();
  void add_ready(PreparedSegment segment);
  void judge(const Error& error);
  void background(std::uint64_t delay_us, Disk::Work work, Disk::Done done);
  std::size_t wanted() const;

  std::shared_ptr<Directory> directory_;  // after open() used by background work only, one job at a time
  Disk& disk_;
  Clock& clock_;
  Access access_;
  std::uint64_t segment_bytes_;
  std::uint64_t next_segment_bytes_;
  std::uint64_t next_number_;
  std::deque<PreparedSegment> ready_;  // by number
  std::uint64_t last_taken_ = 0;       // numbers only grow along a log
  bool making_ = false;
  bool writing_ = false;               // a piece is queued or being written
  bool out_of_space_ = false;
  std::uint64_t retry_at_us_ = 0;
  std::uint64_t wanted_bytes_min_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // jobs may end after the pool
};

}  // namespace walraft::wal
