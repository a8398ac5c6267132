#pragma once

// What happens in a script's world when nobody looks at single messages: everything is delivered, synced and sent on,
// with or without time. Owns who takes no part in it.

#include <cstddef>
#include <cstdint>
#include <set>

#include "tests/model/core_world.h"

namespace walraft {

class RaftSettling {
 public:
  // The disk of a held node does nothing; a paused one does nothing and hears nothing.
  void hold(NodeId node) { held_.insert(node); }
  void release(NodeId node) { held_.erase(node); }
  void pause(NodeId node) { paused_.insert(node); }
  void resume(NodeId node) { paused_.erase(node); }
  bool awake(const model::CoreWorld& world, NodeId node) const { return world.up(node) && !paused_.contains(node); }

  // Batches in a frame, at most.
  void set_frame_batches(std::size_t batches) { frame_batches_ = batches; }
  std::size_t frame_batches() const { return frame_batches_; }

  // Until nothing is left or an invariant is broken. Throws std::runtime_error if it goes on for ever.
  void settle(model::CoreWorld& world) const;
  // 20 ms, a tick of every node that is awake, settle(); again until `us` are over.
  void run(model::CoreWorld& world, std::uint64_t us) const;
  void tick_all(model::CoreWorld& world) const;
  // Time passes for `node` only, until it campaigns; the others dial it. Throws std::runtime_error if it does not lead
  // then.
  void elect(model::CoreWorld& world, NodeId node) const;

 private:
  bool settle_once(model::CoreWorld& world) const;
  bool settle_disks(model::CoreWorld& world) const;
  bool settle_letters(model::CoreWorld& world) const;
  bool settle_streams(model::CoreWorld& world) const;

  std::size_t frame_batches_ = 1'000;
  std::set<NodeId> held_;
  std::set<NodeId> paused_;
};

}  // namespace walraft
