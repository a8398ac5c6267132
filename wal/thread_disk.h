#pragma once

// The disk without io_uring: threads that each take one write, make it with RWF_DSYNC, and come back
// for the next. There are as many as there are writes at once, up to kThreadsMax: that many reach
// what io_uring reaches over many logs, and one thread a tenth of it (wal/DISK_FIGURES.md).

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "wal/background_jobs.h"
#include "wal/disk.h"
#include "wal/event_fd.h"
#include "wal/write_ledger.h"

namespace walraft::wal {

class ThreadDisk final : public Disk {
 public:
  static constexpr std::size_t kThreadsMax = 64;

  explicit ThreadDisk(Clock& clock) : ledger_(clock), jobs_(clock, event_) {}
  ~ThreadDisk() override;

  void write(DurableWrite& write) override;
  void submit() override;
  std::size_t poll() override;
  void wait(std::uint64_t timeout_us) override { event_.wait(timeout_us); }
  int event_descriptor() const override { return event_.descriptor(); }
  void background(std::uint64_t delay_us, Work work, Done done) override;
  void background_slowly(Work work, Done done) override;
  void fail(const Error& error) override;
  bool failed() const override { return ledger_.failed(); }
  void on_failure(FailureHandler handler) override { ledger_.on_failure(std::move(handler)); }
  std::uint64_t oldest_write_age_us() const override { return ledger_.oldest_age_us(); }
  const DiskStats& stats() const override { return ledger_.stats(); }
  std::string_view method() const override { return "thread"; }

 private:
  // What a thread needs to know of a write; the ledger stays with the shard.
  struct Task {
    WriteLedger::Slot slot = 0;
    int descriptor = -1;
    std::uint64_t position = 0;
    ByteView bytes;
    int error_number = 0;  // set by the thread; 0: durable
  };

  void run();

  EventFd event_;
  WriteLedger ledger_;                // thread: shard, as are the two below
  std::vector<Task> arrived_;
  bool polling_ = false;
  std::mutex mutex_;                  // guards the five below
  std::condition_variable changed_;
  std::deque<Task> submitted_;
  std::vector<Task> finished_;
  std::size_t busy_ = 0;              // threads that have a write
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // thread: shard
  std::vector<BackgroundJobs::Finished> finished_jobs_;
  BackgroundJobs jobs_;               // last: its thread ends before what it signals
};

}  // namespace walraft::wal
