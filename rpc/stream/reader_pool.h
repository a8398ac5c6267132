#pragma once

// Where old data is read from disk, so that the shard's loop never does it.

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

// The thread that does it.
class ReaderThread final : public ReaderPool {
 public:
  explicit ReaderThread(Loop& loop);
  ~ReaderThread() override;  // finishes the job under way, drops the others

  void run(std::function<void()> work, std::function<void()> done) override;

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
