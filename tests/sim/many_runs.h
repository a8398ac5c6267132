#pragma once

// Many runs of simulated clusters, in as many processes as there are processors; a run whose process ends (a CHECK) is
// a violation too. Call it from a program without threads.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/cluster_run.h"
#include "wal/base/mutant.h"

namespace walraft::sim {

struct ManyRuns {
  struct Finding {
    std::uint64_t seed = 0;
    std::string what;  // its first line
  };
  std::vector<Finding> findings;  // by seed
  std::uint64_t runs = 0;
  std::uint64_t events = 0;
  std::uint64_t virtual_us = 0;
  std::uint64_t committed = 0;
  std::uint64_t acknowledged = 0;
  double seconds = 0;
  std::map<std::string, std::uint64_t> probes;  // how often each was passed (wal/base/probe.h)
};

// The seeds [base, base + runs). With a mutant it ends at the first seed that finds it, silently.
ManyRuns run_many(std::uint64_t base, std::uint64_t runs, Mode mode, std::optional<Mutant> mutant = {});

std::string replay_line(std::uint64_t seed, Mode mode, std::optional<Mutant> mutant = {});
// "safety", …; nothing for any other name.
std::optional<Mode> mode_named(const std::string& name);
std::string to_string(Mode mode);

}  // namespace walraft::sim
