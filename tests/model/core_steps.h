#pragma once

// Random steps of a CoreWorld. The seed draws how many nodes there are, which kinds of trouble this run has and how
// often (so that some runs have much of one kind and none of another), and every step.
//
//   messages    lost, doubled, in any order between nodes and between the control channel and the streams
//   streams     broken, each side hearing of it when it likes; bytes of sessions that are over arrive later
//   disks       syncs and ballots that take long, digests that are read late, writes that stall; disks that are replaced
//               by empty ones, or by older images of themselves
//   nodes       crash with any part of what was not synced; stop for a while, then get everything at once
//   clocks      stand still, or run at a tenth to ten times the others' speed
//   links       cut one way or both; or in phases: the nodes fall into groups, and again into others

#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>

#include "tests/model/core_world.h"
#include "tests/sim/sim_rng.h"

namespace walraft::model {

class CoreSteps {
 public:
  explicit CoreSteps(std::uint64_t seed);

  void step();
  // What the last step was, one line.
  const std::string& said() const { return said_; }

  CoreWorld& world() { return world_; }
  sim::SimRng& rng() { return rng_; }
  // Nodes that have a disk other than the one they are registered with.
  const std::set<NodeId>& wiped() const { return wiped_; }
  // Nodes whose disks were once replaced by older images of themselves.
  const std::set<NodeId>& rolled_back() const { return rolled_back_; }

 private:
  static CoreWorld::Options options(sim::SimRng& rng);

  // One kind of step each.
  void network();
  void stream();
  void disk();
  void time();
  void client();
  void replicate();
  void trouble();

  void stale_bytes();
  void crash_or_start(NodeId node);
  bool lose_disk(NodeId node);
  bool some_in_doubt() const;
  void stop_or_resume(NodeId node);
  void partition();
  void begin_phase();
  void comeback();
  void fall_into(const std::map<NodeId, std::uint64_t>& group, bool later);

  std::uint64_t pick(std::initializer_list<std::uint64_t> of) { return *(of.begin() + rng_.below(of.size())); }
  bool chance(std::uint64_t percent) { return rng_.below(100) < percent; }
  NodeId any_node();    // of those that are not stopped
  NodeId any_leader();  // of those that think they lead; or any node
  bool stopped(NodeId node) const { return stopped_.contains(node); }
  void say(const std::string& what) { said_ = what; }

  std::string said_;
  sim::SimRng rng_;
  CoreWorld world_;
  std::set<NodeId> stopped_;
  std::set<NodeId> wiped_;
  std::set<NodeId> rolled_back_;
  // Percent, or as named.
  std::uint64_t drop_, double_, break_, crash_, stall_, cut_, stop_, clock_, stale_, wipe_, image_;
  std::uint64_t slow_sync_, slow_ballot_, step_us_;
  bool phases_;
  std::uint64_t phase_steps_ = 0;
  bool comeback_ = false;
  std::uint64_t act_ = 0;
  NodeId first_, second_, follower_;
};

}  // namespace walraft::model
