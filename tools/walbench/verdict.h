#pragma once

// What a cell's figures are worth beside the limits of the same minute. Any thread.

#include <string>

#include "tools/walbench/work.h"

namespace walraft::walbench {

struct Verdict {
  // Latency p50 of one append at a time over (synced 4 KiB write p50 + round trip p50); 0 where that does not apply.
  double latency_ratio = 0;
  // Bytes of records a second over min(synced bandwidth, TCP bandwidth). For reads and tails over TCP's alone.
  double bandwidth_ratio = 0;
  std::string text;
};

constexpr double kLatencyRatioMax = 1.3;     // of one append at a time
constexpr double kBandwidthRatioMin = 0.5;   // of 16 KiB appends and larger ones in a deep pipeline
constexpr double kRecordsPerSecondMin = 2e6;  // of 32 byte records in batches
constexpr double kReaderCostMax = 0.2;       // of one reader that catches up
constexpr std::uint64_t kServerRssMax = 200u << 20;

Verdict judge(const Cell& cell);

}  // namespace walraft::walbench
