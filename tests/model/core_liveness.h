#pragma once

// After trouble, a majority that is well and connected, while the rest stays down, cut off or with a disk that hangs:
// within a bounded time it has one leader, everybody streams, commits are equal, a proposal commits, and then nothing
// changes any more (reliability: L1-L3).

#include <cstdint>
#include <string>

namespace walraft::model {

struct CoreLiveness {
  std::string violation;  // empty: none
  std::uint64_t settled_us = 0;  // how long it took from the end of the trouble
};

CoreLiveness run_core_liveness(std::uint64_t seed);

}  // namespace walraft::model
