#include "replication/replica/shard.h"

#include <algorithm>

#include "replication/replica/incarnation.h"
#include "replication/replica/replica.h"
#include "wal/base/check.h"

namespace walraft::replication {

Shard::Shard(const Self& self, const Limits& limits, const Timing& timing, wal::Disk& disk,
             wal::HardStateFile& hard_state, Peers& peers, Clock& clock, Rng& rng, std::function<void()> wake)
    : self_(self),
      timing_(timing),
      limits_(limits),
      disk_(disk),
      hard_state_(hard_state),
      peers_(peers),
      clock_(clock),
      rng_(rng),
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
  probe();
  for (const auto& [log, replica] : replicas_) replica->tick();
  turn_stalled();
  turn();
}

// A disk that nobody writes to may hang unseen; one that leads, or might, has to show that it works (proto:H1).
void Shard::probe() {
  const std::uint64_t now = clock_.monotonic_us();
  if (now < probe_at_us_ || disk_.oldest_write_age_us() > 0) return;
  if (std::ranges::all_of(replicas_, [](const auto& entry) { return entry.second->core().alone(); })) return;
  probe_at_us_ = now + timing_.election_timeout_us;
  probe_disk(hard_state_, self_.disk);
}

void Shard::prove_tails() {
  for (const auto& [log, replica] : replicas_) replica->prove_tail();
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

void Shard::add(Replica& replica) {
  const bool added = replicas_.emplace(replica.identity().log, &replica).second;
  CHECK(added);
}

Replica* Shard::find(const Uuid& log) const {
  const auto at = replicas_.find(log);
  return at == replicas_.end() ? nullptr : at->second;
}

void Shard::alarm(const std::string& what) const {
  if (alarm_) alarm_(what);
}

void Shard::remove(Replica& replica) {
  const auto at = replicas_.find(replica.identity().log);
  if (at != replicas_.end() && at->second == &replica) replicas_.erase(at);
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
