#pragma once

// What a node must not forget about each of its logs but the log itself: term, vote, how far it
// answered for the log's end, and where the log now begins. One file for all logs of a node,
// pre-allocated and pre-written, so it can be written with no byte free.
//
// Each log has two pairs of twin slots. The pairs are written in turn, so a torn write leaves the
// older pair; both twins of a pair are written in one round, so rot in one leaves the other, and an
// older vote is never taken for the last one. wal/FORMAT.md has the layout.
//
// Thread: shard, but create() and open(), which block.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/disk.h"
#include "wal/filesystem.h"

namespace walraft::wal {

struct HardState {
  Term term;
  NodeId voted_for;      // in `term`; 0 is nobody
  // The log was durable up to here once, and may have said so: a log that now ends below it has lost
  // acknowledged batches (SUSPECT). Never above the truth; lowered, durably, before a truncation.
  Index durable_bound;
  Index commit_bound;    // known committed up to here once
  Index trim_index;      // batches below are no longer kept
  Offset trim_offset;    // records below are no longer kept; may lie inside batch trim_index
  bool suspect = false;  // the marker of decisions.md: no vote, no counted ack, until settled
  constexpr bool operator==(const HardState&) const = default;
};

struct LogHardState {
  Uuid log;
  HardState state;
  bool lost = false;      // the newer pair is unreadable in both twins: SUSPECT; `state` is the older pair's, or empty
  bool repaired = false;  // one twin was damaged and has been queued to be written again
};

class HardStateFile {
 public:
  using Done = std::function<void()>;
  static constexpr std::size_t kLogsMax = 8'192;

  // Makes `name` durable in `directory`, empty. Blocks.
  static Result<void> create(Directory& directory, std::string_view name);

  // Reads it. `corrupt` if the file's own header is damaged in both copies; `invalid` for a newer
  // format; damage of single slots is in logs(). Blocks. The disk outlives the file.
  static Result<std::unique_ptr<HardStateFile>> open(Directory& directory, std::string_view name, Disk& disk);

  virtual ~HardStateFile() = default;

  // Every log that has a slot, in order of slots.
  virtual std::vector<LogHardState> logs() const = 0;
  virtual std::optional<HardState> find(const Uuid& log) const = 0;  // as last written, durable or not

  // Queues a write of the log's slot (taken on first use: the durable note that this node has the
  // log). `done` runs when it is durable. Later writes of a log before its turn replace earlier
  // ones; their `done`s run together. over_limit if all slots are taken.
  virtual Result<void> write(const Uuid& log, const HardState& state, Done done) = 0;

  // Frees the slot of a deleted log.
  virtual Result<void> remove(const Uuid& log, Done done) = 0;

  // Starts a round if none is in flight: all queued slots, one sync. Called once per turn of the
  // loop; a finished round starts the next by itself.
  virtual void flush() = 0;
};

}  // namespace walraft::wal
