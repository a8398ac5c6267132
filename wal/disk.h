#pragma once

// The disk actor of a shard: takes writes, makes them durable, and says so. Logs group their appends
// into one write each (log.h); the disk carries the writes of many logs at once.
//
// Fail-stop: a write or sync that fails is never tried again, since the kernel may have dropped the
// pages and a second sync would lie (fault:S5, S6). After the first failure no completion is
// delivered any more, the failure handler is called once, and the process ends (exit 5).
//
// While a write is in flight nobody calls File::sync() on its file: of two syncs of one open file
// that run together, either may be given the error of the other, once.
//
// Thread: shard, for everything but `work` of background().

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "wal/base/bytes.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"

namespace walraft::wal {

// One write. Owned by whoever issues it; neither it nor its bytes move or change from Disk::write()
// until on_durable() runs. It may be issued again from within on_durable().
class DurableWrite {
 public:
  virtual ~DurableWrite() = default;

  // The bytes survive a power cut, and so does everything that was written to the file's range
  // before. Thread: shard, from Disk::poll().
  virtual void on_durable() = 0;

  File* file = nullptr;
  std::uint64_t position = 0;  // multiple of kBlockBytes, inside the file's size
  ByteView bytes;              // aligned to kBlockBytes in memory and length
};

struct DiskStats {
  std::uint64_t writes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t sync_us_total = 0;  // from write() to completion, over all writes
  std::uint64_t sync_us_max = 0;    // since the start
  std::uint64_t sync_us_last = 0;
};

class Disk {
 public:
  using Work = std::function<Result<void>()>;
  using Done = std::function<void(Result<void>)>;
  using FailureHandler = std::function<void(const Error&)>;

  virtual ~Disk() = default;  // waits for writes in flight; delivers nothing more

  // Queues a write. Writes to different blocks may complete in any order; the issuer never has two
  // in flight on one block.
  virtual void write(DurableWrite& write) = 0;

  // Hands what is queued to the kernel: once per turn of the loop.
  virtual void submit() = 0;

  // Delivers completions (on_durable, background's `done`), then submits what they queued. Never
  // blocks. Returns how many it delivered.
  virtual std::size_t poll() = 0;

  // Blocks until poll() may have something to deliver, or `timeout_us` is over. For programs
  // without a loop of their own.
  virtual void wait(std::uint64_t timeout_us) = 0;

  // Readable when poll() has something to deliver; -1 in the simulator.
  virtual int event_descriptor() const = 0;

  // Runs `work` on the disk's background thread, not before `delay_us`, in order of due time; then
  // `done` with its result, from poll(). For blocking jobs off the hot path: preparing, sealing and
  // removing segments. Work touches only what it was given. A failed job is the caller's to judge;
  // call fail() where it means a lying disk.
  virtual void background(std::uint64_t delay_us, Work work, Done done) = 0;

  // The same for bulk writes that may wait: one at a time over all who ask, behind what is due, and
  // after each a rest of nine times as long as it took, so that they get a tenth of the disk's time.
  virtual void background_slowly(Work work, Done done) = 0;

  // The disk can no longer be trusted. First call wins.
  virtual void fail(const Error& error) = 0;
  virtual bool failed() const = 0;
  // Called once, with the first failure: from poll(), submit() or fail(), or from here if it failed
  // before. After it, writes and jobs are taken and forgotten.
  virtual void on_failure(FailureHandler handler) = 0;

  // Age of the oldest unfinished write; 0 if there is none (proto:H1).
  virtual std::uint64_t oldest_write_age_us() const = 0;
  virtual const DiskStats& stats() const = 0;

  // "io_uring", "thread", "simulated": for status and logs.
  virtual std::string_view method() const = 0;
};

}  // namespace walraft::wal
