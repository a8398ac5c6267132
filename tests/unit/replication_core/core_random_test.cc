// Random runs of the core alone: any order of messages, losses, doubles, broken streams, crashes and slow disks; every
// invariant after every step. A failure prints its seed: WALRAFT_CORE_SEED=N runs that one.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/model/core_run.h"
#include "wal/base/mutant.h"

namespace walraft::model {
namespace {

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(CoreRandom, EveryInvariantHolds) {
  const std::uint64_t one = number_from("WALRAFT_CORE_SEED", 0);
  if (one != 0) {
    const CoreRun run = run_core(one, 4'000, true);
    ASSERT_EQ(run.violation, "") << "seed " << one << ", step " << run.steps;
    return;
  }
  const std::uint64_t base =
      number_from("WALRAFT_CORE_BASE", std::chrono::system_clock::now().time_since_epoch().count());
  const std::uint64_t runs = number_from("WALRAFT_CORE_RUNS", 300);
  std::uint64_t steps = 0;
  std::uint64_t committed = 0;
  std::uint64_t reads = 0;
  for (std::uint64_t i = 0; i < runs; ++i) {
    const std::uint64_t seed = base + i;
    const CoreRun run = run_core(seed, 4'000, false);
    ASSERT_EQ(run.violation, "") << "replay: WALRAFT_CORE_SEED=" << seed << ", step " << run.steps;
    steps += run.steps;
    committed += run.committed;
    reads += run.reads;
  }
  std::cout << runs << " runs from seed " << base << ": " << steps << " steps, " << committed << " batches committed, "
            << reads << " reads answered\n";
  EXPECT_GT(committed, runs);
  EXPECT_GT(reads, runs / 4);
}

TEST(CoreRandom, TheSameSeedIsTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    EXPECT_EQ(run_core(seed, 2'000, false).trace, run_core(seed, 2'000, false).trace);
}

}  // namespace
}  // namespace walraft::model
