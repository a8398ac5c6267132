#pragma once

// The composition root: makes every part of a node, in order, and lets the loop run them.
// Thread: main, which is the shard thread of this release's one shard.

#include <memory>

#include "tools/wald/config.h"

namespace walraft::wald {

// What the process ends with.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitBadConfig = 2;
inline constexpr int kExitStorageRefused = 3;
inline constexpr int kExitAddressInUse = 4;
inline constexpr int kExitStorageFailed = 5;

// Runs a node until SIGTERM or SIGINT; returns the exit code. A disk that fails ends the process from within: 5, or 3
// if one failed within the last hour.
int run_appliance(const Config& config);

}  // namespace walraft::wald
