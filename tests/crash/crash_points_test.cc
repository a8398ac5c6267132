// The power goes, or the process, before every operation of random workloads: appends of all sizes over
// several segments, idle groups, truncations within and across segments, trims with recycling, a full
// disk, failing writes and syncs, restarts. Whatever the disk then has: all that was acknowledged is
// there, nothing that was cut comes back, and recovery is idempotent (fault:S1, S2, S4-S8, S16, S19-S21;
// inv:D1, D3, D4).
//
//   WALRAFT_CRASH_SECONDS=600 crash --gtest_filter='CrashPoints.*'    longer, for the night
//   WALRAFT_CRASH_SEED=N      crash --gtest_filter='CrashPoints.*'    one workload, every crash point

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "tests/crash/log_machine.h"

namespace walraft::wal::crash_test {
namespace {

std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

const std::vector<sim::CrashChoice> kFixedChoices = {
    sim::CrashChoice::lose_unsynced(),    sim::CrashChoice::keep_everything(), sim::CrashChoice::keep_only_newest(),
    sim::CrashChoice::lose_only_newest(), sim::CrashChoice::kill_process(),
};

struct Totals {
  std::uint64_t seeds = 0, points = 0, cuts = 0;
  Machine::Done done;
};

// `every`: one crash point in so many, with one choice each; 1: all of them, with all choices.
std::string crash_everywhere(std::uint64_t seed, std::uint64_t every, Totals& totals, std::uint64_t steps = 0) {
  Machine::Profile profile = Machine::profile_of(seed);
  if (steps != 0) profile.steps = steps;
  Machine machine(seed, profile);
  sim::SimRng rng(seed ^ 0xc0ffee);
  const bool trace = std::getenv("WALRAFT_CRASH_TRACE") != nullptr;
  machine.at_operation = [&](const sim::Operation& operation) {
    if (trace) {
      std::printf("%s  durable %llu appended %llu%s\n", describe(operation).c_str(),
                  static_cast<unsigned long long>(machine.promise().durable.value),
                  static_cast<unsigned long long>(machine.promise().end().value),
                  machine.promise().truncating ? " truncating" : "");
    }
    if (machine.promise().batches.empty() && operation.number > 40) return;
    if (!rng.one_in(every)) return;
    ++totals.points;
    std::vector<sim::CrashChoice> choices = {sim::CrashChoice::keep_random(rng.next()), sim::CrashChoice::keep_random(rng.next())};
    choices.insert(choices.end(), kFixedChoices.begin(), kFixedChoices.end());
    for (std::size_t i = 0; i < (every == 1 ? choices.size() : 1); ++i) {
      const std::size_t which = every == 1 ? i : rng.below(choices.size());
      ++totals.cuts;
      const std::string wrong = verify_after_crash(machine.filesystem().fork(), machine.promise(), machine.clock(),
                                                   machine.options(), choices[which], rng);
      if (wrong.empty()) continue;
      machine.stop("cut " + std::to_string(which) + " before " + describe(operation) + ": " + wrong);
      return;
    }
  };
  const std::string wrong = machine.run();
  ++totals.seeds;
  totals.done.appends += machine.done().appends;
  totals.done.truncations += machine.done().truncations;
  totals.done.trims += machine.done().trims;
  totals.done.restarts += machine.done().restarts;
  totals.done.refused += machine.done().refused;
  totals.done.failures += machine.done().failures;
  totals.done.segments += machine.done().segments;
  totals.done.suspicions += machine.done().suspicions;
  totals.done.settled += machine.done().settled;
  return wrong;
}

void print(const Totals& totals) {
  std::printf(
      "%llu workloads, %llu crash points, %llu power cuts; %llu appends, %llu truncations, %llu trims, %llu restarts, "
      "%llu refusals, %llu failures, %llu segments, %llu times suspect, %llu times settled\n",
      static_cast<unsigned long long>(totals.seeds), static_cast<unsigned long long>(totals.points),
      static_cast<unsigned long long>(totals.cuts), static_cast<unsigned long long>(totals.done.appends),
      static_cast<unsigned long long>(totals.done.truncations), static_cast<unsigned long long>(totals.done.trims),
      static_cast<unsigned long long>(totals.done.restarts), static_cast<unsigned long long>(totals.done.refused),
      static_cast<unsigned long long>(totals.done.failures), static_cast<unsigned long long>(totals.done.segments),
      static_cast<unsigned long long>(totals.done.suspicions), static_cast<unsigned long long>(totals.done.settled));
}

TEST(CrashPoints, nothing_acknowledged_is_lost_in_new_workloads) {
  Totals totals;
  const std::uint64_t fixed = environment("WALRAFT_CRASH_SEED", 0);
  const std::uint64_t every = environment("WALRAFT_CRASH_EVERY", fixed != 0 ? 1 : 12);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(environment("WALRAFT_CRASH_SECONDS", 25));
  std::uint64_t seed = fixed != 0 ? fixed : system_rng().next() >> 16;
  do {
    const std::string wrong = crash_everywhere(seed, every, totals);
    ASSERT_EQ(wrong, "") << "\nreplay: WALRAFT_CRASH_SEED=" << seed << " WALRAFT_CRASH_EVERY=" << every
                         << " crash --gtest_filter='CrashPoints.nothing_*'";
    ++seed;
  } while (fixed == 0 && std::chrono::steady_clock::now() < end);
  print(totals);
}

// The same workloads in every run, and those whose seeds found something once.
TEST(CrashPoints, nothing_acknowledged_is_lost_in_fixed_workloads) {
  Totals totals;
  std::vector<std::uint64_t> seeds = {
      100953532055654,  // a truncation brought back what an earlier one cut
      115873889553502,  // the test itself: recovery ended a truncation, and no room for an append followed
  };
  for (std::uint64_t seed = 1; seed <= 15; ++seed) seeds.push_back(seed);
  for (const std::uint64_t seed : seeds) {
    ASSERT_EQ(crash_everywhere(seed, 12, totals), "") << "\nreplay: WALRAFT_CRASH_SEED=" << seed
        << " WALRAFT_CRASH_EVERY=12 crash --gtest_filter='CrashPoints.*new*'";
  }
  print(totals);
}

// No chance: every operation of two workloads, with every kind of power cut.
TEST(CrashPoints, every_operation_of_a_short_workload_with_every_kind_of_cut) {
  Totals totals;
  for (const std::uint64_t seed : {4u, 9u}) EXPECT_EQ(crash_everywhere(seed, 1, totals, 26), "") << "seed " << seed;
  EXPECT_GT(totals.points, 100u);
  print(totals);
}

}  // namespace
}  // namespace walraft::wal::crash_test
