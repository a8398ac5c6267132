#pragma once

// Disks that are not what they were: an older image of a node's disk is put back, files of logs are gone or cut short,
// bits of the hard state flip. What such a disk has forgotten the others must tell, and they know it in memory
// (STREAMING_RAFT.md, "A disk from the past"). So it only happens where they can: all of them are up, none has started
// since what may be lost, and until the node knows how it stands nothing else goes wrong. Thread: one.

#include <cstdint>
#include <map>
#include <memory>

#include "tests/sim/cluster_world.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

class ClusterHarm {
 public:
  ClusterHarm(ClusterWorld& world, std::uint64_t seed) : world_(world), rng_(seed) {}

  // Makes an image of its disk now, or has one already that is not too new.
  void take_image(NodeId node);
  // There is an image, and the others can tell what it lacks.
  bool possible(NodeId node) const;
  // Powers the node down, harms its disk, starts it. Until it is over nothing else may go wrong: not busy() any more.
  // The network and the other nodes are well. Often it cuts the streams to one of them, so that it gets nothing new; then
  // in the end another one loses its power, and the two that forgot and never had must not go on alone.
  void begin(NodeId node);
  bool busy() const { return harmed_.value != 0; }

 private:
  struct Known {
    std::unique_ptr<SimFilesystem> image;
    std::uint64_t at_us = 0;
    std::map<NodeId, std::uint64_t> lives;  // of the others
  };

  bool others_stayed(NodeId node) const;
  NodeId any_other(NodeId node, NodeId than);
  void cut_streams(bool are_cut);
  void crash();
  void harm(std::uint64_t last_segment, std::size_t log);
  void start();
  void wait();

  ClusterWorld& world_;
  SimRng rng_;
  std::map<NodeId, Known> known_;
  NodeId harmed_;
  NodeId behind_;  // gets nothing new; none: 0
  std::uint64_t give_up_us_ = 0;
};

}  // namespace walraft::sim
