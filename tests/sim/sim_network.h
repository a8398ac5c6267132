#pragma once

// The network between simulated nodes: for each pair a control link in each direction, and stream connections, each of
// which carries the sessions of all logs in order. What is sent is copied: no two nodes share memory.
//
//   control   each message alone: lost, doubled, late, overtaken; lost while the link is cut
//   stream    in order within a connection; it waits while the link is cut, or while the receiver is stopped. A
//             connection that breaks loses a part of what is on its way, and each end hears of it when it likes: until
//             then it sends into nothing (half-open), and what is on its way may arrive after another connection has
//             taken its place (stale bytes)
//   bytes     of a batch are damaged now and then
//
// A HELLO dials where there is no connection that its sender believes in. What a node sends in one event leaves at its
// end (hold(), release()): of an event in which its process dies nothing does. Thread: one.

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "replication/core/message.h"
#include "replication/replica/peers.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/sim_rng.h"
#include "wal/base/ids.h"
#include "wal/chunk.h"

namespace walraft::sim {

class SimNetwork {
 public:
  // What the nodes are to the network. Calls come from events, never from within a send().
  class Nodes {
   public:
    virtual ~Nodes() = default;
    // A number of its own for each life of a node's process; 0: it is down.
    virtual std::uint64_t life(NodeId node) const = 0;
    // It is stopped: nothing reaches it now.
    virtual bool stopped(NodeId node) const = 0;

    virtual void receive(NodeId to, NodeId from, const Uuid& log, const replication::ControlMessage& message) = 0;
    virtual void receive(NodeId to, NodeId from, const Uuid& log, const replication::StreamMessage& message) = 0;
    virtual void receive(NodeId to, NodeId from, const Uuid& log, const replication::EntriesHead& head,
                         std::shared_ptr<const wal::Chunk> owner, ByteView bytes) = 0;
    virtual void lost(NodeId node, NodeId peer, const Uuid& log, const replication::SessionId& session) = 0;
    virtual void peer_gone(NodeId node, NodeId peer) = 0;

    // Everything that leaves a node, when it leaves.
    virtual void leaves(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message) = 0;
    virtual void leaves(NodeId from, NodeId to, const Uuid& log, const replication::StreamMessage& message) = 0;
  };

  struct Knobs {
    std::uint64_t control_min_us = 100, control_max_us = 500;
    std::uint64_t stream_min_us = 100, stream_max_us = 500;
    std::uint64_t stream_us_per_kib = 0;  // bandwidth
    std::uint64_t late_percent = 0;       // of control messages, and of stream frames: later than that,
    std::uint64_t late_us = 0;            // by up to this
    std::uint64_t drop_percent = 0;       // of control messages
    std::uint64_t double_percent = 0;
    std::uint64_t damage_permille = 0;    // of the frames with batches
    std::uint64_t stale_percent = 0;      // of what comes for sessions that are over at its receiver: handed on
    std::uint64_t half_open_percent = 0;  // of the ends of broken connections: hear of it very late
  };
  enum class Channel : std::uint8_t { control, stream };

  SimNetwork(EventQueue& queue, Nodes& nodes, std::uint64_t seed);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  Knobs& knobs() { return knobs_; }
  // The network as one node sees it; lives as long as the network.
  replication::Peers& peers_of(NodeId node);

  // Between the two, what is sent waits.
  void hold() { holding_ = true; }
  void release(bool leaves);

  // One way.
  void cut(NodeId from, NodeId to, Channel channel, bool is_cut);
  void heal();  // all cuts; and all that is broken is heard of soon
  // A connection between the two breaks, if there is one.
  void reset(NodeId a, NodeId b);
  // The process of `node` has ended. `told`: by the kernel that lives on; else nobody says so.
  void on_crash(NodeId node, bool told);

  // A hash of all that was delivered.
  std::uint64_t trace_hash() const { return trace_hash_; }
  void show(std::function<void(const std::string&)> line) { show_ = std::move(line); }

 private:
  struct Batches {
    replication::EntriesHead head;
    std::vector<wal::BatchRef> batches;
  };
  struct Frame {
    std::uint64_t due_us = 0;
    Uuid log;
    NodeId opener;  // of the session
    replication::SessionId session;
    std::variant<replication::StreamMessage, Batches> content;
  };
  struct Session {
    Uuid log;
    NodeId opener;
    replication::SessionId id;
    auto operator<=>(const Session&) const = default;
  };
  struct End {
    NodeId node;
    std::uint64_t life = 0;  // of the process that has it; 0: not accepted yet
    bool closed = false;     // as this end knows
    std::set<Session> sessions;
    std::deque<Frame> arriving;
    std::uint64_t last_due_us = 0;
    bool pumping = false;
  };
  struct Connection {
    std::uint64_t number = 0;
    bool broken = false;
    std::array<End, 2> ends;
    End& end_of(NodeId node) { return ends[ends[0].node == node ? 0 : 1]; }
    End& other_end(NodeId node) { return ends[ends[0].node == node ? 1 : 0]; }
  };
  using ConnectionPtr = std::shared_ptr<Connection>;
  class NodePeers;
  using Link = std::pair<NodeId, NodeId>;  // from, to

  void send(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message);
  void send(NodeId from, NodeId to, const Uuid& log, const replication::StreamMessage& message);
  void send(NodeId from, NodeId to, const Uuid& log, const replication::EntriesHead& head,
            std::vector<wal::BatchRef> batches);
  void close(NodeId node, NodeId peer, const Uuid& log, const replication::SessionId& session);

  void put(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message);
  void deliver_control(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message);
  void push(NodeId from, NodeId to, Frame frame);
  void pump(const ConnectionPtr& connection, NodeId to);
  void deliver(Connection& connection, End& end, Frame frame);
  void lose(NodeId node, NodeId peer, const Uuid& log, const replication::SessionId& session);
  void break_connection(const ConnectionPtr& connection, bool told);
  void hear_loss(const ConnectionPtr& connection, NodeId node);
  void hear_loss_later(const ConnectionPtr& connection, NodeId node, bool told);
  ConnectionPtr believed(NodeId node, NodeId peer);
  ConnectionPtr bound(NodeId node, NodeId peer, const Session& session);
  ConnectionPtr dial(NodeId node, NodeId peer);
  bool chance(std::uint64_t percent) { return percent != 0 && rng_.below(100) < percent; }
  bool is_cut(NodeId from, NodeId to, Channel channel) const;
  std::uint64_t delay_us(std::uint64_t min_us, std::uint64_t max_us);
  void trace(NodeId from, NodeId to, std::uint64_t kind);

  EventQueue& queue_;
  Nodes& nodes_;
  SimRng rng_;
  Knobs knobs_;
  std::map<NodeId, std::unique_ptr<NodePeers>> peers_;
  std::set<std::pair<Link, Channel>> cuts_;
  std::vector<ConnectionPtr> connections_;  // oldest first
  std::uint64_t connections_made_ = 0;
  bool holding_ = false;
  std::vector<std::function<void()>> held_;
  std::uint64_t trace_hash_ = 0;
  std::function<void(const std::string&)> show_;
};

}  // namespace walraft::sim
