#pragma once

// System calls of this test program that can be told to fail, to fall short, and to count. The
// definitions in failing_calls.cc stand before libc's and liburing's for the whole program; with
// nothing set they only count.

#include <atomic>
#include <cstddef>

namespace walraft::wal {

struct Calls {
  std::atomic<int> sync_error = 0;      // errno of the next `sync_failures` fsync()s and fdatasync()s
  std::atomic<int> sync_failures = 0;
  std::atomic<int> syncs = 0;           // tried, failed ones included
  std::atomic<int> write_error = 0;     // errno of the next `write_failures` pwrite()s and pwritev2()s
  std::atomic<int> write_failures = 0;
  std::atomic<std::size_t> write_bytes_max = 0;  // one write takes no more; 0: no limit
  std::atomic<int> fallocate_error = 0;          // errno of every fallocate(); 0: works
  std::atomic<bool> flags_unknown = false;       // pwritev2() with flags: EOPNOTSUPP
  std::atomic<int> plain_writes = 0;    // tried without RWF_DSYNC, on a ring too
  std::atomic<int> synced_writes = 0;   // tried with RWF_DSYNC, on a ring too
  std::atomic<int> submit_error = 0;    // errno of the next `submit_failures` io_uring_submit()s
  std::atomic<int> submit_failures = 0;
  std::atomic<int> submits = 0;
  std::atomic<int> ring_result = 0;     // replaces the results of the next `ring_results` requests
  std::atomic<int> ring_results = 0;
};

Calls& calls();

// Everything works and nothing is counted yet, at its beginning and at its end.
class FreshCalls {
 public:
  FreshCalls();
  ~FreshCalls();
};

}  // namespace walraft::wal
