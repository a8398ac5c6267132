// What a follower may take for committed.

#include "replication/core/follower_commit.h"

#include <gtest/gtest.h>

namespace walraft::replication {
namespace {

constexpr Term kTerm{4};

// Its log is known to be the leader's up to 5.
FollowerCommit verified() {
  FollowerCommit commit;
  commit.verify(kTerm, Index(5));
  return commit;
}

TEST(FollowerCommit, KnowsNothingAtFirst) {
  const FollowerCommit commit;
  EXPECT_EQ(commit.commit(), Index());
  EXPECT_EQ(commit.verified(), Index());
  EXPECT_EQ(commit.pending(), Index());
}

TEST(FollowerCommit, ACommitCountsUpToWhatIsVerifiedAndTheRestLater) {  // proto:P4, redpanda:31642
  FollowerCommit commit = verified();
  commit.learn(kTerm, Index(9));
  EXPECT_EQ(commit.commit(), Index(5));
  EXPECT_EQ(commit.pending(), Index(9));
  commit.extend(Index(8));
  EXPECT_EQ(commit.commit(), Index(8));
  commit.extend(Index(12));
  EXPECT_EQ(commit.commit(), Index(9));
}

TEST(FollowerCommit, AnOlderCommitTakesNothingBack) {
  FollowerCommit commit = verified();
  commit.learn(kTerm, Index(4));
  commit.learn(kTerm, Index(2));
  EXPECT_EQ(commit.commit(), Index(4));
}

TEST(FollowerCommit, ACommitOfAnotherTermSaysNothingOfThisLog) {
  FollowerCommit commit = verified();
  commit.learn(Term(3), Index(5));
  commit.learn(Term(5), Index(5));
  EXPECT_EQ(commit.commit(), Index());
  EXPECT_EQ(commit.pending(), Index()) << "nor is it remembered";
  EXPECT_EQ(commit.term(), kTerm);
}

TEST(FollowerCommit, WhatIsPendingOfATermEndsWithIt) {
  FollowerCommit commit = verified();
  commit.learn(kTerm, Index(9));
  commit.verify(Term(5), Index(5));
  EXPECT_EQ(commit.commit(), Index());
  commit.extend(Index(12));
  EXPECT_EQ(commit.commit(), Index()) << "the other leader's batches 5 to 8 may be others";
  commit.learn(Term(5), Index(7));
  EXPECT_EQ(commit.commit(), Index(7));
}

TEST(FollowerCommit, AnotherHandshakeInTheSameTermKeepsWhatIsPending) {
  FollowerCommit commit = verified();
  commit.learn(kTerm, Index(9));
  commit.verify(kTerm, Index(6));
  EXPECT_EQ(commit.commit(), Index(6));
  EXPECT_EQ(commit.pending(), Index(9));
}

TEST(FollowerCommit, ACutLowersWhatIsVerified) {
  FollowerCommit commit = verified();
  commit.learn(kTerm, Index(9));
  commit.extend(Index(3));
  EXPECT_EQ(commit.commit(), Index(3));
}

}  // namespace
}  // namespace walraft::replication
