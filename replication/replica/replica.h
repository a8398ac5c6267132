#pragma once

// One log on one node: carries out what the core wants (replication/core/ready.h) with the log on its disk, the streams
// to its peers, and the sessions of its users. The same class runs in the server and in the simulator.
//
//   Core        the protocol                       events in, Ready out
//   ReplicaLog  the batches, and what of them is committed
//   Appends     what clients append                evaluated, written, answered
//   Outflow     what a leader streams              from memory, or through the files
//   Inflow      what a follower takes from it      in order, held up while the log is not ready
//
// A log whose only voter is this node has nobody to ask: it campaigns at the first append, so that idle logs cost
// nothing at the start, and what is durable is committed.
// Thread: shard, but open(), which blocks before the shard runs.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/core/core.h"
#include "replication/replica/appends.h"
#include "replication/replica/inflow.h"
#include "replication/replica/outflow.h"
#include "replication/replica/replica_log.h"
#include "replication/replica/shard.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"
#include "wal/log.h"

namespace walraft::replication {

class Replica {
 public:
  using Answer = Appends::Answer;
  using Chain = Appends::Chain;
  using AppendTerms = Appends::Terms;

  // Told when committed() has moved. Called from a turn of the shard; may append and read, not destroy the replica.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_commit() = 0;
  };

  struct Options {
    std::string name;
    wal::LogIdentity identity;
    Configuration members;  // of the log's creation
    std::uint32_t record_bytes_max = 0;  // of the log; 0 is the shard's limit
  };

  // Errors: those of wal::LogReader::read().
  static Result<std::unique_ptr<Replica>> open(Shard& shard, Options options, std::unique_ptr<wal::Log> log);
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
  //   unavailable              this node does not lead the log (leader() may), or an earlier append of its chain was
  //                            refused
  // All of these: nothing was written.
  //   unknown                  it was written, and leadership ended before its commit: it may stay or not
  void append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms, Answer answer);

  // An answer in its place among those of append(). Breaks the chain.
  void refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer);

  // The next offset to be committed, as of some moment after the call and not before it: everything that was answered
  // when the call was made lies below (ReadIndex). `answer` runs later. unavailable: this node does not lead the log,
  // or cannot prove it yet.
  void find_committed(std::function<void(Result<Offset>)> answer);

  // Hands leadership over to `to`, which must be a voter. False: not the leader, or `to` cannot take over.
  bool transfer(NodeId to);

  // The log is gone: answers everything that waits with this, written or not. Only destruction may follow.
  void abandon(const Error& error);

  const std::string& name() const { return options_.name; }
  const wal::LogIdentity& identity() const { return options_.identity; }
  Term term() const { return core_.term(); }
  NodeId leader() const { return core_.leader(); }  // 0: not known
  Offset committed() const { return log_.committed(); }  // next offset to be committed, durable here
  wal::LogPoint tail() const { return log_.wal().tail(); }
  Offset first_offset() const { return log_.wal().first_offset(); }
  std::uint32_t record_bytes_max() const { return appends_.record_bytes_max(); }
  const wal::Log& log() const { return log_.wal(); }
  const Core& core() const { return core_; }

  // Committed batches from the one that holds `from` on, if they are in memory (wal::Log::read_tail).
  bool read_tail(Offset from, std::size_t bytes_max, std::vector<wal::BatchRef>& out) const {
    return log_.read_tail(from, bytes_max, out);
  }
  // Everything committed, for the reader thread.
  wal::LogView view() const { return log_.view(); }

  void add_listener(Listener& listener);
  void remove_listener(Listener& listener);

  // Something was appended here and is not answered.
  bool busy() const { return appends_.busy() || !reads_.empty(); }

  // --- From the network (peers.h) ---
  void receive(NodeId from, const ControlMessage& message);
  void receive(NodeId from, const StreamMessage& message);
  // `bytes`, in `owner`: whole batches, one behind the other; not verified yet.
  void receive(NodeId from, const EntriesHead& head, std::shared_ptr<const wal::Chunk> owner, ByteView bytes);
  // The transport of a session broke.
  void on_stream_lost(NodeId peer, const SessionId& session);
  // Both connections to a node were reset: its process is gone.
  void on_peer_gone(NodeId peer);

  // --- For Shard ---
  void turn();
  void go_on();  // after stall(): the disk has news
  void tick();
  void prove_tail() { log_.wal().prove_tail(); }

 private:
  struct Read {
    std::optional<Result<Index>> proven = {};  // answered when the log here is committed and durable up to it
    std::function<void(Result<Offset>)> answer;
  };

  Replica(Shard& shard, Options options, std::unique_ptr<wal::Log> log);
  Boot boot() const;

  // Until the core wants nothing more. After every event that it was given.
  void carry_out();
  void carry_out(Ready ready);
  void mark_suspect(std::uint64_t incarnation);
  void persist(const Ready::Persist& ballot);
  void truncate(Index to);
  void append_noop();
  void notice_leadership();
  void answer_reads();
  void tell_listeners();
  void mark();
  std::uint64_t now_us() const { return shard_.clock().monotonic_us(); }

  Shard& shard_;
  const Options options_;
  ReplicaLog log_;
  Core core_;
  Appends appends_;
  Outflow outflow_;
  Inflow inflow_;
  Term leading_;  // the term in which this node leads; 0: it does not
  bool noop_wanted_ = false;
  std::optional<Ready::Persist> unpersisted_;  // the hard state had no slot for it
  std::map<std::uint64_t, Read> reads_;  // by token, which only grow
  std::uint64_t read_token_ = 0;
  std::vector<Listener*> listeners_;  // null: removed while tell_listeners() walks
  bool committed_moved_ = false;
  bool walking_ = false;
  bool carrying_out_ = false;
  bool marked_ = false;
  bool stalled_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for completions that outlive us
};

}  // namespace walraft::replication
