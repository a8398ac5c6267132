#pragma once

// What a script shows of its world. Owns what was shown last, so that only changes are printed.

#include <map>
#include <ostream>
#include <string>

#include "tests/model/core_world.h"

namespace walraft {

class RaftReport {
 public:
  // A new world: what it is now is not worth a line.
  void start(const model::CoreWorld& world);
  // A line for each node that is not what it was.
  void changes(const model::CoreWorld& world, std::ostream& out);

  // The terms of each node's batches.
  static void logs(const model::CoreWorld& world, std::ostream& out);
  // A leader's view of its followers. Throws std::runtime_error for a node that is none.
  static void flows(const model::CoreWorld& world, NodeId node, std::ostream& out);

 private:
  std::map<NodeId, std::string> shown_;
};

}  // namespace walraft
