#pragma once

// The thread that reads old data from disk, so that the shard's loop never does.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "rpc/stream/loop.h"

namespace walraft::rpc {

class ReaderPool {
 public:
  explicit ReaderPool(Loop& loop);
  ~ReaderPool();  // finishes the job under way, drops the others

  // Runs `work` on the pool's thread, then `done` on the loop. Jobs run in order. Thread: shard. Callers keep at most
  // one job each, so the queue is bounded by the number of sessions.
  void run(std::function<void()> work, std::function<void()> done);

 private:
  struct Job {
    std::function<void()> work, done;
  };
  void loop_of_thread();

  Loop& loop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace walraft::rpc
