#include "rpc/stream/reader_pool.h"

namespace walraft::rpc {

ReaderThread::ReaderThread(Loop& loop) : loop_(loop), thread_([this] { loop_of_thread(); }) {}

ReaderThread::~ReaderThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ReaderThread::run(std::function<void()> work, std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(work), std::move(done)});
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
    job.work();
    loop_.post(std::move(job.done));
    job = {};  // what it holds is released without the lock
    lock.lock();
  }
}

}  // namespace walraft::rpc
