#pragma once

// Sizes and durations as the tools take them on their command lines. Any thread.

#include <chrono>
#include <cstdint>
#include <string>

#include "wal/base/result.h"

namespace walraft {

// "4MiB", "256", "32B". `usage` says what is allowed.
Result<std::uint64_t> parse_bytes(const std::string& text);
// "300ms", "5s"; more than nothing, a year at most. `usage` says what is allowed.
Result<std::chrono::microseconds> parse_duration(const std::string& text);

}  // namespace walraft
