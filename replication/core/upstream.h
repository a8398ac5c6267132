#pragma once

// A follower's session with its leader: it dials, shows its log's history, cuts what the leader does not have, and
// takes batches. Owns all transitions:
//
//          HELLO            WELCOME             digest equal, log longer         cut
//    idle -------> dialing --------> checking -------------------------> truncating ----> streaming
//     ^               |                  |  \---------- digest equal, log not longer ------->  |
//     +---------------+------------------+------- closed: lost, refused, silent, protocol -----+
//
// The log is cut here and nowhere else (proto:P8): to a point that both sides computed, whose digest both sides have,
// and that is not below the commit.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "replication/core/follower_commit.h"
#include "replication/core/log_terms.h"
#include "replication/core/membership.h"
#include "replication/core/message.h"
#include "replication/core/outbox.h"
#include "replication/core/timing.h"
#include "wal/base/clock.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class Upstream {
 public:
  enum class State : std::uint8_t { idle, dialing, checking, truncating, streaming };

  // What it looks at and does not own.
  struct View {
    Uuid disk;
    const std::uint64_t& incarnation;
    const Timing& timing;
    const LogTerms& log;
    const Index& commit;
    const Index& durable;
    const bool& suspect;
    const bool& truncating;  // the log is being cut, perhaps for a session that is over
  };

  Upstream(const View& view, FollowerCommit& commit, Outbox& outbox, Rng& rng)
      : view_(view), commit_(commit), outbox_(outbox), rng_(rng) {}

  State state() const { return state_; }
  NodeId leader() const { return leader_; }
  SessionId session() const { return state_ == State::idle ? SessionId() : session_; }
  bool is_session(NodeId from, const SessionId& session) const {
    return state_ != State::idle && from == leader_ && session == session_;
  }

  // There is a leader: dials at the next tick().
  void follow(NodeId leader, Term term, std::uint64_t now_us);
  // There is none, or this node is it.
  void leave();
  void tick(std::uint64_t now_us);

  // Batches are taken now; otherwise they wait in their queue (the log is being looked at or cut).
  bool takes_entries() const { return state_ == State::streaming; }

  // --- From the leader; for the current session only ---
  // Empty, or why this log has to stop.
  std::optional<std::string> on_welcome(const Welcome& welcome, std::uint64_t now_us);
  // `cut` is set if the log is to be cut there; on_truncated() follows.
  std::optional<std::string> on_digest(Index index, const Digest& digest, std::optional<Index>& cut);
  void on_truncated();
  std::optional<std::string> on_refuse(const Refuse& refuse, std::uint64_t now_us);
  // False, and the session closed, if the frame does not follow the log exactly.
  bool fits(const EntriesHead& head, std::uint64_t now_us);
  void reject_frame(std::uint64_t now_us);
  void on_commit(const CommitTo& commit, std::uint64_t now_us);
  void on_ping(const Ping& ping, std::uint64_t now_us);
  void on_close(std::uint64_t now_us) { lost(now_us); }
  // The transport is gone: dial again, later each time.
  void lost(std::uint64_t now_us);
  // A heartbeat says which session the leader has with us, as of its `seq`.
  void on_heartbeat(const SessionId& session, std::uint64_t seq, std::uint64_t now_us);

  // --- To the leader ---
  void acknowledge();
  void set_window(std::uint64_t bytes);
  void set_queue_age_us(std::uint64_t age_us) { queue_age_us_ = age_us; }

  std::uint64_t age_us(std::uint64_t now_us) const { return now_us - heard_us_; }
  // H3: there is a leader, and nothing came from it on a stream for too long.
  bool dead(std::uint64_t now_us) const {
    return leader_ != NodeId() && age_us(now_us) > view_.timing.stream_dead_us();
  }

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  void dial(std::uint64_t now_us);
  void accept();
  void end_session();
  void redial(std::uint64_t at_us) { dial_at_us_ = at_us; }

  const View view_;
  FollowerCommit& commit_;
  Outbox& outbox_;
  Rng& rng_;

  State state_ = State::idle;
  NodeId leader_;
  Term term_;
  SessionId session_;
  std::uint64_t sessions_ = 0;  // counter of the last one; never reused in this incarnation (proto:P7)
  std::optional<Welcome> welcome_;
  std::uint64_t welcome_seq_ = 0;
  std::uint64_t heard_us_ = 0;
  std::uint64_t dial_at_us_ = 0;
  std::uint64_t dialed_us_ = 0;
  std::uint64_t backoff_us_ = 0;
  bool whole_history_ = false;
  std::uint64_t ping_seq_ = 0;
  std::uint64_t window_bytes_ = 0;
  std::uint64_t queue_age_us_ = 0;
};

}  // namespace walraft::replication
