#pragma once

// What wal_writer says, and how it ends.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::power {

inline constexpr int kExitRefused = 3;
inline constexpr int kExitDiskFailed = 5;
inline constexpr int kExitDamaged = 11;

// One line to stdout, at once: it may be the last thing before the power fails.
inline void say(const std::string& line) {
  const std::string whole = line + "\n";
  if (write(STDOUT_FILENO, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) {
    std::_Exit(1);  // nobody listens
  }
}

[[noreturn]] inline void leave(int code, const Error& why) {
  const auto name = outcome_of(why.code).name;
  std::fprintf(stderr, "wal_writer: %.*s: %s\n", static_cast<int>(name.size()), name.data(), why.message.c_str());
  std::_Exit(code);
}

inline std::string text(Index index) { return std::to_string(index.value); }

}  // namespace walraft::power
