// What leaves a core, and what waits for the ballot to be durable.

#include "replication/core/outbox.h"

#include <gtest/gtest.h>

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

constexpr NodeId kTwo{2}, kThree{3};
const Ballot kVote{Term(3), kTwo};
const Ballot kNoVote{Term(4), NodeId()};

HeartbeatReply heartbeat_reply(std::uint64_t seq) {
  HeartbeatReply reply;
  reply.term = Term(3);
  reply.seq = seq;
  return reply;
}
VoteReply vote_reply(std::uint64_t term) { return {Term(term), Term(term), false, true, Uuid()}; }
Ack ack(std::uint64_t durable) { return {{1, 1}, Term(3), Index(9), Index(durable), 0, 0, 0}; }

std::vector<std::string> sent(const Ready& ready) {
  std::vector<std::string> all;
  for (const Envelope& envelope : ready.send) {
    all.push_back(std::visit([](const auto& m) { return describe(m); }, envelope.message) + " to " +
                  walraft::describe(envelope.to));
  }
  return all;
}
std::vector<std::string> lines(std::initializer_list<Envelope> envelopes) {
  Ready ready;
  ready.send = envelopes;
  return sent(ready);
}

TEST(Outbox, WhatDependsOnNoBallotLeavesAtOnce) {
  Outbox outbox;
  EXPECT_TRUE(outbox.persisted());
  outbox.send(kTwo, ControlMessage(vote_reply(3)));
  outbox.send(kThree, StreamMessage(ack(1)));
  EXPECT_EQ(sent(outbox.take()), lines({{kTwo, ControlMessage(vote_reply(3))}, {kThree, StreamMessage(ack(1))}}));
  EXPECT_TRUE(outbox.take().send.empty()) << "once";
}

TEST(Outbox, NothingLeavesBeforeTheBallotIsDurable) {  // inv:D2
  Outbox outbox;
  outbox.send(kTwo, ControlMessage(vote_reply(2)));
  const std::uint64_t version = outbox.persist(kVote);
  outbox.send(kTwo, ControlMessage(vote_reply(3)));
  EXPECT_FALSE(outbox.persisted());
  Ready ready = outbox.take();
  ASSERT_TRUE(ready.persist.has_value());
  EXPECT_EQ(ready.persist->ballot, kVote);
  EXPECT_EQ(ready.persist->version, version);
  EXPECT_EQ(sent(ready), lines({{kTwo, ControlMessage(vote_reply(2))}})) << "what was sent before it";
  EXPECT_TRUE(outbox.take().send.empty()) << "it still waits";
  outbox.on_persisted(version);
  EXPECT_TRUE(outbox.persisted());
  EXPECT_EQ(sent(outbox.take()), lines({{kTwo, ControlMessage(vote_reply(3))}}));
}

TEST(Outbox, EachMessageWaitsForItsOwnBallot) {
  Outbox outbox;
  const std::uint64_t first = outbox.persist(kVote);
  outbox.send(kTwo, ControlMessage(vote_reply(3)));
  const std::uint64_t second = outbox.persist(kNoVote);
  outbox.send(kTwo, ControlMessage(vote_reply(4)));
  EXPECT_EQ(outbox.take().persist->version, second) << "one write for both: the newer says all";
  outbox.on_persisted(first);
  EXPECT_FALSE(outbox.persisted());
  EXPECT_EQ(sent(outbox.take()), lines({{kTwo, ControlMessage(vote_reply(3))}}));
  outbox.on_persisted(second);
  EXPECT_EQ(sent(outbox.take()), lines({{kTwo, ControlMessage(vote_reply(4))}}));
}

TEST(Outbox, ALaterBallotCoversEarlierOnesAndALateCompletionTakesNothingBack) {
  Outbox outbox;
  const std::uint64_t first = outbox.persist(kVote);
  outbox.send(kTwo, ControlMessage(vote_reply(3)));
  const std::uint64_t second = outbox.persist(kNoVote);
  outbox.send(kThree, ControlMessage(vote_reply(4)));
  outbox.on_persisted(second);
  EXPECT_EQ(sent(outbox.take()),
            lines({{kTwo, ControlMessage(vote_reply(3))}, {kThree, ControlMessage(vote_reply(4))}}))
      << "in the order in which they were sent";
  outbox.on_persisted(first);
  EXPECT_TRUE(outbox.persisted());
}

// While the disk hung, each heartbeat left one more answer behind; a leader needs the newest only. Found by the scenario
// redpanda:1940.
TEST(Outbox, HeldBackAnswersToHeartbeatsDoNotPileUp) {
  Outbox outbox;
  const std::uint64_t version = outbox.persist(kVote);
  outbox.send(kThree, ControlMessage(heartbeat_reply(1)));
  outbox.send(kTwo, ControlMessage(vote_reply(3)));
  for (std::uint64_t seq = 1; seq <= 1'000; ++seq) outbox.send(kTwo, ControlMessage(heartbeat_reply(seq)));
  outbox.on_persisted(version);
  EXPECT_EQ(sent(outbox.take()), lines({{kThree, ControlMessage(heartbeat_reply(1))},
                                        {kTwo, ControlMessage(vote_reply(3))},
                                        {kTwo, ControlMessage(heartbeat_reply(1'000))}}))
      << "one to each node, and nothing else is lost";
}

TEST(Outbox, HeldBackAcksDoNotPileUp) {
  Outbox outbox;
  const std::uint64_t version = outbox.persist(kVote);
  const Accept accept{{1, 1}, Term(3), Index(5), Index(5)};
  outbox.send(kTwo, StreamMessage(accept));
  for (std::uint64_t durable = 5; durable <= 9; ++durable) outbox.send(kTwo, StreamMessage(ack(durable)));
  outbox.on_persisted(version);
  EXPECT_EQ(sent(outbox.take()), lines({{kTwo, StreamMessage(accept)}, {kTwo, StreamMessage(ack(9))}}));
}

TEST(Outbox, WhatIsNoMessageWaitsForNothing) {
  Outbox outbox;
  outbox.persist(kVote);
  outbox.close(kTwo, {1, 7});
  outbox.look_up(Index(4));
  outbox.look_up(Index(6));
  outbox.truncate(Index(3));
  outbox.answer({5, Index(2)});
  outbox.settled();
  outbox.halt("why");
  const Ready ready = outbox.take();
  ASSERT_EQ(ready.closed.size(), 1U);
  EXPECT_EQ(ready.closed[0].peer, kTwo);
  EXPECT_EQ(ready.closed[0].session, (SessionId{1, 7}));
  EXPECT_EQ(ready.look_up, (std::vector{Index(4), Index(6)}));
  EXPECT_EQ(ready.truncate_to, Index(3));
  ASSERT_EQ(ready.reads.size(), 1U);
  EXPECT_EQ(ready.reads[0].token, 5U);
  EXPECT_EQ(ready.reads[0].commit, Index(2));
  EXPECT_TRUE(ready.settled);
  EXPECT_EQ(ready.halt, "why");
  const Ready next = outbox.take();
  EXPECT_FALSE(next.persist || next.truncate_to || next.settled || next.halt);
  EXPECT_TRUE(next.closed.empty() && next.look_up.empty() && next.reads.empty());
}

TEST(Outbox, ANoopIsWantedUntilTheRoleIsOver) {
  Outbox outbox;
  outbox.append_noop();
  EXPECT_TRUE(outbox.take().append_noop);
  EXPECT_FALSE(outbox.take().append_noop);
  outbox.append_noop();
  outbox.drop_noop();
  EXPECT_FALSE(outbox.take().append_noop);
}

}  // namespace
}  // namespace walraft::replication
