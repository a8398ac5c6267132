#pragma once

// What the replicas of a shard need of the network: two channels to every other node, so that no batch holds up a vote
// (proto:P19). Messages are addressed by log; what arrives is handed to Replica::receive() of that log.
// Thread: shard. No call blocks or fails: what cannot be sent is lost, and losing anything of a session ends it.

#include <vector>

#include "replication/core/message.h"
#include "wal/base/ids.h"
#include "wal/chunk.h"

namespace walraft::replication {

class Peers {
 public:
  virtual ~Peers() = default;

  // Each message stands alone: it may be lost, doubled, late, or overtaken.
  virtual void send(NodeId to, const Uuid& log, const ControlMessage& message) = 0;

  // In order within a session, or the session ends and Replica::on_stream_lost() says so. A HELLO opens one; the
  // network dials where it has to.
  virtual void send(NodeId to, const Uuid& log, const StreamMessage& message) = 0;
  // `batches` follow each other and are whole; their memory is shared until they have left. In all sessions with `to`
  // at most as much is queued as their windows allow (PeerFlow).
  virtual void send(NodeId to, const Uuid& log, const EntriesHead& head, std::vector<wal::BatchRef> batches) = 0;

  // The session is over: what is queued for it need not leave, what arrives for it is dropped.
  virtual void close(NodeId peer, const Uuid& log, const SessionId& session) = 0;
};

// Of a node that is a cluster by itself.
class NoPeers final : public Peers {
 public:
  void send(NodeId, const Uuid&, const ControlMessage&) override {}
  void send(NodeId, const Uuid&, const StreamMessage&) override {}
  void send(NodeId, const Uuid&, const EntriesHead&, std::vector<wal::BatchRef>) override {}
  void close(NodeId, const Uuid&, const SessionId&) override {}
};

}  // namespace walraft::replication
