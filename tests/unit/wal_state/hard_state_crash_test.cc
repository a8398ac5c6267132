// The power goes at every operation of a sequence of hard-state writes, with every subset of the
// sectors that were not synced surviving, and once more at every operation of the repair that
// follows. What is read is then the last completed state or the one in flight: never older, never
// lost (fault:S2, S4, S17; mutants h6a, h6b).

#include <gtest/gtest.h>

#include "tests/unit/wal_state/crash_filesystem.h"
#include "wal/base/mutant.h"
#include "wal/hard_state.h"

namespace walraft::wal {
namespace {

using namespace crash;

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes.fill(n);
  return id;
}

const Uuid kDisk = uuid(0xd1);

HardState vote(std::uint64_t term, std::uint16_t node) { return {.term = Term(term), .voted_for = NodeId{node}}; }

struct World {
  Medium medium;
  MemoryDirectory directory{medium};
  MemoryDisk disk;
  std::unique_ptr<HardStateFile> file;

  // What each log may be after a power cut: the last completed state first, then all asked for
  // since. nullopt: not there.
  std::map<Uuid, std::vector<std::optional<HardState>>> allowed;

  void open() {
    auto opened = HardStateFile::open(directory, "hard_state", kDisk, Access::direct, disk);
    CHECK(opened.has_value(), opened.error().message);
    file = std::move(*opened);
  }
  void set(const Uuid& log, std::optional<HardState> state) {
    auto& states = allowed[log];
    if (states.empty()) states.push_back(std::nullopt);
    states.push_back(state);
    const auto done = [this, log, state] {
      auto& of_log = allowed[log];
      while (of_log.size() > 1 && of_log.front() != state) of_log.erase(of_log.begin());
    };
    if (state) {
      CHECK(file->write(log, *state, done).has_value());
    } else {
      CHECK(file->remove(log, done).has_value());
    }
  }
};

// How many wrong states a check found, so that a mutant can be seen to be found.
int wrong = 0;

void expect_allowed(const World& world, const HardStateFile::Contents& contents, const char* when) {
  std::map<Uuid, LogHardState> found;
  for (const auto& log : contents.logs) found[log.log] = log;
  bool good = contents.nameless == 0;
  for (const auto& [log, states] : world.allowed) {
    const auto at = found.find(log);
    const std::optional<HardState> state = at == found.end() ? std::nullopt : std::optional(at->second.state);
    const bool lost = at != found.end() && at->second.lost;
    good = good && !lost && std::find(states.begin(), states.end(), state) != states.end();
  }
  if (good) return;
  ++wrong;
  if (!kHasMutants || !(mutant(Mutant::h6a_vote_not_synced) || mutant(Mutant::h6b_term_not_synced))) {
    ADD_FAILURE() << when << ": " << (contents.damage.empty() ? "no damage" : contents.damage.front());
  }
}

// Cuts the power now, in all ways; returns how many there were.
int cut_power(const World& world, bool cut_repair_too) {
  const std::size_t n = world.medium.uncertain();
  CHECK(n <= 12, n);
  for (std::size_t subset = 0; subset < (std::size_t{1} << n); ++subset) {
    auto medium = world.medium.survive([&](std::size_t i) { return (subset >> i & 1) != 0; });
    MemoryDirectory directory(*medium);
    const auto seen = HardStateFile::read(directory, "hard_state", kDisk);
    CHECK(seen.has_value(), seen.error().message);
    expect_allowed(world, *seen, "read");
    for (std::uint64_t cut_at = 0; cut_repair_too; ++cut_at) {
      MemoryDisk disk;
      auto again = medium->survive([](std::size_t) { return true; });
      MemoryDirectory directory_again(*again);
      again->cut_at = cut_at;
      try {
        auto opened = HardStateFile::open(directory_again, "hard_state", kDisk, Access::direct, disk);
        CHECK(opened.has_value(), opened.error().message);
        expect_allowed(world, (*opened)->contents(), "opened");
        // What open() told is durable in all copies: after another cut, only that is there.
        CHECK(again->uncertain() == 0, again->uncertain());
        again->cut_at.reset();
        const auto sound = HardStateFile::read(directory_again, "hard_state", kDisk);
        CHECK(sound.has_value() && sound->damage.empty());
        EXPECT_EQ(sound->logs.size(), (*opened)->contents().logs.size());
        break;
      } catch (const PowerCut&) {
        const std::size_t m = again->uncertain();
        CHECK(m <= 12, m);
        for (std::size_t rest = 0; rest < (std::size_t{1} << m); ++rest) {
          auto twice = again->survive([&](std::size_t i) { return (rest >> i & 1) != 0; });
          MemoryDirectory directory_twice(*twice);
          const auto seen_twice = HardStateFile::read(directory_twice, "hard_state", kDisk);
          CHECK(seen_twice.has_value());
          expect_allowed(world, *seen_twice, "read after a cut in the repair");
        }
      }
    }
  }
  return 1 << n;
}

// One step of a script: what is asked for before a flush.
using Step = std::vector<std::pair<Uuid, std::optional<HardState>>>;

// Runs the script, cutting the power with a step's writes in the cache, after one of them completed,
// and after all did.
int run(const std::vector<Step>& script, bool cut_repair_too) {
  World world;
  CHECK(HardStateFile::create(world.directory, "hard_state", kDisk).has_value());
  world.open();
  int cuts = 0;
  for (const Step& step : script) {
    for (const auto& [log, state] : step) world.set(log, state);
    world.file->flush();
    while (!world.file->idle()) {
      cuts += cut_power(world, cut_repair_too);
      world.disk.complete_one(cuts % world.disk.in_flight().size());
    }
    cuts += cut_power(world, cut_repair_too);
  }
  return cuts;
}

const Uuid kA = uuid(1);
const Uuid kB = uuid(2);
const Uuid kC = uuid(3);

TEST(HardStateCrashTest, OneLogFromFirstUseToReuseOfItsSlot) {
  const std::vector<Step> script{
      {{kA, vote(1, 1)}}, {{kA, vote(2, 2)}}, {{kA, vote(2, 2)}},   {{kA, vote(3, 1)}}, {{kA, std::nullopt}},
      {{kB, vote(1, 3)}}, {{kB, vote(4, 4)}}, {{kB, std::nullopt}}, {{kA, vote(1, 1)}},
  };
  const int cuts = run(script, true);
  std::printf("%d power cuts, each with cuts in the repair\n", cuts);
  EXPECT_GT(cuts, 50);
}

TEST(HardStateCrashTest, SeveralLogsInOneSectorAndRound) {
  const std::vector<Step> script{
      {{kA, vote(1, 1)}, {kB, vote(1, 1)}},   {{kA, vote(2, 2)}},
      {{kB, vote(2, 2)}, {kC, vote(7, 7)}},   {{kA, vote(3, 1)}, {kB, vote(5, 1)}, {kC, std::nullopt}},
      {{kA, std::nullopt}, {kB, vote(6, 1)}}, {{kC, vote(1, 1)}, {kB, vote(7, 1)}},
  };
  const int cuts = run(script, false);
  std::printf("%d power cuts\n", cuts);
  EXPECT_GT(cuts, 50);
}

TEST(HardStateCrashTest, LogsInDifferentSectors) {
  std::vector<Step> script(1);
  for (std::uint8_t n = 1; n <= 5; ++n) script[0].push_back({uuid(n), vote(1, n)});
  script.push_back({{uuid(1), vote(2, 2)}, {uuid(5), vote(2, 3)}});
  script.push_back({{uuid(1), vote(3, 2)}});
  script.push_back({{uuid(5), vote(3, 3)}, {uuid(1), std::nullopt}});
  const int cuts = run(script, false);
  std::printf("%d power cuts\n", cuts);
  EXPECT_GT(cuts, 50);
}

TEST(HardStateCrashTest, FindsVotesThatAreNotSynced) {
#ifndef WALRAFT_MUTANTS
  GTEST_SKIP() << "NOT RUN: built without WALRAFT_MUTANTS";
#else
  for (const Mutant which : {Mutant::h6a_vote_not_synced, Mutant::h6b_term_not_synced}) {
    set_mutant(which);
    wrong = 0;
    run({{{kA, vote(1, 0)}}, {{kA, vote(2, 0)}}, {{kA, vote(2, 2)}}}, false);
    set_mutant(std::nullopt);
    EXPECT_GT(wrong, 0) << to_string(which) << " was not found";
    wrong = 0;
  }
#endif
}

}  // namespace
}  // namespace walraft::wal
