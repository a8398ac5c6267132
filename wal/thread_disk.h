#pragma once

// The disk without io_uring: a thread that writes and syncs. It takes all that has been submitted
// as one batch and goes through it file by file: one write for a file is a pwritev2 with RWF_DSYNC;
// several are written and then made durable by one fdatasync. What is submitted meanwhile is the
// next batch.

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "wal/background_jobs.h"
#include "wal/disk.h"
#include "wal/event_fd.h"
#include "wal/write_ledger.h"

namespace walraft::wal {

class ThreadDisk final : public Disk {
 public:
  explicit ThreadDisk(Clock& clock);
  ~ThreadDisk() override;

  void write(DurableWrite& write) override;
  void submit() override;
  std::size_t poll() override;
  void wait(std::uint64_t timeout_us) override { event_.wait(timeout_us); }
  int event_descriptor() const override { return event_.descriptor(); }
  void background(std::uint64_t delay_us, Work work, Done done) override;
  void fail(const Error& error) override;
  bool failed() const override { return ledger_.failed(); }
  void on_failure(FailureHandler handler) override { ledger_.on_failure(std::move(handler)); }
  std::uint64_t oldest_write_age_us() const override { return ledger_.oldest_age_us(); }
  const DiskStats& stats() const override { return ledger_.stats(); }
  std::string_view method() const override { return "thread"; }

 private:
  // What the thread needs to know of a write; the ledger stays with the shard.
  struct Task {
    WriteLedger::Slot slot = 0;
    int descriptor = -1;
    std::uint64_t position = 0;
    ByteView bytes;
    int error_number = 0;  // set by the thread; 0: durable
  };

  void run();
  static void make_durable(std::span<Task> tasks);  // all of one file
  bool is_stopping();

  EventFd event_;
  WriteLedger ledger_;         // thread: shard
  std::vector<Task> arrived_;  // thread: shard
  bool polling_ = false;       // thread: shard
  std::mutex mutex_;           // guards the four below
  std::condition_variable changed_;
  std::vector<Task> submitted_;
  std::vector<Task> finished_;
  bool stopping_ = false;
  std::thread thread_;
  std::vector<BackgroundJobs::Finished> finished_jobs_;
  BackgroundJobs jobs_;  // last: its thread ends before what it signals
};

}  // namespace walraft::wal
