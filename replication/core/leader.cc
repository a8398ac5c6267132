#include "replication/core/leader.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "replication/core/quorum.h"
#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

std::string describe(Resignation why) {
  switch (why) {
    case Resignation::higher_term: return "higher term";
    case Resignation::no_contact: return "no contact with a quorum";
    case Resignation::streams_dead: return "the streams to a quorum are dead";
    case Resignation::disk_stalled: return "the disk stalls";
    case Resignation::append_failed: return "a local append failed";
    case Resignation::rolled_back: return "the disk is an older image of itself";
  }
  return "?";
}

Leader::Leader(Term term, const View& view, Outbox& outbox, std::uint64_t now_us)
    : term_(term), view_(view), outbox_(outbox) {
  for (const Member& member : view_.membership.active().members) {
    if (member.node != view_.self) peers_.emplace(member.node, now_us);
  }
  send_heartbeats(now_us);
  outbox_.append_noop();
}

Index Leader::quorum_durable() const {
  std::vector<Index> durable;
  for (const Member& member : view_.membership.active().members) {
    if (!member.voter) continue;
    durable.push_back(member.node == view_.self ? view_.durable : peers_.at(member.node).match());
  }
  return quorum_value(std::move(durable));
}

// --- Sessions --------------------------------------------------------------------------------------------------------

void Leader::refuse(NodeId to, const Hello& hello, RefuseReason reason) {
  switch (reason) {
    case RefuseReason::not_leader: break;
    case RefuseReason::removed: PROBE("refused: no member"); break;
    case RefuseReason::amnesia: PROBE("refused: another disk"); break;
    case RefuseReason::more_history: PROBE("refused: more history"); break;
    case RefuseReason::trimmed: PROBE("refused: trimmed"); break;
    case RefuseReason::diverged: PROBE("refused: diverged"); break;
  }
  outbox_.send(to, Refuse{hello.session, term_, reason, view_.self});
}

// proto:P2, proto:P17: one round trip finds where the two logs part.
void Leader::on_hello(NodeId from, const Hello& hello, std::uint64_t now_us) {
  PeerFlow* flow = find(from);
  const Member* member = view_.membership.active().find(from);
  if (flow == nullptr || member == nullptr) return refuse(from, hello, RefuseReason::removed);
  if (member->disk != hello.disk) return refuse(from, hello, RefuseReason::amnesia);
  if (flow->state() != PeerFlow::State::none && hello.session <= flow->session()) {
    PROBE("hello of an older session");
    return;  // proto:P7
  }
  if (flow->state() != PeerFlow::State::none) PROBE("hello replaces a session");
  const std::vector<TermEnd> history = view_.log.history();
  std::optional<TermEnd> match = match_point(hello.history, history);
  if (mutant(Mutant::h1_no_term_check_at_handshake)) {
    const Index end = std::min(hello.end, view_.log.end());
    match = TermEnd{view_.log.term_before(end), end};
  }
  if (!match) return refuse(from, hello, hello.history_complete ? RefuseReason::trimmed : RefuseReason::more_history);
  if (match->end < view_.log.base()) return refuse(from, hello, RefuseReason::trimmed);
  if (hello.commit > match->end) return refuse(from, hello, RefuseReason::diverged);
  close(from, *flow, std::nullopt);
  view_.memory.started(from, hello.session.incarnation);
  flow->open(hello, match->end, heartbeat_seq_, now_us);
  outbox_.look_up(match->end);
}

void Leader::on_digest(Index index, const Digest& digest) {
  for (auto& [peer, flow] : peers_) {
    if (flow.state() != PeerFlow::State::handshaking || flow.next() != index) continue;
    const Term match_term = view_.log.term_before(index);
    std::vector<TermEnd> history = view_.log.history();
    std::erase_if(history, [&](const TermEnd& run) { return run.term < match_term; });
    flow.welcomed();
    outbox_.send(peer, Welcome{flow.session(), term_, index, match_term, digest, std::move(history), view_.log.end(),
                               view_.commit, flow.opened_at_seq()});
  }
}

void Leader::on_accept(NodeId from, const Accept& accept, std::uint64_t now_us) {
  PeerFlow* flow = find(from);
  if (flow == nullptr || !flow->is_session(accept.session) || flow->state() != PeerFlow::State::welcomed) return;
  if (accept.match != flow->handshake_match()) {
    PROBE("accept of another match");
    return close(from, *flow, CloseReason::protocol);
  }
  flow->accepted(accept, now_us);
}

void Leader::on_ack(NodeId from, const Ack& ack, std::uint64_t now_us) {
  PeerFlow* flow = find(from);
  const bool counts = flow != nullptr && flow->state() == PeerFlow::State::streaming &&
                      (flow->is_session(ack.session) || mutant(Mutant::h11_stale_session_ack));
  if (!counts) {
    PROBE("ack of another session");
    return;  // proto:P1, proto:P7: of another session, or before its log was cut
  }
  if (!flow->acked(ack, now_us)) return close(from, *flow, CloseReason::protocol);
  go_on_with_transfer(now_us);
}

