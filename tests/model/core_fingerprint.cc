#include "tests/model/core_fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <vector>

#include "wal/base/check.h"

namespace walraft::model {
namespace {

// How things are called. Nodes by their new names; an incarnation by how many its node has had since, and a session by
// how many were opened after it in its incarnation (proto:P7 asks only which came first), so that how often it was tried
// before makes no difference.
struct Names {
  Renaming nodes;
  std::array<std::uint64_t, 4> incarnations{};  // by the old name
  SessionCounts sessions{};
  std::array<std::uint64_t, 4> nonces{};  // of the last starts
};

// Bytes of what is to be hashed; on the stack. Small numbers take one byte.
class Bytes {
 public:
  explicit Bytes(const Names& names) : names_(names) {}

  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  void add(T number) {
    const auto value = static_cast<std::uint64_t>(number);
    CHECK(size_ + 9 <= bytes_.size());
    if (value < 255) {
      bytes_[size_++] = static_cast<std::uint8_t>(value);
      return;
    }
    bytes_[size_++] = 255;
    std::memcpy(&bytes_[size_], &value, 8);
    size_ += 8;
  }
  template <class Tag>
  void add(Number<Tag> number) {
    add(number.value);
  }
  void add(NodeId node) { add(node == NodeId() ? std::uint16_t{0} : names_.nodes[node.value - 1u]); }
  void add(const SessionId& session) {
    add_incarnation(session.incarnation);
    add(names_.sessions[session.incarnation] - session.counter);
  }
  void add_incarnation(std::uint64_t incarnation) {
    const NodeId owner = CoreFingerprint::owner(incarnation);
    add(owner, names_.incarnations[owner.value] - incarnation);
  }
  void add(const replication::LogEnd& end) { add(end.term, end.end); }
  void add(const replication::Ballot& ballot) { add(ballot.term, ballot.vote); }
  void add(const std::vector<replication::TermEnd>& history) {
    add(history.size());
    for (const auto& run : history) add(run.term, run.end);
  }
  template <class A, class B, class... More>
  void add(const A& a, const B& b, const More&... more) {
    add(a);
    add(b);
    (add(more), ...);
  }
  // In any order: they are hashed by themselves, and sorted.
  void add_set(std::vector<std::uint64_t>& hashes) {
    std::sort(hashes.begin(), hashes.end());
    add(hashes.size());
    for (const std::uint64_t hash : hashes) add(hash);
  }

  std::uint64_t hash() const { return XXH3_64bits(bytes_.data(), size_); }
  Fingerprint fingerprint() const {
    const XXH128_hash_t all = XXH3_128bits(bytes_.data(), size_);
    return {all.low64, all.high64};
  }
  const Names& names() const { return names_; }
  void clear() { size_ = 0; }

