#pragma once

// One log on one node that is its only voter: stamps what appenders send, makes it durable, and answers when it is
// committed. With a single voter, durable is committed; the replication protocol takes this class's inside, not its
// face, when there are more.
//
// Appends are evaluated in the order of their arrival, and answered in that order. Every answer, also a refusal, waits
// for the commit of the tail that it was evaluated on: no answer rests on bytes that a power cut could still take.
// Thread: shard.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  std::uint32_t queue_us = 0;     // from arrival to the start of the write
  std::uint32_t own_sync_us = 0;  // of the write
  std::uint32_t quorum_us = 0;    // from arrival to commit
};

class Replica {
 public:
  using Answer = std::function<void(Result<Committed>)>;

  // Appends that belong together: once one of them was refused, none that follows is written.
  struct Chain {
    bool broken = false;
  };
  struct AppendTerms {
    std::optional<Offset> expect_offset = {};  // only if the next record gets this offset
    wal::Use use = wal::Use::data;             // control: may use the reserve of a full disk, and waits for it
    std::shared_ptr<Chain> chain = {};         // null: it stands alone
  };

  // Told when committed() has moved. Called from Shard::disk_turn(); may append and read, not destroy the replica.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_commit() = 0;
  };

  // `record_bytes_max` of the log; 0 is the shard's limit.
  Replica(Shard& shard, std::string name, const wal::LogIdentity& identity, std::uint32_t record_bytes_max,
          std::unique_ptr<wal::Log> log);
  ~Replica();  // drops the waiting answers without calling them
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // `batch` is what wal::decode_unstamped_batch() turned into `header`; it is stamped in place and copied before this
  // returns. `answer` runs later, never from within this call. Errors that it gets:
  //   condition_failed {tail}  `expect_offset` is not the next offset
  //   too_large                a record or the batch is above its limit
  //   over_limit               inflight_bytes_max are waiting for their commit
  //   no_space                 the disk is full; later appends may succeed
  //   invalid                  a data batch for another log
  //   data_loss                the log lost acknowledged batches and must be settled first
  //   unavailable              an earlier append of its chain was refused
  // All of these: nothing was written.
  void append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms, Answer answer);

  // An answer in its place among those of append(). Breaks the chain.
  void refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer);

  // The log is gone: answers everything that waits with this, written or not. Only destruction may follow.
  void abandon(const Error& error);

  const std::string& name() const { return name_; }
  const wal::LogIdentity& identity() const { return identity_; }
  Term term() const { return term_; }                             // in which this replica leads
  Offset committed() const { return log_->durable_offset(); }     // next offset to be committed
  wal::LogPoint tail() const { return log_->tail(); }
  Offset first_offset() const { return log_->first_offset(); }
  std::uint32_t record_bytes_max() const {
    return record_bytes_max_ != 0 ? record_bytes_max_ : shard_.limits().record_bytes_max;
  }
  const wal::Log& log() const { return *log_; }

  // Committed batches from the one that holds `from` on, if they are in memory (wal::Log::read_tail).
  bool read_tail(Offset from, std::size_t bytes_max, std::vector<wal::BatchRef>& out) const {
    return log_->read_tail(from, log_->durable(), bytes_max, out);
  }
  // Everything committed, for the reader thread.
  wal::LogView view() const { return log_->view(); }

  void add_listener(Listener& listener);
  void remove_listener(Listener& listener);

  // Something is written and not yet committed, or waits to be written.
  bool busy() const { return !waiters_.empty() || !pending_.empty(); }

  // For Shard.
  void turn();
  void go_on();  // after stall(): the disk has news
  void tick() { log_->tick(); }
  void prove_tail() { log_->prove_tail(); }

 private:
  // An append that could not be written when it came: the term is not ours yet, or the next segment is being prepared.
  struct Pending {
    std::vector<std::byte> batch;  // empty: `refusal` only
    wal::BatchHeader header;
    AppendTerms terms;
    std::optional<Error> refusal;
    std::uint64_t arrived_us = 0;
    Answer answer;
  };
  struct Waiter {
    Index commit;                // answered when everything below is durable
    Result<Committed> outcome;
    std::uint64_t arrived_us = 0;
    std::uint64_t reserved_bytes = 0;
    Answer answer;
  };
  enum class Role : std::uint8_t { idle, campaigning, leading };

  std::optional<Error> refusal_of(ByteView batch, const wal::BatchHeader& header) const;
  // False: not now, try again at the next turn; `answer` was not taken.
  bool try_append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms,
                  std::uint64_t arrived_us, Answer& answer);
  // What becomes of it, written or refused; nothing: not now.
  std::optional<Result<Committed>> evaluate(MutableBytes batch, const wal::BatchHeader& header,
                                            const AppendTerms& terms, std::uint64_t arrived_us);
  Result<void> stamp_and_append(MutableBytes batch, wal::Use use);
  void wait(Result<Committed> outcome, std::uint64_t arrived_us, std::uint64_t reserved_bytes, Answer answer);
  void refuse_pending(const Error& error);
  void campaign();
  void on_durable(Index durable);
  void answer_committed();
  void mark();

  Shard& shard_;
  std::string name_;
  wal::LogIdentity identity_;
  const std::uint32_t record_bytes_max_;  // 0: the limit of the shard
  std::unique_ptr<wal::Log> log_;
  Role role_ = Role::idle;
  Term term_;
  bool noop_written_ = false;
  std::deque<Pending> pending_;
  std::deque<Waiter> waiters_;  // their `commit` never decreases
  std::vector<Listener*> listeners_;  // null: removed while on_durable() walks
  bool walking_ = false;
  bool marked_ = false;
  bool stalled_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for completions that outlive us
};

}  // namespace walraft::replication