void Leader::on_closed(NodeId from, const SessionId& session) {
  PeerFlow* flow = find(from);
  if (flow != nullptr && flow->is_session(session)) close(from, *flow, std::nullopt);
}

void Leader::close(NodeId peer, PeerFlow& flow, std::optional<CloseReason> tell) {
  if (flow.state() == PeerFlow::State::none) return;
  remember(peer, flow);
  if (tell) outbox_.send(peer, Close{flow.session(), term_, *tell});
  outbox_.close(peer, flow.session());
  flow.close();
}

void Leader::close_all() {
  for (auto& [peer, flow] : peers_) close(peer, flow, CloseReason::stepped_down);
}

std::optional<Sending> Leader::next_send(NodeId peer) const {
  const auto at = peers_.find(peer);
  if (at == peers_.end() || !at->second.may_send(view_.log.end())) return std::nullopt;
  const PeerFlow& flow = at->second;
  return Sending{{flow.session(), term_, flow.next(), view_.log.term_before(flow.next()), view_.commit},
                 view_.log.end(),
                 flow.room_bytes()};
}

void Leader::on_sent(NodeId peer, const SessionId& session, Index end, std::uint64_t bytes) {
  PeerFlow* flow = find(peer);
  if (flow != nullptr && flow->is_session(session)) flow->sent(end, bytes, view_.commit);
}

void Leader::remember() {
  view_.memory.started(view_.self, view_.incarnation);
  view_.memory.had(view_.self, {term_, view_.durable});
  for (const auto& [peer, flow] : peers_) remember(peer, flow);
}

// Only who accepted is known to have this term on its disk.
void Leader::remember(NodeId peer, const PeerFlow& flow) {
  if (flow.state() == PeerFlow::State::streaming) view_.memory.had(peer, {term_, flow.match()});
}

void Leader::send_commits() {
  for (auto& [peer, flow] : peers_) {
    if (!flow.wants_commit(view_.commit, view_.log.end())) continue;
    outbox_.send(peer, CommitTo{flow.session(), term_, view_.commit});
    flow.sent_commit(view_.commit);
  }
}

// --- Leadership ------------------------------------------------------------------------------------------------------

void Leader::send_heartbeats(std::uint64_t now_us) {
  ++heartbeat_seq_;
  heartbeat_at_us_ = now_us + view_.timing.heartbeat_us();
  remember();
  for (auto& [peer, flow] : peers_) {
    outbox_.send(peer, Heartbeat{term_, view_.incarnation, heartbeat_seq_, view_.commit, view_.disk, flow.session(),
                                 view_.memory.all()});
    if (flow.state() == PeerFlow::State::welcomed || flow.state() == PeerFlow::State::streaming) {
      outbox_.send(peer, Ping{flow.session(), term_, flow.next_ping()});
    }
  }
}

std::optional<Resignation> Leader::tick(std::uint64_t now_us) {
  if (mutant(Mutant::h8_no_step_down)) {
    if (now_us >= heartbeat_at_us_) send_heartbeats(now_us);
    return std::nullopt;
  }
  if (view_.disk == DiskState::stalled && others_are_healthy(now_us)) return Resignation::disk_stalled;
  if (const auto why = check_quorum(now_us)) return why;
  for (auto& [peer, flow] : peers_) {
    if (!flow.silent(now_us, view_.timing)) continue;
    PROBE("leader ends a silent stream");
    close(peer, flow, CloseReason::replaced);
  }
  if (now_us >= heartbeat_at_us_) send_heartbeats(now_us);
  hand_over_slow_disk(now_us);
  go_on_with_transfer(now_us);
  return std::nullopt;
}

// H1: rather than wait for the stall. To the voter that has most, of those that said in this term that their disks are
// well and that have all that is committed.
void Leader::hand_over_slow_disk(std::uint64_t now_us) {
  if (view_.disk == DiskState::healthy || transfer_ || now_us < view_.hand_over_from_us) return;
  std::optional<NodeId> best;
  for (const auto& [peer, flow] : peers_) {
    const bool able = view_.membership.active().is_voter(peer) && proven_.contains(peer) &&
                      flow.disk() == DiskState::healthy && flow.fresh(now_us, view_.timing) &&
                      flow.state() == PeerFlow::State::streaming && flow.match() >= view_.commit;
    if (able && (!best || flow.match() > peers_.at(*best).match())) best = peer;
  }
  if (!best || !transfer(*best, now_us)) return;
  PROBE("leader with a slow disk hands over");
  view_.hand_over_from_us = now_us + view_.timing.hand_over_rest_us();
}

// H1, proto:P11: the others make a majority without this node, and their disks are well.
bool Leader::others_are_healthy(std::uint64_t now_us) const {
  std::size_t healthy = 0;
  for (const auto& [peer, flow] : peers_) {
    healthy += view_.membership.active().is_voter(peer) && flow.disk() == DiskState::healthy &&
               flow.fresh(now_us, view_.timing);
  }
  return healthy >= quorum_size(view_.membership.active().voters());
}