 private:
  const Names& names_;
  std::size_t size_ = 0;
  std::array<std::uint8_t, 6'000> bytes_;
};

// --- Messages --------------------------------------------------------------------------------------------------------
// Not hashed: disks, which are never replaced here, and never ill; windows, which never fill; digests, since the same
// index and term is the same batch (R2, R3: where it is not, the search has ended); numbers of pings, which move
// nothing but the time of the last answer; what nodes remember of each other, since no disk is behind it (the search
// looks after each step), and disks only go on.

void add(Bytes& bytes, const replication::VoteRequest& m) {
  static_assert(sizeof(m) == 48, "a field is new: add it here, or say above why it does not matter");
  bytes.add(m.term, m.pre, m.reason, m.log);
}
void add(Bytes& bytes, const replication::VoteReply& m) {
  static_assert(sizeof(m) == 56, "a field is new: add it here");
  bytes.add(m.term, m.campaign, m.pre, m.granted, m.log);
}
void add(Bytes& bytes, const replication::Heartbeat& m) {
  static_assert(sizeof(m) == 80, "a field is new: add it here");
  bytes.add_incarnation(m.incarnation);
  bytes.add(m.term, m.seq, m.commit, m.session);
}
void add(Bytes& bytes, const replication::HeartbeatReply& m) {
  static_assert(sizeof(m) == 88, "a field is new: add it here");
  bytes.add(m.term, m.seq, m.session, m.stream_age_us > 4 * kElectionTimeoutUs, m.stream_dead, m.end, m.durable,
            m.suspect);
}
void add(Bytes& bytes, const replication::TimeoutNow& m) {
  static_assert(sizeof(m) == 24, "a field is new: add it here");
  bytes.add(m.term, m.log);
}
bool current_nonce(const Bytes& bytes, std::uint64_t nonce) {
  const auto& all = bytes.names().nonces;
  return std::find(all.begin(), all.end(), nonce) != all.end();
}
void add(Bytes& bytes, const replication::BootQuestion& m) {
  static_assert(sizeof(m) == 24, "a field is new: add it here");
  bytes.add(current_nonce(bytes, m.nonce));
}
void add(Bytes& bytes, const replication::BootAnswer& m) {
  static_assert(sizeof(m) == 80, "a field is new: add it here");
  bytes.add(current_nonce(bytes, m.nonce), m.term);
}
void add(Bytes& bytes, const replication::Hello& m) {
  static_assert(sizeof(m) == 104, "a field is new: add it here");
  bytes.add(m.session, m.term, m.commit, m.end, m.durable, m.history, m.history_complete, m.suspect);
}
void add(Bytes& bytes, const replication::Welcome& m) {
  static_assert(sizeof(m) == 104, "a field is new: add it here");
  bytes.add(m.session, m.term, m.match, m.match_term, m.history, m.end, m.commit, m.heartbeat_seq);
}
void add(Bytes& bytes, const replication::Refuse& m) {
  static_assert(sizeof(m) == 32, "a field is new: add it here");
  bytes.add(m.session, m.term, m.reason, m.leader);
}
void add(Bytes& bytes, const replication::Accept& m) {
  static_assert(sizeof(m) == 40, "a field is new: add it here");
  bytes.add(m.session, m.term, m.match, m.durable);
}
void add(Bytes& bytes, const replication::CommitTo& m) {
  static_assert(sizeof(m) == 32, "a field is new: add it here");
  bytes.add(m.session, m.term, m.commit);
}
void add(Bytes& bytes, const replication::Ping& m) {
  static_assert(sizeof(m) == 32, "a field is new: add it here");
  bytes.add(m.session, m.term);
}
void add(Bytes& bytes, const replication::Ack& m) {
  static_assert(sizeof(m) == 64, "a field is new: add it here");
  bytes.add(m.session, m.term, m.end, m.durable);
}
void add(Bytes& bytes, const replication::Close& m) {
  static_assert(sizeof(m) == 32, "a field is new: add it here");
  bytes.add(m.session, m.term, m.reason);
}
void add(Bytes& bytes, const EntriesHead& m) {
  static_assert(sizeof(m) == 48, "a field is new: add it here");
  bytes.add(m.session, m.term, m.from, m.from_term, m.commit);
}

template <class... Messages>
void add(Bytes& bytes, const std::variant<Messages...>& message) {
  bytes.add(message.index());
  std::visit([&](const auto& m) { add(bytes, m); }, message);
}

void add(Bytes& bytes, const Frame& frame) {
  bytes.add(frame.content.index());
  if (const auto* message = std::get_if<StreamMessage>(&frame.content)) return add(bytes, *message);
  const auto& [head, batches] = std::get<1>(frame.content);
  add(bytes, head);
  bytes.add(batches.size());
  for (const ModelBatch& batch : batches) bytes.add(batch.term);
}

std::uint64_t hash(Bytes& bytes, const Letter& letter) {
  bytes.clear();
  bytes.add(letter.from, letter.to);
  add(bytes, letter.message);
  return bytes.hash();
}

// 0: not long ago; 1: it doubts its leader; 2: everything that waits has waited long enough. A moment between the
// silences would be one that this file takes for another.
std::uint64_t silences(std::uint64_t now_us, std::uint64_t then_us) {
  const std::uint64_t age_us = now_us - then_us;
  CHECK(age_us % kSilenceUs < kElectionTimeoutUs * 9 / 10, age_us);
  return std::min<std::uint64_t>(2, age_us / kSilenceUs);
}

}  // namespace

std::uint64_t fingerprint(const Letter& letter) {
  static constexpr Names kSame{{1, 2, 3}, {}, {}, {}};
  Bytes bytes(kSame);
  return hash(bytes, letter);
}

}  // namespace walraft::model

namespace walraft::replication {

// Everything in a core that is not told by its neighbours' fields or by the world's.
struct CorePeek {
  using Bytes = model::Bytes;

