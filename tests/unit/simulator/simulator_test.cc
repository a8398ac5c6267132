// Simulated clusters: the seeds of bugs that were found, fresh seeds, and whether a seed does the same each time.
//   WALRAFT_SIM_RUNS=N   so many fresh seeds in safety mode (3,000), and a third of it in liveness mode

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/sim/cluster_run.h"
#include "tests/sim/many_runs.h"

namespace walraft::sim {
namespace {

std::uint64_t fresh_runs() {
  const char* wanted = std::getenv("WALRAFT_SIM_RUNS");
  return wanted == nullptr ? 3'000 : std::strtoull(wanted, nullptr, 10);
}

std::uint64_t fresh_base() {
  return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
}

void fresh_seeds_find_nothing(Mode mode, std::uint64_t runs) {
  const std::uint64_t base = fresh_base();
  const ManyRuns all = run_many(base, runs, mode);
  std::cout << to_string(mode) << ": " << all.runs << " runs from seed " << base << ", " << all.events << " events, "
            << static_cast<std::uint64_t>(static_cast<double>(all.events) / all.seconds) << " a second, "
            << static_cast<double>(all.virtual_us) / 3.6e9 << " hours of the cluster, " << all.committed
            << " batches committed, " << all.acknowledged << " appends acknowledged\n";
  for (const auto& finding : all.findings) ADD_FAILURE() << finding.what << '\n' << replay_line(finding.seed, mode);
  EXPECT_EQ(all.runs, runs);
  // A simulator in which nothing gets done finds nothing.
  EXPECT_GT(all.acknowledged, 10 * runs);
  for (const auto& [name, passed] : all.probes) {
    if (passed != 0) continue;
    std::cout << "never reached: " << name << '\n';
    if (name.starts_with("sim: ") && runs >= 1'000) {
      ADD_FAILURE() << "the runs do not reach \"" << name << "\" any more: what they were to break is not broken";
    }
  }
}

TEST(Simulator, FreshSeedsKeepThePromises) { fresh_seeds_find_nothing(Mode::safety, fresh_runs()); }

TEST(Simulator, FreshSeedsSettleWhenAMajorityIsWell) {
  fresh_seeds_find_nothing(Mode::liveness, std::max<std::uint64_t>(1, fresh_runs() / 3));
}

// Each line of the file: mode, seed, and what it found once.
TEST(Simulator, SeedsThatFoundABugFindNoneNow) {
  std::ifstream seeds(WALRAFT_TEST_DATA "/sim_seeds.txt");
  ASSERT_TRUE(seeds);
  std::size_t lines = 0;
  for (std::string line; std::getline(seeds, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string mode_name, what;
    std::uint64_t seed = 0;
    words >> mode_name >> seed;
    std::getline(words >> std::ws, what);
    const auto mode = mode_named(mode_name);
    ASSERT_TRUE(mode && !what.empty()) << line;
    const ManyRuns run = run_many(seed, 1, *mode);
    EXPECT_TRUE(run.findings.empty()) << what << " is back: " << run.findings[0].what << '\n'
                                      << replay_line(seed, *mode);
    ++lines;
  }
  EXPECT_GT(lines, 0u);
}

TEST(Simulator, ASeedDoesTheSameEachTime) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Mode mode = seed % 4 == 0 ? Mode::liveness : Mode::safety;
    const ClusterRun once = run_cluster(seed, mode);
    const ClusterRun again = run_cluster(seed, mode);
    EXPECT_EQ(once.trace, again.trace) << replay_line(seed, mode);
    EXPECT_EQ(once.events, again.events) << replay_line(seed, mode);
  }
}

// Also in another process, where memory lies elsewhere, and after other runs.
TEST(Simulator, ASeedDoesTheSameInAnotherProcess) {
  char self[4'000];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self);
  ASSERT_GT(length, 0);
  std::string program(self, static_cast<std::size_t>(length));
  program.replace(program.rfind('/') + 1, std::string::npos, "simulate");
  ASSERT_EQ(::access(program.c_str(), X_OK), 0) << program << " was not built";
  for (std::uint64_t seed = 11; seed <= 15; ++seed) {
    FILE* output = ::popen((program + " --seed " + std::to_string(seed)).c_str(), "r");
    ASSERT_NE(output, nullptr);
    std::string text;
    for (char line[1'000]; std::fgets(line, sizeof line, output) != nullptr;) text += line;
    EXPECT_EQ(::pclose(output), 0) << text;
    std::ostringstream trace;
    trace << "trace " << std::hex << run_cluster(seed, Mode::safety).trace << '\n';
    EXPECT_NE(text.find(trace.str()), std::string::npos) << text << "here " << trace.str();
  }
}

}  // namespace
}  // namespace walraft::sim
