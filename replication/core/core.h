#pragma once

// The protocol, for one log on one node: events in, a Ready out (ready.h). No I/O, no threads, no clock, and nothing
// whose order varies: the same events give the same Readies. It owns the term, the vote, the role and the commit; its
// parts own the rest:
//
//   BootCheck        whether the disk is an older image of itself   every node, after its start
//   PeerMemory       what is known of the others' disks             every node
//   Election         when to campaign, how the campaign goes        every node
//   Upstream         the session with the leader                    a follower
//   FollowerCommit   what a follower may take for committed         a follower
//   Leader           flows, heartbeats, reads, hand-over            a leader, for one term
//
// Roles: follower --(pre-votes, Election)--> candidate --(votes)--> leader; any of them --(higher term)--> follower.
//
// `now_us` never goes back. Events may come in any order but those of one stream session.
// Thread: shard.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "replication/core/boot_check.h"
#include "replication/core/election.h"
#include "replication/core/follower_commit.h"
#include "replication/core/leader.h"
#include "replication/core/log_terms.h"
#include "replication/core/membership.h"
#include "replication/core/outbox.h"
#include "replication/core/peer_memory.h"
#include "replication/core/ready.h"
#include "replication/core/timing.h"
#include "replication/core/upstream.h"
#include "wal/base/clock.h"

namespace walraft::replication {

// What a node knows of this log when it starts; all of it durable. A ballot that is older than the log's last batch was
// lost or brought back from somewhere: the log is then taken for a suspect one.
struct Boot {
  NodeId self;
  Uuid disk;
  std::uint64_t incarnation = 1;  // one more than at the last start
  Ballot ballot;
  LogTerms log{TermEnd{}, {}};
  Index durable;
  Index commit;          // known committed before; a bound, not necessarily the last one
  bool suspect = false;  // the log ends below something that it acknowledged
  Configuration members;                                    // of the log's creation
  std::vector<std::pair<Index, Configuration>> configurations;  // CONFIG batches in the log
};

// One batch that came in a frame, as far as the core looks at it. The receiver has verified its bytes.
struct Entry {
  Index index;
  Term term;
  bool chained = true;  // its digest follows from the batch before it, in the frame or in the log
  std::optional<Configuration> configuration = {};
};

// What a leader writes into the next batch. Who waits for it waits for index and term: another batch can come to stand
// at the index (proto:P22).
struct Stamp {
  Index index;
  Term term;
  Index commit;
};

enum class Role : std::uint8_t { follower, candidate, leader };

// Written in core.cc (time, the disk, commits), core_votes.cc, core_links.cc (heartbeats and streams), core_boot.cc.
class Core {
 public:
  Core(Boot boot, const Timing& timing, Rng& rng, std::uint64_t now_us);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // All that was wanted since the last call. Call it after each event, and carry it out before the next one.
  Ready ready();

  // --- Time ---
  // Every few milliseconds. `oldest_write_us`: the age of the oldest write or probe that the disk has not finished
  // (H1).
  void tick(std::uint64_t now_us, std::uint64_t oldest_write_us);

  // --- Peers ---
  void receive(NodeId from, const ControlMessage& message, std::uint64_t now_us);
  void receive(NodeId from, const StreamMessage& message, std::uint64_t now_us);
  enum class Frame : std::uint8_t {
    append,  // append all of them to the log, now
    wait,    // not yet: offer it again after the next on_digest() or on_truncated()
    drop,    // of another session, or it does not fit: the session is over
  };
  Frame receive_entries(NodeId from, const EntriesHead& head, std::span<const Entry> entries, std::uint64_t now_us);
  // The transport of a session broke.
  void on_stream_lost(NodeId peer, const SessionId& session, std::uint64_t now_us);
  // Both connections to a node were reset: its process is gone.
  void on_peer_gone(NodeId peer, std::uint64_t now_us);

  // --- The disk ---
  void on_persisted(std::uint64_t version, std::uint64_t now_us);
  void on_durable(Index durable, std::uint64_t now_us);
  void on_truncated(std::uint64_t now_us);
  void on_digest(Index index, const Digest& digest, std::uint64_t now_us);

  // --- Leading ---
  // What the next data batch is to carry; nothing if data may not be appended now (not the leader, the term's NOOP is
  // not there yet, a hand-over, a slow disk).
  std::optional<Stamp> stamp() const;
  // The same for the NOOP of Ready::append_noop.
  std::optional<Stamp> stamp_noop() const;
  // The log took the batch so stamped. The first of a term is its NOOP.
  void on_appended(std::optional<Configuration> configuration, std::uint64_t now_us);
  // The log did not take what was stamped, and never will (proto:P10).
  void on_append_failed(std::uint64_t now_us);
  // The only voter, this node, campaigns when it is asked to: an append came. Nothing for others.
  void lead(std::uint64_t now_us);
  // Commits that no frame of batches carried go out as messages (proto:P5): once per turn, after the frames.
  void tell_commits();
  std::optional<Sending> next_send(NodeId peer) const;
  void on_sent(NodeId peer, const SessionId& session, Index end, std::uint64_t bytes);
  // False: not the leader, or `to` cannot take over.
  bool transfer(NodeId to, std::uint64_t now_us);
  // The answer comes as Ready::reads. False: not the leader, or not yet able to tell.
  bool read_index(std::uint64_t token, std::uint64_t now_us);

