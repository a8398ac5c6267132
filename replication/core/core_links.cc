// What a Core does about heartbeats and streams, from whom it takes them, and to whom it hands them on.

#include <variant>

#include "replication/core/core.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

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

}  // namespace walraft::replication
