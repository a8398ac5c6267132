// The bugs planted in the core, and how soon random runs find each. tests/data/core_mutants.txt is the table: every
// mutant, the first seed that finds it, counted from 1, and what caught it. WALRAFT_REWRITE=1 writes it anew.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/model/core_run.h"
#include "wal/base/mutant.h"

namespace walraft::model {
namespace {

constexpr std::uint64_t kSteps = 4'000;
constexpr std::uint64_t kSeedsMax = 2'000;
constexpr std::uint64_t kFreshSeedsMax = 6'000;  // the rarest take 400 on average: bad luck does not fail the test
const char* const kTable = WALRAFT_TEST_DATA "/core_mutants.txt";

const std::vector<Mutant> kMutants = {
    Mutant::h1_no_term_check_at_handshake, Mutant::h2_replayed_entries_dropped, Mutant::h3_raw_last_index_counts,
    Mutant::h4_commit_of_older_term,       Mutant::h5_commit_beyond_verified,   Mutant::h6a_vote_not_synced,
    Mutant::h6b_term_not_synced,           Mutant::h7_ack_before_sync,          Mutant::h9_truncate_on_step_down,
    Mutant::h11_stale_session_ack,         Mutant::m17_wiped_node_votes,        Mutant::m18_rolled_back_node_votes,
    Mutant::m24_stale_leader_read,
};

struct Found {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::string what;  // the invariant's name: up to the colon
};

std::string run(Mutant mutant, std::uint64_t seed, Found& found) {
  set_mutant(mutant);
  const CoreRun result = run_core(seed, kSteps, false);
  set_mutant(std::nullopt);
  found = {seed, result.steps, result.violation.substr(0, result.violation.find(':'))};
  return result.violation;
}

// The first seed from `base` on that finds it; 0: none of `seeds`.
Found search(Mutant mutant, std::uint64_t base, std::uint64_t seeds) {
  Found found;
  for (std::uint64_t seed = base; seed < base + seeds; ++seed) {
    if (!run(mutant, seed, found).empty()) return found;
  }
  return {};
}

class CoreMutants : public testing::Test {
 protected:
  void SetUp() override {
    if (!kHasMutants) {
      std::cout << "NOT RUN core_mutants: built without WALRAFT_MUTANTS\n";
      GTEST_SKIP();
    }
  }
  void TearDown() override {
    if (kHasMutants) set_mutant(std::nullopt);
  }
};

TEST_F(CoreMutants, TheTableIsTrue) {
  if (std::getenv("WALRAFT_REWRITE") != nullptr) {
    std::ofstream table(kTable);
    table << "# mutant, first seed from 1 on that finds it, step, what caught it. Written by\n"
             "# WALRAFT_REWRITE=1 build/test/bin/unit_replication_core --gtest_filter=CoreMutants.TheTableIsTrue\n";
    for (const Mutant mutant : kMutants) {
      const Found found = search(mutant, 1, kSeedsMax);
      ASSERT_NE(found.seed, 0U) << to_string(mutant) << " was not found by " << kSeedsMax << " seeds";
      table << to_string(mutant) << ' ' << found.seed << ' ' << found.step << ' ' << found.what << '\n';
    }
  }
  std::ifstream table(kTable);
  ASSERT_TRUE(table) << kTable << " cannot be read";
  std::size_t lines = 0;
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, what;
    Found known;
    words >> name >> known.seed >> known.step;
    std::getline(words >> std::ws, what);
    const auto mutant = mutant_named(name);
    ASSERT_TRUE(mutant) << line;
    Found found;
    const std::string violation = run(*mutant, known.seed, found);
    // Another step or another invariant is a table that is old, which is for a reader to mend; that the seed finds
    // nothing is a hole in the tests.
    EXPECT_NE(violation, "") << name << " is not found by seed " << known.seed
                             << " any more; after a change of the core or of the runs write the table anew "
                                "(WALRAFT_REWRITE=1), and look at what became of the seeds it takes";
    if (found.what != what || found.step != known.step) {
      std::cout << "the table is old: " << name << " is now caught at step " << found.step << " by " << found.what
                << '\n';
    }
    // And it is the bug that was found, not the run.
    EXPECT_EQ(run_core(known.seed, kSteps, false).violation, "") << "without " << name << ", seed " << known.seed;
    ++lines;
  }
  EXPECT_EQ(lines, kMutants.size());
}

// The table could be luck: seeds that nobody has seen find them too. Each run takes a third of them in turn.
TEST_F(CoreMutants, FreshSeedsFindThem) {
  const std::uint64_t base = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  for (std::size_t i = base / 1'000 % 3; i < kMutants.size(); i += 3) {
    const Found found = search(kMutants[i], base, kFreshSeedsMax);
    EXPECT_NE(found.seed, 0U) << to_string(kMutants[i]) << " was not found by " << kFreshSeedsMax << " seeds from "
                              << base;
    if (found.seed != 0) {
      std::cout << to_string(kMutants[i]) << ": " << found.seed - base + 1 << " seeds, " << found.what << '\n';
    }
  }
}

}  // namespace
}  // namespace walraft::model
