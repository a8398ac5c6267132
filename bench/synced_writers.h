// The ways to make one write durable that disk_methods.cc compares.
#pragma once

#include <liburing.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/disk_cases.h"

namespace walraft::bench {

// Makes one write durable before it returns.
class SyncedWriter {
 public:
  virtual ~SyncedWriter() = default;
  virtual void write(int fd, char* data, size_t bytes, size_t offset) = 0;
};

enum class Wait { enter, eventfd, sqpoll, deferred };

// How a queued write is made durable: by RWF_DSYNC, by RWF_DSYNC on a worker
// thread of the ring, by a linked fdatasync, or not yet.
enum class Sync { dsync, dsync_worker, linked_fdatasync, none };

class Uring {
 public:
  Uring(unsigned depth, Wait wait) : wait_(wait) {
    io_uring_params params{};
    if (wait == Wait::sqpoll) {
      params.flags = IORING_SETUP_SQPOLL;
      params.sq_thread_idle = 1000;
    }
    if (wait == Wait::deferred) params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    error_ = -io_uring_queue_init_params(depth, &ring_, &params);
    if (error_ != 0) return;
    if (wait == Wait::eventfd) {
      event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
      epoll_ = epoll_create1(EPOLL_CLOEXEC);
      epoll_event interest{.events = EPOLLIN, .data = {}};
      expect(epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &interest), 0, "epoll_ctl");
      expect(io_uring_register_eventfd(&ring_, event_), 0, "register eventfd");
    }
  }
  ~Uring() {
    if (error_ == 0) io_uring_queue_exit(&ring_);
    if (event_ >= 0) close(event_);
    if (epoll_ >= 0) close(epoll_);
  }
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  int error() const { return error_; }

  void queue(int fd, char* data, size_t bytes, size_t offset, Sync sync) {
    io_uring_sqe* sqe = next();
    io_uring_prep_write(sqe, fd, data, unsigned(bytes), offset);
    sqe->user_data = bytes;
    if (sync == Sync::dsync || sync == Sync::dsync_worker) sqe->rw_flags = RWF_DSYNC;
    if (sync == Sync::dsync_worker) sqe->flags |= IOSQE_ASYNC;
    if (sync != Sync::linked_fdatasync) return;
    sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    sqe = next();
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    sqe->user_data = 0;
  }

  void set_workers(unsigned count) {
    unsigned workers[2] = {count, count};
    if (io_uring_register_iowq_max_workers(&ring_, workers) != 0) die("set io_uring workers", EINVAL);
  }

  // Submits what is queued, waits for at least one completion, reaps all.
  // Returns how many writes are durable.
  unsigned submit_and_reap() {
    if (wait_ == Wait::eventfd) {
      if (io_uring_submit(&ring_) < 0) die("io_uring_submit", errno);
      epoll_event event{};
      while (epoll_wait(epoll_, &event, 1, -1) != 1) {
      }
      uint64_t count = 0;
      (void)!read(event_, &count, sizeof count);
    } else {
      int result = io_uring_submit_and_wait(&ring_, 1);
      if (result < 0 && result != -EINTR) die("io_uring_submit_and_wait", -result);
    }
    unsigned reaped = 0, head = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      if (cqe->res != int(cqe->user_data)) die("io_uring write", cqe->res < 0 ? -cqe->res : EIO);
      ++reaped;
    }
    io_uring_cq_advance(&ring_, reaped);
    return reaped;
  }

 private:
  io_uring_sqe* next() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) die("io_uring submission queue", EBUSY);
    return sqe;
  }
  Wait wait_;
  io_uring ring_{};
  int error_ = 0;
  int event_ = -1;
  int epoll_ = -1;
};

class UringWriter : public SyncedWriter {
 public:
  explicit UringWriter(Wait wait = Wait::enter, Sync sync = Sync::dsync) : sync_(sync), uring_(8, wait) {}
  void write(int fd, char* data, size_t bytes, size_t offset) override {
    uring_.queue(fd, data, bytes, offset, sync_);
    while (uring_.submit_and_reap() == 0) {
    }
  }

 private:
  Sync sync_;
  Uring uring_;
};

class PwriteWriter : public SyncedWriter {
 public:
  void write(int fd, char* data, size_t bytes, size_t offset) override {
    iovec part{data, bytes};
    expect(pwritev2(fd, &part, 1, off_t(offset), RWF_DSYNC), int64_t(bytes), "pwritev2");
  }
};

