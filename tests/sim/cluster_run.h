#pragma once

// One run of a simulated cluster from a seed: safety (trouble to the end, then the history of the clients is checked), or
// liveness (trouble, then a majority is well and must become one cluster that works; reliability.md 5.3).

#include <cstdint>
#include <string>

namespace walraft::sim {

enum class Mode : std::uint8_t { safety, liveness, calm };  // calm: without trouble

struct ClusterRun {
  std::string violation;  // empty: none
  std::string knobs;
  std::uint64_t events = 0;
  std::uint64_t virtual_us = 0;
  std::uint64_t committed = 0;  // batches
  std::uint64_t acknowledged = 0;  // appends
  std::uint64_t delivered = 0;  // records to readers
  std::uint64_t reads = 0;
  std::uint64_t settled_us = 0;  // liveness: after the end of the trouble
  std::uint64_t trace = 0;  // a hash of everything that happened
};

// `show` prints each event to stdout.
ClusterRun run_cluster(std::uint64_t seed, Mode mode, bool show = false);

}  // namespace walraft::sim
