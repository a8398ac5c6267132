// When a follower dials, under which name, and how long it waits after a loss.

#include "tests/unit/replication_core/upstream_fixture.h"

namespace walraft::replication::upstream_tests {
namespace {

TEST_F(UpstreamTest, DialsNobodyWithoutALeader) {
  tick_after(1'000'000);
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_EQ(upstream_.session(), SessionId());
  EXPECT_TRUE(outbox_.take().send.empty());
}

TEST_F(UpstreamTest, ShowsItsLogToANewLeaderAtTheNextTick) {
  upstream_.set_window(kWindow);
  suspect_ = true;
  upstream_.follow(kLeader, kTerm, now_us_);
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_TRUE(outbox_.take().send.empty());
  upstream_.tick(now_us_);
  EXPECT_EQ(upstream_.state(), State::dialing);
  const Hello hello = only<Hello>();
  EXPECT_EQ(hello.session, (SessionId{6, 1}));
  EXPECT_EQ(hello.session, upstream_.session());
  EXPECT_EQ(hello.term, kTerm);
  EXPECT_EQ(hello.disk, kDisk);
  EXPECT_EQ(hello.commit, commit_);
  EXPECT_EQ(hello.end, log_.end());
  EXPECT_EQ(hello.durable, durable_);
  EXPECT_EQ(hello.history, log_.history());
  EXPECT_TRUE(hello.history_complete);
  EXPECT_TRUE(hello.suspect);
  EXPECT_EQ(hello.window_bytes, kWindow);
  tick_after(1'000);
  EXPECT_TRUE(outbox_.take().send.empty()) << "one at a time";
}

TEST_F(UpstreamTest, WaitsForACutBeforeItShowsTheLog) {  // proto:P7
  truncating_ = true;
  follow();
  tick_after(10'000'000);
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_TRUE(outbox_.take().send.empty());
  log_.truncate(Index(3));
  truncating_ = false;
  upstream_.tick(now_us_);
  EXPECT_EQ(only<Hello>().end, Index(3));
}

TEST_F(UpstreamTest, TheSameLeaderAgainChangesNothingAndAnotherTermEndsTheSession) {
  follow();
  const SessionId first = upstream_.session();
  outbox_.take();
  follow();
  EXPECT_EQ(upstream_.session(), first);
  EXPECT_TRUE(outbox_.take().closed.empty());
  upstream_.follow(kLeader, Term(5), now_us_);
  EXPECT_EQ(upstream_.state(), State::idle);
  const Ready ready = outbox_.take();
  ASSERT_EQ(ready.closed.size(), 1U);
  EXPECT_EQ(ready.closed[0].peer, kLeader);
  EXPECT_EQ(ready.closed[0].session, first);
  upstream_.tick(now_us_);
  EXPECT_EQ(only<Hello>().term, Term(5));
}

TEST_F(UpstreamTest, SessionNamesOnlyGrow) {  // proto:P7
  SessionId last;
  for (int i = 0; i < 20; ++i) {
    if (i % 5 == 4) upstream_.leave();
    follow(i % 2 == 0 ? kLeader : kOther, Term(static_cast<std::uint64_t>(4 + i / 3)));
    waits_us();
    ASSERT_GT(upstream_.session(), last);
    last = upstream_.session();
    upstream_.lost(now_us_);
  }
}

TEST_F(UpstreamTest, OnlyTheCurrentSessionOfItsLeaderIsItsSession) {
  EXPECT_FALSE(upstream_.is_session(NodeId(), SessionId()));
  follow();
  const SessionId session = upstream_.session();
  EXPECT_TRUE(upstream_.is_session(kLeader, session));
  EXPECT_FALSE(upstream_.is_session(kOther, session));
  EXPECT_FALSE(upstream_.is_session(kLeader, {6, 2}));
  upstream_.lost(now_us_);
  EXPECT_FALSE(upstream_.is_session(kLeader, session)) << "it is over";
  EXPECT_EQ(upstream_.session(), SessionId()) << "and no heartbeat is answered with its name";
}

TEST_F(UpstreamTest, LeavingEndsTheSessionAndDialsNoMore) {
  stream();
  upstream_.leave();
  EXPECT_EQ(upstream_.leader(), NodeId());
  EXPECT_EQ(outbox_.take().closed.size(), 1U);
  upstream_.leave();
  tick_after(10'000'000);
  const Ready ready = outbox_.take();
  EXPECT_TRUE(ready.closed.empty() && ready.send.empty());
}

TEST_F(UpstreamTest, AHelloThatIsNotAnsweredForAnElectionTimeoutIsLost) {
  follow();
  outbox_.take();
  tick_after(timing_.election_timeout_us);
  EXPECT_EQ(upstream_.state(), State::dialing);
  tick_after(1);
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_EQ(outbox_.take().closed.size(), 1U);
}

// --- Waiting longer each time

TEST_F(UpstreamTest, EachLossDoublesTheWaitUpToALimit) {
  follow();
  std::uint64_t backoff_us = timing_.redial_min_us();
  for (int i = 0; i < 12; ++i) {
    upstream_.lost(now_us_);
    const std::uint64_t waited_us = waits_us();
    EXPECT_GE(waited_us, backoff_us / 2);
    EXPECT_LE(waited_us, backoff_us);
    backoff_us = std::min(2 * backoff_us, timing_.redial_max_us());
  }
  EXPECT_EQ(backoff_us, timing_.redial_max_us()) << "the limit was reached";
}

TEST_F(UpstreamTest, AnAcceptedSessionOrANewLeaderStartsTheWaitAnew) {
  follow();
  for (int i = 0; i < 10; ++i) {
    upstream_.lost(now_us_);
    waits_us();
  }
  stream();
  upstream_.lost(now_us_);
  EXPECT_LE(waits_us(), timing_.redial_min_us());
  for (int i = 0; i < 10; ++i) {
    upstream_.lost(now_us_);
    waits_us();
  }
  follow(kOther, Term(5));
  EXPECT_EQ(upstream_.state(), State::dialing);
  upstream_.lost(now_us_);
  EXPECT_LE(waits_us(), timing_.redial_min_us());
}

}  // namespace
}  // namespace walraft::replication::upstream_tests