  // Not hashed: the log, which is the world's but for a cut that is under way; members, which never change here; what
  // follows from disks that are ill (H1), and none is; what it remembers of others (see above); clocks of retries, since a node here dials as soon as it can.
  static void add(Bytes& bytes, const Core& core, std::uint64_t now_us) {
    static_assert(sizeof(Core) == 1608, "a field is new: add it here, or say above why it does not matter");
    bytes.add(core.ballot_, core.role_, core.commit_, core.durable_, core.suspect_);
    bytes.add(core.truncating_ ? core.truncating_->value + 1 : 0);
    bytes.add_incarnation(core.heartbeat_seen_.first);
    bytes.add(core.heartbeat_seen_.second);
    add(bytes, core.outbox_);
    const bool campaigning = core.election_.stage() == Election::Stage::campaigning;
    bytes.add(campaigning ? core.outbox_.version_ - std::min(core.outbox_.version_, core.campaign_version_) : 0);
    if (campaigning) bytes.add(core.campaign_log_);
    add(bytes, core.election_, now_us);
    add(bytes, core.boot_, core.suspect_, now_us);
    if (core.leader_) return add(bytes, *core.leader_);
    // A commit that was taken over is not asked for again.
    const FollowerCommit& known = core.follower_commit_;
    static_assert(sizeof(FollowerCommit) == 24, "a field is new: add it here");
    bytes.add(known.term(), known.verified(), std::max(known.pending(), core.commit_));
    add(bytes, core.upstream_, now_us);
  }

  static void add(Bytes& bytes, const Outbox& outbox) {
    static_assert(sizeof(Outbox) == 312, "a field is new: add it here");
    bytes.add(outbox.version_ - outbox.persisted_);
    // In the order in which they leave, for each node; between nodes there is none.
    std::vector<std::uint64_t> held;
    std::array<std::uint64_t, 4> of_node{};
    for (const auto& [version, envelope] : outbox.held_) {
      Bytes part(bytes.names());
      part.add(outbox.version_ - version, envelope.to, ++of_node.at(envelope.to.value), envelope.message.index());
      std::visit([&](const auto& m) { model::add(part, m); }, envelope.message);
      held.push_back(part.hash());
    }
    bytes.add_set(held);
  }

  static std::uint64_t sessions(const Core& core) { return core.upstream_.sessions_; }
  static std::uint64_t nonce(const Core& core) { return core.boot_.nonce_; }

  // Over, unless the log is suspect, it is not looked at again. A node that asks is silent at least until its next tick,
  // which is a silence later: then it asks again.
  static void add(Bytes& bytes, const BootCheck& boot, bool suspect, std::uint64_t now_us) {
    static_assert(sizeof(BootCheck) == 152, "a field is new: add it here");
    bytes.add(boot.open_);
    if (!boot.open_ && !suspect) return;
    std::uint64_t answered = 0;
    for (const NodeId node : boot.answered_) answered |= std::uint64_t{1} << bytes.names().nodes[node.value - 1u];
    std::uint64_t asked_back = 0;
    for (const NodeId node : boot.asked_back_) asked_back |= std::uint64_t{1} << bytes.names().nodes[node.value - 1u];
    bytes.add(answered, asked_back, boot.term_, model::silences(now_us, boot.began_us_) > 0);
  }

  static void add(Bytes& bytes, const Election& election, std::uint64_t now_us) {
    static_assert(sizeof(Election) == 104, "a field is new: add it here");
    bytes.add(election.stage_, election.stage_ == Election::Stage::quiet ? VoteReason{} : election.reason_);
    std::uint64_t granted = 0;
    for (const NodeId node : election.granted_) granted |= std::uint64_t{1} << bytes.names().nodes[node.value - 1u];
    bytes.add(granted, election.due(now_us), election.barred(now_us));
    bytes.add(election.has_leader_ ? model::silences(now_us, election.heard_us_) : 3);
  }

  static void add(Bytes& bytes, const Upstream& upstream, std::uint64_t now_us) {
    static_assert(sizeof(Upstream) == 320, "a field is new: add it here");
    bytes.add(upstream.state_, upstream.leader_);
    if (upstream.leader_ == NodeId()) return;
    bytes.add(upstream.term_, model::silences(now_us, upstream.heard_us_), upstream.whole_history_);
    if (upstream.state_ == Upstream::State::idle) return;
    bytes.add(upstream.session_, model::silences(now_us, upstream.dialed_us_));
    if (upstream.state_ == Upstream::State::streaming) bytes.add(upstream.welcome_seq_);
    if (upstream.welcome_) model::add(bytes, *upstream.welcome_);
  }

