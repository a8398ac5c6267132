#include "replication/core/boot_check.h"

#include "replication/core/quorum.h"

namespace walraft::replication {

bool BootCheck::behind(const Image& image, const Remembered& known, bool used) {
  const bool earlier_run = known.incarnation > image.incarnation || (known.incarnation == image.incarnation && !used);
  const bool other_vote =
      known.vote.term == image.ballot.term && known.vote.vote != NodeId() && known.vote.vote != image.ballot.vote;
  return earlier_run || known.mark > Mark{image.ballot.term, image.durable} || known.vote.term > image.ballot.term ||
         other_vote;
}

std::vector<NodeId> BootCheck::to_ask(const Configuration& members, const Timing& timing, std::uint64_t now_us) {
  std::vector<NodeId> asked;
  if (now_us < ask_at_us_) return asked;
  for (const Member& member : members.members) {
    if (member.voter && member.node != self_ && !answered_.contains(member.node)) asked.push_back(member.node);
  }
  asked_back_.clear();
  ask_at_us_ = now_us + timing.heartbeat_us();
  return asked;
}

bool BootCheck::on_answer(NodeId from, const BootAnswer& answer, const Image& image) {
  answered_.insert(from);
  term_ = std::max(term_, answer.term);
  incarnation_ = std::max(incarnation_, answer.known.incarnation);
  return behind(image, answer.known, !open_);
}

std::size_t BootCheck::answered(const Configuration& members) const {
  return static_cast<std::size_t>(
      std::count_if(answered_.begin(), answered_.end(), [&](NodeId node) { return members.is_voter(node); }));
}

bool BootCheck::enough(const Configuration& members, const Timing& timing, std::uint64_t now_us) const {
  if (all_told(members)) return true;
  const std::size_t self = members.is_voter(self_) ? 1 : 0;
  return answered(members) + self >= quorum_size(members.voters()) && now_us >= began_us_ + timing.boot_wait_us();
}

}  // namespace walraft::replication
