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

// --- Terms and roles -------------------------------------------------------------------------------------------------

void Core::become_follower(Term term, std::uint64_t now_us) {
  CHECK(term > ballot_.term, term, ballot_.term);
  if (leader_) resign(Resignation::higher_term, now_us);
  role_ = Role::follower;
  election_.stop();
  upstream_.leave();  // proto:P3: no session outlives its term
  heartbeat_seen_ = {};
  ballot_ = {term, NodeId()};
  outbox_.persist(ballot_);
}

void Core::resign(Resignation why, std::uint64_t now_us) {
  CHECK(leader_.has_value());
  switch (why) {
    case Resignation::higher_term: PROBE("leader ends: higher term"); break;
    case Resignation::no_contact: PROBE("leader ends: no contact"); break;
    case Resignation::streams_dead: PROBE("leader ends: dead streams"); break;
    case Resignation::disk_stalled: PROBE("leader ends: its disk stalls"); break;
    case Resignation::append_failed: PROBE("leader ends: an append failed"); break;
    case Resignation::rolled_back: PROBE("leader ends: its disk is from the past"); break;
  }
  leader_->refuse_reads();
  leader_->close_all();
  outbox_.drop_noop();
  leader_.reset();
  role_ = Role::follower;
  // What it made is its own log; nothing of it is cut (proto:P8).
  follower_commit_.verify(ballot_.term, log_.end());
  follower_commit_.learn(ballot_.term, commit_);
  election_.lost_leader(now_us);
  election_.rest(now_us);
  if (why == Resignation::disk_stalled) quarantined_ = true;
  leader_known_us_ = now_us;
  if (why == Resignation::streams_dead || why == Resignation::append_failed) {
    election_.bar(now_us + timing_.barred_us());
  }
  if (mutant(Mutant::h9_truncate_on_step_down)) truncate(std::max(commit_, log_.base()));
}

// False: `from` cannot be heard as a leader.
bool Core::accept_leader(NodeId from, Term term, std::uint64_t now_us) {
  if (term > ballot_.term) become_follower(term, now_us);
  const bool known = upstream_.leader() != NodeId() && upstream_.leader() != from;
  if (role_ == Role::leader || known) {  // inv:R1
    halt("two leaders in term " + walraft::describe(term) + ": " + walraft::describe(leader()) + " and " +
         walraft::describe(from));
    return false;
  }
  // Pre-votes against a leader that was known go on until it is credible again, which heard_leader() decides: one whose
  // streams are dead goes on beating, and its heartbeats may be faster than the answers (H3).
  if (upstream_.leader() == from && election_.stage() == Election::Stage::asking) return true;
  role_ = Role::follower;
  election_.stop();
  upstream_.follow(from, term, now_us);
  return true;
}

// proto:H4, proto:P14, and not while the stream of a leader that goes on beating is dead (H3).
void Core::heard_leader(std::uint64_t now_us) {
  if (upstream_.dead(now_us)) return;
  election_.heard_leader(now_us);
  leader_known_us_ = now_us;
  stop_asking();
}

void Core::stop_asking() {
  if (election_.stage() != Election::Stage::asking) return;
  PROBE("candidate stops asking");
  role_ = Role::follower;
  election_.stop();
}

bool Core::may_stand(std::uint64_t now_us) const {
  // proto:P24: a quarantined node stands only if nobody else takes over for as long as the quarantine lasts.
  const bool barred = quarantined_ && now_us < leader_known_us_ + timing_.quarantine_us();
  if (barred) PROBE("quarantined node does not stand");
  return membership_.active().is_voter(self_) && known_disk(self_, disk_uuid_) && !suspect_ && !truncating_ &&
         !barred && !election_.barred(now_us);
}

void Core::stand(VoteReason reason, std::uint64_t now_us) {
  if (membership_.active().voters() == 1) return campaign(reason, now_us);
  role_ = Role::candidate;
  election_.ask(reason, now_us);
  election_.grant(self_);
  for (const Member& member : membership_.active().members) {
    if (member.node == self_ || !member.voter) continue;
    outbox_.send(member.node, VoteRequest{ballot_.term + 1, true, reason, disk_uuid_, log_.log_end()});
  }
}

