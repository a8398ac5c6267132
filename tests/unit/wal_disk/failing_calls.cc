#include "tests/unit/wal_disk/failing_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace walraft::wal {
namespace {

// Takes one from `left`; false if none is left.
bool take(std::atomic<int>& left) {
  int n = left.load();
  while (n > 0) {
    if (left.compare_exchange_weak(n, n - 1)) return true;
  }
  return false;
}

int fail_with(int error_number) {
  errno = error_number;
  return -1;
}

int sync_call(long number, int descriptor) {
  ++calls().syncs;
  if (take(calls().sync_failures)) return fail_with(calls().sync_error);
  return static_cast<int>(syscall(number, descriptor));
}

ssize_t write_call(int descriptor, const void* data, std::size_t length, off_t position, int flags) {
  ++(flags == RWF_DSYNC ? calls().synced_writes : calls().plain_writes);
  if (flags != 0 && calls().flags_unknown) return fail_with(EOPNOTSUPP);
  if (take(calls().write_failures)) return fail_with(calls().write_error);
  const std::size_t most = calls().write_bytes_max;
  const iovec piece = {const_cast<void*>(data), most == 0 ? length : std::min(length, most)};
  return syscall(SYS_pwritev2, descriptor, &piece, 1, position, 0, flags);
}

}  // namespace

Calls& calls() {
  static Calls instance;
  return instance;
}

namespace {
void reset() {
  Calls& instance = calls();
  instance.~Calls();
  new (&instance) Calls();
}
}  // namespace

FreshCalls::FreshCalls() { reset(); }
FreshCalls::~FreshCalls() { reset(); }

}  // namespace walraft::wal

using walraft::wal::calls;

extern "C" {

int fsync(int descriptor) { return walraft::wal::sync_call(SYS_fsync, descriptor); }
int fdatasync(int descriptor) { return walraft::wal::sync_call(SYS_fdatasync, descriptor); }

int fallocate(int descriptor, int mode, off_t start, off_t length) {
  if (calls().fallocate_error != 0) return walraft::wal::fail_with(calls().fallocate_error);
  return static_cast<int>(syscall(SYS_fallocate, descriptor, mode, start, length));
}

ssize_t pwrite(int descriptor, const void* data, std::size_t length, off_t position) {
  return walraft::wal::write_call(descriptor, data, length, position, 0);
}

ssize_t pwritev2(int descriptor, const iovec* pieces, int, off_t position, int flags) {
  return walraft::wal::write_call(descriptor, pieces->iov_base, pieces->iov_len, position, flags);
}

int io_uring_submit(io_uring* ring) {
  static const auto real = reinterpret_cast<int (*)(io_uring*)>(dlsym(RTLD_NEXT, "io_uring_submit"));
  ++calls().submits;
  if (walraft::wal::take(calls().submit_failures)) return -calls().submit_error;
  for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; ++i) {
    const io_uring_sqe& request = ring->sq.sqes[i & ring->sq.ring_mask];
    ++(request.rw_flags == RWF_DSYNC ? calls().synced_writes : calls().plain_writes);
  }
  return real(ring);
}

unsigned io_uring_peek_batch_cqe(io_uring* ring, io_uring_cqe** completions, unsigned count) {
  static const auto real =
      reinterpret_cast<unsigned (*)(io_uring*, io_uring_cqe**, unsigned)>(dlsym(RTLD_NEXT, "io_uring_peek_batch_cqe"));
  const unsigned found = real(ring, completions, count);
  for (unsigned i = 0; i < found; ++i) {
    if (walraft::wal::take(calls().ring_results)) completions[i]->res = calls().ring_result;
  }
  return found;
}

}  // extern "C"
