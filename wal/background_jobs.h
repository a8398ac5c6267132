#pragma once

// The background thread of a disk (Disk::background): blocking jobs off the hot path, one at a time.
// Thread: shard, for all functions; the work itself runs on the background thread, and is destroyed
// there. Signals are blocked on it.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "wal/base/clock.h"
#include "wal/disk.h"
#include "wal/event_fd.h"

namespace walraft::wal {

class BackgroundJobs {
 public:
  struct Finished {
    Disk::Done done;
    Result<void> result;
  };

  // `clock` is read by both threads; `event` is signalled when a job has finished.
  BackgroundJobs(Clock& clock, EventFd& event);
  ~BackgroundJobs();  // drops the jobs that have not started, waits for the one that runs

  void add(std::uint64_t delay_us, Disk::Work work, Disk::Done done);
  void add_slow(Disk::Work work, Disk::Done done);

  // Moves what has finished since the last call, in the order it finished, into `finished`, whose
  // contents are thrown away.
  void take_finished(std::vector<Finished>& finished);

  // No further job is started.
  void stop();

 private:
  struct Job {
    Disk::Work work;
    Disk::Done done;
  };
  using DueAndNumber = std::pair<std::uint64_t, std::uint64_t>;  // equal due times: first come, first served

  void run();
  void run_job(std::unique_lock<std::mutex>& lock, Job job);

  Clock& clock_;
  EventFd& event_;
  std::mutex mutex_;  // guards all below but thread_
  std::condition_variable changed_;
  std::map<DueAndNumber, Job> waiting_;
  std::deque<Job> slow_;
  std::uint64_t slow_due_us_ = 0;  // when the next of them may start
  std::vector<Finished> finished_;
  std::uint64_t next_number_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

// Starts a thread that takes no signals; `name` (at most 15 characters) is what ps and top show.
std::thread start_disk_thread(const char* name, std::function<void()> run);

}  // namespace walraft::wal
