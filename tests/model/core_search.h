#pragma once

// Every run of a CoreWorld within small bounds: three nodes from a given start, each possible next step tried in each
// state, each state once. All invariants are checked after each step (core_checks.h). Where random runs ask whether a
// bug is likely to be seen, this asks whether there is any way to it that is this short.
//
// What is chosen, at every point:
//   letters    any that is under way arrives; that it never does is among the ways too, so they need not be lost
//   streams    the next frame of any session's direction arrives; a session breaks, and both sides hear of it
//   disks      all that a log has written becomes durable; or nothing yet
//   crashes    at any point, with any number of batches kept that were not yet durable; the node is back at once (one
//              that stays away is one that does nothing and gets nothing)
//   time       a node hears nobody for longer than its election timeout: a follower stands for election, a leader
//              resigns; a node that is asked for its vote may have heard nobody for as long, or not. After the second
//              silence its stream counts as dead (H3). A leader sends heartbeats once more
//   clients    a leader appends a batch, is asked for a read, hands over
//
// What is not chosen but done as soon as it can be, so that there are few enough states:
//   - ballots become durable before anything else happens, or the node crashes before they do: what waits for a ballot
//     waits elsewhere as well. Likewise cuts of a log. (late_ballots, late_cuts: chosen like everything else)
//   - a follower dials, and a leader sends what it has, one batch a frame: not to do so yet is that it arrives later
//   - what a node asks the others after a start (boot_check.h) is answered at once, unless a ballot is not durable yet
//   - a pre-vote's answer arrives with its question: it changes nothing on the node that gives it
//   - what changes nothing where it arrives, now or later, arrives at once: letters and frames of terms and sessions
//     that are over, acks of what is counted. (Later, such a letter might be answered with a newer term: there are always
//     letters of that term which tell it too.) Of two letters that are the same one is kept
// Not here at all: more than three nodes, replaced or ill disks (SUSPECT, H1), clocks of different speed, bytes of old
// connections, windows that fill, changes of members. The random runs of core_steps.h have them.
//
// Nodes that start alike may be called by each other's names: of states that differ only so, one is looked at.
// A world is put back by WorldArena; see there what the program has to have.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "wal/base/ids.h"

namespace walraft::model {

struct SearchScope {
  std::string name;
  // The terms of each node's batches, all durable, and the term that all of them have seen.
  std::vector<std::vector<Term>> logs;
  Term term;
  Term term_max;  // nobody campaigns above
  // How often, in one run.
  unsigned silences = 3;
  unsigned batches = 0;  // of clients; each leader makes a NOOP besides
  unsigned crashes = 0;
  unsigned losses = 0;  // of sessions
  unsigned heartbeats = 0;
  unsigned reads = 0;
  unsigned transfers = 0;
  bool late_ballots = false;
  bool late_cuts = false;
  // Gives up (`cut`) beyond these.
  std::uint64_t states_max = 100'000'000;
  std::size_t depth_max = 1'000;
  // One in so many states that are met again is compared with the first, successor by successor; 0: none.
  std::uint64_t verify = 0;
  bool forget_used = false;  // a planted fault of the search: states differ although it takes them for the same
};

struct SearchResult {
  std::uint64_t states = 0;
  std::uint64_t transitions = 0;
  std::size_t depth = 0;  // of the longest run, in choices
  bool cut = false;  // it gave up, or a state was at depth_max: not everything was seen
  std::uint64_t verified = 0;
  std::uint64_t names = 0;  // orders of the nodes in which the start looks the same: so many states are one
  double seconds = 0;
  std::string violation;  // empty: none; the search ends at the first
  std::vector<std::string> trace;  // how it came about
  // What was reached, by how many transitions (Search::look_at names it); "probe: " and a PROBE, how often it was passed.
  std::map<std::string, std::uint64_t> reached;
};

SearchResult search_core(const SearchScope& scope);

// "elections: 12345 states, 67890 transitions, …", one line.
std::string describe(const SearchScope& scope, const SearchResult& result);

}  // namespace walraft::model
