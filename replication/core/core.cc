#include "replication/core/core.h"

#include <algorithm>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

Core::Core(Boot boot, const Timing& timing, Rng& rng, std::uint64_t now_us)
    : self_(boot.self),
      disk_uuid_(boot.disk),
      incarnation_(boot.incarnation),
      timing_(timing),
      ballot_(boot.ballot),
      log_(std::move(boot.log)),
      durable_(boot.durable),
      commit_(boot.commit),
      membership_(std::move(boot.members)),
      suspect_(boot.suspect),
      election_(timing_, rng, now_us),
      boot_(self_, rng.next(), now_us),
      upstream_({disk_uuid_, incarnation_, timing_, log_, commit_, durable_, suspect_, log_busy_}, follower_commit_,
                outbox_, rng) {
  CHECK(durable_ <= log_.end() && commit_ <= log_.end(), durable_, commit_, log_.end());
  for (auto& [index, configuration] : boot.configurations) membership_.append(index, std::move(configuration));
  // What the leader of the last batch's term made is all that this log can hold.
  follower_commit_.verify(log_.last_term(), log_.end());
  // Suspect already; or on a disk that counts for nobody: whatever it forgot, it gives no vote.
  const Member* registered = membership_.active().find(self_);
  const bool nobody = registered != nullptr && registered->disk != disk_uuid_;
  if (suspect_ || nobody || mutant(Mutant::m18_rolled_back_node_votes)) {
    boot_.close();
  }
  if (ballot_.term < log_.last_term()) {
    PROBE("ballot is older than the log");
    ballot_ = {log_.last_term(), NodeId()};
    on_rolled_back(now_us);
  }
  ask_peers(now_us);
  conclude_boot(now_us);
}

Ready Core::ready() { return outbox_.take(); }

void Core::halt(const std::string& why) {
  halted_ = why;
  outbox_.halt(why);
}

// --- Time ------------------------------------------------------------------------------------------------------------

void Core::tick(std::uint64_t now_us, std::uint64_t oldest_write_us) {
  if (halted_) return;
  ask_peers(now_us);
  conclude_boot(now_us);
  if (boot_.open()) return;
  watch_disk(now_us, oldest_write_us);
  settle(now_us);
  if (leader_) {
    if (const auto why = leader_->tick(now_us)) resign(*why, now_us);
    return;
  }
  upstream_.set_queue_age_us(durable_ < log_.end() ? oldest_write_us : 0);
  upstream_.tick(now_us);
  if (election_.due(now_us)) {
    if (may_stand(now_us)) {
      stand(upstream_.dead(now_us) ? VoteReason::stream_dead : VoteReason::timeout, now_us);
    } else {
      election_.rest(now_us);
    }
  }
}

// H1.
void Core::watch_disk(std::uint64_t now_us, std::uint64_t oldest_write_us) {
  const std::uint64_t limit_us = timing_.disk_stall_us();
  disk_ = oldest_write_us > limit_us       ? DiskState::stalled
          : oldest_write_us > limit_us / 2 ? DiskState::slow
                                           : DiskState::healthy;
  if (disk_ != DiskState::healthy) disk_sick_us_ = now_us;
  // Back when the disk has been well for long enough.
  if (quarantined_ && now_us > disk_sick_us_ + timing_.quarantine_us()) quarantined_ = false;
}

// --- The disk --------------------------------------------------------------------------------------------------------

void Core::on_persisted(std::uint64_t version, std::uint64_t now_us) {
  if (halted_) return;
  outbox_.on_persisted(version);
  // Our vote for ourselves counts when it is durable, as any other.
  if (election_.stage() == Election::Stage::campaigning && version >= campaign_version_) {
    election_.grant(self_);
    count_votes(now_us);
  }
  settle(now_us);
}

void Core::on_durable(Index durable, std::uint64_t now_us) {
  if (halted_ || durable <= durable_) return;
  CHECK(durable <= log_.end(), durable, log_.end());
  durable_ = durable;
  if (leader_) return commit_as_leader();
  upstream_.acknowledge();
  settle(now_us);
}

void Core::truncate(Index to) {
  if (to == log_.end()) return;
  outbox_.truncate(to);
  truncating_ = to;
  log_busy_ = true;
}

void Core::on_truncated(std::uint64_t) {
  if (halted_) return;
  CHECK(truncating_.has_value());
  const Index to = *truncating_;
  truncating_.reset();
  log_busy_ = false;
  if (upstream_.state() != Upstream::State::truncating) PROBE("session over before its cut is");
  log_.truncate(to);
  membership_.truncate(to);
  durable_ = std::min(durable_, to);
  if (follower_commit_.verified() > to) follower_commit_.extend(to);
  upstream_.on_truncated();
  commit_as_follower();
}

