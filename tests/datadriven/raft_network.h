#pragma once

// A script's commands on what is in flight: it is delivered, lost, remembered and played again, message by message.
// Owns what scripts have stashed. What is delivered is printed to `out`; a command that finds nothing of the kind throws
// std::runtime_error.

#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/datadriven/raft_words.h"
#include "tests/datadriven/script.h"
#include "tests/model/core_world.h"

namespace walraft {

class RaftNetwork {
 public:
  explicit RaftNetwork(std::ostream& out) : out_(out) {}

  // False if it is not a command of these.
  bool try_command(model::CoreWorld& world, const Command& command);
  // Something of the kind is there, deliverable or not.
  static bool in_flight(const model::CoreWorld& world, const Pick& pick);

 private:
  struct Stash {
    std::vector<model::Letter> letters;
    std::vector<std::pair<model::StreamKey, model::Frame>> frames;
  };

  void deliver(model::CoreWorld& world, const Pick& pick);
  std::size_t deliver_letters(model::CoreWorld& world, const Pick& pick);
  std::size_t deliver_frames(model::CoreWorld& world, const Pick& pick, std::size_t delivered);
  void drop(model::CoreWorld& world, const Pick& pick);
  void lose(model::CoreWorld& world, const Pick& pick);
  void break_streams(model::CoreWorld& world, const Link& link);
  void stash(const model::CoreWorld& world, const std::string& name, const Pick& pick);
  void replay(model::CoreWorld& world, const std::string& name);
  void set_cut(model::CoreWorld& world, const Command& command);

  std::ostream& out_;
  std::map<std::string, Stash> stashes_;
};

}  // namespace walraft
