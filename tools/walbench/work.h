#pragma once

// What one cell of a run does, and what came of it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/walbench/histogram.h"
#include "tools/walbench/limits.h"

namespace walraft::walbench {

using Time = std::chrono::steady_clock::time_point;

struct Target {
  std::vector<std::string> endpoints;
  std::string log;
  std::string software;  // for the server's logs
};

struct Work {
  std::string command;            // append, read, tail or mixed
  std::uint32_t size = 256;       // bytes of a record
  std::uint32_t inflight = 1;     // appends under way on each connection; 0: as many as are due (open loop)
  double rate = 0;                // records a second over all connections; 0: closed loop
  std::uint32_t connections = 1;  // that append; of read: that read
  std::uint32_t batch_bytes = 0;  // of records in an append; 0: one record
  std::uint32_t readers = 1;      // of mixed
  std::uint64_t fill_bytes = 0;   // of read and mixed: appended before anything is measured
  std::chrono::microseconds warmup{1'000'000};
  std::chrono::microseconds duration{5'000'000};

  std::uint32_t records_per_append() const { return batch_bytes <= size ? 1 : batch_bytes / size; }
};

// Counts of what was measured, warm-up left out but where said.
struct Tally {
  Histogram latency;                      // ns, of appends (append, mixed), of reads (read), of records (tail)
  Histogram queue;  // ns, of appends as the server says: until their write began
  Histogram sync;  // ns, as the server says: the write that carried them
  std::uint64_t operations = 0;           // appends or reads that ended in time
  std::uint64_t records = 0;              // acknowledged, read or delivered
  std::uint64_t bytes = 0;                // of those records
  double seconds = 0;                     // that were measured
  std::uint64_t acknowledged = 0;         // records, of the whole run: warm-up and fill too
  std::uint64_t handled = 0;              // records that cost processor time while Meter ran, warm-up too
  std::vector<std::uint16_t> durable_on;  // nodes, as the last answer said

  double records_per_second() const { return seconds > 0 ? static_cast<double>(records) / seconds : 0; }
  double bytes_per_second() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

// Of mixed: the same appends alone and beside readers that catch up, in turns.
struct MixedTally {
  std::vector<double> alone, beside;  // records a second, a number a round
  Histogram latency_alone;            // ns
  double reader_bytes = 0;            // a second, over all readers
  std::uint64_t reader_records = 0;

  double cost() const;  // share of the appends that the readers took: median of the rounds; 0.1 is 10 %
};

struct ServerUse {
  double cpu_seconds = 0;
  std::uint64_t rss_peak = 0;  // bytes
};

struct Cell {
  Work work;
  Tally tally;
  std::optional<MixedTally> mixed;
  Limits limits;                    // measured before and after
  std::optional<ServerUse> server;  // of --local
  double client_cpu_seconds = 0;
  double cpu_waited = 0;  // share of the time in which some task of the machine waited for a processor; -1: not known
  std::string durability;
  std::uint64_t tail_before = 0, tail_after = 0;  // of the log
};

}  // namespace walraft::walbench
