// What shows that a disk is an older image of itself, and how many answers a start needs.

#include "replication/core/boot_check.h"

#include <gtest/gtest.h>

#include "replication/core/peer_memory.h"

namespace walraft::replication {
namespace {

constexpr NodeId kSelf{1}, kOther{2}, kThird{3};
constexpr std::uint64_t kStartUs = 1'000'000;

// Start 5 of a node that voted for node 2 in term 4 and has seven batches.
BootCheck::Image image() { return {kSelf, 5, {Term(4), kOther}, Index(7)}; }

Remembered known(std::uint64_t incarnation, Mark mark, Ballot vote) { return {kSelf, incarnation, mark, vote}; }

bool behind(const Remembered& known, bool used = false) { return BootCheck::behind(image(), known, used); }

Configuration members(std::uint16_t voters) {
  Configuration all;
  for (std::uint16_t i = 1; i <= voters; ++i) {
    all.members.push_back({NodeId{i}, Uuid{{static_cast<std::uint8_t>(i)}}, true});
  }
  return all;
}

TEST(BootCheckTest, NothingIsKnownOfADiskInOrder) {
  EXPECT_FALSE(behind(known(0, {}, {})));
  EXPECT_FALSE(behind(known(4, {Term(4), Index(7)}, {Term(4), kOther})));
  EXPECT_FALSE(behind(known(4, {Term(3), Index(9)}, {Term(3), kThird}))) << "cut since, in a newer term";
}

TEST(BootCheckTest, AnIncarnationThatIsUsedShowsIt) {
  EXPECT_TRUE(behind(known(6, {}, {})));
  EXPECT_TRUE(behind(known(5, {}, {}))) << "by another start: this one has not said it yet";
  EXPECT_FALSE(behind(known(5, {}, {}), true)) << "this one has";
}

TEST(BootCheckTest, AnAckThatIsForgottenShowsIt) {
  EXPECT_TRUE(behind(known(0, {Term(4), Index(8)}, {})));
  EXPECT_TRUE(behind(known(0, {Term(5), Index(0)}, {}))) << "a term, too";
}

TEST(BootCheckTest, AVoteThatIsForgottenShowsIt) {
  EXPECT_TRUE(behind(known(0, {}, {Term(5), kOther})));
  EXPECT_TRUE(behind(known(0, {}, {Term(4), kThird})));
}

class BootCheckAnswers : public testing::Test {
 protected:
  bool answer(NodeId from, const Remembered& known = {kSelf}, Term term = Term(4)) {
    return check_.on_answer(from, BootAnswer{7, term, Uuid{}, known}, image());
  }
  bool enough(std::uint16_t voters, std::uint64_t after_us) {
    return check_.enough(members(voters), timing_, kStartUs + after_us);
  }
  Timing timing_;
  BootCheck check_{kSelf, 7, kStartUs};
};

TEST_F(BootCheckAnswers, ASoleVoterNeedsNone) { EXPECT_TRUE(enough(1, 0)); }

TEST_F(BootCheckAnswers, AMajorityWaitsForTheRestButNotForEver) {
  EXPECT_FALSE(enough(5, 60'000'000));
  answer(NodeId{2});
  EXPECT_FALSE(enough(5, 60'000'000));
  answer(NodeId{2});
  EXPECT_FALSE(enough(5, 60'000'000)) << "twice the same";
  answer(NodeId{3});
  EXPECT_FALSE(enough(5, timing_.boot_wait_us() - 1));
  EXPECT_TRUE(enough(5, timing_.boot_wait_us()));
  answer(NodeId{4});
  answer(NodeId{9});
  EXPECT_FALSE(check_.all_told(members(5))) << "node 9 is no member";
  answer(NodeId{5});
  EXPECT_TRUE(check_.all_told(members(5)));
  EXPECT_TRUE(enough(5, 0));
}

// The limit: what nobody who answers knows is not found.
TEST_F(BootCheckAnswers, OneThatKnowsIsEnoughAndNoneIsNot) {
  EXPECT_FALSE(answer(kOther));
  EXPECT_TRUE(enough(3, timing_.boot_wait_us()));
  EXPECT_TRUE(answer(kThird, known(8, {Term(4), Index(9)}, {}), Term(6)));
  EXPECT_EQ(check_.told_term(), Term(6));
  EXPECT_EQ(check_.fresh_incarnation(5), 9U);
}

TEST_F(BootCheckAnswers, AsksThoseThatHaveNotAnsweredOnceAHeartbeat) {
  EXPECT_EQ(check_.to_ask(members(3), timing_, kStartUs).size(), 2U);
  EXPECT_TRUE(check_.to_ask(members(3), timing_, kStartUs + 1).empty());
  EXPECT_TRUE(check_.asks_back(kOther));
  EXPECT_FALSE(check_.asks_back(kOther));
  answer(kOther);
  EXPECT_EQ(check_.to_ask(members(3), timing_, kStartUs + timing_.heartbeat_us()), std::vector<NodeId>{kThird});
  EXPECT_FALSE(check_.asks_back(kOther)) << "it has answered";
}

TEST(PeerMemoryTest, KeepsTheHighestOfEach) {
  PeerMemory memory;
  EXPECT_EQ(memory.of(kOther).incarnation, 0U);
  memory.learn({kOther, 3, {Term(2), Index(9)}, {Term(2), kSelf}});
  memory.had(kOther, {Term(3), Index(1)});
  memory.had(kOther, {Term(2), Index(20)});
  memory.started(kOther, 2);
  memory.voted(kOther, {Term(1), kThird});
  EXPECT_EQ(memory.of(kOther).incarnation, 3U);
  EXPECT_EQ(memory.of(kOther).mark, (Mark{Term(3), Index(1)}));
  EXPECT_EQ(memory.of(kOther).vote, (Ballot{Term(2), kSelf}));
  EXPECT_EQ(memory.all().size(), 1U);
}

}  // namespace
}  // namespace walraft::replication
