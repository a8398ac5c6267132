// Each planted bug of the log and its disk must be found by the crash points, or by the damage that they
// stand for, within a few workloads: a test that finds none of them proves nothing. Each runs in a process
// of its own, since a CHECK that fails is a find too. tests/data/crash_mutants.txt is the table: mutant,
// workloads and power cuts to detection (0: a CHECK failed, which tells neither). WALRAFT_REWRITE=1 writes
// it anew. (mutant:M14, M15, M16, M21, M26, M27, M31, H7, H13, S1, S2)

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "tests/crash/log_machine.h"
#include "wal/base/mutant.h"

namespace walraft::wal::crash_test {
namespace {

constexpr std::uint64_t kWorkloadsMax = 150;

const char* const kTable = WALRAFT_TEST_DATA "/crash_mutants.txt";

// Unused, all of them, in trees without the planted bugs.
struct Find {
  std::uint64_t workloads = 0;
  std::uint64_t cuts = 0;
  bool operator==(const Find&) const = default;
};

[[maybe_unused]] std::map<std::string, Find> read_table() {
  std::map<std::string, Find> found;
  std::ifstream table(kTable);
  std::string name;
  while (table >> name) {
    if (name == "#") {
      std::getline(table, name);
      continue;
    }
    Find& find = found[name];
    table >> find.workloads >> find.cuts;
  }
  return found;
}

[[maybe_unused]] void write_table(const std::map<std::string, Find>& found) {
  std::ofstream table(kTable);
  table << "# mutant, workloads and power cuts to detection; 0 where a CHECK failed. Written by\n"
           "# WALRAFT_REWRITE=1 build/test/bin/crash --gtest_filter='Planted/*'\n";
  for (const auto& [name, find] : found) table << name << ' ' << find.workloads << ' ' << find.cuts << '\n';
}

// A sealed or proven batch of the log is damaged, its copy opened: cut, it must never be.
std::string damage_is_not_cut(const Machine& machine, sim::SimRng& rng) {
  auto copy = machine.filesystem().fork();
  copy->clear_faults();
  copy->crash(sim::CrashChoice::kill_process());
  sim::SimClock clock = machine.clock();
  Promise promise = machine.promise();
  std::optional<BatchPlace> place;
  {
    Process process(*copy, clock, machine.options());
    if (process.log() == nullptr || promise.truncating || process.log()->durable() < promise.first_asked + 3) return {};
    LogReader reader(process.log()->view());
    const Index damaged(rng.between(promise.first_asked.value, process.log()->durable().value - 3));
    if (auto found = reader.find(damaged)) place = *found;
    process.log()->tick();
    for (int i = 0; i < 30; ++i) {
      process.disk().run_for_us(100'000);
      process.log()->tick();
      process.hard_state().flush();
    }
    promise.durable = process.log()->durable();
  }
  if (!place) return {};
  copy->flip_bit("log/" + segment_name(place->segment), place->position + rng.below(kBatchHeaderBytes), 5);
  Process process(*copy, clock, machine.options());
  if (process.log() == nullptr) return {};
  if (process.log()->suspect() || process.log()->tail().index >= promise.durable) return {};
  return "damaged batches that were acknowledged were cut";
}

// Runs until something is wrong; false if nothing is within the budget.
[[maybe_unused]] bool finds(Mutant which, Find& find) {
  for (std::uint64_t seed = 1; seed <= kWorkloadsMax; ++seed) {
    ++find.workloads;
    Machine::Profile profile = Machine::profile_of(seed);
    profile.faults = which == Mutant::m26_sync_error_retried;
    profile.full_disk = which == Mutant::m27_no_space_acknowledged;
    profile.truncations = which == Mutant::h13_truncate_oldest_first || profile.truncations;
    if (which == Mutant::h13_truncate_oldest_first) profile.options.durable_is_commit = false;
    profile.suspicions = which == Mutant::s1_suspicion_not_durable || which == Mutant::s2_settle_not_durable;
    profile.steps = 120;
    Machine machine(seed, profile);
    sim::SimRng rng(seed);
    machine.at_operation = [&](const sim::Operation&) {
      if (!rng.one_in(6)) return;
      ++find.cuts;
      std::string wrong;
      if (which == Mutant::m15_truncate_on_checksum_error) {
        wrong = damage_is_not_cut(machine, rng);
      } else {
        wrong = verify_after_crash(machine.filesystem().fork(), machine.promise(), machine.clock(), machine.options(),
                                   rng.one_in(2) ? sim::CrashChoice::lose_unsynced() : sim::CrashChoice::keep_random(rng.next()), rng);
      }
      if (!wrong.empty()) machine.stop(wrong);
    };
    if (!machine.run().empty()) return true;
  }
  return false;
}

class Mutants : public ::testing::TestWithParam<Mutant> {};

TEST_P(Mutants, is_found) {
  if (!kHasMutants) GTEST_SKIP() << "NOT RUN: this build has no planted bugs (WALRAFT_MUTANTS)";
#ifdef WALRAFT_MUTANTS
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    set_mutant(GetParam());
    (void)!freopen("/dev/null", "w", stderr);
    Find find;
    const bool found = finds(GetParam(), find);
    (void)!write(ends[1], &find, sizeof find);
    _exit(found ? 1 : 0);
  }
  close(ends[1]);
  Find find;
  const bool told = read(ends[0], &find, sizeof find) == static_cast<ssize_t>(sizeof find);
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  const std::string name(to_string(GetParam()));
  if (told) {
    std::printf("%-32s %s after %llu workloads, %llu power cuts\n", name.c_str(),
                WEXITSTATUS(status) == 1 ? "found" : "SURVIVED", static_cast<unsigned long long>(find.workloads),
                static_cast<unsigned long long>(find.cuts));
  } else {
    std::printf("%-32s found: a CHECK failed\n", name.c_str());
  }
  const bool survived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  EXPECT_FALSE(survived) << name << " survived";
  auto table = read_table();
  if (std::getenv("WALRAFT_REWRITE") != nullptr && !survived) {
    table[name] = find;
    write_table(table);
  }
  EXPECT_TRUE(table.contains(name)) << name << " is not in " << kTable << "; WALRAFT_REWRITE=1 writes it";
  if (table.contains(name) && table[name] != find)
    std::printf("the table is old: it says %llu workloads for %s\n",
                static_cast<unsigned long long>(table[name].workloads), name.c_str());
#endif
}

INSTANTIATE_TEST_SUITE_P(Planted, Mutants,
                         ::testing::Values(Mutant::m14_no_directory_sync, Mutant::m15_truncate_on_checksum_error,
                                           Mutant::m16_recycled_tail_accepted, Mutant::m21_trim_races_reader,
                                           Mutant::m26_sync_error_retried, Mutant::m27_no_space_acknowledged,
                                           Mutant::m31_no_dsync, Mutant::h7_ack_before_sync,
                                           Mutant::h13_truncate_oldest_first, Mutant::s1_suspicion_not_durable,
                                           Mutant::s2_settle_not_durable),
                         [](const auto& planted) { return std::string(to_string(planted.param)); });

// The same code without a mutant, on the same seeds: what it finds above is the bug and not itself.
TEST(MutantFinder, finds_nothing_where_nothing_is_planted) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Machine::Profile profile = Machine::profile_of(seed);
    profile.steps = 120;
    Machine machine(seed, profile);
    sim::SimRng rng(seed);
    machine.at_operation = [&](const sim::Operation&) {
      if (!rng.one_in(12)) return;
      std::string wrong = damage_is_not_cut(machine, rng);
      if (wrong.empty()) {
        wrong = verify_after_crash(machine.filesystem().fork(), machine.promise(), machine.clock(), machine.options(),
                                   sim::CrashChoice::keep_random(rng.next()), rng);
      }
      if (!wrong.empty()) machine.stop(wrong);
    };
    EXPECT_EQ(machine.run(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace walraft::wal::crash_test
