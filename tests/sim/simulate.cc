// Runs simulated clusters from seeds, and says what broke: simulate --help.

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "tests/sim/cluster_run.h"
#include "tests/sim/many_runs.h"
#include "wal/base/mutant.h"

namespace {

using namespace walraft;

constexpr std::string_view kHelp =
    "simulate: clusters of Walraft in one thread, with everything that goes wrong drawn from a seed\n"
    "\n"
    "  --seed N        the first seed; a fresh one unless told. The same seed does the same\n"
    "  --runs K        so many seeds, from that one on (1)\n"
    "  --mode M        safety (unless told), liveness, or calm\n"
    "  --mutant NAME   with this bug planted (wal/base/mutant.h); ends at the first seed that finds it\n"
    "  --show          prints every event\n"
    "\n"
    "Exit code: 0 nothing was violated, 1 something was, 2 wrong usage.\n";

struct Wish {
  std::uint64_t seed = 0;
  std::uint64_t runs = 1;
  sim::Mode mode = sim::Mode::safety;
  std::optional<Mutant> mutant;
  bool show = false;
};

int usage(const std::string& why) {
  std::cerr << "simulate: " << why << "; simulate --help tells what there is\n";
  return 2;
}

// For a CHECK that fails: the line that does it again.
char replay[200];
void on_abort(int signal) {
  (void)!write(STDERR_FILENO, replay, std::strlen(replay));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

int run(const Wish& wish) {
  const auto begun = std::chrono::steady_clock::now();
  std::signal(SIGABRT, on_abort);
  std::signal(SIGSEGV, on_abort);
  std::signal(SIGTERM, on_abort);
  set_mutant(wish.mutant);
  std::uint64_t events = 0, virtual_us = 0, committed = 0, acknowledged = 0, delivered = 0, reads = 0, failures = 0,
                done = 0;
  for (std::uint64_t seed = wish.seed; seed - wish.seed < wish.runs; ++seed) {
    std::strncpy(replay, (sim::replay_line(seed, wish.mode, wish.mutant) + "\n").c_str(), sizeof replay - 1);
    const sim::ClusterRun result = sim::run_cluster(seed, wish.mode, wish.show);
    ++done;
    events += result.events;
    virtual_us += result.virtual_us;
    committed += result.committed;
    acknowledged += result.acknowledged;
    delivered += result.delivered;
    reads += result.reads;
    if (wish.runs == 1) std::cout << result.knobs << "\ntrace " << std::hex << result.trace << std::dec << '\n';
    if (result.violation.empty()) continue;
    ++failures;
    std::cout << "seed " << seed << ", event " << result.events << ": " << result.violation << '\n'
              << replay << std::flush;
    if (wish.mutant) break;
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::cout << done << " runs from seed " << wish.seed << ": " << failures << " violations; " << events << " events, "
            << static_cast<std::uint64_t>(static_cast<double>(events) / took) << " a second; "
            << virtual_us / 3'600'000'000.0 << " hours; " << committed << " batches committed, " << acknowledged
            << " appends acknowledged, " << delivered << " records read, " << reads << " ends asked\n";
  return failures == 0 ? 0 : 1;
}

bool number(std::string_view text, std::uint64_t& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

int main(int argc, char** argv) {
  Wish wish;
  wish.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--help") {
      std::cout << kHelp;
      return 0;
    }
    if (option == "--show") {
      wish.show = true;
      continue;
    }
    if (i + 1 == argc) return usage(std::string(option) + " is unknown, or needs a value");
    const std::string_view value = argv[++i];
    if (option == "--seed") {
      if (!number(value, wish.seed)) return usage("--seed needs a number");
    } else if (option == "--runs") {
      if (!number(value, wish.runs) || wish.runs == 0) return usage("--runs needs a number above 0");
    } else if (option == "--mode") {
      const auto mode = sim::mode_named(std::string(value));
      if (!mode) return usage("--mode is safety, liveness or calm");
      wish.mode = *mode;
    } else if (option == "--mutant") {
      wish.mutant = mutant_named(value);
      if (!wish.mutant) return usage("there is no mutant \"" + std::string(value) + "\"");
      if (!kHasMutants) return usage("--mutant needs a build with WALRAFT_MUTANTS=ON");
    } else {
      return usage(std::string(option) + " is unknown");
    }
  }
  return run(wish);
}
