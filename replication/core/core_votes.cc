// What a Core does about terms: how it comes to lead, and ends; whom it votes for.

#include <algorithm>
#include <variant>

#include "replication/core/core.h"
#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

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

}  // namespace walraft::replication
