#pragma once

// What a node must not forget about each of its logs but the log itself: term, vote, how far it
// answered for the log's end, and where the log now begins. One file for all logs of a node,
// pre-allocated and pre-written, so it can be written with no byte free.
//
// Each log has a slot, and each slot two pairs of twin copies. The pairs are written in turn, so a
// torn write leaves the older pair; both twins of a pair are written in one round, so rot in one
// leaves the other, and an older vote is never taken for the last one. hard_state_format.h has the
// layout and the lettered table of what is made of damage.
//
// What open() returns is durable in both twins of its pair: it may be acted on at once.
//
// Thread: shard, but create(), open() and read(), which block.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/disk.h"
#include "wal/filesystem.h"

namespace walraft::wal {

struct HardState {
  Term term = {};
  NodeId voted_for = {};     // in `term`; 0 is nobody
  // The log was durable up to here once, and may have said so: a log that now ends below it has lost
  // acknowledged batches (SUSPECT). Never above the truth; lowered, durably, before a truncation.
  Index durable_bound = {};
  Index commit_bound = {};   // known committed up to here once
  Index trim_index = {};     // batches below are no longer kept
  Offset trim_offset = {};   // records below are no longer kept; may lie inside batch trim_index
  bool suspect = false;  // no vote, no counted ack, until settled; wal::Log's (mark_suspect, settle): others leave it
  constexpr bool operator==(const HardState&) const = default;
};

struct LogHardState {
  Uuid log;
  HardState state;
  // The newer of the two pairs may be the unreadable one: `state` may be older than the last, and a
  // vote may be missing from it. SUSPECT. Stays so over restarts until write() replaces the damage
  // (put suspect = true into it).
  bool lost = false;
  bool repaired = false;  // a twin was torn or damaged; open() has written it again from the other
};

class HardStateFile {
 public:
  using Done = std::function<void()>;
  static constexpr std::size_t kLogsMax = 8'192;

  // What is in a file.
  struct Contents {
    std::vector<LogHardState> logs;  // every log that has a slot, in order of slots
    // Slots of which nobody can tell whose they are. If there are any, a log that `logs` lacks may
    // have had one: it must not be taken for a new one.
    std::uint32_t nameless = 0;
    std::vector<std::string> damage;  // one line for each finding: place, what, what was done
  };

  // Makes `name` durable in `directory`, empty, for the disk with this identity. `exists` if there
  // is one. Blocks. After a crash in the middle the name may be there with anything in it.
  static Result<void> create(Directory& directory, std::string_view name, const Uuid& disk_uuid);

  // Reads it from the medium, and writes damaged copies again where an intact one tells what was
  // there. `corrupt` if the file's own header is damaged in both copies; `invalid` for a newer
  // format; `denied` if it belongs to another disk; damage of single slots is in contents(). With
  // Access::direct or Access::write. Blocks. The disk outlives the file.
  static Result<std::unique_ptr<HardStateFile>> open(Directory& directory, std::string_view name, const Uuid& disk_uuid,
                                                     Access access, Disk& disk);

  // The same, offline and without changing a byte.
  static Result<Contents> read(Directory& directory, std::string_view name, const Uuid& disk_uuid);

  // Not while a round is in flight, unless the disk is gone or has failed.
  virtual ~HardStateFile() = default;

  // As open() found it.
  virtual const Contents& contents() const = 0;
  // As last written, durable or not. For a lost log: what open() found, until written.
  virtual std::optional<HardState> find(const Uuid& log) const = 0;

  // Queues a write of the log's slot (taken on first use: the durable note that this node has the
  // log). `done` runs when it is durable, from Disk::poll(), in the order of the calls for one log.
  // Later writes of a log before its turn replace earlier ones; their `done`s run together. May be
  // called from within `done`. over_limit, and nothing queued, if all slots are taken.
  virtual Result<void> write(const Uuid& log, const HardState& state, Done done) = 0;

  // Frees the slot of a deleted log, replacing what is queued for it (whose `done`s still run);
  // find() no longer knows the log. After a power cut before `done` the log may be there again, as
  // it was. not_found if it has no slot.
  virtual Result<void> remove(const Uuid& log, Done done) = 0;

  // Starts a round if none is in flight: all queued slots, one sync. Called once per turn of the
  // loop, before Disk::submit(); a finished round starts the next by itself.
  virtual void flush() = 0;

  // Nothing queued and nothing in flight.
  virtual bool idle() const = 0;
};

}  // namespace walraft::wal
