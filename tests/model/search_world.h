#pragma once

// The world of one search: what can be done next in it, and doing it. core_search.h says what is chosen, and what is
// done as soon as it can be. It lives in the WorldArena, all but `used` and what the scope says.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/core_fingerprint.h"
#include "tests/model/core_search.h"
#include "tests/model/core_world.h"

namespace walraft::model {

// What a run has used up of its bounds.
struct Used {
  std::uint8_t silences = 0, batches = 0, crashes = 0, losses = 0, heartbeats = 0, reads = 0, transfers = 0;
  std::uint64_t salt() const {
    std::uint64_t all = 0;
    for (const std::uint8_t one : {silences, batches, crashes, losses, heartbeats, reads, transfers}) {
      all = all * 32 + one;
    }
    return all;
  }
};

enum class Kind : std::uint8_t {
  persist,
  finish_cut,
  letter,
  letter_after_silence,
  frame,
  sync,
  propose,
  silence,
  heartbeat,
  read,
  transfer,
  lose,
  crash
};

struct Choice {
  Kind kind;
  NodeId node;
  NodeId peer;
  std::size_t at = 0;  // of letters, ready streams, sessions; or how many batches a crash keeps
};

// Changes with each step; who puts the arena back puts this back as well.
struct SearchPast {
  Used used;
  SessionCounts opened{};
};

class SearchWorld {
 public:
  // Forgets every other one: there is one arena.
  explicit SearchWorld(const SearchScope& scope);
  SearchWorld(const SearchWorld&) = delete;
  SearchWorld& operator=(const SearchWorld&) = delete;

  const std::vector<NodeId>& ids() const { return ids_; }
  const CoreWorld& world() const { return *world_; }
  SearchPast past;

  // In an order that depends on nothing but the state.
  std::vector<Choice> choices() const;
  // One of choices(), and then what is done as soon as it can be.
  void apply(const Choice& choice);
  std::string describe(const Choice& choice) const;

 private:
  void add_node_choices(NodeId id, std::vector<Choice>& all) const;
  void add_crashes(NodeId id, std::vector<Choice>& all) const;
  void let_pass(NodeId id, std::uint64_t us);

  // What is done as soon as it can be. True: something was.
  void settle();
  bool settle_node(NodeId id);
  bool settle_letters();
  bool settle_frames();
  bool end_dead_sessions();
  bool inert(const Letter& letter) const;
  bool inert(const StreamKey& key, const Frame& frame) const;
  bool is_session(const StreamKey& key) const;

  const SearchScope& scope_;
  const std::vector<NodeId> ids_{NodeId{1}, NodeId{2}, NodeId{3}};
  CoreWorld* world_ = nullptr;
};

}  // namespace walraft::model
