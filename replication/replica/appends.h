#pragma once

// The appends of one log's clients: evaluated in the order of their arrival, stamped and written while this node leads,
// and answered in that order. Every answer, also a refusal, waits for the commit of the tail that it was evaluated on:
// no answer rests on bytes that a power cut or another leader could still take.
//
//   append() --> [pending: not now] --> evaluated: written, or refused --> [waiting for the commit] --> answered
//
// When leadership ends, what was written and is not known to be committed is answered `unknown`: another leader may
// have it and commit it, or not (proto:P22). All else was certainly not written.
// Thread: shard.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/core/core.h"
#include "replication/replica/replica_log.h"
#include "replication/replica/shard.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"
#include "wal/log.h"

namespace walraft::replication {

struct Committed {
  Offset first;
  Offset last;  // inclusive; first - 1 for a control batch
  Term term;
  std::uint32_t queue_us = 0;  // from arrival to the start of the write
  std::uint32_t own_sync_us = 0;  // of the write
  std::uint32_t quorum_us = 0;  // from arrival to commit
};

class Appends {
 public:
  using Answer = std::function<void(Result<Committed>)>;

  // Appends that belong together: once one of them was refused, none that follows is written.
  struct Chain {
    bool broken = false;
  };
  struct Terms {
    std::optional<Offset> expect_offset = {};  // only if the next record gets this offset
    wal::Use use = wal::Use::data;  // control: may use the reserve of a full disk, and waits for it
    std::shared_ptr<Chain> chain = {};  // null: it stands alone
  };

  // `name`: of the log, for messages. `record_bytes_max`: 0 is the shard's limit.
  Appends(Shard& shard, Core& core, ReplicaLog& log, std::string name, std::uint32_t record_bytes_max);
  ~Appends();  // drops what waits without answering it
  Appends(const Appends&) = delete;
  Appends& operator=(const Appends&) = delete;

  // As Replica::append() and Replica::refuse(). What could be written is; what could not goes on with go_on().
  void append(MutableBytes batch, const wal::BatchHeader& header, const Terms& terms, Answer answer);
  void refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer);

  // Evaluates what is pending, in order, as far as it can be.
  void go_on();
  // Answers what may be answered with this much committed.
  void answer(Index commit);
  // The leadership under which things were written is over, with this much committed under it.
  void on_leadership_lost(Index commit);
  // All that is pending gets this, but for what was refused before with its own reason.
  void refuse_pending(const Error& error);
  // Answers everything with this, at once, written or not.
  void abandon(const Error& error);

  std::uint32_t record_bytes_max() const {
    return record_bytes_max_ != 0 ? record_bytes_max_ : shard_.limits().record_bytes_max;
  }
  bool has_pending() const { return !pending_.empty(); }
  bool busy() const { return !waiting_.empty() || !pending_.empty(); }
  // Something can be answered with this much committed.
  bool answerable(Index commit) const { return !waiting_.empty() && waiting_.front().commit <= commit; }

 private:
  struct Pending {
    std::vector<std::byte> batch;  // empty: `refusal` only
    wal::BatchHeader header;
    Terms terms;
    std::optional<Error> refusal;
    std::uint64_t arrived_us = 0;
    Answer answer;
  };
  struct Waiting {
    Index commit;  // answered when everything below is committed
    Result<Committed> outcome;
    std::uint64_t arrived_us = 0;
    std::uint64_t reserved_bytes = 0;
    Answer answer;
  };

  std::optional<Error> refusal_of(ByteView batch, const wal::BatchHeader& header) const;
  // False: not now; `answer` was not taken.
  bool try_append(MutableBytes batch, const wal::BatchHeader& header, const Terms& terms, std::uint64_t arrived_us,
                  Answer& answer);
  // What becomes of it, written or refused; nothing: not now.
  std::optional<Result<Committed>> evaluate(MutableBytes batch, const wal::BatchHeader& header, const Terms& terms,
                                            std::uint64_t arrived_us);
  Error not_leading() const;
  void wait(Result<Committed> outcome, std::uint64_t arrived_us, std::uint64_t reserved_bytes, Answer answer);

  Shard& shard_;
  Core& core_;
  ReplicaLog& log_;
  const std::string name_;
  const std::uint32_t record_bytes_max_;
  std::deque<Pending> pending_;
  std::deque<Waiting> waiting_;  // their `commit` never decreases
};

}  // namespace walraft::replication
