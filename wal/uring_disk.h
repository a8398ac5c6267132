#pragma once

// The disk on io_uring: every write is one IORING_OP_WRITE with RWF_DSYNC, so that the kernel runs
// the synced writes of many logs at once, and one system call hands over all that a turn of the loop
// has queued. Works for direct and for buffered files; direct ones are what it is made for.
//
// The ring belongs to the thread that calls it: the shard, with no thread between.

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "wal/background_jobs.h"
#include "wal/disk.h"
#include "wal/event_fd.h"
#include "wal/write_ledger.h"

namespace walraft::wal {

class UringDisk final : public Disk {
 public:
  // In the kernel at once, at most; what is more waits here. Good for 100 logs and for 1,000; deeper
  // rings make 100 slower (wal/DISK_FIGURES.md).
  static constexpr unsigned kInFlightMax = 64;

  // Null if this kernel, or the sandbox of this process, has no io_uring.
  static std::unique_ptr<UringDisk> make(Clock& clock);
  ~UringDisk() override;

  void write(DurableWrite& write) override;
  void submit() override;
  std::size_t poll() override;
  void wait(std::uint64_t timeout_us) override;
  int event_descriptor() const override { return event_.descriptor(); }
  void background(std::uint64_t delay_us, Work work, Done done) override;
  void background_slowly(Work work, Done done) override;
  void fail(const Error& error) override;
  bool failed() const override { return ledger_.failed(); }
  void on_failure(FailureHandler handler) override { ledger_.on_failure(std::move(handler)); }
  std::uint64_t oldest_write_age_us() const override { return ledger_.oldest_age_us(); }
  const DiskStats& stats() const override { return ledger_.stats(); }
  std::string_view method() const override { return "io_uring"; }

 private:
  explicit UringDisk(Clock& clock);
  bool set_up();
  std::size_t deliver_writes();
  bool settle(WriteLedger::Slot slot, int result);

  EventFd event_;
  WriteLedger ledger_;
  io_uring ring_{};
  bool has_ring_ = false;
  unsigned in_flight_ = 0;  // handed to the ring, not reaped; <= kInFlightMax
  bool polling_ = false;
  std::vector<BackgroundJobs::Finished> finished_jobs_;
  BackgroundJobs jobs_;  // last: its thread ends before what it signals
};

}  // namespace walraft::wal
