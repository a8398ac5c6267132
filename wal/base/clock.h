#pragma once

// Time and chance come in through the door: nothing under wal/ or replication/core reads a clock or
// a random number but through these, so that a simulator can hand out its own.

#include <cstdint>

#include "wal/base/ids.h"

namespace walraft {

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; starts anywhere. For ages and deadlines.
  virtual std::uint64_t monotonic_us() = 0;
  // Microseconds since 1970-01-01 UTC; may jump. For timestamps only.
  virtual std::int64_t wall_us() = 0;
};

class Rng {
 public:
  virtual ~Rng() = default;
  virtual std::uint64_t next() = 0;  // uniform over all 64-bit values
};

Uuid random_uuid(Rng& rng);

// The machine's clocks, and its entropy. Any thread.
Clock& system_clock();
Rng& system_rng();

}  // namespace walraft
