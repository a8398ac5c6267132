#pragma once

// TCP over the loopback interface with nothing on top.

#include <chrono>
#include <cstddef>

#include "tools/walbench/histogram.h"
#include "wal/base/result.h"

namespace walraft::walbench {

// Nanoseconds of `bytes` there and back, one after the other for `duration`. Both ends wait in epoll, as the server and
// the client do. Errors: failed.
Result<Histogram> measure_round_trip(std::size_t bytes, std::chrono::microseconds duration);

// Bytes a second from one thread to another in writes of 256 KiB. Errors: failed.
Result<double> measure_tcp_bandwidth(std::chrono::microseconds duration);

}  // namespace walraft::walbench
