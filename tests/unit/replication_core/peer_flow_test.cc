// A leader's view of one follower.

#include "replication/core/peer_flow.h"

#include <gtest/gtest.h>

namespace walraft::replication {
namespace {

constexpr SessionId kSession{1, 1};
const Timing kTiming;

Hello hello(bool suspect = false) {
  Hello message;
  message.session = kSession;
  message.suspect = suspect;
  message.window_bytes = 1'000;
  return message;
}

Accept accept(Index match, Index durable) { return {kSession, Term(), match, durable}; }

PeerFlow streaming(std::uint64_t now_us, Index match = Index(5)) {
  PeerFlow flow(now_us);
  flow.open(hello(), match, 7, 0);
  flow.welcomed();
  flow.accepted(accept(match, match), now_us);
  return flow;
}

Ack ack(std::uint64_t end, std::uint64_t durable, std::uint64_t ping = 0) {
  return {kSession, Term(), Index(end), Index(durable), ping, 0, 1'000};
}

TEST(PeerFlow, NothingCountsBeforeAccept) {
  PeerFlow flow(0);
  EXPECT_EQ(flow.match(), Index());
  flow.open(hello(), Index(5), 0, 0);
  EXPECT_EQ(flow.match(), Index());
  EXPECT_FALSE(flow.may_send(Index(9)));
  flow.welcomed();
  EXPECT_EQ(flow.match(), Index());
  EXPECT_TRUE(flow.may_send(Index(9)));  // the follower cuts first, and takes them then
  flow.sent(Index(7), 200, Index(5));
  flow.accepted(accept(Index(5), Index(3)), 0);
  EXPECT_EQ(flow.match(), Index(3));  // the rest is not durable there
  flow.close();
  EXPECT_EQ(flow.match(), Index());
  EXPECT_FALSE(flow.is_session(kSession));
}

TEST(PeerFlow, ASuspectFollowerCountsForNothing) {
  PeerFlow flow(0);
  flow.open(hello(true), Index(5), 0, 0);
  flow.welcomed();
  flow.accepted(accept(Index(5), Index(5)), 0);
  EXPECT_EQ(flow.match(), Index());
  EXPECT_TRUE(flow.may_send(Index(6)));
}

TEST(PeerFlow, AnAckOfWhatWasNeverSentIsRefused) {
  PeerFlow flow = streaming(0);
  flow.sent(Index(7), 200, Index(5));
  EXPECT_FALSE(flow.acked(ack(8, 6), 0));
  EXPECT_FALSE(flow.acked(ack(8, 8), 0));
  EXPECT_EQ(flow.match(), Index(5));
  EXPECT_TRUE(flow.acked(ack(7, 6), 0));
  EXPECT_EQ(flow.match(), Index(6));
  EXPECT_TRUE(flow.acked(ack(7, 5), 0));  // an older one, by another way
  EXPECT_EQ(flow.match(), Index(6));
}

TEST(PeerFlow, TheWindowBoundsWhatIsUnderWay) {
  PeerFlow flow = streaming(0);
  flow.sent(Index(7), 600, Index());
  EXPECT_EQ(flow.room_bytes(), 400U);
  flow.sent(Index(8), 400, Index());
  EXPECT_FALSE(flow.may_send(Index(20)));
  ASSERT_TRUE(flow.acked(ack(8, 7), 0));
  EXPECT_TRUE(flow.may_send(Index(20)));
  EXPECT_EQ(flow.room_bytes(), 600U);
}

// A stream that had nothing to do for longer than the limit was taken for dead at the first batch, and reset.
TEST(PeerFlow, ALongIdleStreamIsFreshWhenABatchGoesOut) {
  PeerFlow flow = streaming(0);
  std::uint64_t now_us = 0;
  for (std::uint64_t ping = 1; now_us < 3 * kTiming.stream_dead_us(); ++ping) {
    now_us += kTiming.heartbeat_us();
    ASSERT_TRUE(flow.acked(ack(5, 5, ping), now_us));
    ASSERT_TRUE(flow.fresh(now_us, kTiming));
  }
  flow.sent(Index(6), 100, Index());
  EXPECT_TRUE(flow.fresh(now_us, kTiming));
  // And from here on it has to get through, pings or not.
  const std::uint64_t sent_us = now_us;
  while (now_us <= sent_us + kTiming.stream_dead_us() + kTiming.heartbeat_us()) {
    now_us += kTiming.heartbeat_us();
    ASSERT_TRUE(flow.acked(ack(5, 5), now_us));
  }
  EXPECT_FALSE(flow.fresh(now_us, kTiming));
  flow.heard_disk(DiskState::slow);  // it says itself why
  EXPECT_TRUE(flow.fresh(now_us, kTiming));
  EXPECT_FALSE(flow.fresh(now_us + 2 * kTiming.election_timeout_us, kTiming));  // silent: no excuse
}

}  // namespace
}  // namespace walraft::replication