  // Its times are all of now: a leader that was silent has resigned.
  static void add(Bytes& bytes, const Leader& leader) {
    static_assert(sizeof(Leader) == 352, "a field is new: add it here");
    bytes.add(leader.noop_ ? leader.noop_->value + 1 : 0, leader.heartbeat_seq_, leader.reads_.size());
    for (const auto& read : leader.reads_) bytes.add(read.commit, read.seq);
    bytes.add(leader.transfer_ ? leader.transfer_->to : NodeId(), leader.transfer_ && leader.transfer_->asked);
    bytes.add(leader.reset_at_us_.has_value());
    std::array<const PeerFlow*, 4> flows{};
    std::array<std::uint64_t, 4> proven{};  // answers count for the reads that wait
    for (const auto& [node, flow] : leader.peers_) flows[bytes.names().nodes[node.value - 1u]] = &flow;
    for (const auto& [node, seq] : leader.proven_) proven[bytes.names().nodes[node.value - 1u]] = seq;
    for (std::size_t name = 1; name < flows.size(); ++name) {
      if (flows[name] != nullptr) add(bytes, *flows[name]);
      if (!leader.reads_.empty()) bytes.add(proven[name]);
    }
  }

  static void add(Bytes& bytes, const PeerFlow& flow) {
    static_assert(sizeof(PeerFlow) == 216, "a field is new: add it here");
    bytes.add(flow.state_);
    if (flow.state_ == PeerFlow::State::none) return;
    bytes.add(flow.session_, flow.counts_, flow.match_, flow.next_, flow.sent_commit_, flow.opened_at_seq_);
  }
};

}  // namespace walraft::replication

namespace walraft::model {

std::uint64_t CoreFingerprint::sessions(const Core& core) { return replication::CorePeek::sessions(core); }

// Not hashed of what the checks remember: votes, which are those of the ballots on the disks; which batches there were,
// since only the leader of a term makes batches in it, and what it made it has; what was seen of each node in its last
// step, which is what it is.
Fingerprint CoreFingerprint::of(const CoreWorld& world, const Renaming& renaming, const SessionCounts& opened,
                                std::uint64_t salt) {
  static_assert(sizeof(CoreWorld::Node) == 424, "a field is new: add it here, or say why it does not matter");
  static_assert(sizeof(CoreChecks) == 328, "a field is new: add it here, or say above why it does not matter");
  Names names{renaming, {}, opened, {}};
  std::array<const CoreWorld::Node*, 4> nodes{};
  for (const auto& [id, node] : world.nodes_) {
    CHECK(node.core != nullptr && node.looking_up.empty() && owner(node.incarnation) == id, node.incarnation);
    nodes.at(renaming.at(id.value - 1u)) = &node;
    names.incarnations.at(id.value) = node.incarnation;
    names.sessions.at(node.incarnation) = sessions(*node.core);
    names.nonces.at(id.value) = replication::CorePeek::nonce(*node.core);
  }
  Bytes bytes(names);
  Bytes part(names);
  bytes.add(salt);
  for (const CoreWorld::Node* node : nodes) {
    if (node == nullptr) continue;
    replication::CorePeek::add(bytes, *node->core, node->clock_us);
    bytes.add(node->log.durable, node->ballot, node->commit_bound, node->noop_wanted, node->suspect);
    bytes.add(node->log.batches.size());
    for (const ModelBatch& batch : node->log.batches) bytes.add(batch.term);
    bytes.add(node->persisting.size());
    for (const auto& persist : node->persisting) bytes.add(persist.write.ballot, persist.suspect.has_value());
    for (const auto& [token, committed] : node->reads) bytes.add(committed);
  }
  std::vector<std::uint64_t> hashes;
  for (const Letter& letter : world.letters_) hashes.push_back(hash(part, letter));
  bytes.add_set(hashes);
  hashes.clear();
  for (const auto& [key, frames] : world.streams_) {
    part.clear();
    part.add(key.from, key.to, key.session);
    for (const Frame& frame : frames) add(part, frame);
    hashes.push_back(part.hash());
  }
  bytes.add_set(hashes);
  for (const auto& [term, node] : world.checks_.elected_) bytes.add(term, node);
  bytes.add(0);
  for (std::size_t i = 0; i < world.checks_.committed_.size(); ++i) {
    bytes.add(world.checks_.committed_[i].term, world.checks_.committed_in_[i]);
  }
  return bytes.fingerprint();
}

}  // namespace walraft::model
