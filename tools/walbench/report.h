#pragma once

// How a run is told: a table for people, JSON for programs, and a comparison with an older run's JSON.

#include <string>
#include <vector>

#include "tools/walbench/work.h"
#include "wal/base/result.h"

namespace walraft::walbench {

struct Run {
  std::string version;
  std::string command;
  std::string directory;   // whose disk was measured
  std::string server;      // "--local" or the endpoints
  std::string log;         // name, and what becomes of it
  std::vector<Cell> cells;
};

std::string limits_text(const Limits& limits);
std::string cell_text(const Cell& cell);

// One object. Keys say their units: _us, _s, _bytes, _per_s; ratios and shares are of 1.
std::string limits_json(const Limits& limits);
std::string run_json(const Run& run);

// One line for each cell that both have: this run's throughput and p50 over those of the JSON text `old`, as they are
// and divided by what the limits did meanwhile. `invalid` if `old` is no result of walbench.
Result<std::string> comparison(const Run& run, const std::string& old);

// A table of results written by --json. `invalid` names what is wrong.
Result<std::string> report_text(const std::string& name, const std::string& json);

}  // namespace walraft::walbench