// Hands each write to another thread and waits for it; both ways over an eventfd.
class ThreadWriter : public SyncedWriter {
 public:
  enum class Work { pwrite_fdatasync, pwritev2_dsync, none };
  explicit ThreadWriter(Work work) : work_(work), thread_([this] { serve(); }) {}
  ~ThreadWriter() override {
    job_.fd = -1;
    post(request_);
    thread_.join();
    close(request_);
    close(reply_);
  }
  void write(int fd, char* data, size_t bytes, size_t offset) override {
    job_ = {fd, data, bytes, offset};
    post(request_);
    take(reply_);
  }

 private:
  struct Job {
    int fd;
    char* data;
    size_t bytes, offset;
  };
  static void post(int event) {
    uint64_t one = 1;
    expect(::write(event, &one, sizeof one), sizeof one, "eventfd write");
  }
  static void take(int event) {
    uint64_t count = 0;
    expect(::read(event, &count, sizeof count), sizeof count, "eventfd read");
  }
  void serve() {
    for (;;) {
      take(request_);
      if (job_.fd < 0) return;
      if (work_ == Work::pwritev2_dsync) {
        PwriteWriter().write(job_.fd, job_.data, job_.bytes, job_.offset);
      } else if (work_ == Work::pwrite_fdatasync) {
        expect(pwrite(job_.fd, job_.data, job_.bytes, off_t(job_.offset)), int64_t(job_.bytes), "pwrite");
        expect(fdatasync(job_.fd), 0, "fdatasync");
      }
      post(reply_);
    }
  }
  Work work_;
  Job job_{};
  int request_ = eventfd(0, EFD_CLOEXEC);
  int reply_ = eventfd(0, EFD_CLOEXEC);
  std::thread thread_;
};

struct Method {
  const char* name;
  bool direct;
  std::function<std::unique_ptr<SyncedWriter>()> make;
};

inline const std::vector<Method>& methods() {
  static const std::vector<Method> all = {
      {"pwritev2 direct+DSYNC", true, [] { return std::make_unique<PwriteWriter>(); }},
      {"io_uring direct+DSYNC", true, [] { return std::make_unique<UringWriter>(); }},
      {"pwritev2 buffered+DSYNC", false, [] { return std::make_unique<PwriteWriter>(); }},
      {"pwritev2 direct+DSYNC on a thread", true,
       [] { return std::make_unique<ThreadWriter>(ThreadWriter::Work::pwritev2_dsync); }},
      {"pwrite+fdatasync on a thread", false,
       [] { return std::make_unique<ThreadWriter>(ThreadWriter::Work::pwrite_fdatasync); }},
  };
  return all;
}

inline std::string uring_missing() {
  Uring probe(8, Wait::enter);
  return probe.error() == 0 ? "" : std::string("io_uring: ") + std::strerror(probe.error());
}

inline std::string size_name(size_t bytes) {
  if (bytes % kMiB == 0) return std::to_string(bytes / kMiB) + " MiB";
  if (bytes % kKiB == 0) return std::to_string(bytes / kKiB) + " KiB";
  return std::to_string(bytes) + " B";
}

// Work shared by a fixed set of threads, one round at a time.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 0; i < threads; ++i) workers_.emplace_back([this] { serve(); });
  }
  ~Pool() {
    stop_ = true;
    wake();
    for (std::thread& t : workers_) t.join();
    close(start_);
    close(done_);
  }
  void round(size_t jobs, const std::function<void(size_t)>& job) {
    job_ = &job;
    jobs_ = jobs;
    next_ = 0;
    wake();
    uint64_t one = 0;
    for (int i = 0; i < threads_; ++i) (void)!read(done_, &one, sizeof one);
  }

 private:
  void wake() {
    uint64_t count = uint64_t(threads_);
    (void)!write(start_, &count, sizeof count);
  }
  void serve() {
    for (;;) {
      uint64_t one = 0;
      (void)!read(start_, &one, sizeof one);
      if (stop_) return;
      for (size_t i = next_++; i < jobs_; i = next_++) (*job_)(i);
      one = 1;
      (void)!write(done_, &one, sizeof one);
    }
  }
  int threads_;
  int start_ = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  int done_ = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
  std::atomic<bool> stop_{false};
  std::atomic<size_t> next_{0};
  size_t jobs_ = 0;
  const std::function<void(size_t)>* job_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace walraft::bench
