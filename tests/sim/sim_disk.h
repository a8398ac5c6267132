#pragma once

// The disk actor on a SimFilesystem: nothing happens until the test, or the simulated world, lets it.
//
//   write() queues, submit() issues: from here on a crash tears the write. complete_one() puts one
//   write on the medium, run_one_job() runs one background job; step() does one of both by chance.
//   poll() then delivers, as the real disk does. settle() and run_for_us() do it all for tests that
//   do not care about order.
//
// Writes to different blocks complete in any order. Each takes a time between the latency bounds, and
// background jobs run one at a time in order of due time, by the SimClock. A job runs in one piece,
// but each of its operations is a crash point as any other, and a SimCrash passes through here.
//
// Checked, as the contract of wal/disk.h: aligned position, length and memory; inside the file's size;
// never two writes in flight on one block, nor a sync() of their file; bytes unchanged until completion.
// After a crash of its filesystem the object is dead: it delivers nothing, and may only be destroyed.
// Destroyed alive, it completes the writes that it issued (a process that closes in order), silently.
// Thread: one.

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_filesystem.h"
#include "wal/disk.h"

namespace walraft::sim {

class SimDisk final : public wal::Disk {
 public:
  // All outlive the disk. The seed of its chance is drawn from the filesystem's.
  SimDisk(SimFilesystem& filesystem, SimClock& clock);
  ~SimDisk() override;

  void write(wal::DurableWrite& write) override;
  void submit() override;
  std::size_t poll() override;
  // Advances the clock to the next write or job that can be done within the timeout, and does it.
  void wait(std::uint64_t timeout_us) override;
  int event_descriptor() const override { return -1; }
  void background(std::uint64_t delay_us, Work work, Done done) override;
  void background_slowly(Work work, Done done) override;  // a millisecond apart
  void fail(const Error& error) override;
  bool failed() const override { return failure_.has_value(); }
  void on_failure(FailureHandler handler) override;
  std::uint64_t oldest_write_age_us() const override;
  const wal::DiskStats& stats() const override { return stats_; }
  std::string_view method() const override { return "simulated"; }

  // --- What the test drives ---
  enum class Pick : std::uint8_t { oldest, newest, random };
  // Completes one issued write whose time has come and that does not hang; false if there is none.
  bool complete_one(Pick pick = Pick::oldest);
  void complete_all();
  // Runs the background job that is due first, if one is due.
  bool run_one_job();
  // One of the writes and jobs that can be done now, by chance; false if there is none.
  bool step(SimRng& rng);
  // When step() can next do something: now or later on the clock; nothing if never.
  std::optional<std::uint64_t> next_due_us() const;

  // Submits, completes, runs due jobs and polls until nothing is queued, in flight (but for hanging
  // writes), due or undelivered. Advances the clock as far as the writes need it, not for delayed jobs.
  void settle();
  // The same through `duration_us` of time, delayed jobs included.
  void run_for_us(std::uint64_t duration_us);

  // Of writes issued from now on. A fail-slow disk is a large one.
  void set_latency_us(std::uint64_t min_us, std::uint64_t max_us);
  // A disk that hangs starts no write or job until it is released; what is queued waits.
  void hang() { hanging_ = true; }
  void release_hanging();  // those of hang() and of FaultKind::write_hangs

  std::size_t writes_in_flight() const { return in_flight_.size(); }
  std::size_t jobs_waiting() const { return jobs_.size(); }

 private:
  struct Write {
    wal::DurableWrite* write = nullptr;
    std::uint64_t file = 0;
    std::uint64_t position = 0;
    std::uint64_t queued_us = 0;
    std::uint64_t due_us = 0;
    bool hangs = false;
  };
  struct Job {
    std::uint64_t due_us = 0;
    Work work;
    Done done;
  };
  struct Delivery {  // of a write, or of a job's result
    Write write;
    Result<void> result;
    Done done;
  };

  bool alive() const { return filesystem_.alive(generation_); }
  void complete(std::size_t at);
  std::vector<std::size_t> completable() const;
  bool step_until_idle();

  SimFilesystem& filesystem_;
  SimClock& clock_;
  SimRng rng_;
  std::uint64_t generation_;
  std::vector<Write> queued_;
  std::vector<Write> in_flight_;  // oldest first
  std::uint64_t slow_due_us_ = 0;
  std::deque<Job> jobs_;          // by due time, first come first
  std::deque<Delivery> deliveries_;
  std::uint64_t latency_min_us_ = 0;
  std::uint64_t latency_max_us_ = 0;
  bool hanging_ = false;
  bool polling_ = false;
  std::optional<Error> failure_;
  FailureHandler handler_;  // until it was called
  wal::DiskStats stats_;
};

}  // namespace walraft::sim
