#pragma once

// When a node campaigns, and how its campaign goes. Owns the election timer, what the node remembers of its leader, the
// bars to candidacy, and the tally. Knows no messages.
//
//   quiet --(timer)--> asking (pre-votes) --(majority)--> campaigning (votes, in a new term) --(majority)--> won
//     ^                    |                                   |
//     +--- heard a leader, a higher term, or the timer again --+

#include <cstdint>
#include <set>

#include "replication/core/membership.h"
#include "replication/core/message.h"
#include "replication/core/timing.h"
#include "wal/base/clock.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class Election {
 public:
  enum class Stage : std::uint8_t { quiet, asking, campaigning };

  // A node that has just started counts as having heard a leader now: stickiness survives a restart.
  Election(const Timing& timing, Rng& rng, std::uint64_t now_us) : timing_(timing), rng_(rng) { heard_leader(now_us); }

  Stage stage() const { return stage_; }
  VoteReason reason() const { return reason_; }

  // A new deadline, drawn afresh, in [ET, 2 ET).
  void rest(std::uint64_t now_us);
  // A credible sign of life from the leader of the current term.
  void heard_leader(std::uint64_t now_us);
  // The leader is certainly gone (both its connections were reset): no need to wait for its timeout.
  void lost_leader(std::uint64_t now_us);
  bool due(std::uint64_t now_us) const { return now_us >= deadline_us_ && now_us >= barred_until_us_; }
  bool barred(std::uint64_t now_us) const { return now_us < barred_until_us_; }
  // A leader was heard within ET: its voters stay with it (proto:2.6).
  bool sticky(std::uint64_t now_us) const { return has_leader_ && now_us < heard_us_ + timing_.election_timeout_us; }

  void bar(std::uint64_t until_us) { barred_until_us_ = until_us; }

  void ask(VoteReason reason, std::uint64_t now_us) { begin(Stage::asking, reason, now_us); }
  void campaign(VoteReason reason, std::uint64_t now_us) { begin(Stage::campaigning, reason, now_us); }
  void stop() {
    stage_ = Stage::quiet;
    granted_.clear();
  }

  void grant(NodeId from) { granted_.insert(from); }
  bool won(const Configuration& configuration) const;

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  void begin(Stage stage, VoteReason reason, std::uint64_t now_us);

  Timing timing_;
  Rng& rng_;
  Stage stage_ = Stage::quiet;
  VoteReason reason_ = VoteReason::timeout;
  std::set<NodeId> granted_;
  std::uint64_t deadline_us_ = 0;
  std::uint64_t heard_us_ = 0;
  bool has_leader_ = false;
  std::uint64_t barred_until_us_ = 0;
};

}  // namespace walraft::replication
