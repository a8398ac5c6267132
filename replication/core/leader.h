#pragma once

// What a node is as the leader of one term, and nothing of which outlives that term: its followers' flows, heartbeats,
// reads that wait for proof of leadership, a hand-over. The term is fixed at construction (proto:P9): whatever was
// started under it ends with this object.
//
// It sends through the Outbox, and it says when it has to go (proto:P15): the core then ends the role.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "replication/core/log_terms.h"
#include "replication/core/membership.h"
#include "replication/core/message.h"
#include "replication/core/outbox.h"
#include "replication/core/peer_flow.h"
#include "replication/core/peer_memory.h"
#include "replication/core/timing.h"
#include "wal/base/ids.h"

namespace walraft::replication {

// Why a leader ends.
enum class Resignation : std::uint8_t {
  higher_term,    // somebody else is ahead
  no_contact,     // H2: a majority was silent for an election timeout
  streams_dead,   // H2: heartbeats go round, batches do not
  disk_stalled,   // H1: the others can do better
  append_failed,  // proto:P10
  rolled_back,    // its disk turns out to be an older image of itself
};
std::string describe(Resignation why);

// The frame of batches that should go out next on a session; the replica reads them from the log.
struct Sending {
  EntriesHead head;
  Index end;                     // none at or past it
  std::uint64_t bytes_max = 0;   // but at least one batch
};

class Leader {
 public:
  // What a leader looks at and does not own.
  struct View {
    NodeId self;
    std::uint64_t incarnation = 0;
    const Timing& timing;
    const LogTerms& log;
    const Membership& membership;
    const Index& commit;
    const Index& durable;
    const DiskState& disk;
    PeerMemory& memory;
    std::uint64_t& hand_over_from_us;  // not before, for a slow disk; outlives the leader
  };

  Leader(Term term, const View& view, Outbox& outbox, std::uint64_t now_us);

  Term term() const { return term_; }

  // --- The log ---
  // The NOOP that opens the term was appended: from here on commits count (proto:2.3), and data may follow.
  void on_noop(Index index) { noop_ = index; }
  bool has_noop() const { return noop_.has_value(); }
  bool may_append() const { return noop_ && !transfer_ && view_.disk == DiskState::healthy; }
  bool noop_committed() const { return noop_ && view_.commit > *noop_; }
  // How far the log is durable on a majority of voters.
  Index quorum_durable() const;

  // --- Sessions ---
  void on_hello(NodeId from, const Hello& hello, std::uint64_t now_us);
  void on_digest(Index index, const Digest& digest);
  void on_accept(NodeId from, const Accept& accept, std::uint64_t now_us);
  void on_ack(NodeId from, const Ack& ack, std::uint64_t now_us);
  void on_closed(NodeId from, const SessionId& session);
  std::optional<Sending> next_send(NodeId peer) const;
  void on_sent(NodeId peer, const SessionId& session, Index end, std::uint64_t bytes);
  // What is to be told once per turn: commits that no frame carries (proto:P5).
  void send_commits();

  // How far the followers and this node are, for PeerMemory.
  void remember();

  // --- Leadership ---
  // Heartbeats, pings, limits. Says if the role is to end.
  std::optional<Resignation> tick(std::uint64_t now_us);
  void on_heartbeat_reply(NodeId from, const HeartbeatReply& reply, std::uint64_t now_us);
  // Proves leadership, then answers with the commit index of now (ReadIndex, Ongaro 2014, 6.4). Reads that come while
  // a round of heartbeats is under way for others share the next one. False: not yet, the NOOP is not committed.
  bool read_index(std::uint64_t token, std::uint64_t now_us);
  void refuse_reads();
  // Hands over to `to`, which must be a voter. Appends pause until it takes over, or for ET.
  bool transfer(NodeId to, std::uint64_t now_us);
  bool transferring() const { return transfer_.has_value(); }

  const std::map<NodeId, PeerFlow>& peers() const { return peers_; }
  void close_all();

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  struct Read {
    std::uint64_t token = 0;
    Index commit;
    std::uint64_t seq = 0;  // any heartbeat from this one on proves leadership after the read came
  };
  struct Transfer {
    NodeId to;
    std::uint64_t until_us = 0;
    bool asked = false;
  };

  void refuse(NodeId to, const Hello& hello, RefuseReason reason);
  void remember(NodeId peer, const PeerFlow& flow);
  void close(NodeId peer, PeerFlow& flow, std::optional<CloseReason> tell);
  void send_heartbeats(std::uint64_t now_us);
  void hand_over_slow_disk(std::uint64_t now_us);
  void go_on_with_transfer(std::uint64_t now_us);
  void answer_reads(std::uint64_t now_us);
  std::uint64_t proven_seq() const;  // the last round of heartbeats that a majority answered
  std::optional<Resignation> check_quorum(std::uint64_t now_us);
  bool others_are_healthy(std::uint64_t now_us) const;
  PeerFlow* find(NodeId peer) {
    const auto at = peers_.find(peer);
    return at == peers_.end() ? nullptr : &at->second;
  }

  const Term term_;
  const View view_;
  Outbox& outbox_;
  std::map<NodeId, PeerFlow> peers_;
  std::map<NodeId, std::uint64_t> proven_;  // the last heartbeat that each voter answered in this term
  std::optional<Index> noop_;
  std::uint64_t heartbeat_seq_ = 0;
  std::uint64_t heartbeat_at_us_ = 0;
  std::deque<Read> reads_;
  std::optional<Transfer> transfer_;
  std::optional<std::uint64_t> reset_at_us_;  // when the streams were reset, since the quorum was last fresh
};

}  // namespace walraft::replication
