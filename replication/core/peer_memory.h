#pragma once

// What this node remembers of each other one: the highest incarnation that it heard of, the furthest it knows the other's
// disk to be, the last vote that it knows of. All of it was durable over there before it was said, so it can only grow,
// unless the other's disk is replaced by an older image of itself: for that it is kept (boot_check.h).
//
// In memory only. A leader tells all of it with each heartbeat, so that each follower can answer for each other one.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "replication/core/message.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class PeerMemory {
 public:
  void started(NodeId node, std::uint64_t incarnation) {
    Remembered& known = at(node);
    known.incarnation = std::max(known.incarnation, incarnation);
  }
  void had(NodeId node, const Mark& mark) {
    Remembered& known = at(node);
    known.mark = std::max(known.mark, mark);
  }
  void voted(NodeId node, const Ballot& vote) {
    Remembered& known = at(node);
    if (vote.term > known.vote.term) known.vote = vote;
  }
  void learn(const Remembered& told) {
    started(told.node, told.incarnation);
    had(told.node, told.mark);
    voted(told.node, told.vote);
  }

  const std::vector<Remembered>& all() const { return nodes_; }
  Remembered of(NodeId node) const {
    const auto found = find(node);
    return found == nodes_.end() ? Remembered{.node = node} : *found;
  }

 private:
  std::vector<Remembered>::const_iterator find(NodeId node) const {
    return std::find_if(nodes_.begin(), nodes_.end(), [&](const Remembered& known) { return known.node == node; });
  }
  Remembered& at(NodeId node) {
    const auto found = find(node);
    if (found != nodes_.end()) return nodes_[static_cast<std::size_t>(found - nodes_.begin())];
    return nodes_.emplace_back(Remembered{.node = node});
  }

  std::vector<Remembered> nodes_;  // a handful
};

}  // namespace walraft::replication
