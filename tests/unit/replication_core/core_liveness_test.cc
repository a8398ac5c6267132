// After trouble a healthy majority settles, whatever the rest does. A failure prints its seed: WALRAFT_CORE_SEED=N.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
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
  const std::uint64_t base =
      one != 0 ? one : number_from("WALRAFT_CORE_BASE", std::chrono::system_clock::now().time_since_epoch().count());
  const std::uint64_t runs = one != 0 ? 1 : number_from("WALRAFT_CORE_RUNS", 1'000);
  std::uint64_t longest_us = 0;
  for (std::uint64_t seed = base; seed < base + runs; ++seed) {
    const CoreLiveness run = run_core_liveness(seed);
    ASSERT_EQ(run.violation, "") << "replay: WALRAFT_CORE_SEED=" << seed;
    longest_us = std::max(longest_us, run.settled_us);
  }
  std::cout << runs << " runs from seed " << base << " settled, the slowest in " << longest_us / 1'000 << " ms\n";
}

// One way of a stream gone without a word; a leader that had lost the others and did not know it yet; votes of an old
// term that come when a newer one has committed.
TEST(CoreLiveness, SeedsThatOnceFailed) {
  for (const std::uint64_t seed : {703'887UL, 1'795'470'225'834'386'065UL, 2'253UL}) {
    EXPECT_EQ(run_core_liveness(seed).violation, "") << "seed " << seed;
  }
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
