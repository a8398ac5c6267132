// The logs' histories, and where two of them part, against a comparison batch by batch.

#include "replication/core/log_terms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "tests/sim/sim_rng.h"

namespace walraft::replication {
namespace {

// A log that remembers everything: the term of each batch from the very first on, and its content.
struct FullLog {
  std::vector<Term> terms;
  std::vector<std::uint64_t> contents;
  std::size_t base = 0;
  std::size_t size() const { return terms.size(); }

  LogTerms history() const {
    LogTerms log(TermEnd{}, {});
    for (const Term term : terms) log.append(term);
    log.drop_prefix(Index(base));
    return log;
  }
};

std::size_t common_prefix(const FullLog& one, const FullLog& other) {
  std::size_t at = 0;
  while (at < std::min(one.size(), other.size()) && one.contents[at] == other.contents[at]) ++at;
  return at;
}

// Logs as Raft makes them: the leader of each term extends a log of its own, followers take a prefix of what it has in
// its place of what they had behind the point where they part. Followers stop anywhere, leaders come and go.
class Logs {
 public:
  Logs(sim::SimRng& rng, std::size_t nodes) : rng_(rng), logs_(nodes) {}

  void play(std::size_t terms) {
    for (std::size_t t = 1; t <= terms; ++t) {
      const std::size_t leader = rng_.below(logs_.size());
      FullLog& log = logs_[leader];
      const std::size_t made = 1 + rng_.below(6);
      for (std::size_t i = 0; i < made; ++i) {
        log.terms.push_back(Term(t));
        log.contents.push_back(++made_);
      }
      for (std::size_t follower = 0; follower < logs_.size(); ++follower) {
        if (follower != leader && rng_.below(3) == 0) follow(logs_[follower], log);
      }
      FullLog& trimmed = logs_[rng_.below(logs_.size())];
      if (rng_.below(4) == 0) trimmed.base += rng_.below(trimmed.size() - trimmed.base + 1);
    }
  }
  const std::vector<FullLog>& all() const { return logs_; }

 private:
  void follow(FullLog& log, const FullLog& leader) {
    const std::size_t match = common_prefix(log, leader);
    if (match < log.base) return;  // trimmed past it: another way
    const std::size_t end = match + rng_.below(leader.size() - match + 1);
    log.terms.resize(match);
    log.contents.resize(match);
    log.terms.insert(log.terms.end(), leader.terms.begin() + static_cast<std::ptrdiff_t>(match),
                     leader.terms.begin() + static_cast<std::ptrdiff_t>(end));
    log.contents.insert(log.contents.end(), leader.contents.begin() + static_cast<std::ptrdiff_t>(match),
                        leader.contents.begin() + static_cast<std::ptrdiff_t>(end));
  }

  sim::SimRng& rng_;
  std::vector<FullLog> logs_;
  std::uint64_t made_ = 0;
};

// proto:I12. Every pair, leader of today or not: a stale leader's handshake must be right as well.
TEST(MatchPoint, IsTheLongestCommonPrefix) {
  sim::SimRng rng(20'251'123);
  std::size_t handshakes = 0;
  std::size_t parted = 0;
  std::size_t below_a_base = 0;
  for (int round = 0; round < 4'000; ++round) {
    Logs logs(rng, 2 + rng.below(4));
    logs.play(1 + rng.below(8));
    for (std::size_t a = 0; a < logs.all().size(); ++a) {
      for (std::size_t b = 0; b < logs.all().size(); ++b) {
        if (a == b) continue;
        const FullLog& one = logs.all()[a];
        const FullLog& other = logs.all()[b];
        const std::size_t truth = common_prefix(one, other);
        const auto match = match_point(one.history().history(), other.history().history());
        ++handshakes;
        if (truth < std::max(one.base, other.base)) {
          // Where they part is not kept in both: the answer may say so, or name a point below what one of them keeps,
          // or at its base, never one that both keep and that is wrong.
          ++below_a_base;
          if (match) {
            EXPECT_LE(match->end.value, std::max(one.base, other.base));
          }
          continue;
        }
        ASSERT_TRUE(match.has_value());
        ASSERT_EQ(match->end.value, truth);
        ASSERT_EQ(match->term, truth == 0 ? Term() : one.terms[truth - 1]);
        parted += truth < one.size() && truth < other.size();
      }
    }
  }
  std::cout << handshakes << " handshakes, " << parted << " of logs that part, " << below_a_base
            << " below what one of them keeps\n";
  EXPECT_GT(parted, 1'000U);
  EXPECT_GT(below_a_base, 1'000U);
}

TEST(LogTerms, SaysTheTermOfEveryBatch) {
  sim::SimRng rng(7);
  for (int round = 0; round < 2'000; ++round) {
    FullLog truth;
    LogTerms log(TermEnd{}, {});
    std::uint64_t term = 0;
    for (int i = 0; i < 40; ++i) {
      switch (rng.below(5)) {
        case 0: {
          const std::size_t to = truth.base + rng.below(truth.size() - truth.base + 1);
          truth.terms.resize(to);
          log.truncate(Index(to));
          break;
        }
        case 1: {
          truth.base += rng.below(truth.size() - truth.base + 1);
          log.drop_prefix(Index(truth.base));
          break;
        }
        default:
          term += rng.below(2);
          truth.terms.push_back(Term(term));
          log.append(Term(term));
      }
      ASSERT_EQ(log.base(), Index(truth.base));
      ASSERT_EQ(log.end(), Index(truth.size()));
      for (std::size_t at = std::max<std::size_t>(truth.base, 1); at <= truth.size(); ++at) {
        ASSERT_EQ(log.term_before(Index(at)), truth.terms[at - 1]) << "before " << at;
      }
    }
  }
}

}  // namespace
}  // namespace walraft::replication
