// One core against peers that no working node is: of another disk, of another cluster's making, with bugs.

#include <gtest/gtest.h>

#include <algorithm>

#include "replication/core/core.h"
#include "tests/model/core_probes.h"
#include "tests/sim/sim_rng.h"
#include "wal/base/probe.h"

namespace walraft::replication {
namespace {

constexpr NodeId kSelf{1}, kTwo{2}, kThree{3}, kStranger{9};
constexpr SessionId kSession{1, 1};

Uuid disk(NodeId node) { return Uuid{{static_cast<std::uint8_t>(node.value)}}; }

class CoreStrangersTest : public testing::Test {
 public:
  static void SetUpTestSuite() {
    for (Probe* probe : probes()) probe->reset();
  }

 protected:
  // Three voters; batches 3 and 4 of term 1, what is before them is trimmed; all durable, 4 known to be committed.
  void start() {
    Boot boot;
    boot.self = kSelf;
    boot.disk = disk(kSelf);
    boot.ballot = {Term(1), NodeId()};
    boot.log = LogTerms(TermEnd{Term(1), Index(3)}, {{Term(1), Index(5)}});
    boot.durable = Index(5);
    boot.commit = Index(4);
    for (const NodeId id : {kSelf, kTwo, kThree}) boot.members.members.push_back({id, disk(id), true});
    core_.emplace(std::move(boot), timing_, rng_, now_us_);
    core_->set_window(1'000);
    for (const Envelope& envelope : take().send) {  // nobody knows anything of this node
      const auto& question = std::get<BootQuestion>(std::get<ControlMessage>(envelope.message));
      const BootAnswer answer{question.nonce, Term(1), disk(envelope.to), Remembered{kSelf}};
      core_->receive(envelope.to, answer, now_us_);
    }
    ASSERT_FALSE(core_->asking());
  }
  // Leader of term 2, its NOOP at 5.
  void lead() {
    start();
    now_us_ += 3 * timing_.election_timeout_us;
    core_->tick(now_us_, 0);
    core_->receive(kTwo, VoteReply{Term(1), Term(2), true, true, disk(kTwo), {}}, now_us_);
    persist();
    core_->receive(kTwo, VoteReply{Term(2), Term(2), false, true, disk(kTwo), {Term(1), Index(5)}}, now_us_);
    ASSERT_EQ(core_->role(), Role::leader);
    core_->on_appended({}, now_us_);
    take();
  }
  // Follower of node 2 in term 2; the session it asks for.
  SessionId follow() {
    start();
    core_->receive(kTwo, Heartbeat{Term(2), 1, 1, Index(), DiskState::healthy, SessionId(), {}}, now_us_);
    persist();
    core_->tick(now_us_, 0);
    return only<Hello>().session;
  }
  Welcome welcome(const SessionId& session) {
    Welcome message;
    message.session = session;
    message.term = Term(2);
    message.match = Index(5);
    message.match_term = Term(1);
    message.history = {{Term(1), Index(5)}, {Term(2), Index(6)}};
    message.end = Index(6);
    return message;
  }
  // Follower of node 2 that streams, with nothing to cut.
  SessionId stream() {
    const SessionId session = follow();
    core_->receive(kTwo, welcome(session), now_us_);
    core_->on_digest(Index(5), Digest{}, now_us_);
    EXPECT_EQ(core_->upstream().state(), Upstream::State::streaming);
    take();
    return session;
  }

  // What a follower of this leader has when its log is as long and the same.
  Hello hello() {
    Hello message;
    message.session = kSession;
    message.term = Term(2);
    message.disk = disk(kTwo);
    message.commit = Index(4);
    message.end = message.durable = Index(5);
    message.history = {{Term(1), Index(5)}};
    message.window_bytes = 1'000;
    return message;
  }
  // Until it may answer.
  void welcome_two() {
    core_->receive(kTwo, hello(), now_us_);
    core_->on_digest(Index(5), Digest{}, now_us_);
    EXPECT_EQ(only<Welcome>().match, Index(5));
  }
  void expect_refused(NodeId from, const Hello& message, RefuseReason reason) {
    core_->receive(from, message, now_us_);
    const Refuse refuse = only<Refuse>();
    EXPECT_EQ(refuse.reason, reason);
    EXPECT_EQ(refuse.session, message.session);
    if (core_->leading() && core_->leading()->peers().contains(from)) {
      EXPECT_EQ(core_->leading()->peers().at(from).state(), PeerFlow::State::none);
    }
  }

  Ready take() { return core_->ready(); }
  void persist() {
    if (const Ready ready = take(); ready.persist) core_->on_persisted(ready.persist->version, now_us_);
  }
  template <class Message>
  Message only() {
    std::vector<Message> found;
    for (const Envelope& envelope : take().send) {
      const auto* stream = std::get_if<StreamMessage>(&envelope.message);
      if (stream != nullptr && std::holds_alternative<Message>(*stream)) found.push_back(std::get<Message>(*stream));
    }
    EXPECT_EQ(found.size(), 1U);
    return found.empty() ? Message{} : found.front();
  }
  void expect_session_of_two_is_over() {
    EXPECT_EQ(only<Close>().reason, CloseReason::protocol);
    EXPECT_EQ(core_->leading()->peers().at(kTwo).state(), PeerFlow::State::none);
  }

  Timing timing_;
  sim::SimRng rng_{1};
  std::uint64_t now_us_ = 1'000'000;
  std::optional<Core> core_;
};

// --- To a leader

TEST_F(CoreStrangersTest, WhoIsNoMemberIsRefused) {
  lead();
  expect_refused(kStranger, hello(), RefuseReason::removed);
}

TEST_F(CoreStrangersTest, AMemberOnAnotherDiskIsRefused) {
  lead();
  Hello message = hello();
  message.disk = disk(kStranger);
  expect_refused(kTwo, message, RefuseReason::amnesia);
}

TEST_F(CoreStrangersTest, WhoCommittedWhatTheLeaderDoesNotHaveIsRefusedAndNeverRepaired) {
  lead();
  Hello message = hello();
  message.history = {{Term(1), Index(8)}};
  message.end = message.durable = Index(8);
  message.commit = Index(6);
  expect_refused(kTwo, message, RefuseReason::diverged);
}

TEST_F(CoreStrangersTest, WhatIsTrimmedIsSaidToBe) {
  lead();
  Hello message = hello();
  message.commit = message.end = message.durable = Index(2);
  message.history = {{Term(), Index()}, {Term(1), Index(2)}};
  expect_refused(kTwo, message, RefuseReason::trimmed);
  message.commit = message.end = message.durable = Index();
  message.history = {{Term(), Index()}};
  expect_refused(kTwo, message, RefuseReason::trimmed);
  message.history_complete = false;
  expect_refused(kTwo, message, RefuseReason::more_history);
}

TEST_F(CoreStrangersTest, AnAcceptOfAnotherMatchEndsTheSession) {
  lead();
  welcome_two();
  core_->receive(kTwo, Accept{kSession, Term(2), Index(4), Index(4)}, now_us_);
  expect_session_of_two_is_over();
}

TEST_F(CoreStrangersTest, AnAckOfWhatWasNeverSentEndsTheSessionAndCommitsNothing) {
  lead();
  welcome_two();
  core_->receive(kTwo, Accept{kSession, Term(2), Index(5), Index(5)}, now_us_);
  core_->receive(kTwo, Ack{kSession, Term(2), Index(6), Index(6), 0, 0, 1'000}, now_us_);
  expect_session_of_two_is_over();
  core_->on_durable(Index(6), now_us_);
  EXPECT_EQ(core_->commit(), Index(4));
}

TEST_F(CoreStrangersTest, AHelloOfAHigherTermDeposes) {
  lead();
  Hello message = hello();
  message.term = Term(7);
  core_->receive(kTwo, message, now_us_);
  EXPECT_EQ(core_->role(), Role::follower);
  EXPECT_EQ(core_->term(), Term(7));
  persist();
  EXPECT_EQ(only<Refuse>().reason, RefuseReason::not_leader);
}

TEST_F(CoreStrangersTest, AnotherLeaderOfItsOwnTermHaltsIt) {  // inv:R1
  lead();
  core_->receive(kTwo, Heartbeat{Term(2), 1, 1, Index(), DiskState::healthy, SessionId(), {}}, now_us_);
  EXPECT_EQ(core_->halted(), "two leaders in term 2: 1 and 2");
  EXPECT_EQ(take().halt, core_->halted());
  EXPECT_FALSE(core_->stamp()) << "and nothing more is done";
}

// --- To a follower

TEST_F(CoreStrangersTest, ASecondLeaderOfATermHaltsAFollower) {  // inv:R1
  stream();
  core_->receive(kThree, Heartbeat{Term(2), 1, 9, Index(), DiskState::healthy, SessionId()}, now_us_);
  EXPECT_EQ(core_->halted(), "two leaders in term 2: 2 and 3");
  core_->receive(kTwo, Heartbeat{Term(2), 1, 2, Index(), DiskState::healthy, SessionId()}, now_us_);
  EXPECT_TRUE(take().send.empty());
}

TEST_F(CoreStrangersTest, ALeaderThatRefusesForDivergenceHaltsAFollower) {
  const SessionId session = follow();
  core_->receive(kTwo, Refuse{session, Term(2), RefuseReason::diverged, kTwo}, now_us_);
  EXPECT_EQ(core_->halted(), "the leader does not have what is committed here");
}

TEST_F(CoreStrangersTest, AWelcomeThatPartsBelowTheCommitHaltsAFollower) {
  Welcome message = welcome(follow());
  message.match = Index(3);
  message.history = {{Term(1), Index(3)}, {Term(2), Index(6)}};
  core_->receive(kTwo, message, now_us_);
  EXPECT_EQ(core_->halted(), "the leader's log parts from ours at 3, below our commit 4");
}

TEST_F(CoreStrangersTest, AnotherDigestAtTheMatchHaltsAFollower) {
  const SessionId session = follow();
  core_->receive(kTwo, welcome(session), now_us_);
  core_->on_digest(Index(5), Digest{1, 2}, now_us_);
  ASSERT_TRUE(core_->halted().has_value());
  EXPECT_EQ(core_->halted()->find("the digests at the match point 5 differ"), 0U) << *core_->halted();
}

TEST_F(CoreStrangersTest, AWelcomeThatDisagreesEndsTheSession) {
  Welcome message = welcome(follow());
  message.match = Index(4);
  core_->receive(kTwo, message, now_us_);
  EXPECT_EQ(only<Close>().reason, CloseReason::protocol);
  EXPECT_FALSE(core_->halted());
}

TEST_F(CoreStrangersTest, AFrameWhoseBatchesDoNotFollowEachOtherIsNotTaken) {
  const std::vector<std::vector<Entry>> wrong{
      {{Index(6), Term(2)}},                               // not where the frame begins
      {{Index(5), Term(2)}, {Index(7), Term(2)}},          // one is left out
      {{Index(5), Term(2)}, {Index(6), Term(1)}},          // terms never fall
      {{Index(5), Term(3)}},                               // of a term that its leader is not in
      {{Index(5), Term(2)}, {Index(6), Term(2), false}},   // its digest does not follow
  };
  for (const auto& entries : wrong) {
    const SessionId session = stream();
    const EntriesHead head{session, Term(2), Index(5), Term(1), Index()};
    EXPECT_EQ(core_->receive_entries(kTwo, head, entries, now_us_), Core::Frame::drop);
    EXPECT_EQ(only<Close>().reason, CloseReason::protocol);
    EXPECT_EQ(core_->log().end(), Index(5)) << "none of them, not even the first";
  }
  const SessionId session = stream();
  const EntriesHead head{session, Term(2), Index(5), Term(1), Index()};
  const std::vector<Entry> right{{Index(5), Term(1)}, {Index(6), Term(2)}};
  EXPECT_EQ(core_->receive_entries(kTwo, head, right, now_us_), Core::Frame::append);
  EXPECT_EQ(core_->log().end(), Index(7));
}

// --- To either

TEST_F(CoreStrangersTest, AVoteRequestOfAnotherDiskMovesNoTerm) {
  start();
  now_us_ += timing_.election_timeout_us;
  core_->receive(kTwo, VoteRequest{Term(9), false, VoteReason::timeout, disk(kStranger), {Term(8), Index(50)}},
                 now_us_);
  EXPECT_EQ(core_->term(), Term(1));
  EXPECT_TRUE(take().send.empty());
}

// The last one of its suite: the others have passed every branch that the list leaves to them.
TEST_F(CoreStrangersTest, NoBranchThatIsLeftToThemIsLeftOut) {
  if (!kHasMutants) GTEST_SKIP() << "NOT RUN probes: they are not compiled in (-DWALRAFT_MUTANTS=ON)";
  const auto* suite = testing::UnitTest::GetInstance()->current_test_suite();
  if (suite->test_to_run_count() != suite->total_test_count()) GTEST_SKIP() << "NOT RUN probes: not all tests are run";
  const auto known = probes();
  for (const std::string_view name : model::kReachedByHand) {
    const auto at = std::find_if(known.begin(), known.end(), [&](const Probe* p) { return p->name() == name; });
    EXPECT_TRUE(at != known.end() && (*at)->passed() > 0) << "no test of this suite reaches: " << name;
  }
}

}  // namespace
}  // namespace walraft::replication
