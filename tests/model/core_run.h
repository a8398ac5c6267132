#pragma once

// One random run of a CoreWorld: the seed draws the number of nodes, how often things go wrong, and every step.

#include <cstdint>
#include <string>

namespace walraft::model {

struct CoreRun {
  std::string violation;  // empty: none
  std::uint64_t steps = 0;
  std::uint64_t committed = 0;
  std::uint64_t reads = 0;
  std::uint64_t trace = 0;  // a hash of everything that happened
};

// At most `steps`; ends at the first violation. `show` prints each step to stdout.
CoreRun run_core(std::uint64_t seed, std::uint64_t steps, bool show);

}  // namespace walraft::model