void Core::campaign(VoteReason reason, std::uint64_t now_us) {
  upstream_.leave();
  heartbeat_seen_ = {};
  role_ = Role::candidate;
  ballot_ = {ballot_.term + 1, self_};
  campaign_version_ = outbox_.persist(ballot_);
  campaign_log_ = log_.log_end();
  election_.campaign(reason, now_us);
  for (const Member& member : membership_.active().members) {
    if (member.node == self_ || !member.voter) continue;
    outbox_.send(member.node, VoteRequest{ballot_.term, false, reason, disk_uuid_, log_.log_end()});
  }
  if (outbox_.persisted()) on_persisted(campaign_version_, now_us);
}

void Core::count_votes(std::uint64_t now_us) {
  if (!election_.won(membership_.active())) return;
  if (election_.stage() == Election::Stage::asking) {
    // It asked with a log that is being cut since: what it would lead with is not what it will have (inv:R2).
    if (!may_stand(now_us)) {
      PROBE("candidate may not stand any more");
      return stop_asking();
    }
    campaign(election_.reason(), now_us);
  } else {
    become_leader(ballot_.term, now_us);
  }
}

// proto:P9: the term is the one that was campaigned in, and the leader's for good.
void Core::become_leader(Term campaign, std::uint64_t now_us) {
  CHECK(role_ == Role::candidate && campaign == ballot_.term && ballot_.vote == self_, campaign, ballot_.term);
  election_.stop();
  role_ = Role::leader;
  if (election_.reason() == VoteReason::transfer) hand_over_from_us_ = now_us + timing_.hand_over_rest_us();
  leader_.emplace(campaign,
                  Leader::View{self_, incarnation_, timing_, log_, membership_, commit_, durable_, disk_, memory_,
                               hand_over_from_us_},
                  outbox_, now_us);
}

// --- Votes -----------------------------------------------------------------------------------------------------------

void Core::receive(NodeId from, const ControlMessage& message, std::uint64_t now_us) {
  if (halted_ || from == self_) return;
  conclude_boot(now_us);
  const bool of_boot = std::holds_alternative<BootQuestion>(message) || std::holds_alternative<BootAnswer>(message);
  if (boot_.open() && !of_boot) return;
  std::visit([&](const auto& m) { on(from, m, now_us); }, message);
}

// An id that the configuration names with another disk is another node, which lost what this one promised (AMNESIA).
// Ids that it does not name may be ahead of it.
bool Core::known_disk(NodeId node, const Uuid& disk) const {
  const Member* member = membership_.active().find(node);
  return member == nullptr || member->disk == disk || mutant(Mutant::m17_wiped_node_votes);
}

void Core::on(NodeId from, const VoteRequest& request, std::uint64_t now_us) {
  const bool has_leader = role_ == Role::leader || election_.sticky(now_us);
  const bool able = !suspect_ && known_disk(from, request.disk) && request.log >= log_.log_end();
  const bool free = !has_leader || (request.reason == VoteReason::stream_dead && upstream_.dead(now_us));
  if (request.pre) {
    const bool granted = able && free && request.term > ballot_.term;
    if (granted && has_leader) PROBE("pre-vote granted against a leader whose streams are dead");
    if (free && request.log < log_.log_end()) PROBE("pre-vote refused: shorter log");
    outbox_.send(from, VoteReply{ballot_.term, request.term, true, granted, disk_uuid_});
    return;
  }
  if (known_disk(from, request.disk)) memory_.voted(from, {request.term, from});
  if (request.term > ballot_.term) {
    if (!free && request.reason != VoteReason::transfer) {
      PROBE("vote request ignored: there is a leader");
      return;  // stickiness: as if it had not come
    }
    if (!known_disk(from, request.disk)) {
      PROBE("vote request of another disk");
      return;
    }
    become_follower(request.term, now_us);
  }
  const bool granted = able && request.term == ballot_.term && role_ != Role::leader &&
                       (ballot_.vote == NodeId() || ballot_.vote == from);
  if (granted && ballot_.vote != from) {
    ballot_.vote = from;
    outbox_.persist(ballot_);
  }
  if (granted) election_.rest(now_us);
  if (able && request.term == ballot_.term && !granted) PROBE("vote refused: it is given");
  outbox_.send(from, VoteReply{ballot_.term, request.term, false, granted, disk_uuid_, request.log});
}

