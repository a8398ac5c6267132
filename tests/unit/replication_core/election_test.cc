// When a node campaigns, and how its campaign goes.

#include "replication/core/election.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/sim/sim_rng.h"

namespace walraft::replication {
namespace {

using Stage = Election::Stage;

constexpr NodeId kOne{1}, kTwo{2}, kThree{3};
const Timing kTiming;
constexpr std::uint64_t kEt = Timing().election_timeout_us;
constexpr std::uint64_t kStart = 7'000'000;

Configuration three() { return {{{kOne, Uuid{}, true}, {kTwo, Uuid{}, true}, {kThree, Uuid{}, true}}}; }

class ElectionTest : public testing::Test {
 protected:
  // How long after `now_us` it is due.
  std::uint64_t due_after(std::uint64_t now_us) const {
    std::uint64_t waited_us = 0;
    while (!election_.due(now_us + waited_us)) waited_us += 1'000;
    return waited_us;
  }

  sim::SimRng rng_{5};
  Election election_{kTiming, rng_, kStart};
};

// --- The timer

TEST_F(ElectionTest, EachTimeoutIsDrawnAnewBetweenOneAndTwoElectionTimeouts) {
  std::set<std::uint64_t> drawn;
  for (int i = 0; i < 200; ++i) {
    election_.rest(kStart);
    const std::uint64_t waited_us = due_after(kStart);
    EXPECT_GE(waited_us, kEt);
    EXPECT_LE(waited_us, 2 * kEt);
    drawn.insert(waited_us);
  }
  EXPECT_GT(drawn.size(), 100U);
  EXPECT_LT(*drawn.begin(), kEt + kEt / 10) << "all of the range is used";
  EXPECT_GT(*drawn.rbegin(), 2 * kEt - kEt / 10);
}

TEST_F(ElectionTest, AStartCountsAsHavingHeardALeader) {
  EXPECT_EQ(election_.stage(), Stage::quiet);
  EXPECT_TRUE(election_.sticky(kStart));
  EXPECT_FALSE(election_.due(kStart + kEt - 1));
  EXPECT_TRUE(election_.due(kStart + 2 * kEt));
}

TEST_F(ElectionTest, ALeaderThatIsHeardMovesTheDeadlineAndItsVotersStayForOneTimeout) {
  const std::uint64_t now_us = kStart + 3 * kEt;
  EXPECT_TRUE(election_.due(now_us));
  EXPECT_FALSE(election_.sticky(now_us));
  election_.heard_leader(now_us);
  EXPECT_FALSE(election_.due(now_us + kEt - 1));
  EXPECT_TRUE(election_.sticky(now_us + kEt - 1));
  EXPECT_FALSE(election_.sticky(now_us + kEt));
}

TEST_F(ElectionTest, RestingIsNoSignOfALeader) {
  const std::uint64_t now_us = kStart + 3 * kEt;
  election_.rest(now_us);
  EXPECT_FALSE(election_.due(now_us + kEt - 1));
  EXPECT_FALSE(election_.sticky(now_us));
}

TEST_F(ElectionTest, ALeaderThatIsLostLetsGoAtOnceAndShortensTheWait) {
  std::set<std::uint64_t> waits;
  for (int i = 0; i < 50; ++i) {
    election_.heard_leader(kStart);
    election_.lost_leader(kStart);
    EXPECT_FALSE(election_.sticky(kStart));
    waits.insert(due_after(kStart));
  }
  EXPECT_LE(*waits.rbegin(), kEt);
  EXPECT_GT(waits.size(), 20U) << "those who noticed together do not campaign together";
}

TEST_F(ElectionTest, ALeaderThatIsLostNeverPutsTheDeadlineOff) {
  election_.rest(kStart);
  const std::uint64_t at_us = kStart + due_after(kStart);
  for (int i = 0; i < 50; ++i) election_.lost_leader(at_us);
  EXPECT_TRUE(election_.due(at_us));
}

// --- Bars

TEST_F(ElectionTest, ABarHoldsWhateverTheTimerSays) {  // proto:P24
  const std::uint64_t until_us = kStart + 10 * kEt;
  election_.bar(until_us);
  EXPECT_TRUE(election_.barred(until_us - 1));
  EXPECT_FALSE(election_.due(until_us - 1));
  EXPECT_FALSE(election_.barred(until_us));
  EXPECT_TRUE(election_.due(until_us));
  election_.bar(until_us + kEt);
  election_.heard_leader(until_us);
  EXPECT_TRUE(election_.barred(until_us)) << "a leader that is heard lifts no bar";
}

// --- The campaign

TEST_F(ElectionTest, AsksThenCampaignsThenIsQuiet) {
  election_.ask(VoteReason::stream_dead, kStart);
  EXPECT_EQ(election_.stage(), Stage::asking);
  EXPECT_EQ(election_.reason(), VoteReason::stream_dead);
  EXPECT_FALSE(election_.due(kStart + kEt - 1)) << "the answers have time to come";
  election_.campaign(VoteReason::transfer, kStart + kEt);
  EXPECT_EQ(election_.stage(), Stage::campaigning);
  EXPECT_EQ(election_.reason(), VoteReason::transfer);
  EXPECT_FALSE(election_.due(kStart + 2 * kEt - 1));
  election_.stop();
  EXPECT_EQ(election_.stage(), Stage::quiet);
}

TEST_F(ElectionTest, WinsWithAMajorityOfVotersEachCountedOnce) {
  election_.ask(VoteReason::timeout, kStart);
  EXPECT_FALSE(election_.won(three()));
  election_.grant(kOne);
  election_.grant(kOne);
  EXPECT_FALSE(election_.won(three()));
  election_.grant(kThree);
  EXPECT_TRUE(election_.won(three()));
}

TEST_F(ElectionTest, LearnersAndStrangersDoNotCount) {
  Configuration members = three();
  members.members.push_back({NodeId{4}, Uuid{}, false});
  election_.ask(VoteReason::timeout, kStart);
  election_.grant(kOne);
  election_.grant(NodeId{4});
  election_.grant(NodeId{5});
  EXPECT_FALSE(election_.won(members));
  members.members.back().voter = true;  // the configuration that holds when they are counted
  EXPECT_FALSE(election_.won(members)) << "two of four";
  election_.grant(kTwo);
  EXPECT_TRUE(election_.won(members));
}

TEST_F(ElectionTest, HalfOfAnEvenNumberIsNoMajority) {
  const Configuration two{{{kOne, Uuid{}, true}, {kTwo, Uuid{}, true}}};
  election_.ask(VoteReason::timeout, kStart);
  election_.grant(kOne);
  EXPECT_FALSE(election_.won(two));
  election_.grant(kTwo);
  EXPECT_TRUE(election_.won(two));
}

TEST_F(ElectionTest, NoVoteOutlivesItsCampaign) {  // influx:S10
  election_.ask(VoteReason::timeout, kStart);
  election_.grant(kOne);
  election_.grant(kTwo);
  ASSERT_TRUE(election_.won(three()));
  election_.campaign(VoteReason::timeout, kStart);
  EXPECT_FALSE(election_.won(three())) << "a pre-vote is no vote";
  election_.grant(kOne);
  election_.grant(kTwo);
  election_.stop();
  EXPECT_FALSE(election_.won(three()));
  election_.campaign(VoteReason::timeout, kStart);
  election_.grant(kThree);
  EXPECT_FALSE(election_.won(three()));
}

}  // namespace
}  // namespace walraft::replication
