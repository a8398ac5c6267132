#pragma once

// What every real disk keeps about its writes: which are unfinished, since when, how far they got,
// what waits to be handed to the kernel, the figures of the finished ones, and whether the disk has
// failed. Thread: shard.
//
// Of a buffered file one write is handed out at a time. Linux reports a failed writeback once per
// open file, to whichever sync comes first: of two that run together, one would get the error of
// the other, and that other would be told that its bytes are safe. Direct writes each get their own
// error, so any number of them may run.

#include <cstdint>
#include <limits>
#include <optional>
#include <unordered_map>
#include <vector>

#include "wal/base/clock.h"
#include "wal/disk.h"

namespace walraft::wal {

class WriteLedger {
 public:
  using Slot = std::uint32_t;  // names an unfinished write; used again after finish()

  explicit WriteLedger(Clock& clock) : clock_(clock) {}

  // Takes a write and puts it behind all that are queued. Memory is allocated only when there are
  // more unfinished writes than ever before.
  void add(DurableWrite& write);

  // The next write to hand to the kernel, in the order of add() but for buffered files, whose next
  // comes once the one before is finished; nullopt if there is none.
  std::optional<Slot> take_queued();
  bool has_queued() const { return queue_head_ != kNone; }

  // What of a write is still to be written.
  int descriptor(Slot slot) const { return entries_[slot].descriptor; }
  std::uint64_t position(Slot slot) const;
  ByteView bytes(Slot slot) const;

  // `written` bytes more are done; true if that was all. If not, the rest is to be written: requeue().
  [[nodiscard]] bool advance(Slot slot, std::size_t written);
  // Puts a write that was taken in front of the queue again.
  void requeue(Slot slot);

  // The write is durable: counts it and forgets it. The caller runs on_durable(), and may have the
  // same object added again from there.
  DurableWrite& finish(Slot slot);

  // What went wrong with a write, in words: `error_number` of the system call that tried it.
  Error error_of(Slot slot, int error_number) const;

  std::uint64_t oldest_age_us() const;
  const DiskStats& stats() const { return stats_; }

  // The first failure wins and calls the handler, at once or as soon as there is one.
  void fail(const Error& error);
  bool failed() const { return failure_.has_value(); }
  void on_failure(Disk::FailureHandler handler);

 private:
  void enqueue(Slot slot);
  void tell();

  static constexpr Slot kNone = std::numeric_limits<Slot>::max();

  struct Entry {
    DurableWrite* write = nullptr;
    std::uint64_t started_us = 0;
    std::size_t written_bytes = 0;
    int descriptor = -1;
    bool buffered = false;
    Slot older = kNone;   // by age: unfinished writes, oldest first
    Slot newer = kNone;
    Slot next = kNone;    // in the queue, or among the free
    Slot behind = kNone;  // the write of the same buffered file that waits for this one
  };

  Clock& clock_;
  std::vector<Entry> entries_;
  Slot free_ = kNone;
  Slot oldest_ = kNone;
  Slot newest_ = kNone;
  Slot queue_head_ = kNone;
  Slot queue_tail_ = kNone;
  std::unordered_map<int, Slot> newest_of_buffered_;  // by descriptor, while it has unfinished writes
  DiskStats stats_;
  std::optional<Error> failure_;
  Disk::FailureHandler failure_handler_;
  bool failure_told_ = false;
};

}  // namespace walraft::wal
