#pragma once

// What cores say to each other, on two connections so that batches hold up no heartbeat (proto:P19). Control messages
// are small, each stands alone, and may be lost, doubled or overtaken; stream messages of one session arrive in order,
// or the session ends. The batches themselves are not here: the core counts them, replicas move them (ready.h).
//
// All positions are half-open: `end` and `durable` are the index of the next batch.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "replication/core/log_terms.h"
#include "wal/base/ids.h"

namespace walraft::replication {

// A session is named by the follower that opens it: its incarnation (one more with each start of its process), and a
// counter. So names only grow, and the bytes of an older session are known by their name (proto:P7).
struct SessionId {
  std::uint64_t incarnation = 0;  // 0: no session
  std::uint64_t counter = 0;
  constexpr auto operator<=>(const SessionId&) const = default;
};

// A term and the vote in it.
struct Ballot {
  Term term;
  NodeId vote;  // 0: none yet
  bool operator==(const Ballot&) const = default;
};

// What a node said in a term: my log is durable up to here. Its disk says a later term, or the same and not less, for
// ever; within a term nothing that was acknowledged is cut.
struct Mark {
  Term term;
  Index durable;
  constexpr auto operator<=>(const Mark&) const = default;
};

// What one node remembers of another, or was told by the leader (peer_memory.h).
struct Remembered {
  NodeId node;
  std::uint64_t incarnation = 0;  // the highest
  Mark mark = {};                 // the highest
  Ballot vote = {};               // its last one
};

// What a node says of its own disk. slow: a write is older than half the stall limit; stalled: older than all of it.
enum class DiskState : std::uint8_t { healthy, slow, stalled };

// --- Control ---------------------------------------------------------------------------------------------------------

enum class VoteReason : std::uint8_t { timeout, stream_dead, transfer };

// Asks for a vote, or (pre) whether one would be given: that question changes no state anywhere.
struct VoteRequest {
  Term term;  // in which the candidate would lead
  bool pre = false;
  VoteReason reason = VoteReason::timeout;
  Uuid disk;  // the candidate's
  LogEnd log;
};

struct VoteReply {
  Term term;  // the voter's own
  Term campaign;  // of the request
  bool pre = false;
  bool granted = false;
  Uuid disk;  // the voter's: a vote counts for the disk that the configuration names
  LogEnd log = {};  // of the request: a vote counts for the log that it was given to
};

// Says nothing of where the log ends: it may overtake batches (proto:P16).
struct Heartbeat {
  Term term;
  std::uint64_t incarnation = 0;  // the leader's; with seq it tells an old heartbeat from a new one (proto:P20)
  std::uint64_t seq = 0;
  Index commit;
  DiskState disk = DiskState::healthy;
  SessionId session;  // that the leader has with this follower
  std::vector<Remembered> known = {};  // of all members, itself included; for boot_check.h, nothing else rests on it
};

// The positions in it are for people to look at: no commit rests on them (proto:P1).
struct HeartbeatReply {
  Term term;
  std::uint64_t seq = 0;
  Uuid disk_uuid;  // the follower's: an answer proves leadership for the disk that the configuration names
  SessionId session;  // that the follower has with this leader
  std::uint64_t stream_age_us = 0;  // since it last heard anything on it
  bool stream_dead = false;  // H3: too long
  DiskState disk = DiskState::healthy;
  Index end;
  Index durable;
  bool suspect = false;  // it may have forgotten promises: its answer proves nothing
};

// The leader hands over: campaign at once, without asking whether it would be granted.
struct TimeoutNow {
  Term term;
  LogEnd log;
};

// After a start, to all other voters: what do you know of me? (boot_check.h)
struct BootQuestion {
  std::uint64_t nonce = 0;  // of this start
  Uuid disk;
};

struct BootAnswer {
  std::uint64_t nonce = 0;  // of the question
  Term term;  // of the one who answers
  Uuid disk;  // of the one who answers: it counts for the disk that the configuration names
  Remembered known;  // of the one who asks
};

// --- Stream ----------------------------------------------------------------------------------------------------------

// Follower to leader, first in a session.
struct Hello {
  SessionId session;
  Term term;
  Uuid disk;
  Index commit;
  Index end;
  Index durable;
  std::vector<TermEnd> history;  // newest terms, ascending
  bool history_complete = true;
  bool suspect = false;  // this log lost what it once acknowledged: it takes batches, and counts for nothing
  std::uint64_t window_bytes = 0;
};

// Leader to follower: you have my log up to `match`, the batch before it is of `match_term` and leaves `digest`.
struct Welcome {
  SessionId session;
  Term term;
  Index match;
  Term match_term;
  Digest digest;
  std::vector<TermEnd> history;  // the leader's, from match_term on
  Index end;
  Index commit;
  std::uint64_t heartbeat_seq = 0;  // the last one that knew nothing of this session
};

enum class RefuseReason : std::uint8_t {
  not_leader,  // `leader` is, as far as this node knows
  removed,  // you are no member of this log
  amnesia,  // your id is registered with another disk
  more_history,  // the terms you sent are not enough: send those below
  trimmed,  // what comes next for you is no longer kept here
  diverged,  // you committed what this leader does not have: somebody is damaged. An alarm, never a repair
};

struct Refuse {
  SessionId session;
  Term term;
  RefuseReason reason = RefuseReason::not_leader;
  NodeId leader;
};

// Follower to leader: my log is cut to `match`, what follows may be counted.
struct Accept {
  SessionId session;
  Term term;
  Index match;
  Index durable;
};

// Leader to follower, before each frame of batches; the batches follow in Entry.
struct EntriesHead {
  SessionId session;
  Term term;
  Index from;  // of the first batch: exactly the follower's end (proto:P2)
  Term from_term;  // of the batch before
  Index commit;
};

struct CommitTo {
  SessionId session;
  Term term;
  Index commit;
};

struct Ping {
  SessionId session;
  Term term;
  std::uint64_t seq = 0;
};

// Follower to leader: cumulative. `durable` is covered by completed syncs, and never more than that (proto:P6).
struct Ack {
  SessionId session;
  Term term;
  Index end;
  Index durable;
  std::uint64_t ping_seq = 0;  // the last one that came through the same queue as the batches
  std::uint64_t queue_age_us = 0;  // of the oldest batch that is not durable
  std::uint64_t window_bytes = 0;
};

enum class CloseReason : std::uint8_t {
  protocol,  // a frame that does not follow the one before
  replaced,  // the session was replaced by another, or killed for silence
  stepped_down,
};

struct Close {
  SessionId session;
  Term term;
  CloseReason reason = CloseReason::protocol;
};

using ControlMessage =
    std::variant<VoteRequest, VoteReply, Heartbeat, HeartbeatReply, TimeoutNow, BootQuestion, BootAnswer>;
using StreamMessage = std::variant<Hello, Welcome, Refuse, Accept, CommitTo, Ping, Ack, Close>;

// "vote term=3 log=2/17 pre", … one line, for traces, scripts and logs.
std::string describe(const ControlMessage& message);
std::string describe(const StreamMessage& message);
std::string describe(const EntriesHead& message);
std::string describe(const SessionId& session);
std::string describe(const LogEnd& end);

}  // namespace walraft::replication
