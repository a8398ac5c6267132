#include "wal/background_jobs.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "wal/base/check.h"

namespace walraft::wal {

std::thread start_disk_thread(const char* name, std::function<void()> run) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);  // inherited by the thread
  std::thread thread(std::move(run));
  CHECK(pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

BackgroundJobs::BackgroundJobs(Clock& clock, EventFd& event) : clock_(clock), event_(event) {
  thread_ = start_disk_thread("wal-background", [this] { run(); });
}

BackgroundJobs::~BackgroundJobs() {
  stop();
  thread_.join();
}

void BackgroundJobs::add(std::uint64_t delay_us, Disk::Work work, Disk::Done done) {
  CHECK(work != nullptr);
  {
    const std::lock_guard lock(mutex_);
    const DueAndNumber key = {clock_.monotonic_us() + delay_us, next_number_++};
    waiting_.emplace(key, Job{std::move(work), std::move(done)});
  }
  changed_.notify_one();
}

void BackgroundJobs::add_slow(Disk::Work work, Disk::Done done) {
  CHECK(work != nullptr);
  {
    const std::lock_guard lock(mutex_);
    slow_.push_back({std::move(work), std::move(done)});
  }
  changed_.notify_one();
}

void BackgroundJobs::take_finished(std::vector<Finished>& finished) {
  finished.clear();
  const std::lock_guard lock(mutex_);
  finished.swap(finished_);
}

void BackgroundJobs::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
}

void BackgroundJobs::run() {
  constexpr std::uint64_t kNapUsMax = 3'600'000'000;
  constexpr std::uint64_t kRestFactor = 9;  // a job that took t is followed by 9 t of rest
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::uint64_t now_us = clock_.monotonic_us();
    if (!waiting_.empty() && waiting_.begin()->first.first <= now_us) {
      run_job(lock, std::move(waiting_.extract(waiting_.begin()).mapped()));
      continue;
    }
    if (!slow_.empty() && slow_due_us_ <= now_us) {
      Job job = std::move(slow_.front());
      slow_.pop_front();
      run_job(lock, std::move(job));
      const std::uint64_t end_us = clock_.monotonic_us();
      slow_due_us_ = end_us + kRestFactor * (end_us - now_us);
      continue;
    }
    std::uint64_t nap_us = kNapUsMax;
    if (!waiting_.empty()) nap_us = std::min(nap_us, waiting_.begin()->first.first - now_us);
    if (!slow_.empty()) nap_us = std::min(nap_us, slow_due_us_ - now_us);
    if (waiting_.empty() && slow_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, std::chrono::microseconds(nap_us));
    }
  }
}

void BackgroundJobs::run_job(std::unique_lock<std::mutex>& lock, Job job) {
  lock.unlock();
  Result<void> result = job.work();
  job.work = nullptr;  // what it held is let go here, where closing a file may block
  lock.lock();
  finished_.push_back({std::move(job.done), std::move(result)});
  event_.signal();
}

}  // namespace walraft::wal