  // --- Following ---
  // Memory, and room on the disk, for batches that the leader may send ahead of our acks; 0 stops it (H5).
  void set_window(std::uint64_t bytes) { upstream_.set_window(bytes); }

  // --- What is the case ---
  Role role() const { return role_; }
  Term term() const { return ballot_.term; }
  const Ballot& ballot() const { return ballot_; }
  NodeId self() const { return self_; }
  NodeId leader() const { return role_ == Role::leader ? self_ : upstream_.leader(); }  // 0: not known
  // This node is the only voter: nobody else has a say, and what is durable here is committed.
  bool alone() const { return members().voters() == 1 && members().is_voter(self_); }
  Index commit() const { return commit_; }
  Index durable() const { return durable_; }
  // Everything below may be applied and served here.
  Index applicable() const { return std::min(commit_, durable_); }
  const LogTerms& log() const { return log_; }
  const Configuration& members() const { return membership_.active(); }
  const Election& election() const { return election_; }
  const Upstream& upstream() const { return upstream_; }
  const FollowerCommit& follower_commit() const { return follower_commit_; }
  const std::optional<Leader>& leading() const { return leader_; }
  bool suspect() const { return suspect_; }
  // It has just started, and waits for what others know of it.
  bool asking() const { return boot_.open(); }
  const PeerMemory& memory() const { return memory_; }
  bool truncating() const { return truncating_.has_value(); }
  const std::optional<std::string>& halted() const { return halted_; }
  // "leader term=3 log=2/17 durable=17 commit=16 …", one line.
  std::string describe() const;

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  // Control.
  void on(NodeId from, const VoteRequest& request, std::uint64_t now_us);
  void on(NodeId from, const VoteReply& reply, std::uint64_t now_us);
  void on(NodeId from, const Heartbeat& heartbeat, std::uint64_t now_us);
  void on(NodeId from, const HeartbeatReply& reply, std::uint64_t now_us);
  void on(NodeId from, const TimeoutNow& message, std::uint64_t now_us);
  void on(NodeId from, const BootQuestion& question, std::uint64_t now_us);
  void on(NodeId from, const BootAnswer& answer, std::uint64_t now_us);
  // Stream, to a leader.
  void on(NodeId from, const Hello& hello, std::uint64_t now_us);
  void on(NodeId from, const Accept& accept, std::uint64_t now_us);
  void on(NodeId from, const Ack& ack, std::uint64_t now_us);
  // Stream, to a follower.
  void on(NodeId from, const Welcome& welcome, std::uint64_t now_us);
  void on(NodeId from, const Refuse& refuse, std::uint64_t now_us);
  void on(NodeId from, const CommitTo& commit, std::uint64_t now_us);
  void on(NodeId from, const Ping& ping, std::uint64_t now_us);
  // Stream, to either.
  void on(NodeId from, const Close& close, std::uint64_t now_us);

  void ask_peers(std::uint64_t now_us);
  void conclude_boot(std::uint64_t now_us);
  void on_rolled_back(std::uint64_t now_us);
  void become_follower(Term term, std::uint64_t now_us);  // of a higher term, nobody's yet
  bool accept_leader(NodeId from, Term term, std::uint64_t now_us);
  void become_leader(Term campaign, std::uint64_t now_us);
  void resign(Resignation why, std::uint64_t now_us);
  bool may_stand(std::uint64_t now_us) const;
  void stand(VoteReason reason, std::uint64_t now_us);
  void campaign(VoteReason reason, std::uint64_t now_us);
  void count_votes(std::uint64_t now_us);
  bool known_disk(NodeId node, const Uuid& disk) const;
  bool from_current_leader(NodeId from, const SessionId& session, Term term) const;
  void heard_leader(std::uint64_t now_us);
  void lost_leader(std::uint64_t now_us);
  void stop_asking();
  void advance_commit(Index to);
  void commit_as_leader();
  void commit_as_follower();
  void settle(std::uint64_t now_us);
  void watch_disk(std::uint64_t now_us, std::uint64_t oldest_write_us);
  void truncate(Index to);
  void halt(const std::string& why);

  const NodeId self_;
  const Uuid disk_uuid_;
  std::uint64_t incarnation_;
  const Timing timing_;

  Ballot ballot_;
  Role role_ = Role::follower;
  LogTerms log_;
  Index durable_;
  Index commit_;
  Membership membership_;
  bool suspect_ = false;
  std::optional<Index> truncating_;  // to here
  bool log_busy_ = false;  // truncating_ has a value; for Upstream::View
  DiskState disk_ = DiskState::healthy;
  std::uint64_t disk_sick_us_ = 0;  // when it was last not healthy
  bool quarantined_ = false;  // resigned for its disk (proto:P24)
  std::uint64_t hand_over_from_us_ = 0;  // not before, for a slow disk of our own
  std::uint64_t leader_known_us_ = 0;  // when there was last a leader, itself included
  std::uint64_t campaign_version_ = 0;  // of the ballot with our vote for ourselves
  LogEnd campaign_log_;  // that we campaign with
  std::pair<std::uint64_t, std::uint64_t> heartbeat_seen_;  // incarnation and seq, of the leader (proto:P20)
  std::optional<std::string> halted_;

  PeerMemory memory_;
  Outbox outbox_;
  Election election_;
  BootCheck boot_;
  FollowerCommit follower_commit_;
  Upstream upstream_;
  std::optional<Leader> leader_;  // while role_ is leader
};

}  // namespace walraft::replication
