#pragma once

// The leader's view of one follower: its session, how far the log went out, how far it is known to be durable there,
// and when the follower last gave a sign of life. Owns all transitions of the session's state.
//
//              HELLO                digest found          ACCEPT
//     none ------------> handshaking ---------> welcomed ---------> streaming
//      ^                      |                     |                    |
//      +------- close(): replaced, lost, refused, silent, role over -----+
//
// Batches may go out from `welcomed` on (the follower cuts its log first); only `streaming` has a match that counts
// (proto:P1). Invariant: match <= next <= the leader's end.

#include <cstdint>
#include <deque>
#include <optional>

#include "replication/core/message.h"
#include "replication/core/timing.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class PeerFlow {
 public:
  enum class State : std::uint8_t { none, handshaking, welcomed, streaming };

  // Starts with the benefit of the doubt: as if it had been heard now.
  explicit PeerFlow(std::uint64_t now_us) : contact_us_(now_us), pong_us_(now_us), progress_us_(now_us) {}

  State state() const { return state_; }
  const SessionId& session() const { return session_; }
  bool is_session(const SessionId& session) const { return state_ != State::none && session_ == session; }
  Index next() const { return next_; }
  // Durable on the follower, and the same as here: what commits rest on. 0 but in `streaming`, and for a suspect one.
  Index match() const { return state_ == State::streaming && counts_ ? match_ : Index(); }
  Index handshake_match() const { return match_; }

  // --- The session ---
  void open(const Hello& hello, Index match, std::uint64_t heartbeat_seq, std::uint64_t now_us);
  void welcomed();
  void accepted(const Accept& accept, std::uint64_t now_us);
  // False, and nothing changed: it speaks of what was never sent.
  bool acked(const Ack& ack, std::uint64_t now_us);
  void close();

  // --- The batches: a cursor over the shared log, never a queue of them (proto:P18) ---
  bool may_send(Index end) const {
    return (state_ == State::welcomed || state_ == State::streaming) && next_ < end && in_flight_bytes_ < window_bytes_;
  }
  std::uint64_t room_bytes() const { return window_bytes_ - in_flight_bytes_; }
  void sent(Index end, std::uint64_t bytes, Index commit);
  // A commit that no frame of batches is about to carry.
  bool wants_commit(Index commit, Index end) const {
    return (state_ == State::welcomed || state_ == State::streaming) && sent_commit_ < commit && next_ == end;
  }
  void sent_commit(Index commit) { sent_commit_ = commit; }

  // --- Signs of life ---
  void heard(std::uint64_t now_us) { contact_us_ = now_us; }
  void heard_disk(DiskState disk) { disk_ = disk; }
  DiskState disk() const { return disk_; }
  bool in_contact(std::uint64_t now_us, const Timing& timing) const {
    return now_us <= contact_us_ + timing.election_timeout_us;
  }
  // Nothing came on its session for so long that it must be dead, whatever the rest of the cluster does (proto:P12).
  bool silent(std::uint64_t now_us, const Timing& timing) const {
    return state_ != State::none && now_us > stream_us_ + timing.stream_dead_us();
  }
  // H2: in contact, and its stream works, or it says itself why not (its disk).
  bool fresh(std::uint64_t now_us, const Timing& timing) const;
  // The last heartbeat that left before this session was known here.
  std::uint64_t opened_at_seq() const { return opened_at_seq_; }
  std::uint64_t next_ping() { return ++ping_seq_; }

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  struct Sent {
    Index end;
    std::uint64_t bytes = 0;
  };

  State state_ = State::none;
  SessionId session_;
  bool counts_ = true;
  Index match_;
  Index next_;
  Index sent_commit_;
  std::deque<Sent> in_flight_;
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t window_bytes_ = 0;
  std::uint64_t contact_us_;
  std::uint64_t stream_us_ = 0;  // when something came on the session
  std::uint64_t pong_us_;
  std::uint64_t progress_us_;
  DiskState disk_ = DiskState::healthy;
  std::uint64_t opened_at_seq_ = 0;
  std::uint64_t ping_seq_ = 0;
  std::uint64_t pong_seq_ = 0;
};

}  // namespace walraft::replication
