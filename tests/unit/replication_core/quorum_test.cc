// Majorities, against counting.

#include "replication/core/quorum.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_rng.h"

namespace walraft::replication {
namespace {

TEST(Quorum, AnyTwoMajoritiesShareAMemberAndNoSmallerSetsDo) {
  for (std::size_t voters = 1; voters <= 9; ++voters) {
    EXPECT_GT(2 * quorum_size(voters), voters);
    EXPECT_LE(2 * (quorum_size(voters) - 1), voters);
  }
}

TEST(Quorum, ValueOfAFewVoters) {
  EXPECT_EQ(quorum_value(std::vector{7}), 7);
  EXPECT_EQ(quorum_value(std::vector{7, 5}), 5) << "two need each other";
  EXPECT_EQ(quorum_value(std::vector{9, 0, 5}), 5);
  EXPECT_EQ(quorum_value(std::vector{9, 8, 5, 0}), 5) << "three of four";
  EXPECT_EQ(quorum_value(std::vector{0, 0, 3, 4, 4}), 3);
}

TEST(Quorum, ValueIsTheLargestThatAMajorityReaches) {
  sim::SimRng rng(3);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::uint64_t> values(1 + rng.below(9));
    for (std::uint64_t& value : values) value = rng.below(10);
    std::uint64_t truth = 0;
    for (std::uint64_t candidate = 0; candidate < 10; ++candidate) {
      const auto reach = std::count_if(values.begin(), values.end(), [&](std::uint64_t v) { return v >= candidate; });
      if (static_cast<std::size_t>(reach) * 2 > values.size()) truth = candidate;
    }
    ASSERT_EQ(quorum_value(values), truth);
  }
}

}  // namespace
}  // namespace walraft::replication
