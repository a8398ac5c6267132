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

// 0, or the errno. Tried once: after a failure the kernel may have dropped the pages.
int sync_data(int descriptor) {
  int result = 0;
  do {
    result = fdatasync(descriptor);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && mutant(Mutant::m26_sync_error_retried)) result = fdatasync(descriptor);
  return result == 0 ? 0 : errno;
}

}  // namespace

ThreadDisk::ThreadDisk(Clock& clock) : ledger_(clock), jobs_(clock, event_) {
  thread_ = start_disk_thread("wal-disk", [this] { run(); });
}

ThreadDisk::~ThreadDisk() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void ThreadDisk::write(DurableWrite& write) {
  if (!failed()) ledger_.add(write);
}

void ThreadDisk::submit() {
  if (failed() || !ledger_.has_queued()) return;
  {
    const std::lock_guard lock(mutex_);
    while (const auto slot = ledger_.take_queued()) {
      submitted_.push_back({.slot = *slot,
                            .descriptor = ledger_.descriptor(*slot),
                            .position = ledger_.position(*slot),
                            .bytes = ledger_.bytes(*slot)});
    }
  }
  changed_.notify_one();
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
  std::vector<Task> batch;
  while (true) {
    batch.clear();
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !submitted_.empty(); });
      if (stopping_) return;
      batch.swap(submitted_);
    }
    std::ranges::stable_sort(batch, {}, &Task::descriptor);
    for (auto first = batch.begin(); first != batch.end();) {
      if (is_stopping()) return;  // nothing is started any more
      const auto last = std::find_if(first, batch.end(), [&](const Task& t) { return t.descriptor != first->descriptor; });
      make_durable({first, last});
      const bool failed = std::any_of(first, last, [](const Task& t) { return t.error_number != 0; });
      {
        const std::lock_guard lock(mutex_);
        finished_.insert(finished_.end(), first, last);
        if (failed) stopping_ = true;  // fail-stop: no further write
      }
      event_.signal();
      first = last;
    }
  }
}

void ThreadDisk::make_durable(std::span<Task> tasks) {
  const int descriptor = tasks.front().descriptor;
  if (mutant(Mutant::m31_no_dsync)) {
    for (Task& task : tasks) task.error_number = write_all(descriptor, task.position, task.bytes, false);
    return;
  }
  if (tasks.size() == 1) {
    Task& only = tasks.front();
    only.error_number = write_all(descriptor, only.position, only.bytes, true);
    if (only.error_number != EOPNOTSUPP && only.error_number != ENOSYS) return;
    only.error_number = 0;  // RWF_DSYNC is not known here (before Linux 4.7, some filesystems)
  }
  for (Task& task : tasks) {
    task.error_number = write_all(descriptor, task.position, task.bytes, false);
    if (task.error_number != 0) {
      // None of this file is durable: those before it were not synced, those behind it not written.
      // The culprit goes first, since the first is the one that is reported.
      std::swap(task, tasks.front());
      for (Task& other : tasks) other.error_number = tasks.front().error_number;
      return;
    }
  }
  const int error_number = sync_data(descriptor);
  for (Task& task : tasks) task.error_number = error_number;
}

bool ThreadDisk::is_stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void ThreadDisk::background(std::uint64_t delay_us, Work work, Done done) {
  jobs_.add(delay_us, std::move(work), std::move(done));
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
