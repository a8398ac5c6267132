#include "tests/sim/sim_network.h"

#include <algorithm>
#include <cstring>

#include "wal/base/check.h"
#include "wal/base/probe.h"

namespace walraft::sim {
namespace {

using replication::ControlMessage;
using replication::SessionId;
using replication::StreamMessage;

constexpr std::uint64_t kLookAgainUs = 30'000;      // at a link that is cut, or a receiver that is stopped
constexpr std::uint64_t kHearsSoonUs = 50'000;      // of a reset
constexpr std::uint64_t kHearsLateUs = 8'000'000;   // of a connection that died silently
constexpr std::uint64_t kDialUs = 1'000;

SessionId session_of(const StreamMessage& message) {
  return std::visit([](const auto& m) { return m.session; }, message);
}

// Which of the two opened the session, by what is said on it; 0: either may say that.
NodeId opener_of(NodeId from, NodeId to, const StreamMessage& message) {
  switch (message.index()) {
    case 0:  // Hello
    case 3:  // Accept
    case 6: return from;  // Ack
    case 7: return NodeId();  // Close
    default: return to;
  }
}
static_assert(std::is_same_v<std::variant_alternative_t<0, StreamMessage>, replication::Hello>);
static_assert(std::is_same_v<std::variant_alternative_t<3, StreamMessage>, replication::Accept>);
static_assert(std::is_same_v<std::variant_alternative_t<6, StreamMessage>, replication::Ack>);
static_assert(std::is_same_v<std::variant_alternative_t<7, StreamMessage>, replication::Close>);

}  // namespace

class SimNetwork::NodePeers final : public replication::Peers {
 public:
  NodePeers(SimNetwork& network, NodeId node) : network_(network), node_(node) {}
  void send(NodeId to, const Uuid& log, const ControlMessage& message) override {
    network_.send(node_, to, log, message);
  }
  void send(NodeId to, const Uuid& log, const StreamMessage& message) override {
    network_.send(node_, to, log, message);
  }
  void send(NodeId to, const Uuid& log, const replication::EntriesHead& head,
            std::vector<wal::BatchRef> batches) override {
    network_.send(node_, to, log, head, std::move(batches));
  }
  void close(NodeId peer, const Uuid& log, const SessionId& session) override {
    network_.close(node_, peer, log, session);
  }

