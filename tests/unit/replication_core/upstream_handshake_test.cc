// A follower's handshake with its leader: each transition, each guard, each way out.

#include "tests/unit/replication_core/upstream_fixture.h"

namespace walraft::replication::upstream_tests {
namespace {

// --- WELCOME

TEST_F(UpstreamTest, AMatchThatBothComputedIsLookedUp) {
  follow();
  EXPECT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  EXPECT_EQ(upstream_.state(), State::checking);
  EXPECT_EQ(outbox_.take().look_up, std::vector{Index(5)});
  EXPECT_FALSE(upstream_.takes_entries());
  EXPECT_EQ(upstream_.on_welcome(welcome(Index(1)), now_us_), std::nullopt) << "a doubled one is not looked at";
  EXPECT_EQ(upstream_.state(), State::checking);
  EXPECT_TRUE(outbox_.take().look_up.empty());
}

TEST_F(UpstreamTest, AMatchThatOurHistoryDoesNotGiveEndsTheSession) {  // proto:I12
  follow();
  for (const Welcome& wrong : {welcome(Index(4)), welcome(Index(5), Term(2)), welcome(Index(5), Term(1), {})}) {
    Welcome message = wrong;
    message.session = upstream_.session();
    EXPECT_EQ(upstream_.on_welcome(message, now_us_), std::nullopt) << "the leader's mistake: this log goes on";
    EXPECT_EQ(upstream_.state(), State::idle);
    const Close close = only<Close>();
    EXPECT_EQ(close.reason, CloseReason::protocol);
    EXPECT_EQ(close.session, message.session);
    waits_us();
    outbox_.take();
  }
}

TEST_F(UpstreamTest, AMatchBelowOurCommitHaltsTheLog) {  // proto:P8
  commit_ = Index(4);
  follow();
  const auto why = upstream_.on_welcome(welcome(Index(3), Term(1), {{Term(1), Index(3)}, {kTerm, Index(9)}}), now_us_);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(*why, "the leader's log parts from ours at 3, below our commit 4");
  EXPECT_TRUE(outbox_.take().look_up.empty());
}

// --- The digest, and the cut

TEST_F(UpstreamTest, ADigestOfAnotherBatchOrOutOfTurnSaysNothing) {
  std::optional<Index> cut;
  EXPECT_EQ(upstream_.on_digest(Index(5), kDigest, cut), std::nullopt);
  EXPECT_EQ(upstream_.state(), State::idle);
  follow();
  EXPECT_EQ(upstream_.on_digest(Index(5), kDigest, cut), std::nullopt);
  EXPECT_EQ(upstream_.state(), State::dialing);
  ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  EXPECT_EQ(upstream_.on_digest(Index(4), Digest{}, cut), std::nullopt);
  EXPECT_EQ(upstream_.state(), State::checking);
  EXPECT_FALSE(cut);
}

TEST_F(UpstreamTest, AnotherDigestAtTheMatchHaltsTheLog) {
  follow();
  ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  std::optional<Index> cut;
  const auto why = upstream_.on_digest(Index(5), Digest{11, 13}, cut);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(why->find("the digests at the match point 5 differ: ours "), 0U) << *why;
  EXPECT_FALSE(cut);
  EXPECT_TRUE(sent<Accept>().empty());
}

TEST_F(UpstreamTest, ALogThatIsNotLongerIsAcceptedAtOnce) {
  follow();
  outbox_.take();
  ASSERT_EQ(upstream_.on_welcome(welcome(), now_us_), std::nullopt);
  std::optional<Index> cut;
  ASSERT_EQ(upstream_.on_digest(Index(5), kDigest, cut), std::nullopt);
  EXPECT_FALSE(cut);
  EXPECT_EQ(upstream_.state(), State::streaming);
  EXPECT_TRUE(upstream_.takes_entries());
  const Accept accept = only<Accept>();
  EXPECT_EQ(accept.session, upstream_.session());
  EXPECT_EQ(accept.term, kTerm);
  EXPECT_EQ(accept.match, Index(5));
  EXPECT_EQ(accept.durable, durable_);
  EXPECT_EQ(follower_commit_.term(), kTerm);
  EXPECT_EQ(follower_commit_.verified(), Index(5));
  EXPECT_EQ(follower_commit_.commit(), Index(3));
}

TEST_F(UpstreamTest, ALongerLogIsCutBeforeItIsAccepted) {  // proto:P8
  follow();
  ASSERT_EQ(upstream_.on_welcome(welcome(Index(3), Term(1), {{Term(1), Index(3)}, {kTerm, Index(9)}}), now_us_),
            std::nullopt);
  std::optional<Index> cut;
  ASSERT_EQ(upstream_.on_digest(Index(3), kDigest, cut), std::nullopt);
  EXPECT_EQ(cut, Index(3));
  EXPECT_EQ(upstream_.state(), State::truncating);
  EXPECT_FALSE(upstream_.takes_entries());
  EXPECT_TRUE(sent<Accept>().empty());
  EXPECT_EQ(follower_commit_.verified(), Index());
  log_.truncate(Index(3));
  durable_ = Index(3);
  upstream_.on_truncated();
  EXPECT_EQ(upstream_.state(), State::streaming);
  const Accept accept = only<Accept>();
  EXPECT_EQ(accept.match, Index(3));
  EXPECT_EQ(accept.durable, Index(3));
  EXPECT_EQ(follower_commit_.verified(), Index(3));
}

TEST_F(UpstreamTest, ACutThatOutlivesItsSessionAcceptsNothing) {
  follow();
  ASSERT_EQ(upstream_.on_welcome(welcome(Index(3), Term(1), {{Term(1), Index(3)}, {kTerm, Index(9)}}), now_us_),
            std::nullopt);
  std::optional<Index> cut;
  ASSERT_EQ(upstream_.on_digest(Index(3), kDigest, cut), std::nullopt);
  truncating_ = true;
  upstream_.lost(now_us_);
  upstream_.on_truncated();
  EXPECT_EQ(upstream_.state(), State::idle);
  EXPECT_TRUE(sent<Accept>().empty());
}

// --- REFUSE

TEST_F(UpstreamTest, ARefusalIsTriedAgainLater) {
  follow();
  for (const RefuseReason reason : {RefuseReason::removed, RefuseReason::amnesia, RefuseReason::trimmed}) {
    outbox_.take();
    refuse(reason);
    EXPECT_EQ(upstream_.state(), State::idle);
    EXPECT_EQ(outbox_.take().closed.size(), 1U);
    upstream_.tick(now_us_);
    EXPECT_EQ(upstream_.state(), State::idle) << "not at once";
    EXPECT_GE(waits_us(), timing_.redial_min_us() / 2);
    EXPECT_TRUE(only<Hello>().history_complete);
  }
}

TEST_F(UpstreamTest, ALeaderWithoutWhatIsCommittedHereHaltsTheLog) {
  follow();
  const auto why = upstream_.on_refuse({upstream_.session(), kTerm, RefuseReason::diverged, kLeader}, now_us_);
  EXPECT_EQ(why, "the leader does not have what is committed here");
}

TEST_F(UpstreamTest, ARefusalOfASessionThatWasWelcomedSaysNothing) {
  stream();
  EXPECT_EQ(upstream_.on_refuse({upstream_.session(), kTerm, RefuseReason::diverged, kLeader}, now_us_), std::nullopt);
  EXPECT_EQ(upstream_.state(), State::streaming);
}

TEST_F(UpstreamTest, ALongHistoryIsShownWholeOnlyWhenItIsAskedFor) {  // proto:P17
  log_ = LogTerms(TermEnd{}, {});
  for (std::uint64_t term = 1; term <= 200; ++term) log_.append(Term(term));
  commit_ = durable_ = Index(0);
  follow(kLeader, Term(201));
  Hello hello = only<Hello>();
  EXPECT_FALSE(hello.history_complete);
  ASSERT_EQ(hello.history.size(), 128U);
  EXPECT_EQ(hello.history.back(), (TermEnd{Term(200), Index(200)}));
  EXPECT_EQ(hello.history.front(), (TermEnd{Term(73), Index(73)}));

  refuse(RefuseReason::more_history);
  upstream_.tick(now_us_);
  EXPECT_EQ(upstream_.state(), State::dialing) << "at once";
  hello = only<Hello>();
  EXPECT_TRUE(hello.history_complete);
  EXPECT_EQ(hello.history, log_.history());

  upstream_.lost(now_us_);
  waits_us();
  EXPECT_TRUE(only<Hello>().history_complete) << "still, for the answer did not come";

  Welcome message = welcome(Index(200), Term(200), {{Term(200), Index(200)}});
  message.term = Term(201);
  std::optional<Index> cut;
  ASSERT_EQ(upstream_.on_welcome(message, now_us_), std::nullopt);
  ASSERT_EQ(upstream_.on_digest(Index(200), kDigest, cut), std::nullopt);
  ASSERT_EQ(upstream_.state(), State::streaming);
  upstream_.lost(now_us_);
  waits_us();
  EXPECT_EQ(sent<Hello>().back().history.size(), 128U) << "the next one need not";

  refuse(RefuseReason::more_history);
  upstream_.tick(now_us_);
  outbox_.take();
  refuse(RefuseReason::trimmed);
  waits_us();
  EXPECT_EQ(only<Hello>().history.size(), 128U) << "more terms did not help";
}

TEST_F(UpstreamTest, AHistoryOfTheLimitIsShownWhole) {
  log_ = LogTerms(TermEnd{}, {});
  for (std::uint64_t term = 1; term <= 127; ++term) log_.append(Term(term));
  follow(kLeader, Term(201));
  const Hello hello = only<Hello>();
  EXPECT_EQ(hello.history.size(), 128U) << "127 terms, and the beginning";
  EXPECT_TRUE(hello.history_complete);
}

}  // namespace
}  // namespace walraft::replication::upstream_tests
