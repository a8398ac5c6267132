#include "replication/replica/shard.h"

#include <algorithm>

#include "replication/replica/replica.h"
#include "wal/base/check.h"

namespace walraft::replication {

Shard::Shard(NodeId node, const Limits& limits, wal::Disk& disk, wal::HardStateFile& hard_state, Clock& clock, Rng& rng,
             std::function<void()> wake)
    : node_(node), limits_(limits), disk_(disk), hard_state_(hard_state), clock_(clock), rng_(rng),
      wake_(std::move(wake)) {}

void Shard::turn() {
  woken_ = false;
  turning_.swap(marked_);
  for (Replica* replica : turning_) {
    if (replica != nullptr) replica->turn();
  }
  turning_.clear();
  hard_state_.flush();
  disk_.submit();
}

void Shard::disk_turn() {
  disk_.poll();
  turn_stalled();
  turn();
}

void Shard::tick() {
  for (Replica* replica : replicas_) replica->tick();
  turn_stalled();
  turn();
}

void Shard::prove_tails() {
  for (Replica* replica : replicas_) replica->prove_tail();
  turn();
}

void Shard::turn_stalled() {
  std::vector<Replica*> stalled;
  stalled.swap(stalled_);
  for (Replica* replica : stalled) replica->go_on();
}

void Shard::need_reserve() {
  if (!reserve_held_ || !reserve_needed_) return;
  reserve_held_ = false;
  reserve_needed_();
}

void Shard::add(Replica& replica) { replicas_.push_back(&replica); }

void Shard::remove(Replica& replica) {
  std::erase(replicas_, &replica);
  std::erase(marked_, &replica);
  std::erase(stalled_, &replica);
  std::replace(turning_.begin(), turning_.end(), &replica, static_cast<Replica*>(nullptr));
}

void Shard::mark(Replica& replica) {
  marked_.push_back(&replica);
  if (!woken_) {
    woken_ = true;
    wake_();
  }
}

void Shard::stall(Replica& replica) { stalled_.push_back(&replica); }

bool Shard::reserve(std::uint64_t bytes) {
  if (inflight_bytes_ + bytes > limits_.inflight_bytes_max) return false;
  inflight_bytes_ += bytes;
  return true;
}

}  // namespace walraft::replication
