#pragma once

// One log on one disk: append, make durable, read, cut, trim. Knows nothing of networks or roles.
//
//   append()  copies the batch into the open group                     -> written
//   flush()   hands the group to the disk, if none of this log is there -> in flight
//   DurableHandler(durable) from Disk::poll()                          -> durable
// There is no timer: what arrives while a group is in flight forms the next one (group commit).
//
// Thread: shard. open() blocks, runs anywhere, and hands the log to the shard thread. A LogView goes
// to any thread.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wal/base/clock.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"
#include "wal/chunk.h"
#include "wal/disk.h"
#include "wal/filesystem.h"
#include "wal/hard_state.h"
#include "wal/log_view.h"
#include "wal/recovery.h"
#include "wal/segment_file.h"
#include "wal/tail_cache.h"

namespace walraft::wal {

struct LogIdentity {
  Uuid cluster;
  Uuid log;
  LogId id;
};

struct LogOptions {
  std::uint64_t segment_bytes = 64u << 20;       // of a grown log: 64 KiB..1 GiB, a power of two
  std::uint64_t first_segment_bytes = 1u << 20;  // segments grow fourfold from here to segment_bytes
  std::uint64_t tail_cache_bytes = 8u << 20;     // recent batches kept for streams and tailing readers
  std::shared_ptr<TailMemory> tail_memory = {};  // that all logs of the shard share; null: none but its own
  std::shared_ptr<OpenFiles> open_files = {};    // that all logs share; null: its own
  bool direct = true;                            // O_DIRECT; false where the directory has none
  // A log with a single voter: what was durable was committed (recovery needs to know).
  bool durable_is_commit = false;
  // The caller has just made up this log's uuid: nothing of it can have been lost.
  bool is_new = false;
};

// The control reserve is never used up by data, so that a trim, a step-down and a membership change
// still find room on a full disk.
enum class Use : std::uint8_t { data, control };

class Log {
 public:
  using DurableHandler = std::function<void(Index durable)>;
  using Done = std::function<void()>;

  // Opens or begins the log in `directory` (an empty directory is a new log). Reads the last
  // segment, and of the others only their ends; makes durable what it keeps. Blocks.
  // `bounds` is the log's slot of `hard_state`, empty for a new log. Errors: `denied` if the
  // directory belongs to another log or cluster, `invalid` for a newer format, `no_space` if a new
  // log finds no room for its first segment, `failed` for I/O errors. Damage is no error: see
  // recovery() and view().
  static Result<std::unique_ptr<Log>> open(std::unique_ptr<Directory> directory, const LogIdentity& identity,
                                           const LogOptions& options, HardStateFile& hard_state, Disk& disk,
                                           Clock& clock, Rng& rng);
  // Group writes in flight are finished by the disk; nothing is delivered any more.
  virtual ~Log() = default;

  // What open() found: cuts, holes, SUSPECT.
  virtual const RecoveryReport& recovery() const = 0;
  // True: the log ends below something that it acknowledged, as recovery or mark_suspect() found. No vote, no
  // counted ack, no client's append (Replica sees to that); a leader's batches are appended and may be cut again,
  // until settle(). Until the first append, truncation or settle() its files are left as they are. Stays so over
  // restarts and power cuts: nothing is written to a suspect log before the hard state says durably that it is one.
  virtual bool suspect() const = 0;

  // What only others can know: this disk acknowledged more than it holds (it was put back from a backup).
  // suspect() from now on; durably when `done` runs, within this call if the hard state says so already.
  // Not while settle() is under way.
  virtual void mark_suspect(Done done) = 0;

  // The log holds again all that it ever acknowledged and that counts, durably. suspect() ends, durably when `done`
  // runs, and not before; within this call if it is not suspect. Where the damage still shows in the files, a new
  // segment is opened first, for which a full disk waits. Once at a time; append() and truncate_suffix() may go on.
  virtual void settle(Done done) = 0;

  // The end of the log, written but perhaps not durable: what the next batch gets and what the last
  // one left.
  virtual LogPoint tail() const = 0;
  virtual Index durable() const = 0;    // survives a power cut up to here
  virtual Offset durable_offset() const = 0;
  virtual Index first_index() const = 0;    // kept from here
  virtual Offset first_offset() const = 0;  // the trim point; may lie inside batch first_index()
  // Where the log stood before batch `at`, durable or not, if memory tells: at tail(), where a segment starts, and
  // behind each batch in the tail cache. Never blocks. Nothing: LogReader::point() on view() tells, if it is durable.
  virtual std::optional<LogPoint> point_in_memory(Index at) const = 0;
  // (term, first index) of each run of a term, oldest first, of what is kept (proto:P17).
  virtual std::vector<TermRun> history() const = 0;

  // The next batch: stamped, continuing tail() exactly (index, offset, digest; `invalid` if not).
  // After it returned, the batch is in tail() and in tail reads, not yet durable. The body's CRC is
  // not looked at: whoever received it did. Errors, all before anything is written:
  // no_space - the disk is full (writing resumes by itself when space returns);
  // over_limit - the next segment is still being prepared, or the mark of a suspect log is not durable yet: poll
  // the disk and try again.
  virtual Result<void> append(ByteView batch, Use use = Use::data) = 0;

  // Whether append() would take a batch of this size and term now; if not, the error that it would give. Writes
  // nothing of a batch, but has a place prepared where there is none. For who must know before it promises.
  virtual Result<void> room(std::uint64_t batch_bytes, Term term, Use use) = 0;

  // Starts writing what append() collected, unless a group of this log is in flight; what follows
  // that one starts by itself. Call it once per turn of the loop; Disk::submit() sends it off.
  virtual void flush() = 0;

  virtual void on_durable(DurableHandler handler) = 0;

  // Housekeeping: the empty GROUP that seals the last write after 1 s idle, the durable bound in the
  // hard state, segments ahead of need. Call it every 100 ms or so.
  virtual void tick() = 0;

  // The same at once, without waiting for the second of rest: for a process that ends in order. What
  // it starts is on the disk when Disk has nothing in flight and the hard state is idle.
  virtual void prove_tail() = 0;

  // Batches from the one that holds `from` on, as long as they are in memory: at most `bytes_max`
  // bytes but at least one batch, none at or past `limit` (an index: commit or durable). Appends to
  // `out`. False if `from` is not in memory (read it through view()) - an empty result with true
  // means that there is nothing below `limit` yet.
  virtual bool read_tail(Offset from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const = 0;
  virtual bool read_tail(Index from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const = 0;

  // A snapshot of all that is durable, readable from any thread; what is trimmed or truncated later may be gone.
  virtual LogView view() const = 0;

  // Conflict repair: cuts everything from `to` on (first_index() <= to <= tail().index); `done` when no
  // power cut can bring it back, within this call if there is nothing to cut. Needs a free segment: on
  // a full disk it waits for space. What is in flight is finished first. Until `done`, append() must
  // not be called, and the handler of on_durable() is not: durable() tells. The caller guarantees that
  // nothing below its commit is cut.
  virtual void truncate_suffix(Index to, Done done) = 0;

  // Retention: batches below `to` and records below `offset` (which lies in batch `to`, or is its
  // base) are dropped; `done` when that is durable. Segments are recycled or removed afterwards,
  // oldest first. Never moves back; `to` <= durable().
  virtual void drop_prefix(Index to, Offset offset, Done done) = 0;

  virtual std::uint64_t pending_bytes() const = 0;  // written, not durable
  virtual std::uint64_t disk_bytes() const = 0;     // of all segments, prepared ones too
};

}  // namespace walraft::wal
