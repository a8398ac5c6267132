#pragma once

// The command line's values, checked and made into the cells of a run.

#include <optional>
#include <string>
#include <vector>

#include "tools/walbench/work.h"
#include "wal/base/result.h"

namespace walraft::walbench {

// As they stand on the command line.
struct Arguments {
  std::string command;
  std::string size = "256", inflight = "1", rate, duration = "5s", warmup = "1s", limit_time = "300ms";
  std::string connections = "1", readers = "1", batch_bytes, fill = "256MiB";
};

// A cell for each size and each number in flight. `usage`, naming the option and what is allowed.
Result<std::vector<Work>> cells_of(const Arguments& arguments);

// "32,256,1KiB": each at least `min`, at most `max`; at least one. `usage` says what is allowed.
Result<std::vector<std::uint64_t>> parse_sizes(const std::string& option, const std::string& text, std::uint64_t min,
                                               std::uint64_t max);

}  // namespace walraft::walbench
