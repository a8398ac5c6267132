#include "tests/datadriven/raft_settling.h"

#include <algorithm>
#include <stdexcept>

namespace walraft {
namespace {

using model::CoreWorld;
using model::StreamKey;

constexpr std::uint64_t kElectionUs = 2'100'000;  // more than any election timeout
constexpr std::uint64_t kRunStepUs = 20'000;
constexpr int kSettleMax = 100'000;

}  // namespace

void RaftSettling::settle(CoreWorld& world) const {
  for (int i = 0; i < kSettleMax; ++i) {
    if (!world.violation().empty() || !settle_once(world)) return;
  }
  throw std::runtime_error("it never comes to rest");
}

void RaftSettling::run(CoreWorld& world, std::uint64_t us) const {
  for (std::uint64_t passed = 0; passed < us && world.violation().empty(); passed += kRunStepUs) {
    world.advance(kRunStepUs);
    tick_all(world);
    settle(world);
  }
}

void RaftSettling::tick_all(CoreWorld& world) const {
  for (const NodeId node : world.ids()) {
    if (awake(world, node)) world.tick(node);
  }
}

void RaftSettling::elect(CoreWorld& world, NodeId node) const {
  world.advance(kElectionUs);
  world.tick(node);
  settle(world);
  for (const NodeId other : world.ids()) {
    // A leader that was replaced and does not know it stays as it is.
    if (awake(world, other) && world.core(other).role() != replication::Role::leader) world.tick(other);
  }
  settle(world);
  if (world.core(node).role() != replication::Role::leader) {
    throw std::runtime_error(describe(node) + " was not elected");
  }
}

// One round of everything that can happen without time; false if nothing could.
bool RaftSettling::settle_once(CoreWorld& world) const {
  const bool disks = settle_disks(world);
  const bool letters = settle_letters(world);
  const bool streams = settle_streams(world);
  return disks || letters || streams;
}

bool RaftSettling::settle_disks(CoreWorld& world) const {
  bool any = false;
  for (const NodeId node : world.ids()) {
    if (!awake(world, node) || held_.contains(node)) continue;
    any |= world.look_up(node);
    any |= world.persist(node) || world.finish_cut(node) || world.sync(node, world.log(node).end());
  }
  return any;
}

bool RaftSettling::settle_letters(CoreWorld& world) const {
  bool any = false;
  for (std::size_t at = 0; at < world.letters();) {
    if (paused_.contains(world.letter(at).to)) {
      ++at;
    } else {
      world.deliver_letter(at);
      any = true;
    }
  }
  return any;
}

bool RaftSettling::settle_streams(CoreWorld& world) const {
  bool any = false;
  for (const NodeId from : world.ids()) {
    for (const NodeId to : world.ids())
      any |= from != to && awake(world, from) && world.send_entries(from, to, frame_batches_);
  }
  for (const StreamKey& key : world.ready_streams()) {
    const auto ready = world.ready_streams();  // an earlier one may have ended it
    if (paused_.contains(key.to) || std::find(ready.begin(), ready.end(), key) == ready.end()) continue;
    world.deliver_frame(key);
    any = true;
  }
  return any;
}

}  // namespace walraft
