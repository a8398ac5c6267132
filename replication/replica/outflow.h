#pragma once

// What a leader sends of its log: for each follower from its own cursor (Core::next_send), out of memory where the
// batches still are, else through the files, one read at a time for each follower.
// Thread: shard; the reads run on the disk's background thread.

#include <map>
#include <memory>
#include <vector>

#include "replication/core/core.h"
#include "replication/replica/peers.h"
#include "replication/replica/replica_log.h"
#include "replication/replica/shard.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class Outflow {
 public:
  // `go_on` is called when a read has ended: send() again.
  Outflow(Shard& shard, Core& core, ReplicaLog& log, std::function<void()> go_on)
      : shard_(shard), core_(core), log_(log), go_on_(std::move(go_on)) {}
  ~Outflow() { *alive_ = false; }
  Outflow(const Outflow&) = delete;
  Outflow& operator=(const Outflow&) = delete;

  // All that the windows allow.
  void send();

 private:
  struct Fetched {
    SessionId session;
    bool reading = false;
    std::vector<wal::BatchRef> batches;  // read, not sent yet
  };

  void send_to(NodeId peer);
  void read(NodeId peer, const Sending& sending);

  Shard& shard_;
  Core& core_;
  ReplicaLog& log_;
  std::function<void()> go_on_;
  std::map<NodeId, Fetched> fetched_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for reads that end after us
};

}  // namespace walraft::replication
