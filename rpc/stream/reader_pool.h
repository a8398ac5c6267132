#pragma once

// Where old data is read from disk, so that the shard's loop never does it.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "rpc/stream/loop.h"

namespace walraft::rpc {

class ReaderPool {
 public:
  virtual ~ReaderPool() = default;

  // Runs `work` elsewhere, then `done` on the loop. Jobs run in order. Thread: shard. Callers bound how many they have
  // there: Connection counts them among its unanswered requests.
  virtual void run(std::function<void()> work, std::function<void()> done) = 0;
};

// The thread that does it. Appends go first: after a job that came while `appends_under_way` it rests kRest times as
// long as the job took. That bounds what all readers of old data together take from appends, and a machine that has
// less to spare makes the jobs, and so the rests, longer by itself.
class ReaderThread final : public ReaderPool {
 public:
  static constexpr int kRest = 16;
  static constexpr std::chrono::milliseconds kRestMax{50};  // one slow read of a disk is no reason for more

  ReaderThread(Loop& loop, std::function<bool()> appends_under_way);  // asked on the shard
  ~ReaderThread() override;  // finishes the job under way, drops the others

  void run(std::function<void()> work, std::function<void()> done) override;

 private:
  struct Job {
    std::function<void()> work, done;
    bool rest = false;  // afterwards
  };
  void loop_of_thread();

  Loop& loop_;
  const std::function<bool()> appends_under_way_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace walraft::rpc
