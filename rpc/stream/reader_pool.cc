#include "rpc/stream/reader_pool.h"

#include <algorithm>
#include <utility>

namespace walraft::rpc {

namespace {
using Clock = std::chrono::steady_clock;
}  // namespace

ReaderThread::ReaderThread(Loop& loop, std::function<bool()> appends_under_way)
    : loop_(loop), appends_under_way_(std::move(appends_under_way)), thread_([this] { loop_of_thread(); }) {}

ReaderThread::~ReaderThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ReaderThread::run(std::function<void()> work, std::function<void()> done) {
  const bool rest = appends_under_way_();
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(work), std::move(done), rest});
  }
  changed_.notify_one();
}

void ReaderThread::loop_of_thread() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (ending_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    const auto begun = Clock::now();
    job.work();
    const auto ended = Clock::now();
    const bool rest = job.rest;
    loop_.post(std::move(job.done));
    job = {};  // what it holds is released without the lock
    lock.lock();
    if (rest) {
      const auto until = ended + std::min<Clock::duration>(kRest * (ended - begun), kRestMax);
      changed_.wait_until(lock, until, [this] { return ending_; });
    }
  }
}

}  // namespace walraft::rpc
