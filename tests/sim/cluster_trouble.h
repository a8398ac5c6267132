#pragma once

// What goes wrong in a simulated cluster: from time to time one thing, drawn by the weights of its knobs. Never more
// than the promises allow: disks lose what was not synced, and no more; only a minority gets empty disks.
// Thread: one.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "tests/sim/cluster_harm.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

class ClusterTrouble {
 public:
  ClusterTrouble(ClusterWorld& world, std::uint64_t seed);

  // No new trouble; what there is stays.
  void stop() { stopped_ = true; }
  // Clocks, disks and links are well again, stopped nodes go on, and those that are down start; but for `sick`, of which
  // each stays down, cut off one way, or with a disk that hangs.
  void heal(const std::set<NodeId>& sick);
  // Something has begun that must come to its end before anything else goes wrong, heal() included.
  bool busy() const { return harm_.busy(); }
  // Nodes whose disks were harmed, and not replaced.
  const std::set<NodeId>& harmed() const { return harmed_; }

 private:
  void next();
  void happen();

  void power_cut();
  void kill();
  void crash_point();
  void storm();
  void stop_or_resume();
  void reset();
  void cut();
  void partition();
  void heal_links();
  void clock();
  void slow_disk();
  void hang_disk();
  void full_disk();
  void disk_error();
  void wipe();
  void transfer();
  void harm();

  // The network, clocks, disks; stopped nodes go on.
  void make_well();
  bool may_lose_disk(NodeId node) const;
  NodeId any_node();
  NodeId any_leader();  // of any log; or any node
  void cut_both(NodeId from, NodeId to, bool is_cut);
  void later(std::uint64_t at_most_us, std::function<void()> end);
  CrashChoice any_choice();
  bool chance(std::uint64_t percent) { return rng_.below(100) < percent; }

  ClusterWorld& world_;
  SimRng rng_;
  std::vector<std::pair<std::uint64_t, void (ClusterTrouble::*)()>> kinds_;
  std::uint64_t weights_ = 0;
  ClusterHarm harm_;
  std::set<NodeId> to_wipe_;
  std::set<NodeId> harmed_;
  bool stopped_ = false;
};

}  // namespace walraft::sim
