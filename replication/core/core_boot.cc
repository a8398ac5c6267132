// What a Core does about its start: it asks the others what they know of it (boot_check.h).

#include "replication/core/core.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

// One that is suspect must hear of every vote it may have forgotten before it counts again.
void Core::ask_peers(std::uint64_t now_us) {
  if (!boot_.open() && !suspect_) return;
  for (const NodeId peer : boot_.to_ask(membership_.active(), timing_, now_us)) {
    outbox_.send(peer, BootQuestion{boot_.nonce(), disk_uuid_});
  }
}

void Core::conclude_boot(std::uint64_t now_us) {
  if (!boot_.open() || !boot_.enough(membership_.active(), timing_, now_us)) return;
  boot_.close();
}

// What it promised is not known here, only that there was something: as a log that lost batches, it counts again when it
// holds all that was committed without it (settle()). Before its disk says so, nothing else may change there.
void Core::on_rolled_back(std::uint64_t now_us) {
  boot_.close();
  if (membership_.active().voters() == 1 && membership_.active().is_voter(self_)) {  // it promised nobody anything
    outbox_.persist(ballot_);
    return;
  }
  PROBE("disk is from the past");
  if (leader_) resign(Resignation::rolled_back, now_us);
  role_ = Role::follower;
  election_.stop();
  suspect_ = true;
  incarnation_ = boot_.fresh_incarnation(incarnation_);
  outbox_.suspect(incarnation_);
  outbox_.persist(ballot_);
  if (upstream_.state() != Upstream::State::idle) upstream_.lost(now_us);
}

void Core::on(NodeId from, const BootQuestion& question, std::uint64_t) {
  if (!known_disk(from, question.disk)) return;
  if (leader_) leader_->remember();
  outbox_.send(from, BootAnswer{question.nonce, ballot_.term, disk_uuid_, memory_.of(from)});
  if ((boot_.open() || suspect_) && boot_.asks_back(from)) outbox_.send(from, BootQuestion{boot_.nonce(), disk_uuid_});
}

void Core::on(NodeId from, const BootAnswer& answer, std::uint64_t now_us) {
  if (answer.nonce != boot_.nonce() || !membership_.active().is_voter(from) || !known_disk(from, answer.disk)) return;
  const BootCheck::Image image{self_, incarnation_, ballot_, durable_};
  const bool behind = boot_.on_answer(from, answer, image) && !mutant(Mutant::m18_rolled_back_node_votes);
  if (behind && (!suspect_ || answer.known.incarnation > incarnation_)) on_rolled_back(now_us);
  conclude_boot(now_us);
  // A vote that was forgotten is of a term that its candidate knows.
  if (suspect_ && boot_.told_term() > ballot_.term) become_follower(boot_.told_term(), now_us);
}

}  // namespace walraft::replication