 private:
  SimNetwork& network_;
  NodeId node_;
};

SimNetwork::SimNetwork(EventQueue& queue, Nodes& nodes, std::uint64_t seed)
    : queue_(queue), nodes_(nodes), rng_(seed) {}
SimNetwork::~SimNetwork() = default;

replication::Peers& SimNetwork::peers_of(NodeId node) {
  auto& peers = peers_[node];
  if (!peers) peers = std::make_unique<NodePeers>(*this, node);
  return *peers;
}

// --- Control ---------------------------------------------------------------------------------------------------------

std::uint64_t SimNetwork::delay_us(std::uint64_t min_us, std::uint64_t max_us) {
  return rng_.between(min_us, max_us) + (chance(knobs_.late_percent) ? rng_.below(knobs_.late_us + 1) : 0);
}

bool SimNetwork::is_cut(NodeId from, NodeId to, Channel channel) const {
  return !cuts_.empty() && cuts_.contains({{from, to}, channel});
}

void SimNetwork::trace(NodeId from, NodeId to, std::uint64_t kind) {
  trace_hash_ = mix64(trace_hash_ ^ (queue_.now_us() << 20) ^ (std::uint64_t{from.value} << 12) ^
                      (std::uint64_t{to.value} << 8) ^ kind);
}

void SimNetwork::release(bool leaves) {
  holding_ = false;
  auto held = std::exchange(held_, {});
  if (!leaves) return;
  for (auto& send : held) send();
}

void SimNetwork::send(NodeId from, NodeId to, const Uuid& log, const ControlMessage& message) {
  if (holding_) {
    held_.push_back([this, from, to, log, message] { put(from, to, log, message); });
  } else {
    put(from, to, log, message);
  }
}

void SimNetwork::put(NodeId from, NodeId to, const Uuid& log, const ControlMessage& message) {
  nodes_.leaves(from, to, log, message);
  if (chance(knobs_.drop_percent)) return;
  for (int copies = chance(knobs_.double_percent) ? 2 : 1; copies > 0; --copies) {
    queue_.after(delay_us(knobs_.control_min_us, knobs_.control_max_us),
                 [this, from, to, log, message] { deliver_control(from, to, log, message); });
  }
}

void SimNetwork::deliver_control(NodeId from, NodeId to, const Uuid& log, const ControlMessage& message) {
  if (nodes_.life(to) == 0 || is_cut(from, to, Channel::control)) return;
  if (nodes_.stopped(to)) {
    queue_.after(kLookAgainUs, [this, from, to, log, message] { deliver_control(from, to, log, message); });
    return;
  }
  if (show_)
    show_(describe(from) + "->" + describe(to) + " log " + describe(LogId(log.bytes[0])) + ' ' +
          replication::describe(message));
  trace(from, to, message.index());
  nodes_.receive(to, from, log, message);
}

// --- Streams ---------------------------------------------------------------------------------------------------------

SimNetwork::ConnectionPtr SimNetwork::believed(NodeId node, NodeId peer) {
  for (auto at = connections_.rbegin(); at != connections_.rend(); ++at) {
    Connection& c = **at;
    if ((c.ends[0].node != node || c.ends[1].node != peer) && (c.ends[1].node != node || c.ends[0].node != peer))
      continue;
    const End& end = c.end_of(node);
    if (!end.closed && end.life == nodes_.life(node)) return *at;
  }
  return nullptr;
}

SimNetwork::ConnectionPtr SimNetwork::bound(NodeId node, NodeId peer, const Session& session) {
  for (auto at = connections_.rbegin(); at != connections_.rend(); ++at) {
    Connection& c = **at;
    if ((c.ends[0].node != node || c.ends[1].node != peer) && (c.ends[1].node != node || c.ends[0].node != peer))
      continue;
    const End& end = c.end_of(node);
    if (!end.closed && end.life == nodes_.life(node) && end.sessions.contains(session)) return *at;
  }
  return nullptr;
}

SimNetwork::ConnectionPtr SimNetwork::dial(NodeId node, NodeId peer) {
  std::erase_if(connections_, [&](const ConnectionPtr& c) {
    const auto gone = [&](const End& end) {
      return (end.closed || end.life != nodes_.life(end.node)) && end.arriving.empty();
    };
    return c->broken && gone(c->ends[0]) && gone(c->ends[1]);
  });
  auto made = std::make_shared<Connection>();
  made->number = ++connections_made_;
  made->ends[0].node = node;
  made->ends[0].life = nodes_.life(node);
  made->ends[1].node = peer;
  made->ends[1].last_due_us = queue_.now_us() + kDialUs;
  connections_.push_back(made);
  return made;
}

void SimNetwork::send(NodeId from, NodeId to, const Uuid& log, const StreamMessage& message) {
  Frame frame{.due_us = 0,
              .log = log,
              .opener = opener_of(from, to, message),
              .session = session_of(message),
              .content = message};
  if (holding_) {
    held_.push_back([this, from, to, frame = std::move(frame)]() mutable { push(from, to, std::move(frame)); });
  } else {
    push(from, to, std::move(frame));
  }
}

void SimNetwork::send(NodeId from, NodeId to, const Uuid& log, const replication::EntriesHead& head,
                      std::vector<wal::BatchRef> batches) {
  Frame frame{
      .due_us = 0, .log = log, .opener = to, .session = head.session, .content = Batches{head, std::move(batches)}};
  if (holding_) {
    held_.push_back([this, from, to, frame = std::move(frame)]() mutable { push(from, to, std::move(frame)); });
  } else {
    push(from, to, std::move(frame));
  }
}

void SimNetwork::push(NodeId from, NodeId to, Frame frame) {
  const auto* message = std::get_if<StreamMessage>(&frame.content);
  if (message != nullptr) nodes_.leaves(from, to, frame.log, *message);
  const bool hello = message != nullptr && std::holds_alternative<replication::Hello>(*message);
  ConnectionPtr connection;
  if (hello) {
    connection = believed(from, to);
    if (!connection) connection = dial(from, to);
    connection->end_of(from).sessions.insert({frame.log, frame.opener, frame.session});
  } else if (frame.opener == NodeId()) {
    for (const NodeId opener : {from, to}) {
      if (connection) break;
      connection = bound(from, to, {frame.log, opener, frame.session});
      if (connection) frame.opener = opener;
    }
    if (!connection) return;  // it is over anyway
  } else {
    connection = bound(from, to, {frame.log, frame.opener, frame.session});
    if (!connection) return lose(from, to, frame.log, frame.session);
  }
  if (connection->broken) return;  // into nothing
  std::uint64_t bytes = 64;
  if (const auto* entries = std::get_if<Batches>(&frame.content)) {
    for (const wal::BatchRef& batch : entries->batches) bytes += batch.bytes.size();
  }
  End& end = connection->other_end(from);
  end.last_due_us = std::max(end.last_due_us, queue_.now_us() + delay_us(knobs_.stream_min_us, knobs_.stream_max_us)) +
                    knobs_.stream_us_per_kib * bytes / 1024;
  frame.due_us = end.last_due_us;
  end.arriving.push_back(std::move(frame));
  if (std::exchange(end.pumping, true)) return;
  queue_.at(end.arriving.front().due_us, [this, connection, to] { pump(connection, to); });
}

void SimNetwork::pump(const ConnectionPtr& connection, NodeId to) {
  End& end = connection->end_of(to);
  End& other = connection->other_end(to);
  end.pumping = false;
  if (end.arriving.empty()) return;
  const std::uint64_t life = nodes_.life(to);
  if (end.life == 0 && life != 0) end.life = life;  // accepted
  if (life == 0 || end.life != life) {
    end.arriving.clear();
    if (!connection->broken && life != 0) break_connection(connection, true);  // the kernel there knows nothing of it
    return;
  }
  std::uint64_t again_us = kLookAgainUs;
  if (end.arriving.front().due_us > queue_.now_us()) {
    again_us = end.arriving.front().due_us - queue_.now_us();
  } else if (!nodes_.stopped(to) && !is_cut(other.node, to, Channel::stream)) {
    Frame frame = std::move(end.arriving.front());
    end.arriving.pop_front();
    deliver(*connection, end, std::move(frame));
    if (end.arriving.empty() || end.pumping) return;
    again_us = std::max(end.arriving.front().due_us, queue_.now_us()) - queue_.now_us();
  }
  end.pumping = true;
  queue_.after(again_us, [this, connection, to] { pump(connection, to); });
}

void SimNetwork::deliver(Connection& connection, End& end, Frame frame) {
  const NodeId from = connection.other_end(end.node).node;
  const auto* message = std::get_if<StreamMessage>(&frame.content);
  const Session session{frame.log, frame.opener, frame.session};
  if (message != nullptr && std::holds_alternative<replication::Hello>(*message) && !end.closed) {
    end.sessions.insert(session);
  }
  if (end.closed || !end.sessions.contains(session)) {
    if (!chance(knobs_.stale_percent)) return;
    PROBE("sim: stale bytes of a session are handed on");
  }
  const std::string where =
      show_ ? describe(from) + "->" + describe(end.node) + " log " + describe(LogId(frame.log.bytes[0])) + ' ' : "";
  if (message != nullptr) {
    if (show_) show_(where + replication::describe(*message));
    trace(from, end.node, 16 + message->index());
    return nodes_.receive(end.node, from, frame.log, *message);
  }
  auto& entries = std::get<Batches>(frame.content);
  std::size_t bytes = 0;
  for (const wal::BatchRef& batch : entries.batches) bytes += batch.bytes.size();
  const auto chunk = wal::Chunk::make(bytes);
  std::size_t at = 0;
  for (const wal::BatchRef& batch : entries.batches) {
    std::memcpy(chunk->data() + at, batch.bytes.data(), batch.bytes.size());
    at += batch.bytes.size();
  }
  if (rng_.below(1000) < knobs_.damage_permille) {
    PROBE("sim: a batch is damaged on its way");
    chunk->data()[rng_.below(bytes)] ^= std::byte{static_cast<unsigned char>(1u << rng_.below(8))};
  }
  if (show_) {
    show_(where + replication::describe(entries.head) + ' ' + std::to_string(entries.batches.size()) + " batches, " +
          std::to_string(bytes) + " bytes");
  }
  trace(from, end.node, 32 + entries.head.from.value);
  nodes_.receive(end.node, from, frame.log, entries.head, chunk, ByteView(chunk->bytes()).first(bytes));
}

void SimNetwork::close(NodeId node, NodeId peer, const Uuid& log, const SessionId& session) {
  if (holding_) {  // in its place among what is sent
    held_.push_back([this, node, peer, log, session] { close(node, peer, log, session); });
    return;
  }
  for (const NodeId opener : {node, peer}) {
    const Session which{log, opener, session};
    if (const auto connection = bound(node, peer, which)) {
      connection->end_of(node).sessions.erase(which);
      if (!rng_.one_in(2)) continue;
      // What is queued need not leave. What is half out does.
      auto& arriving = connection->other_end(node).arriving;
      if (arriving.size() < 2) continue;
      arriving.erase(std::remove_if(arriving.begin() + 1, arriving.end(),
                                    [&](const Frame& frame) {
                                      return frame.log == log && frame.opener == opener && frame.session == session &&
                                             !std::holds_alternative<StreamMessage>(frame.content);
                                    }),
                     arriving.end());
    }
  }
}

// Somebody sends on a session that has no connection any more.
void SimNetwork::lose(NodeId node, NodeId peer, const Uuid& log, const SessionId& session) {
  queue_.after(1, [this, node, peer, log, session, life = nodes_.life(node)] {
    if (nodes_.life(node) == life && life != 0) nodes_.lost(node, peer, log, session);
  });
}

// --- Trouble ---------------------------------------------------------------------------------------------------------

void SimNetwork::cut(NodeId from, NodeId to, Channel channel, bool is_cut) {
  if (is_cut) {
    cuts_.insert({{from, to}, channel});
  } else {
    cuts_.erase({{from, to}, channel});
  }
}

void SimNetwork::heal() {
  cuts_.clear();
  const auto connections = connections_;
  for (const ConnectionPtr& connection : connections) {
    if (!connection->broken) continue;
    for (const End& end : connection->ends) hear_loss_later(connection, end.node, true);
  }
}

void SimNetwork::reset(NodeId a, NodeId b) {
  if (const auto connection = believed(a, b)) break_connection(connection, true);
}

void SimNetwork::break_connection(const ConnectionPtr& connection, bool told) {
  if (std::exchange(connection->broken, true)) return;
  for (End& end : connection->ends) {
    // Of what is on its way a part still arrives, perhaps much later.
    if (!end.arriving.empty()) end.arriving.resize(rng_.below(end.arriving.size() + 1));
    if (chance(30)) {
      const std::uint64_t later_us = rng_.below(2'000'000);
      for (Frame& frame : end.arriving) frame.due_us += later_us;
    }
    hear_loss_later(connection, end.node, told && !chance(knobs_.half_open_percent));
  }
}

void SimNetwork::hear_loss_later(const ConnectionPtr& connection, NodeId node, bool told) {
  queue_.after(rng_.below(told ? kHearsSoonUs : kHearsLateUs),
               [this, connection, node] { hear_loss(connection, node); });
}

void SimNetwork::hear_loss(const ConnectionPtr& connection, NodeId node) {
  End& end = connection->end_of(node);
  if (end.life == 0 || end.life != nodes_.life(node) || end.closed) return;
  if (nodes_.stopped(node)) return hear_loss_later(connection, node, true);
  end.closed = true;
  const NodeId peer = connection->other_end(node).node;
  if (show_) show_("node " + describe(node) + " hears that its stream with " + describe(peer) + " is lost");
  trace(node, peer, 30);
  const auto sessions = std::exchange(end.sessions, {});
  for (const Session& session : sessions) {
    if (nodes_.life(node) != end.life) return;  // it crashed over it
    nodes_.lost(node, peer, session.log, session.id);
  }
}

void SimNetwork::on_crash(NodeId node, bool told) {
  const auto connections = connections_;
  std::set<NodeId> peers;
  for (const ConnectionPtr& connection : connections) {
    if (connection->ends[0].node != node && connection->ends[1].node != node) continue;
    End& own = connection->end_of(node);
    own.arriving.clear();
    own.closed = true;
    peers.insert(connection->other_end(node).node);
    if (!connection->broken) break_connection(connection, told);
  }
  if (!told) return;
  for (const NodeId peer : peers) {
    if (is_cut(node, peer, Channel::control) || chance(30)) continue;
    queue_.after(delay_us(knobs_.control_min_us, knobs_.control_max_us), [this, peer, node, life = nodes_.life(peer)] {
      // A restart that is quicker than the news is no news.
      if (life == 0 || nodes_.life(peer) != life || nodes_.stopped(peer) || nodes_.life(node) != 0) return;
      nodes_.peer_gone(peer, node);
    });
  }
}

}  // namespace walraft::sim