void Core::on(NodeId from, const VoteReply& reply, std::uint64_t now_us) {
  if (reply.term > ballot_.term) return become_follower(reply.term, now_us);
  const Member* member = membership_.active().find(from);
  if (role_ != Role::candidate || !reply.granted || member == nullptr || !known_disk(from, reply.disk)) return;
  const bool asking = election_.stage() == Election::Stage::asking;
  if (reply.pre != asking || reply.campaign != (asking ? ballot_.term + 1 : ballot_.term)) {
    PROBE("vote for another campaign");
    return;
  }
  if (!asking) {
    // In this very term, but before this node's disk was brought back from the past.
    if (reply.log != campaign_log_) return;
    memory_.voted(from, {reply.campaign, self_});
  }
  election_.grant(from);
  count_votes(now_us);
}

void Core::on(NodeId from, const TimeoutNow& message, std::uint64_t now_us) {
  if (message.term != ballot_.term || from != upstream_.leader() || role_ != Role::follower) return;
  // The leader waits for nobody else to catch up, and appends nothing meanwhile: another end, and it has gone on.
  if (log_.log_end() == message.log && may_stand(now_us)) campaign(VoteReason::transfer, now_us);
}

// --- Heartbeats ------------------------------------------------------------------------------------------------------

void Core::on(NodeId from, const Heartbeat& heartbeat, std::uint64_t now_us) {
  if (heartbeat.term >= ballot_.term) {
    if (!accept_leader(from, heartbeat.term, now_us)) return;
    const auto seen = std::pair(heartbeat.incarnation, heartbeat.seq);
    if (seen <= heartbeat_seen_) {
      PROBE("heartbeat doubled or overtaken");
      return;  // proto:P20: no sign of life
    }
    heartbeat_seen_ = seen;
    for (const Remembered& known : heartbeat.known) memory_.learn(known);
    if (heartbeat.disk == DiskState::stalled) PROBE("heartbeat of a leader with a stalled disk");
    if (heartbeat.disk != DiskState::stalled) heard_leader(now_us);
    follower_commit_.learn(heartbeat.term, heartbeat.commit);
    commit_as_follower();
    upstream_.on_heartbeat(heartbeat.session, heartbeat.seq, now_us);
  }
  outbox_.send(from,
               HeartbeatReply{ballot_.term, heartbeat.seq, disk_uuid_, upstream_.session(), upstream_.age_us(now_us),
                              upstream_.dead(now_us), disk_, log_.end(), durable_, suspect_});
}

void Core::on(NodeId from, const HeartbeatReply& reply, std::uint64_t now_us) {
  if (reply.term > ballot_.term) return become_follower(reply.term, now_us);
  if (!leader_) return;
  if (!known_disk(from, reply.disk_uuid)) {
    PROBE("heartbeat answered from another disk");
    return;  // who lost its disk lost what it promised others
  }
  leader_->on_heartbeat_reply(from, reply, now_us);
}

void Core::on_peer_gone(NodeId peer, std::uint64_t now_us) {
  if (!halted_ && role_ != Role::leader && peer == upstream_.leader()) election_.lost_leader(now_us);
}

// --- Streams ---------------------------------------------------------------------------------------------------------

void Core::receive(NodeId from, const StreamMessage& message, std::uint64_t now_us) {
  if (halted_ || from == self_) return;
  conclude_boot(now_us);
  if (boot_.open()) return;
  std::visit([&](const auto& m) { on(from, m, now_us); }, message);
}

void Core::on(NodeId from, const Hello& hello, std::uint64_t now_us) {
  if (hello.term > ballot_.term) become_follower(hello.term, now_us);
  if (leader_) {
    leader_->on_hello(from, hello, now_us);
  } else {
    outbox_.send(from, Refuse{hello.session, ballot_.term, RefuseReason::not_leader, leader()});
  }
}

