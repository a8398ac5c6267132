#pragma once

// Time in the simulator stands still until someone advances it.

#include <cstdint>

#include "wal/base/check.h"
#include "wal/base/clock.h"

namespace walraft::sim {

class SimClock final : public Clock {
 public:
  std::uint64_t monotonic_us() override { return now_us_; }
  std::int64_t wall_us() override { return wall_offset_us_ + static_cast<std::int64_t>(now_us_); }

  void advance_us(std::uint64_t by_us) { now_us_ += by_us; }
  void advance_to_us(std::uint64_t time_us) {
    CHECK(time_us >= now_us_, time_us, now_us_);
    now_us_ = time_us;
  }
  // The wall clock alone jumps, as an administrator or a broken time server makes it.
  void jump_wall_us(std::int64_t by_us) { wall_offset_us_ += by_us; }

 private:
  std::uint64_t now_us_ = 1'000'000;
  std::int64_t wall_offset_us_ = 1'700'000'000'000'000;
};

}  // namespace walraft::sim