void Core::on_digest(Index index, const Digest& digest, std::uint64_t) {
  if (halted_) return;
  if (leader_) return leader_->on_digest(index, digest);
  std::optional<Index> cut;
  if (const auto why = upstream_.on_digest(index, digest, cut)) return halt(*why);
  if (cut) {
    CHECK(*cut >= commit_ || mutant(Mutant::h1_no_term_check_at_handshake) || mutant(Mutant::h5_commit_beyond_verified),
          *cut, commit_);
    truncate(*cut);
  }
  commit_as_follower();
}

// inv:D6: a log that lost what it acknowledged counts again when it holds all that this leader knows to be committed,
// with a batch of its own term: it was elected without this node's vote, so that is everything there was. All of it:
// what is still on its way may rest on acks of what this log lost.
void Core::settle(std::uint64_t now_us) {
  const Index known = follower_commit_.pending();
  if (!suspect_ || upstream_.state() != Upstream::State::streaming) return;
  if (known < log_.base() || durable_ < known || log_.term_before(known) != ballot_.term) return;
  if (!boot_.all_told(membership_.active())) return;
  // It may have voted in this term and forgotten it: a vote for who leads already elects nobody.
  if (ballot_.vote == NodeId()) {
    ballot_.vote = upstream_.leader();
    outbox_.persist(ballot_);
  }
  if (!outbox_.persisted()) return;
  PROBE("suspect log is whole again");
  suspect_ = false;
  outbox_.settled();
  upstream_.lost(now_us);  // the leader is told by a new session
}

// --- Leading ---------------------------------------------------------------------------------------------------------

std::optional<Stamp> Core::stamp() const {
  if (halted_ || !leader_ || !leader_->may_append()) return std::nullopt;
  return Stamp{log_.end(), ballot_.term, commit_};
}

std::optional<Stamp> Core::stamp_noop() const {
  if (halted_ || !leader_ || leader_->has_noop()) return std::nullopt;
  return Stamp{log_.end(), ballot_.term, commit_};
}

void Core::on_appended(std::optional<Configuration> configuration, std::uint64_t) {
  CHECK(leader_.has_value());
  const Index index = log_.end();
  log_.append(ballot_.term);
  if (configuration) membership_.append(index, std::move(*configuration));
  if (!leader_->has_noop()) leader_->on_noop(index);
}

void Core::on_append_failed(std::uint64_t now_us) {
  if (leader_) resign(Resignation::append_failed, now_us);
}

void Core::lead(std::uint64_t now_us) {
  if (!halted_ && alone() && role_ == Role::follower && may_stand(now_us)) campaign(VoteReason::timeout, now_us);
}

void Core::tell_commits() {
  if (leader_) leader_->send_commits();
}

std::optional<Sending> Core::next_send(NodeId peer) const {
  return halted_ || !leader_ ? std::nullopt : leader_->next_send(peer);
}

void Core::on_sent(NodeId peer, const SessionId& session, Index end, std::uint64_t bytes) {
  if (leader_) leader_->on_sent(peer, session, end, bytes);
}

bool Core::transfer(NodeId to, std::uint64_t now_us) { return !halted_ && leader_ && leader_->transfer(to, now_us); }

bool Core::read_index(std::uint64_t token, std::uint64_t now_us) {
  return !halted_ && leader_ && leader_->read_index(token, now_us);
}

// --- Commit ----------------------------------------------------------------------------------------------------------

void Core::advance_commit(Index to) { commit_ = std::max(commit_, to); }

// A majority holds it durably, and it ends with a batch of this term: only such a batch settles the ones before it
// (Raft, Fig. 8).
void Core::commit_as_leader() {
  const Index durable = std::min(leader_->quorum_durable(), log_.end());
  if (durable <= commit_) return;
  if (log_.term_before(durable) != ballot_.term && !mutant(Mutant::h4_commit_of_older_term)) {
    PROBE("majority holds only batches of older terms");
    return;
  }
  advance_commit(durable);
}

void Core::commit_as_follower() {
  if (follower_commit_.pending() > follower_commit_.verified()) PROBE("commit is ahead of the batches");
  advance_commit(follower_commit_.commit());
}

std::string Core::describe() const {
  static constexpr const char* kRoles[] = {"follower", "candidate", "leader"};
  std::string line = kRoles[static_cast<int>(role_)];
  line += " term=" + walraft::describe(ballot_.term) + " vote=" + walraft::describe(ballot_.vote) +
          " leader=" + walraft::describe(leader()) + " log=" + replication::describe(log_.log_end()) +
          " durable=" + walraft::describe(durable_) + " commit=" + walraft::describe(commit_);
  if (boot_.open()) line += " asking";
  if (suspect_) line += " suspect";
  if (truncating_) line += " truncating=" + walraft::describe(*truncating_);
  if (halted_) line += " HALTED: " + *halted_;
  return line;
}

}  // namespace walraft::replication
