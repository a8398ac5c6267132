#pragma once

// The words of a script line: nodes, links, times, terms, and what of the messages in flight a command means. All of
// them throw std::runtime_error, which says what was expected, for words that are none.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/datadriven/script.h"
#include "tests/model/core_world.h"

namespace walraft {

NodeId node_of(const std::string& word);
// "300ms", "2s": microseconds.
std::uint64_t time_of(const std::string& word);
// "2 1 3..5": behind the node, batches of the terms 1, 3, 4 and 5.
std::vector<Term> terms_of(const std::vector<std::string>& words);
// The whole line in words.
std::vector<std::string> words_of(const std::string& line);

// "1->2", or "1<->2", which is both.
struct Link {
  NodeId from;
  NodeId to;
  bool both = false;

  bool is(NodeId a, NodeId b) const { return (a == from && b == to) || (both && a == to && b == from); }
};
Link link_of(const std::string& word);

// "1->2 vote? 3 keep": the messages on a link that begin with `what`; "control" and "stream" are all of a channel.
struct Pick {
  Link link;
  std::string what;
  std::size_t count = 0;  // at most; 0: all
  bool keep = false;

  bool fits(const model::Letter& letter) const;
  // By what it says, whatever stream it is on.
  bool fits(const model::Frame& frame) const;
  bool on_link(const model::StreamKey& key) const { return key.from == link.from && key.to == link.to; }
  bool enough(std::size_t found) const { return count != 0 && found == count; }
};
// The words of `command` from the one at `from` on.
Pick pick_of(const Command& command, std::size_t from);

}  // namespace walraft