// H2, proto:P23: leadership is as good as the evidence that batches get through to a majority.
std::optional<Resignation> Leader::check_quorum(std::uint64_t now_us) {
  const Configuration& members = view_.membership.active();
  std::size_t contact = members.is_voter(view_.self) ? 1 : 0;
  std::size_t fresh = contact;
  for (const auto& [peer, flow] : peers_) {
    if (!members.is_voter(peer)) continue;
    contact += flow.in_contact(now_us, view_.timing);
    fresh += flow.fresh(now_us, view_.timing);
  }
  const std::size_t quorum = quorum_size(members.voters());
  if (contact < quorum) return Resignation::no_contact;
  if (fresh >= quorum) {
    reset_at_us_.reset();
  } else if (!reset_at_us_) {
    PROBE("streams reset for want of a fresh majority");
    reset_at_us_ = now_us;  // once: a fresh session may be all that is missing
    for (auto& [peer, flow] : peers_) {
      if (!flow.fresh(now_us, view_.timing)) close(peer, flow, CloseReason::replaced);
    }
  } else if (now_us > *reset_at_us_ + view_.timing.election_timeout_us) {
    return Resignation::streams_dead;
  }
  return std::nullopt;
}

void Leader::on_heartbeat_reply(NodeId from, const HeartbeatReply& reply, std::uint64_t now_us) {
  PeerFlow* flow = find(from);
  if (flow == nullptr || reply.term != term_) return;
  flow->heard(now_us);
  flow->heard_disk(reply.disk);
  if (!reply.suspect) {
    auto& proven = proven_[from];
    proven = std::max(proven, reply.seq);
    answer_reads(now_us);
  }
  if (mutant(Mutant::h3_raw_last_index_counts) && flow->state() == PeerFlow::State::streaming) {
    Ack raw{
        .session = flow->session(), .term = term_, .end = flow->next(), .durable = std::min(reply.end, flow->next())};
    raw.window_bytes = flow->room_bytes();
    flow->acked(raw, now_us);
  }
  // proto:P12: the follower answers heartbeats and has no session with us, or hears nothing on it. Only what answers a
  // heartbeat that knew of the session says something of it.
  if (flow->state() == PeerFlow::State::none || reply.seq <= flow->opened_at_seq()) return;
  if (reply.session != flow->session() || reply.stream_age_us > view_.timing.stream_dead_us()) {
    PROBE("session closed: the follower hears nothing on it");
    close(from, *flow, CloseReason::replaced);
  }
}

bool Leader::read_index(std::uint64_t token, std::uint64_t now_us) {
  if (!noop_committed()) return false;
  if (mutant(Mutant::m24_stale_leader_read)) {
    outbox_.answer({token, view_.commit});
    return true;
  }
  // The round that proves it starts after the read: a heartbeat that is under way proves nothing.
  reads_.push_back({token, view_.commit, heartbeat_seq_ + 1});
  answer_reads(now_us);
  return true;
}

void Leader::answer_reads(std::uint64_t now_us) {
  while (!reads_.empty()) {
    const std::uint64_t proven = proven_seq();
    while (!reads_.empty() && reads_.front().seq <= proven) {
      outbox_.answer({reads_.front().token, reads_.front().commit});
      reads_.pop_front();
    }
    // One round is under way, and who came since waits for the next one. If its answers are lost, that is the next beat.
    if (reads_.empty() || reads_.front().seq <= heartbeat_seq_) return;
    send_heartbeats(now_us);
  }
}

std::uint64_t Leader::proven_seq() const {
  std::vector<std::uint64_t> seqs;
  for (const Member& member : view_.membership.active().members) {
    if (!member.voter) continue;
    const auto at = proven_.find(member.node);
    seqs.push_back(member.node == view_.self ? heartbeat_seq_ : at == proven_.end() ? 0 : at->second);
  }
  return quorum_value(std::move(seqs));
}

void Leader::refuse_reads() {
  if (!reads_.empty()) PROBE("reads refused: the role is over");
  for (const Read& read : reads_) outbox_.answer({read.token, std::nullopt});
  reads_.clear();
}

bool Leader::transfer(NodeId to, std::uint64_t now_us) {
  if (to == view_.self || find(to) == nullptr || !view_.membership.active().is_voter(to) || !noop_committed())
    return false;
  transfer_ = Transfer{to, now_us + view_.timing.election_timeout_us};
  go_on_with_transfer(now_us);
  return true;
}

void Leader::go_on_with_transfer(std::uint64_t now_us) {
  if (!transfer_) return;
  if (now_us >= transfer_->until_us) {
    PROBE("hand-over did not come about");
    transfer_.reset();  // it did not come about; appends go on
    return;
  }
  if (transfer_->asked) return;
  if (peers_.at(transfer_->to).match() != view_.log.end()) {
    PROBE("hand-over waits for its target");
    return;
  }
  outbox_.send(transfer_->to, TimeoutNow{term_, view_.log.log_end()});
  transfer_->asked = true;
}

}  // namespace walraft::replication
