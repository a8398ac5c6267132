#pragma once

// The log of one replica, on its disk: batches go in stamped, and what is committed comes out. Keeps what wal::Log does
// not know: how far it is committed, in offsets, which is what users count in while the core counts batches.
// Thread: shard, but begin(), which blocks before the shard runs.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "replication/core/core.h"
#include "replication/core/log_terms.h"
#include "replication/replica/shard.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"
#include "wal/log.h"

namespace walraft::replication {

class ReplicaLog {
 public:
  ReplicaLog(Shard& shard, const wal::LogIdentity& identity, std::unique_ptr<wal::Log> log)
      : shard_(shard), identity_(identity), log_(std::move(log)) {}
  ~ReplicaLog() { *alive_ = false; }
  ReplicaLog(const ReplicaLog&) = delete;
  ReplicaLog& operator=(const ReplicaLog&) = delete;

  // Once, before all else. `commit`: known committed; reads what lies behind it. Errors: those of
  // wal::LogReader::read().
  Result<void> begin(Index commit);

  const wal::LogIdentity& identity() const { return identity_; }
  wal::Log& wal() { return *log_; }
  const wal::Log& wal() const { return *log_; }

  // The next offset to be committed, as far as it is durable here.
  Offset committed() const { return committed_offset_; }
  Index committed_index() const { return committed_index_; }
  // Everything below is committed, and durable here. True if that is more than before.
  bool advance(Index applicable);

  // Stamps a batch that wal::decode_unstamped_batch() took, and appends it. Errors: those of wal::Log::append(); the
  // batch may be offered again.
  Result<void> append_own(MutableBytes batch, const Stamp& stamp, wal::Use use);

  // A batch from the leader, verified (wal::decode_batch).
  // continues(): it is the very next one, by digest, position and time.
  bool continues(const wal::BatchHeader& header, ByteView batch) const;
  // Whether the disk has a place for it now (wal::Log::room); then append_received() takes it, if it continues the log.
  Result<void> room(const wal::BatchHeader& header) {
    return log_->room(header.total_bytes(), header.term, use_of(header));
  }
  void append_received(ByteView batch, const wal::BatchHeader& header);

  // As wal::Log::truncate_suffix().
  void truncate(Index to, wal::Log::Done done);

  // The digest behind the batch before `index`: `found` runs with it, within this call if it is in memory. Not at all
  // if the log is gone meanwhile or was cut anywhere, or if the batch before `index` cannot be read.
  void find_digest(Index index, std::function<void(const Digest&)> found);

  // As the core sees it when it starts.
  LogTerms terms() const;

  // Committed batches, and no other: in memory, and through the files.
  bool read_tail(Offset from, std::size_t bytes_max, std::vector<wal::BatchRef>& out) const;
  wal::LogView view() const;

 private:
  struct End {
    Index index;
    Offset offset;
  };

  // Data leaves the reserve of a full disk alone, here as on the leader.
  static wal::Use use_of(const wal::BatchHeader& header) {
    return header.kind == wal::BatchKind::data ? wal::Use::data : wal::Use::control;
  }
  void remember_end() { uncommitted_.push_back({log_->tail().index, log_->tail().offset}); }

  Shard& shard_;
  wal::LogIdentity identity_;
  std::unique_ptr<wal::Log> log_;
  Index committed_index_;
  Offset committed_offset_;
  std::uint64_t cuts_ = 0;  // a look-up from before a cut may tell of what is no more
  std::deque<End> uncommitted_;  // where each batch behind committed_index_ ends
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for look-ups that outlive us
};

}  // namespace walraft::replication
