#pragma once

// An Upstream by itself, and the leader's part of its handshake, for the tests of it.

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "replication/core/upstream.h"
#include "tests/sim/sim_rng.h"

namespace walraft::replication::upstream_tests {

using State = Upstream::State;

inline constexpr NodeId kLeader{2}, kOther{3};
inline constexpr Term kTerm{4};
inline constexpr std::uint64_t kWindow = 1'000;
inline const Uuid kDisk{{7}};
inline const Digest kDigest{11, 12};

// An Upstream of a log with batches 0..4 of term 1, four of them durable, two known to be committed.
class UpstreamTest : public testing::Test {
 protected:
  // Sessions from here on; a tick dials.
  void follow(NodeId leader = kLeader, Term term = kTerm) {
    upstream_.follow(leader, term, now_us_);
    upstream_.tick(now_us_);
  }
  void tick_after(std::uint64_t us) {
    now_us_ += us;
    upstream_.tick(now_us_);
  }

  // What was sent since the last call.
  template <class Message>
  std::vector<Message> sent() {
    std::vector<Message> found;
    for (const Envelope& envelope : outbox_.take().send) {
      const auto* stream = std::get_if<StreamMessage>(&envelope.message);
      if (stream == nullptr || !std::holds_alternative<Message>(*stream)) continue;
      EXPECT_EQ(envelope.to, upstream_.leader());
      found.push_back(std::get<Message>(*stream));
    }
    return found;
  }
  template <class Message>
  Message only() {
    const auto all = sent<Message>();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? Message{} : all.front();
  }

  // The leader's answer to the handshake under way: its log holds `history`, ours is shared up to `match`.
  Welcome welcome(Index match = Index(5), Term match_term = Term(1),
                  std::vector<TermEnd> history = {{Term(1), Index(5)}, {kTerm, Index(9)}}) {
    Welcome message;
    message.session = upstream_.session();
    message.term = kTerm;
    message.match = match;
    message.match_term = match_term;
    message.digest = kDigest;
    message.history = std::move(history);
    message.end = Index(9);
    message.commit = Index(3);
    message.heartbeat_seq = 20;
    return message;
  }
  // Up to and with ACCEPT, which nobody looks at.
  void stream() {
    if (upstream_.state() == State::idle) follow();
    std::optional<Index> cut;
    ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
    ASSERT_EQ(upstream_.on_digest(Index(5), kDigest, cut), std::nullopt);
    ASSERT_EQ(upstream_.state(), State::streaming);
    ASSERT_FALSE(cut);
    outbox_.take();
  }
  void refuse(RefuseReason reason) {
    EXPECT_EQ(upstream_.on_refuse({upstream_.session(), kTerm, reason, kLeader}, now_us_), std::nullopt);
  }
  // Until it dials.
  std::uint64_t waits_us() {
    std::uint64_t waited_us = 0;
    for (; upstream_.state() == State::idle; ++waited_us) tick_after(1);
    return waited_us;
  }

  const Timing timing_;
  sim::SimRng rng_{1};
  std::uint64_t now_us_ = 50'000'000;
  LogTerms log_{TermEnd{}, {{Term(1), Index(5)}}};
  Index commit_{2};
  Index durable_{4};
  bool suspect_ = false;
  std::uint64_t incarnation_ = 6;
  bool truncating_ = false;
  FollowerCommit follower_commit_;
  Outbox outbox_;
  Upstream upstream_{
      {kDisk, incarnation_, timing_, log_, commit_, durable_, suspect_, truncating_}, follower_commit_, outbox_, rng_};
};

}  // namespace walraft::replication::upstream_tests
