#pragma once

// Who takes part in a log. A configuration comes with the log's creation (the base) or as a CONFIG batch; the newest
// one in a log holds from the moment it is appended, committed or not, and is undone by a truncation (proto:P21).

#include <algorithm>
#include <utility>
#include <vector>

#include "wal/base/ids.h"

namespace walraft::replication {

struct Member {
  NodeId node;
  Uuid disk;           // of its data directory: the same id on another disk is somebody else (AMNESIA)
  bool voter = true;   // false: a learner, which has the log and no say
  bool operator==(const Member&) const = default;
};

struct Configuration {
  std::vector<Member> members;  // in order of their ids, each once

  const Member* find(NodeId node) const {
    const auto at = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.node == node; });
    return at == members.end() ? nullptr : &*at;
  }
  bool is_voter(NodeId node) const {
    const Member* member = find(node);
    return member != nullptr && member->voter;
  }
  std::size_t voters() const {
    return static_cast<std::size_t>(std::count_if(members.begin(), members.end(), [](auto& m) { return m.voter; }));
  }
  bool operator==(const Configuration&) const = default;
};

// The configurations that a log holds, oldest first.
class Membership {
 public:
  explicit Membership(Configuration base) : base_(std::move(base)) {}

  const Configuration& active() const { return entries_.empty() ? base_ : entries_.back().second; }
  // Of the CONFIG batch that holds; 0 for the base.
  Index active_index() const { return entries_.empty() ? Index() : entries_.back().first; }

  void append(Index index, Configuration configuration) { entries_.emplace_back(index, std::move(configuration)); }
  void truncate(Index to) {
    while (!entries_.empty() && entries_.back().first >= to) entries_.pop_back();
  }

 private:
  Configuration base_;
  std::vector<std::pair<Index, Configuration>> entries_;
};

}  // namespace walraft::replication
