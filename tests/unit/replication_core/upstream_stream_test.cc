// A follower's stream when the handshake is over: what fits, what is acknowledged, and when it is dead.

#include "tests/unit/replication_core/upstream_fixture.h"

namespace walraft::replication::upstream_tests {
namespace {

TEST_F(UpstreamTest, AFrameFitsExactlyAtTheEnd) {  // proto:P2
  stream();
  EXPECT_TRUE(upstream_.fits({upstream_.session(), kTerm, Index(5), Term(1), Index()}, now_us_));
  EXPECT_EQ(upstream_.state(), State::streaming);
  EXPECT_TRUE(outbox_.take().send.empty());
  struct {
    Index from;
    Term from_term;
  } wrong[] = {{Index(4), Term(1)}, {Index(6), Term(1)}, {Index(5), Term(2)}, {Index(5), Term(0)}};
  for (const auto& [from, from_term] : wrong) {
    const SessionId session = upstream_.session();
    EXPECT_FALSE(upstream_.fits({session, kTerm, from, from_term, Index()}, now_us_));
    EXPECT_EQ(upstream_.state(), State::idle);
    const Close close = only<Close>();
    EXPECT_EQ(close.reason, CloseReason::protocol);
    EXPECT_EQ(close.session, session);
    waits_us();
    stream();
  }
}

TEST_F(UpstreamTest, ACommitDuringTheHandshakeIsRemembered) {
  follow();
  upstream_.on_commit({upstream_.session(), kTerm, Index(4)}, now_us_);
  EXPECT_EQ(follower_commit_.pending(), Index()) << "of a session that nobody welcomed yet";
  ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  upstream_.on_commit({upstream_.session(), kTerm, Index(5)}, now_us_);
  EXPECT_EQ(follower_commit_.pending(), Index()) << "the log may still differ";
  upstream_.on_commit({upstream_.session(), kTerm, Index(4)}, now_us_);
  std::optional<Index> cut;
  ASSERT_EQ(upstream_.on_digest(Index(5), kDigest, cut), std::nullopt);
  EXPECT_EQ(follower_commit_.commit(), Index(5));
  upstream_.on_commit({upstream_.session(), kTerm, Index(8)}, now_us_);
  EXPECT_EQ(follower_commit_.commit(), Index(5));
  EXPECT_EQ(follower_commit_.pending(), Index(8));
}

TEST_F(UpstreamTest, APingIsAnsweredFromTheStreamOnly) {
  follow();
  outbox_.take();
  upstream_.on_ping({upstream_.session(), kTerm, 1}, now_us_);
  EXPECT_TRUE(sent<Ack>().empty()) << "not before the handshake is over";
  stream();
  upstream_.set_queue_age_us(77);
  upstream_.on_ping({upstream_.session(), kTerm, 4}, now_us_);
  Ack ack = only<Ack>();
  EXPECT_EQ(ack.session, upstream_.session());
  EXPECT_EQ(ack.term, kTerm);
  EXPECT_EQ(ack.end, log_.end());
  EXPECT_EQ(ack.durable, durable_);
  EXPECT_EQ(ack.ping_seq, 4U);
  EXPECT_EQ(ack.queue_age_us, 77U);
  upstream_.on_ping({upstream_.session(), kTerm, 3}, now_us_);
  EXPECT_EQ(only<Ack>().ping_seq, 4U);
  upstream_.lost(now_us_);
  waits_us();
  stream();
  upstream_.acknowledge();
  EXPECT_EQ(only<Ack>().ping_seq, 0U) << "pings are counted in each session anew";
}

TEST_F(UpstreamTest, AnAckSpeaksOfWhatIsDurableNow) {  // proto:P6
  upstream_.acknowledge();
  EXPECT_TRUE(outbox_.take().send.empty()) << "there is no session";
  stream();
  for (int i = 0; i < 3; ++i) log_.append(kTerm);
  upstream_.acknowledge();
  Ack ack = only<Ack>();
  EXPECT_EQ(ack.end, Index(8));
  EXPECT_EQ(ack.durable, Index(4));
  durable_ = Index(8);
  upstream_.acknowledge();
  EXPECT_EQ(only<Ack>().durable, Index(8)) << "one ack for all three";
}

TEST_F(UpstreamTest, AWindowThatOpensIsAnnounced) {  // H5
  upstream_.set_window(kWindow);
  EXPECT_TRUE(outbox_.take().send.empty()) << "there is no session";
  stream();
  upstream_.set_window(2 * kWindow);
  upstream_.set_window(0);
  EXPECT_TRUE(outbox_.take().send.empty()) << "the next ack says it: acks go on";
  upstream_.acknowledge();
  EXPECT_EQ(only<Ack>().window_bytes, 0U);
  upstream_.set_window(kWindow);
  EXPECT_EQ(only<Ack>().window_bytes, kWindow) << "nothing else may come that would say so";
}

// --- Dead sessions

TEST_F(UpstreamTest, ASessionThatTheLeaderHasDroppedIsLost) {
  stream();  // welcomed with heartbeat 20 as the last that knew nothing of it
  const SessionId session = upstream_.session();
  upstream_.on_heartbeat(SessionId(), 20, now_us_);
  EXPECT_EQ(upstream_.state(), State::streaming) << "it left before the session was known";
  upstream_.on_heartbeat(session, 21, now_us_);
  EXPECT_EQ(upstream_.state(), State::streaming);
  upstream_.on_heartbeat(SessionId(), 22, now_us_);
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_EQ(outbox_.take().closed.size(), 1U);
}

TEST_F(UpstreamTest, AHeartbeatEndsNoHandshake) {
  follow();
  upstream_.on_heartbeat(SessionId(), 99, now_us_);
  EXPECT_EQ(upstream_.state(), State::dialing);
  ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  upstream_.on_heartbeat(SessionId(), 99, now_us_);
  EXPECT_EQ(upstream_.state(), State::checking);
}

TEST_F(UpstreamTest, IsDeadWhenALeaderWasSilentForTooLong) {  // H3
  now_us_ += 10 * timing_.stream_dead_us();
  EXPECT_FALSE(upstream_.dead(now_us_)) << "there is no leader";
  follow();
  EXPECT_FALSE(upstream_.dead(now_us_ + timing_.stream_dead_us())) << "a leader counts as heard when it is followed";
  EXPECT_TRUE(upstream_.dead(now_us_ + timing_.stream_dead_us() + 1));
  EXPECT_EQ(upstream_.age_us(now_us_ + 5), 5U);
  upstream_.leave();
  EXPECT_FALSE(upstream_.dead(now_us_ + 2 * timing_.stream_dead_us()));
}

TEST_F(UpstreamTest, WhateverComesFromTheLeaderOnTheStreamIsASignOfLife) {
  follow();
  const auto heard = [&] { return upstream_.age_us(now_us_) == 0; };
  now_us_ += 1'000;
  refuse(RefuseReason::trimmed);
  EXPECT_TRUE(heard()) << "a refusal";
  waits_us();
  now_us_ += 1'000;
  stream();
  EXPECT_TRUE(heard()) << "a welcome";
  now_us_ += 1'000;
  upstream_.on_commit({upstream_.session(), kTerm, Index(1)}, now_us_);
  EXPECT_TRUE(heard()) << "a commit";
  now_us_ += 1'000;
  upstream_.on_ping({upstream_.session(), kTerm, 1}, now_us_);
  EXPECT_TRUE(heard()) << "a ping";
  now_us_ += 1'000;
  upstream_.fits({upstream_.session(), kTerm, Index(5), Term(1), Index()}, now_us_);
  EXPECT_TRUE(heard()) << "a frame";
  now_us_ += 1'000;
  upstream_.on_heartbeat(upstream_.session(), 21, now_us_);
  EXPECT_FALSE(heard()) << "a heartbeat came another way (proto:P11)";
}

TEST_F(UpstreamTest, ASilentStreamIsDialedAnew) {  // proto:P12
  stream();
  tick_after(timing_.stream_dead_us());
  EXPECT_EQ(upstream_.state(), State::streaming);
  tick_after(1);
  EXPECT_EQ(upstream_.state(), State::idle);
  waits_us();
  EXPECT_EQ(upstream_.state(), State::dialing);
  EXPECT_TRUE(upstream_.dead(now_us_)) << "dialing is no sign of life";
  stream();
  EXPECT_FALSE(upstream_.dead(now_us_));
}

}  // namespace
}  // namespace walraft::replication::upstream_tests
