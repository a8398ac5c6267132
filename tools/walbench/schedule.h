#pragma once

// When the appends of an open loop are due, whatever becomes of those before: latency is counted from here, so that
// a stall is paid for by every append that was due meanwhile, not by the one that met it.

#include <chrono>
#include <cstdint>

namespace walraft::walbench {

class OpenLoopSchedule {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `per_second` > 0 events a second from `start` on. Computed from the start each time: no error adds up.
  OpenLoopSchedule(Time start, double per_second) : start_(start), per_second_(per_second) {}

  Time due(std::uint64_t n) const {  // the n-th event, from 0
    return start_ + std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(n) * 1e9 / per_second_));
  }

 private:
  Time start_;
  double per_second_;
};

}  // namespace walraft::walbench
