#pragma once

// What a follower takes from its leader's stream, in the order of its arrival. Batches that cannot be taken yet - the
// log is being cut, or the disk has no place ready - hold up what is behind them, within the window that the leader was
// given.
//
//   frame --> each batch verified, and a place on the disk --> Core::receive_entries() --append--> log
//                                      none yet                      wait            drop --> session over
// Thread: shard.

#include <cstdint>
#include <deque>
#include <memory>
#include <variant>

#include "replication/core/core.h"
#include "replication/replica/replica_log.h"
#include "replication/replica/shard.h"
#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/chunk.h"

namespace walraft::replication {

class Inflow {
 public:
  Inflow(Shard& shard, Core& core, ReplicaLog& log) : shard_(shard), core_(core), log_(log) {}
  Inflow(const Inflow&) = delete;
  Inflow& operator=(const Inflow&) = delete;

  void receive(NodeId from, const StreamMessage& message);
  // `bytes`, in `owner`: whole batches, one behind the other; not verified yet.
  void receive(NodeId from, const EntriesHead& head, std::shared_ptr<const wal::Chunk> owner, ByteView bytes);
  // Takes what can be taken of what was held up.
  void go_on();
  // The session is over.
  void forget(NodeId from, const SessionId& session);

  bool holds() const { return !held_.empty(); }
  std::uint64_t held_bytes() const { return held_bytes_; }

 private:
  struct Frame {
    EntriesHead head;
    std::shared_ptr<const wal::Chunk> owner;
    ByteView bytes;
  };
  struct Held {
    NodeId from;
    SessionId session;
    std::variant<StreamMessage, Frame> content;
  };

  // False: `frame` is what is left of it, for later.
  bool take(NodeId from, Frame& frame);

  Shard& shard_;
  Core& core_;
  ReplicaLog& log_;
  std::deque<Held> held_;
  std::uint64_t held_bytes_ = 0;
};

}  // namespace walraft::replication
