#pragma once

// A linear-time checker for a log, seen from outside: what clients asked, when, and what they were told.
//
// For registers the order of operations must be searched for, which explodes. A log gives every append an offset, told
// or later seen, so the order is known and only has to fit real time: going through the offsets, each append takes
// effect at the earliest moment that is neither before its own beginning nor before the append in front of it took
// effect. The history is linearizable if and only if that moment is never after the operation's end (reliability.md 6;
// the same idea is in Jepsen's test of Kafka). O(n log n) in the number of records and operations.
//
// Times are of one clock, any unit. Contents are unique: a client never sends the same value twice but as a retry with
// the same producer and sequence. Thread: one.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace walraft::model {

inline constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

enum class AppendOutcome : std::uint8_t { ok, not_written, unknown };

struct AppendOp {
  std::uint64_t invoked = 0;
  std::uint64_t completed = kNever;  // kNever: no answer came (then `unknown`)
  AppendOutcome outcome = AppendOutcome::unknown;
  std::vector<std::uint64_t> values;       // one a record; the batch is written as a whole or not at all
  std::uint64_t first = 0;                 // ok: the offset of the first record
  std::optional<std::uint64_t> expected;   // the offset that it was conditional on
  std::optional<std::uint64_t> tail;       // not_written for its condition: the tail that it was told
};

// Records from `from` on.
struct ReadOp {
  std::uint64_t invoked = 0;
  std::uint64_t completed = 0;
  std::uint64_t from = 0;
  std::vector<std::uint64_t> values;
  // A linearizable look at the end: the next offset was this one, at a moment within the operation.
  std::optional<std::uint64_t> tail;
};

// A record that came on a subscription; those of one session in the order in which they came.
struct Delivery {
  std::uint64_t session = 0;
  std::uint64_t at = 0;
  std::uint64_t offset = 0;
  std::uint64_t value = 0;
};

// What a replica holds in the end, from `first` on.
struct Dump {
  std::string replica;
  std::uint64_t first = 0;
  std::vector<std::uint64_t> values;
};

struct History {
  std::vector<AppendOp> appends;
  std::vector<ReadOp> reads;
  std::vector<Delivery> deliveries;
  std::vector<Dump>
      dumps;  // taken when all is quiet; without one, what nobody read counts as lost only below what was read
};

enum class Fault : std::uint8_t {
  inconsistent_offset,  // two sources have different values at one offset
  duplicate,            // a value at two offsets
  lost,                 // an acknowledged record is not where it was said to be
  aborted_read,         // a record that was certainly not written is there
  out_of_thin_air,      // a record that nobody sent is there
  gap,                  // an offset without a record, below one that has one
  torn_batch,           // a part of a batch is there, or its records do not lie together
  not_linearizable,     // an append took effect before it was asked for or after it was answered
  stale_read,           // a look at the end missed what was there, or saw what was not yet there
  wrong_condition,      // a conditional append that did not fit, or was refused though it did
  out_of_order,         // a subscription that skips, repeats or goes back
};
std::string describe(Fault fault);

struct Violation {
  Fault fault = Fault::lost;
  std::string what;
};

// Empty: the history is one of a correct log. At most one violation of each kind, with the operations that show it.
std::vector<Violation> check_history(const History& history);

}  // namespace walraft::model
