#pragma once

// What this machine can do at best, measured in the same minute as the work that is compared with it: synced writes of
// this disk in the way the server writes (tools/synced_file.h), and TCP over the loopback interface.

#include <chrono>
#include <string>
#include <vector>

#include "tools/synced_file.h"
#include "tools/walbench/histogram.h"
#include "wal/base/result.h"

namespace walraft::walbench {

struct Limits {
  bool direct = true;           // false: no O_DIRECT here, buffered synced writes were measured
  Histogram write_one;          // ns, 4 KiB synced, one writer
  Histogram write_three;        // ns, 4 KiB synced, three writers at once, a file each
  double disk_bytes_one = 0;    // bytes a second, 1 MiB synced writes, one writer
  double disk_bytes_three = 0;  // ..., three writers
  Histogram round_trip;         // ns, 256 bytes there and back, both ends wait in epoll
  double tcp_bytes = 0;         // bytes a second, one connection

  double disk_bytes() const { return disk_bytes_one > disk_bytes_three ? disk_bytes_one : disk_bytes_three; }
  void merge(const Limits& other);  // counts both; bandwidths become the mean
};

class Gauge {
 public:
  // Makes three nameless files of 32 MiB in `directory`. Errors: failed, no_space; the message names the directory.
  static Result<Gauge> make(const std::string& directory);

  // Takes six times `each`. Errors: failed (a write or a socket).
  Result<Limits> measure(std::chrono::microseconds each);

 private:
  Gauge() = default;
  std::vector<SyncedFile> files_;
};

}  // namespace walraft::walbench
