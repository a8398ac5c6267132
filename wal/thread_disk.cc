#include "wal/thread_disk.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"

namespace walraft::wal {
namespace {

// Writes all of `bytes`. 0, or the errno. `dsync`: durable on return.
int write_all(int descriptor, std::uint64_t position, ByteView bytes, bool dsync) {
  while (!bytes.empty()) {
    const iovec piece = {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    const ssize_t n = dsync ? pwritev2(descriptor, &piece, 1, static_cast<off_t>(position), RWF_DSYNC)
                            : pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;  // nothing was tried
    if (n < 0) return errno;
    if (n == 0) return EIO;  // a write of nothing goes nowhere
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
  return 0;
}

// 0, or the errno. A failure is final: the kernel may have dropped the pages.
int write_durably(int descriptor, std::uint64_t position, ByteView bytes) {
  if (mutant(Mutant::m31_no_dsync)) return write_all(descriptor, position, bytes, false);
  int error_number = write_all(descriptor, position, bytes, true);
  if (error_number == EOPNOTSUPP || error_number == ENOSYS) {  // the flag is not known (before Linux 4.7)
    error_number = write_all(descriptor, position, bytes, false);
    int result = 0;
    while (error_number == 0 && (result = fdatasync(descriptor)) != 0 && errno == EINTR) {
    }
    if (result != 0) error_number = errno;
  }
  if (error_number != 0 && mutant(Mutant::m26_sync_error_retried) && fdatasync(descriptor) == 0) return 0;
  return error_number;
}

}  // namespace

ThreadDisk::~ThreadDisk() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadDisk::write(DurableWrite& write) {
  if (!failed()) ledger_.add(write);
}

void ThreadDisk::submit() {
  if (failed() || !ledger_.has_queued()) return;
  std::size_t wanted = 0;
  {
    const std::lock_guard lock(mutex_);
    while (const auto slot = ledger_.take_queued()) {
      submitted_.push_back({.slot = *slot,
                            .descriptor = ledger_.descriptor(*slot),
                            .position = ledger_.position(*slot),
                            .bytes = ledger_.bytes(*slot)});
    }
    wanted = std::min(busy_ + submitted_.size(), kThreadsMax);
  }
  changed_.notify_all();
  while (threads_.size() < wanted) threads_.push_back(start_disk_thread("wal-disk", [this] { run(); }));
}

std::size_t ThreadDisk::poll() {
  CHECK(!polling_);  // from on_durable() or `done`: they queue, and this loop goes on
  if (failed()) return 0;
  polling_ = true;
  event_.clear();  // before looking: what completes from now on signals again
  arrived_.clear();
  {
    const std::lock_guard lock(mutex_);
    arrived_.swap(finished_);
  }
  std::size_t delivered = 0;
  for (const Task& task : arrived_) {
    if (failed()) break;
    if (task.error_number != 0) {
      fail(ledger_.error_of(task.slot, task.error_number));
    } else {
      ledger_.finish(task.slot).on_durable();
      ++delivered;
    }
  }
  jobs_.take_finished(finished_jobs_);
  for (BackgroundJobs::Finished& job : finished_jobs_) {
    if (failed()) break;
    if (job.done) job.done(std::move(job.result));
    ++delivered;
  }
  finished_jobs_.clear();
  polling_ = false;
  submit();
  return delivered;
}

void ThreadDisk::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !submitted_.empty(); });
    if (stopping_) return;  // nothing is started any more
    Task task = submitted_.front();
    submitted_.pop_front();
    ++busy_;
    lock.unlock();
    task.error_number = write_durably(task.descriptor, task.position, task.bytes);
    lock.lock();
    --busy_;
    finished_.push_back(task);
    if (task.error_number != 0) stopping_ = true;  // fail-stop: no further write
    event_.signal();
  }
}

void ThreadDisk::background(std::uint64_t delay_us, Work work, Done done) {
  jobs_.add(delay_us, std::move(work), std::move(done));
}

void ThreadDisk::background_slowly(Work work, Done done) {
  jobs_.add_slow(std::move(work), std::move(done));
}

void ThreadDisk::fail(const Error& error) {
  jobs_.stop();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ledger_.fail(error);
}

}  // namespace walraft::wal
