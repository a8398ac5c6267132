// After trouble a healthy majority settles, whatever the rest does. A failure prints its seed: WALRAFT_CORE_SEED=N.
//
// The seeds are always the same ones: some 1 in 5,000 others do not settle yet (703887: one direction of a stream is
// gone, nobody hears of it, and the leader waits for an ACCEPT for ever). WALRAFT_CORE_BASE=N takes others.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "tests/model/core_liveness.h"
#include "wal/base/mutant.h"

namespace walraft::model {
namespace {

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(CoreLiveness, AHealthyMajoritySettles) {
  const std::uint64_t one = number_from("WALRAFT_CORE_SEED", 0);
  const std::uint64_t base = one != 0 ? one : number_from("WALRAFT_CORE_BASE", 1);
  const std::uint64_t runs = one != 0 ? 1 : number_from("WALRAFT_CORE_RUNS", 1'000);
  std::uint64_t longest_us = 0;
  for (std::uint64_t seed = base; seed < base + runs; ++seed) {
    const CoreLiveness run = run_core_liveness(seed);
    ASSERT_EQ(run.violation, "") << "replay: WALRAFT_CORE_SEED=" << seed;
    longest_us = std::max(longest_us, run.settled_us);
  }
  std::cout << runs << " runs from seed " << base << " settled, the slowest in " << longest_us / 1'000 << " ms\n";
}

// mutant:H8 breaks no invariant: only a leader that stays although nothing gets done shows it.
TEST(CoreLiveness, FindsALeaderThatStays) {
  if constexpr (!kHasMutants) {
    std::cout << "NOT RUN core_liveness: built without WALRAFT_MUTANTS\n";
    GTEST_SKIP();
  } else {
    set_mutant(Mutant::h8_no_step_down);
    std::uint64_t seed = 1;
    while (seed <= 2'000 && run_core_liveness(seed).violation.empty()) ++seed;
    set_mutant(std::nullopt);
    EXPECT_LE(seed, 2'000U) << "h8_no_step_down was not found";
    std::cout << "h8_no_step_down: " << seed << " seeds\n";
    EXPECT_EQ(run_core_liveness(seed).violation, "") << "without the mutant, seed " << seed;
  }
}

}  // namespace
}  // namespace walraft::model
