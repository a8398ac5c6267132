#pragma once

// The protocol's time limits, all from one number. Microseconds.

#include <algorithm>
#include <cstdint>

namespace walraft::replication {

struct Timing {
  std::uint64_t election_timeout_us = 1'000'000;  // ET; the real one is drawn from [ET, 2 ET) each time

  constexpr std::uint64_t heartbeat_us() const { return election_timeout_us / 10; }
  // A write that is older than this makes its disk a stalled one; older than half of it a slow one.
  constexpr std::uint64_t disk_stall_us() const { return std::max<std::uint64_t>(2 * election_timeout_us, 2'000'000); }
  // A stream on which nothing came for this long is dead, heartbeats or not. Longer than ET: losing a stream must not
  // start an election where losing the leader has to (two time scales, proto:P13).
  constexpr std::uint64_t stream_dead_us() const { return 4 * election_timeout_us; }
  // A leader that gave up for its streams does not come back at once (proto:P24).
  constexpr std::uint64_t barred_us() const { return 4 * election_timeout_us; }
  // A leader that gave up for its disk comes back when the disk has been well for this long.
  constexpr std::uint64_t quarantine_us() const { return 2 * disk_stall_us(); }
  // A leader whose disk is slow hands over, and leadership that was handed over stays for this long: two slow disks do
  // not pass it to and fro.
  constexpr std::uint64_t hand_over_rest_us() const { return 60'000'000; }
  // How long a node that has started waits for those that may be down, when enough others have answered (boot_check.h).
  constexpr std::uint64_t boot_wait_us() const { return 2 * heartbeat_us(); }
  constexpr std::uint64_t redial_min_us() const { return 5'000; }
  constexpr std::uint64_t redial_max_us() const { return std::max<std::uint64_t>(election_timeout_us / 2, 5'000); }
};

}  // namespace walraft::replication
