// One core, fed by hand: what went wrong once.

#include <gtest/gtest.h>

#include "replication/core/core.h"
#include "tests/sim/sim_rng.h"

namespace walraft::replication {
namespace {

constexpr NodeId kSelf{1}, kLeader{2}, kThird{3};

Uuid disk(NodeId node) { return Uuid{{static_cast<std::uint8_t>(node.value)}}; }

class CoreTest : public testing::Test {
 protected:
  // Batches 0..4 of term 1, durable; three voters.
  void start() {
    Boot boot;
    boot.self = kSelf;
    boot.disk = disk(kSelf);
    boot.ballot = {Term(1), NodeId()};
    boot.log = LogTerms(TermEnd{}, {{Term(1), Index(5)}});
    boot.durable = Index(5);
    for (const NodeId id : {kSelf, kLeader, kThird}) boot.members.members.push_back({id, disk(id), true});
    core_.emplace(std::move(boot), timing_, rng_, now_us_);
    core_->set_window(1'000);
    answer_boot();
  }
  // Nobody knows anything of this node.
  void answer_boot() {
    for (const Envelope& envelope : ready().send) {
      const auto* message = std::get_if<ControlMessage>(&envelope.message);
      const auto* question = message == nullptr ? nullptr : std::get_if<BootQuestion>(message);
      if (question == nullptr) continue;
      core_->receive(envelope.to, BootAnswer{question->nonce, Term(), disk(envelope.to), Remembered{kSelf}}, now_us_);
    }
    ASSERT_FALSE(core_->asking());
  }
  Ready ready() { return core_->ready(); }
  void persist(const Ready& ready) {
    if (ready.persist) core_->on_persisted(ready.persist->version, now_us_);
  }
  void tick_after(std::uint64_t us, std::uint64_t oldest_write_us = 0) {
    now_us_ += us;
    core_->tick(now_us_, oldest_write_us);
  }

  Timing timing_;
  sim::SimRng rng_{1};
  std::uint64_t now_us_ = 1'000'000;
  std::optional<Core> core_;
};

// It asked for pre-votes, then its leader was heard on the stream and had it cut its log, then the pre-votes came: it
// stood, with batches that it was about to lose, won, and lost them as the leader. Found by a random run.
TEST_F(CoreTest, ALogThatIsBeingCutDoesNotStand) {
  start();
  core_->receive(kLeader, Heartbeat{Term(2), 1, 1, Index(), DiskState::healthy, SessionId(), {}}, now_us_);
  persist(ready());
  tick_after(10'000);
  SessionId session;
  for (const Envelope& envelope : ready().send) {
    if (const auto* message = std::get_if<StreamMessage>(&envelope.message))
      session = std::get<Hello>(*message).session;
  }
  ASSERT_NE(session, SessionId());
  Welcome welcome;
  welcome.session = session;
  welcome.term = Term(2);
  welcome.match = Index(3);
  welcome.match_term = Term(1);
  welcome.history = {{Term(1), Index(3)}, {Term(2), Index(4)}};
  welcome.end = Index(4);
  core_->receive(kLeader, welcome, now_us_);
  EXPECT_EQ(ready().look_up, std::vector<Index>{Index(3)});
  tick_after(2 * timing_.election_timeout_us);
  ASSERT_EQ(core_->role(), Role::candidate);
  ready();
  ASSERT_EQ(core_->upstream().state(), Upstream::State::checking);
  core_->on_digest(Index(3), Digest{}, now_us_);
  ASSERT_EQ(ready().truncate_to, Index(3));
  core_->receive(kThird, VoteReply{Term(2), Term(3), true, true, disk(kThird)}, now_us_);
  EXPECT_EQ(core_->role(), Role::follower);
  EXPECT_EQ(core_->term(), Term(2));
  core_->on_truncated(now_us_);
  EXPECT_EQ(core_->log().end(), Index(3));
}

// It ended the process once: a ballot that is older than the log was lost, or brought back from somewhere.
TEST_F(CoreTest, ALostBallotMakesTheLogASuspectOne) {
  Boot boot;
  boot.self = kSelf;
  boot.disk = disk(kSelf);
  boot.log = LogTerms(TermEnd{}, {{Term(3), Index(5)}});
  boot.durable = Index(5);
  for (const NodeId id : {kSelf, kLeader, kThird}) boot.members.members.push_back({id, disk(id), true});
  core_.emplace(std::move(boot), timing_, rng_, now_us_);
  EXPECT_TRUE(core_->suspect());
  EXPECT_EQ(core_->ballot(), (Ballot{Term(3), NodeId()}));
  const Ready first = ready();
  EXPECT_TRUE(first.suspect);
  ASSERT_TRUE(first.persist);
  EXPECT_EQ(first.persist->ballot, core_->ballot());
  EXPECT_TRUE(first.send.empty()) << "before it is durable";
  persist(first);
  VoteRequest request;
  request.term = Term(3);
  request.disk = disk(kThird);
  request.log = {Term(3), Index(9)};
  core_->receive(kThird, request, now_us_);
  EXPECT_EQ(core_->ballot().vote, NodeId());
}

// A node on a disk that is not the registered one does not even ask.
TEST_F(CoreTest, AnotherDiskDoesNotStand) {
  Boot boot;
  boot.self = kSelf;
  boot.disk = disk(kThird);
  boot.members.members = {{kSelf, disk(kSelf), true}};
  core_.emplace(std::move(boot), timing_, rng_, now_us_);
  for (int i = 0; i < 10; ++i) tick_after(timing_.election_timeout_us);
  EXPECT_EQ(core_->role(), Role::follower);
}

}  // namespace
}  // namespace walraft::replication
