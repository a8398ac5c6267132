// Every run of the protocol within small bounds (tests/model/core_search.h says what is chosen and what is not). The
// everyday scopes take half a minute; WALRAFT_SEARCH=all (the stage `search` of tests/run) has those that take minutes
// instead, WALRAFT_SEARCH=reads, hand-over, … one that takes longer.

#include "tests/model/core_search.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "wal/base/mutant.h"

namespace walraft::model {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;  // sanitizers: ten times slower, and nothing of theirs to find in a WorldArena
#else
constexpr bool kSlow = false;
#endif

std::vector<Term> log(std::initializer_list<std::uint64_t> terms) {
  std::vector<Term> all;
  for (const std::uint64_t term : terms) all.emplace_back(term);
  return all;
}

// A scope, and what its runs must have come by: bounds that are too small to reach anything prove nothing.
struct Scope {
  SearchScope bounds;
  std::vector<std::string> goals;
};

// Equal logs, two campaigns in one term, a crash anywhere: who votes twice, and who forgets.
Scope elections() {
  return {
      {.name = "elections",
       .logs = {log({1}), log({1}), log({1})},
       .term = Term(1),
       .term_max = Term(2),
       .silences = 2,
       .crashes = 1},
      {"commit in term 2", "commit of an older term's batch", "a crash loses a batch",
       "probe: vote refused: it is given", "probe: leader ends: no contact", "probe: commit is ahead of the batches"}};
}

// A leader, its batches, a crash: what is counted before it is durable, and what is said of it afterwards.
Scope replication() {
  return {{.name = "replication",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(2),
           .silences = 1,
           .batches = 1,
           .crashes = 1},
          {"commit in term 2", "a crash loses a batch"}};
}

// One log is longer: whoever leads first, it is cut or copied. Ballots and cuts take as long as they like.
Scope repair() {
  return {{.name = "repair",
           .logs = {log({1, 2}), log({1}), log({1})},
           .term = Term(2),
           .term_max = Term(3),
           .silences = 1,
           .crashes = 1,
           .losses = 1,
           .late_ballots = true,
           .late_cuts = true},
          {"a batch is cut", "commit in term 3", "commit of an older term's batch",
           "probe: session over before its cut is"}};
}

// Fig. 8 of the Raft paper from (c) on: a majority holds a batch of term 2, and one log a batch of term 3.
Scope figure_8c() {
  return {{.name = "Raft Fig. 8 (c)",
           .logs = {log({1, 2}), log({1, 2}), log({1, 3})},
           .term = Term(4),
           .term_max = Term(5),
           .silences = 1,
           .crashes = 1},
          {"a batch that a majority held durably is cut", "commit of an older term's batch", "commit in term 5"}};
}

// A leader that does not know that it is over, and what it is told of its successor's term.
Scope two_leaders() {
  return {{.name = "two leaders",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(3),
           .silences = 2},
          {"two leaders at once", "commit in term 2", "commit in term 3", "a batch is cut",
           "probe: leader ends: higher term", "probe: hello of an older session",
           "probe: frame of a session that is over"}};
}

// From (b) on: everything that two more elections can make of it.
Scope figure_8() {
  return {
      {.name = "Raft Fig. 8 (b)",
       .logs = {log({1, 2}), log({1}), log({1, 3})},
       .term = Term(3),
       .term_max = Term(5),
       .silences = 2},
      {"a batch that a majority held durably is cut", "two leaders at once", "commit in term 4", "commit in term 5"}};
}

// Three batches (the NOOP is one), two crashes, a loss.
Scope three_batches() {
  return {{.name = "three batches",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(2),
           .silences = 1,
           .batches = 2,
           .crashes = 2,
           .losses = 1},
          {"commit in term 2", "a crash loses a batch"}};
}

Scope two_crashes() {
  return {{.name = "two crashes",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(2),
           .silences = 2,
           .crashes = 2},
          {"commit in term 2", "a crash loses a batch", "probe: vote refused: it is given"}};
}

Scope one_loss() {
  return {{.name = "one loss",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(2),
           .silences = 1,
           .crashes = 1,
           .losses = 1,
           .heartbeats = 1},
          {"commit in term 2", "a crash loses a batch", "probe: commit is ahead of the batches"}};
}

// Reads of a leader, of one that is over too.
Scope reads() {
  return {{.name = "reads",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(3),
           .silences = 2,
           .reads = 1},
          {"two leaders at once", "a read is answered"}};
}

// A leader names its successor, who asks nobody whether it may stand.
Scope hand_over() {
  return {{.name = "hand-over",
           .logs = {log({1}), log({1}), log({1})},
           .term = Term(1),
           .term_max = Term(3),
           .silences = 1,
           .transfers = 1},
          {"two leaders at once", "commit in term 3", "probe: hand-over waits for its target"}};
}

SearchResult search_and_tell(const SearchScope& bounds) {
  const SearchResult result = search_core(bounds);
  std::cout << describe(bounds, result) << std::endl;  // now: the next one takes long
  return result;
}

void expect_exhausted(const Scope& scope) {
  const SearchResult result = search_and_tell(scope.bounds);
  std::string trace;
  for (const std::string& step : result.trace) trace += step + '\n';
  EXPECT_EQ(result.violation, "") << scope.bounds.name << ":\n" << trace;
  EXPECT_GT(result.verified, 10U);
  EXPECT_FALSE(result.cut) << scope.bounds.name << " has more states than it may";
  for (const auto& [name, times] : result.reached) std::cout << "    " << name << ": " << times << '\n';
  for (const std::string& goal : scope.goals) {
    if (!kHasMutants && goal.starts_with("probe: ")) continue;  // there are none in this build
    EXPECT_TRUE(result.reached.contains(goal)) << scope.bounds.name << " does not reach: " << goal;
  }
}

// One in 200 states that are met again is compared with the first.
TEST(CoreSearch, NothingGoesWrongWithinTheScopes) {
  std::vector<Scope> scopes = {elections(), replication(), repair(), figure_8c()};
  const char* which = std::getenv("WALRAFT_SEARCH");
  if (which != nullptr && std::string_view(which) == "all") {
    scopes = {two_crashes(), one_loss(), three_batches()};
  } else if (which != nullptr) {
    scopes.clear();
    for (const Scope& scope : {two_crashes(), one_loss(), three_batches(), reads(), hand_over(), figure_8()}) {
      if (scope.bounds.name == which) scopes.push_back(scope);
    }
    ASSERT_FALSE(scopes.empty()) << "WALRAFT_SEARCH is all, or the name of one of the large scopes, not " << which;
  } else if (kSlow) {
    std::cout << "NOT RUN two_leaders: too slow under a sanitizer\n";
  } else {
    scopes.push_back(two_leaders());
  }
  for (Scope& scope : scopes) {
    scope.bounds.verify = 200;
    expect_exhausted(scope);
  }
}

TEST(CoreSearch, TheSameScopeHasTheSameStates) {
  const SearchResult once = search_core(figure_8c().bounds);
  search_core(elections().bounds);  // leaves other things behind in the memory that is used again
  const SearchResult again = search_core(figure_8c().bounds);
  EXPECT_EQ(once.states, again.states);
  EXPECT_EQ(once.transitions, again.transitions);
  EXPECT_EQ(once.depth, again.depth);
  EXPECT_EQ(once.reached, again.reached);
}

// What a fingerprint forgets makes different states one; that is noticed by what comes next.
TEST(CoreSearch, NoticesAFieldThatTheFingerprintForgets) {
  SearchScope scope = figure_8c().bounds;
  scope.verify = 10;
  scope.forget_used = true;
  const SearchResult result = search_core(scope);
  EXPECT_NE(result.violation.find("behave differently"), std::string::npos) << describe(scope, result);
}

// Three nodes that start alike have six orders, two have two.
TEST(CoreSearch, NodesThatStartAlikeAreInterchangeable) {
  SearchScope alike = elections().bounds;
  alike.states_max = 10;
  EXPECT_EQ(search_core(alike).names, 6U);
  SearchScope two_alike = repair().bounds;
  two_alike.states_max = 10;
  EXPECT_EQ(search_core(two_alike).names, 2U);
  SearchScope different = figure_8().bounds;
  different.states_max = 10;
  EXPECT_EQ(search_core(different).names, 1U);
}

TEST(CoreSearch, GivesUpAtItsBounds) {
  SearchScope few = elections().bounds;
  few.states_max = 100;
  EXPECT_TRUE(search_core(few).cut);
  SearchScope shallow = elections().bounds;
  shallow.depth_max = 5;
  EXPECT_TRUE(search_core(shallow).cut);
}

// --- Planted bugs ----------------------------------------------------------------------------------------------------
//
// Not here: h9 needs three elections and a resignation; h11 the bytes of an old connection, m17 a replaced disk, h8 a
// clock that goes on while nothing else does. The random runs find those.

struct Planted {
  Mutant mutant;
  std::string caught;  // the invariant, up to its colon
  SearchScope bounds;
};

class CoreSearchMutants : public testing::TestWithParam<Planted> {
 protected:
  void SetUp() override {
    if (!kHasMutants) {
      std::cout << "NOT RUN core_search_mutants: built without WALRAFT_MUTANTS\n";
      GTEST_SKIP();
    }
  }
  void TearDown() override {
    if (kHasMutants) set_mutant(std::nullopt);
  }
};

TEST_P(CoreSearchMutants, IsFound) {
  const Planted& planted = GetParam();
  set_mutant(planted.mutant);
  const SearchResult result = search_core(planted.bounds);
  set_mutant(std::nullopt);
  std::cout << to_string(planted.mutant) << ": " << result.states << " states, " << result.trace.size()
            << " steps: " << result.violation << '\n';
  EXPECT_EQ(result.violation.substr(0, result.violation.find(':')), planted.caught);
}

SearchScope with_heartbeat(Scope scope) {
  scope.bounds.heartbeats = 1;
  return scope.bounds;
}

INSTANTIATE_TEST_SUITE_P(
    All, CoreSearchMutants,
    testing::Values(Planted{Mutant::h1_no_term_check_at_handshake, "R5 State-Machine Safety", figure_8c().bounds},
                    Planted{Mutant::h2_replayed_entries_dropped, "R5 State-Machine Safety", figure_8c().bounds},
                    Planted{Mutant::h3_raw_last_index_counts, "ST2 Belief", with_heartbeat(elections())},
                    Planted{Mutant::h4_commit_of_older_term, "ST7 Current term", figure_8c().bounds},
                    Planted{Mutant::h5_commit_beyond_verified, "ST4 Commit", with_heartbeat(figure_8c())},
                    Planted{Mutant::h6a_vote_not_synced, "D2 Ahead of its disk", elections().bounds},
                    Planted{Mutant::h6b_term_not_synced, "D2 Ballot before batches", repair().bounds},
                    Planted{Mutant::h7_ack_before_sync, "ST2 Belief", replication().bounds},
                    Planted{Mutant::m24_stale_leader_read, "C4 Linearizable reads", reads().bounds}),
    [](const auto& planted) { return std::string(to_string(planted.param.mutant)); });

}  // namespace
}  // namespace walraft::model
