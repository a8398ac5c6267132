// Which rare branches of the core (wal/base/probe.h) are reached, and by what: random runs, scripts, or only by hand. A
// branch that nothing reaches fails the test: nothing could find a bug in it.

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <set>
#include <string>

#include "tests/datadriven/raft_script.h"
#include "tests/model/core_probes.h"
#include "tests/model/core_run.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft {
namespace {

constexpr std::uint64_t kRuns = 1'000;
constexpr std::uint64_t kSteps = 4'000;

std::set<std::string> passed_probes() {
  std::set<std::string> passed;
  for (const Probe* probe : probes()) {
    if (probe->passed() > 0) passed.insert(probe->name());
  }
  return passed;
}

// Rare branches that a thousand random runs pass a hundred times. If they stop reaching one, they have become blind for a
// part of the protocol: mend the generator (tests/model/core_steps.cc).
constexpr std::string_view kReachedByChance[] = {
    "ack of another session",
    "batches leave before the accept",
    "candidate stops asking",
    "commit is ahead of the batches",
    "commit of an older term is forgotten",
    "follower ends a silent stream",
    "frame of a session that is over",
    "hand-over waits for its target",
    "handshake cuts the log",
    "heartbeat answered from another disk",
    "heartbeat doubled or overtaken",
    "heartbeat of a leader with a stalled disk",
    "hello is not answered",
    "hello of an older session",
    "hello replaces a session",
    "leader ends: higher term",
    "leader ends: its disk stalls",
    "leader ends: no contact",
    "majority holds only batches of older terms",
    "pre-vote refused: shorter log",
    "quarantined node does not stand",
    "reads refused: the role is over",
    "refused: another disk",
    "session closed: the follower hears nothing on it",
    "vote for another campaign",
    "vote refused: it is given",
    "vote request ignored: there is a leader",
    "window is full",
};

bool left_to_hand(std::string_view name) {
  return std::find(std::begin(model::kReachedByHand), std::end(model::kReachedByHand), name) !=
         std::end(model::kReachedByHand);
}

TEST(RaftProbes, EachRareBranchIsReached) {
  if (!kHasMutants) GTEST_SKIP() << "NOT RUN probes: they are not compiled in (-DWALRAFT_MUTANTS=ON)";
  for (Probe* probe : probes()) probe->reset();
  for (std::uint64_t seed = 1; seed <= kRuns; ++seed) model::run_core(seed, kSteps, false);
  const std::set<std::string> by_chance = passed_probes();
  for (const auto& path : script_files("raft", "")) {
    RaftScript script;
    play_script(path, [&](const std::string& line) { return script.run(line); });
  }
  const std::set<std::string> by_any = passed_probes();

  for (const Probe* probe : probes()) {
    const std::string name = probe->name();
    if (left_to_hand(name)) {
      std::cout << "only by hand (core_strangers_test.cc): " << name << "\n";
      EXPECT_FALSE(by_any.contains(name)) << "reached by runs or scripts now, take it off core_probes.h: " << name;
    } else if (!by_any.contains(name)) {
      ADD_FAILURE() << "never reached, by " << kRuns << " random runs nor by scripts: " << name
                    << "\nwrite a script (tests/data/raft) that gets there";
    } else if (!by_chance.contains(name)) {
      std::cout << "only by scripts: " << name << "\n";
    }
  }
  std::cout << probes().size() << " rare branches, " << by_chance.size() << " of them reached by " << kRuns
            << " random runs, " << by_any.size() << " with the scripts, " << std::size(model::kReachedByHand)
            << " by hand\n";
  for (const std::string_view name : kReachedByChance) {
    EXPECT_TRUE(by_chance.contains(std::string(name))) << "no random run reaches any more: " << name;
  }
}

}  // namespace
}  // namespace walraft