void Core::on(NodeId from, const Accept& accept, std::uint64_t now_us) {
  if (!leader_ || accept.term != ballot_.term) return;
  leader_->on_accept(from, accept, now_us);
  commit_as_leader();
}

void Core::on(NodeId from, const Ack& ack, std::uint64_t now_us) {
  if (!leader_ || (ack.term != ballot_.term && !mutant(Mutant::h11_stale_session_ack))) return;
  leader_->on_ack(from, ack, now_us);
  commit_as_leader();
}

// proto:P3: of this term, from its leader, in the session that is the current one; anything else is inert.
bool Core::from_current_leader(NodeId from, const SessionId& session, Term term) const {
  return term == ballot_.term && upstream_.is_session(from, session);
}

void Core::on(NodeId from, const Welcome& welcome, std::uint64_t now_us) {
  if (welcome.term != ballot_.term) return;  // a leader of a newer term was heard of by its heartbeat, and dialed anew
  if (!from_current_leader(from, welcome.session, welcome.term)) return;
  if (const auto why = upstream_.on_welcome(welcome, now_us)) return halt(*why);
  heard_leader(now_us);
}

void Core::on(NodeId from, const Refuse& refuse, std::uint64_t now_us) {
  if (refuse.term > ballot_.term) return become_follower(refuse.term, now_us);
  if (!from_current_leader(from, refuse.session, refuse.term)) return;
  if (refuse.reason == RefuseReason::not_leader) return lost_leader(now_us);
  if (const auto why = upstream_.on_refuse(refuse, now_us)) halt(*why);
}

// The leader of this term says itself that it leads no more: nobody else will in this term.
void Core::lost_leader(std::uint64_t now_us) {
  upstream_.leave();
  election_.lost_leader(now_us);
}

void Core::on(NodeId from, const CommitTo& commit, std::uint64_t now_us) {
  if (!from_current_leader(from, commit.session, commit.term)) return;
  upstream_.on_commit(commit, now_us);
  heard_leader(now_us);
  commit_as_follower();
  settle(now_us);
}

void Core::on(NodeId from, const Ping& ping, std::uint64_t now_us) {
  if (!from_current_leader(from, ping.session, ping.term)) return;
  upstream_.on_ping(ping, now_us);
  heard_leader(now_us);
}

void Core::on(NodeId from, const Close& close, std::uint64_t now_us) {
  if (close.term > ballot_.term) return become_follower(close.term, now_us);
  if (leader_) leader_->on_closed(from, close.session);
  if (!from_current_leader(from, close.session, close.term)) return;
  if (close.reason == CloseReason::stepped_down) return lost_leader(now_us);
  upstream_.on_close(now_us);
}

void Core::on_stream_lost(NodeId peer, const SessionId& session, std::uint64_t now_us) {
  if (halted_) return;
  if (leader_) leader_->on_closed(peer, session);
  if (upstream_.is_session(peer, session)) upstream_.lost(now_us);
}

Core::Frame Core::receive_entries(NodeId from, const EntriesHead& head, std::span<const Entry> entries,
                                  std::uint64_t now_us) {
  if (halted_ || !from_current_leader(from, head.session, head.term)) {
    PROBE("frame of a session that is over");
    return Frame::drop;
  }
  if (!upstream_.takes_entries()) return Frame::wait;
  if (!upstream_.fits(head, now_us)) return Frame::drop;
  Index index = head.from;
  Term term = head.from_term;
  for (const Entry& entry : entries) {
    if (entry.index != index || entry.term < term || entry.term > head.term || !entry.chained) {
      upstream_.reject_frame(now_us);
      return Frame::drop;
    }
    index = index + 1;
    term = entry.term;
  }
  for (const Entry& entry : entries) {
    if (mutant(Mutant::h2_replayed_entries_dropped) && entry.index < log_.end()) continue;
    log_.append(entry.term);
    if (entry.configuration) membership_.append(entry.index, *entry.configuration);
  }
  follower_commit_.extend(log_.end());
  follower_commit_.learn(head.term, head.commit);
  heard_leader(now_us);
  commit_as_follower();
  if (mutant(Mutant::h7_ack_before_sync)) upstream_.acknowledge();
  return Frame::append;
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
