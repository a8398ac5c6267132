// Who takes part in a log, as its batches say.

#include "replication/core/membership.h"

#include <gtest/gtest.h>

namespace walraft::replication {
namespace {

Uuid disk(std::uint8_t n) { return Uuid{{n}}; }
Configuration voters(std::initializer_list<std::uint16_t> nodes) {
  Configuration configuration;
  for (const std::uint16_t n : nodes) {
    configuration.members.push_back({NodeId{n}, disk(static_cast<std::uint8_t>(n)), true});
  }
  return configuration;
}

TEST(Configuration, ALearnerIsAMemberWithoutAVote) {
  Configuration three = voters({1, 2, 3});
  three.members[2].voter = false;
  EXPECT_EQ(three.voters(), 2U);
  EXPECT_TRUE(three.is_voter(NodeId{2}));
  EXPECT_FALSE(three.is_voter(NodeId{3}));
  ASSERT_NE(three.find(NodeId{3}), nullptr);
  EXPECT_EQ(three.find(NodeId{3})->disk, disk(3));
}

TEST(Configuration, WhoIsNotNamedIsNoMember) {
  EXPECT_EQ(voters({1, 2}).find(NodeId{3}), nullptr);
  EXPECT_FALSE(voters({1, 2}).is_voter(NodeId{3}));
  EXPECT_FALSE(voters({1, 2}).is_voter(NodeId()));
  EXPECT_EQ(Configuration().voters(), 0U);
}

TEST(Membership, TheBaseHoldsUntilABatchSaysOtherwise) {
  const Membership membership(voters({1}));
  EXPECT_EQ(membership.active(), voters({1}));
  EXPECT_EQ(membership.active_index(), Index());
}

TEST(Membership, TheNewestHoldsFromItsAppendOn) {  // proto:P21
  Membership membership(voters({1}));
  membership.append(Index(4), voters({1, 2}));
  EXPECT_EQ(membership.active(), voters({1, 2}));
  EXPECT_EQ(membership.active_index(), Index(4));
  membership.append(Index(7), voters({1, 2, 3}));
  EXPECT_EQ(membership.active(), voters({1, 2, 3}));
  EXPECT_EQ(membership.active_index(), Index(7));
}

TEST(Membership, ACutUndoesWhatItRemovesAndNothingElse) {
  Membership membership(voters({1}));
  membership.append(Index(4), voters({1, 2}));
  membership.append(Index(7), voters({1, 2, 3}));
  membership.truncate(Index(8));
  EXPECT_EQ(membership.active_index(), Index(7)) << "its batch stays";
  membership.truncate(Index(7));
  EXPECT_EQ(membership.active(), voters({1, 2})) << "its batch is gone";
  membership.append(Index(9), voters({2, 3}));
  membership.truncate(Index(2));
  EXPECT_EQ(membership.active(), voters({1})) << "both at once";
  EXPECT_EQ(membership.active_index(), Index());
}

}  // namespace
}  // namespace walraft::replication
