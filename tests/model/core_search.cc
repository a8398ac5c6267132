#include "tests/model/core_search.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include "tests/model/core_fingerprint.h"
#include "tests/model/core_world.h"
#include "tests/model/search_world.h"
#include "tests/model/world_arena.h"
#include "tests/sim/sim_rng.h"
#include "wal/base/check.h"
#include "wal/base/probe.h"

namespace walraft::model {
namespace {

using replication::Role;

// A set of fingerprints that only grows: open addressing in one flat table, 16 bytes a slot.
class Visited {
 public:
  Visited() : slots_(1u << 16) {}
  // False: it was there.
  bool insert(const Fingerprint& print) {
    if (2 * size_ >= slots_.size()) grow();
    Fingerprint& slot = find(slots_, print);
    if (slot == print) return false;
    slot = print;
    ++size_;
    return true;
  }
  std::uint64_t size() const { return size_; }

 private:
  static Fingerprint& find(std::vector<Fingerprint>& slots, const Fingerprint& print) {
    std::size_t at = print.low & (slots.size() - 1);
    while (slots[at] != Fingerprint{} && slots[at] != print) at = (at + 1) & (slots.size() - 1);
    return slots[at];
  }
  void grow() {
    std::vector<Fingerprint> bigger(slots_.size() * 2);
    for (const Fingerprint& print : slots_) {
      if (print != Fingerprint{}) find(bigger, print) = print;
    }
    slots_ = std::move(bigger);
  }
  std::vector<Fingerprint> slots_;
  std::uint64_t size_ = 0;
};

class Search {
 public:
  explicit Search(const SearchScope& scope) : scope_(scope), world_(scope) {}
  SearchResult run();

 private:
  // A state on the way to the one that is looked at.
  struct Level {
    WorldArena::Snapshot world;
    SearchPast past;
    std::vector<Choice> choices;
    std::size_t next = 0;
  };
  // What a step is compared with.
  struct Before {
    Index committed;
    std::uint64_t reads = 0;
    std::array<ModelLog, 4> logs;
  };

  void find_symmetries();
  Fingerprint print() const;
  Level& enter(std::size_t depth);
  std::string violation() const;
  void tell_how(std::size_t depth, const std::string& violation);
  std::uint64_t successors();
  void verify(const Fingerprint& reached);
  Before look() const;
  void look_at(const Choice& choice, const Before& before);
  bool over() const { return !result_.violation.empty() || result_.cut; }
  const CoreWorld& world() const { return world_.world(); }

  const SearchScope& scope_;
  SearchWorld world_;
  std::vector<Renaming> names_;  // that leave the start as it is
  Visited visited_;
  std::vector<std::unique_ptr<Level>> path_;
  std::map<Fingerprint, std::uint64_t> compared_;
  SearchResult result_;
};

// The renamings that leave the start as it is.
void Search::find_symmetries() {
  Renaming names{1, 2, 3};
  const Renaming same = names;
  const Fingerprint root = CoreFingerprint::of(world(), same, {}, 0);
  do {
    if (CoreFingerprint::of(world(), names, {}, 0) == root) names_.push_back(names);
  } while (std::next_permutation(names.begin(), names.end()));
  result_.names = names_.size();
}

Fingerprint Search::print() const {
  const std::uint64_t salt = scope_.forget_used ? 0 : world_.past.used.salt();
  Fingerprint least = CoreFingerprint::of(world(), names_.front(), world_.past.opened, salt);
  for (std::size_t i = 1; i < names_.size(); ++i) {
    least = std::min(least, CoreFingerprint::of(world(), names_[i], world_.past.opened, salt));
  }
  return least;
}

// --- The search ------------------------------------------------------------------------------------------------------

Search::Level& Search::enter(std::size_t depth) {
  if (path_.size() <= depth) path_.push_back(std::make_unique<Level>());
  Level& level = *path_[depth];
  level.world.take();
  level.past = world_.past;
  level.choices = world_.choices();
  level.next = 0;
  return level;
}

SearchResult Search::run() {
  const auto begun = std::chrono::steady_clock::now();
  std::map<std::string, std::uint64_t> probes_before;
  for (const Probe* probe : probes()) probes_before[probe->name()] = probe->passed();
  find_symmetries();
  visited_.insert(print());
  enter(0);
  std::size_t depth = 0;
  while (!over()) {
    Level& level = *path_[depth];
    if (level.next == level.choices.size()) {
      if (depth-- == 0) break;
      continue;
    }
    const Choice choice = level.choices[level.next++];
    level.world.restore();
    world_.past = level.past;
    const Before before = look();
    world_.apply(choice);
    ++result_.transitions;
    look_at(choice, before);
    if (const std::string what = violation(); !what.empty()) {
      tell_how(depth, what);
      break;
    }
    const Fingerprint reached = print();
    if (!visited_.insert(reached)) {
      if (scope_.verify != 0) verify(reached);
      continue;
    }
    if (scope_.verify != 0) verify(reached);
    if (depth + 1 == scope_.depth_max || visited_.size() > scope_.states_max) {
      result_.cut = true;
      break;
    }
    enter(++depth);
    result_.depth = std::max(result_.depth, depth);
  }
  result_.states = visited_.size();
  for (const Probe* probe : probes()) {
    const std::uint64_t passed = probe->passed() - probes_before[probe->name()];
    if (passed != 0) result_.reached[std::string("probe: ") + probe->name()] = passed;
  }
  result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return result_;
}

// What the checks found; or one node remembers more of another than is on the other's disk: it would take that disk for
// one from the past (boot_check.h). The fingerprint relies on it.
std::string Search::violation() const {
  if (!world().violation().empty()) return std::string(world().violation());
  for (const NodeId of : world_.ids()) {
    const replication::BootCheck::Image disk{of, world().incarnation(of), world().ballot(of), world().log(of).durable};
    for (const NodeId by : world_.ids()) {
      if (by == of || !replication::BootCheck::behind(disk, world().core(by).memory().of(of), true)) continue;
      return "D2 Ahead of its disk: node " + walraft::describe(by) + " remembers more of node " +
             walraft::describe(of) + " than is on its disk";
    }
  }
  return {};
}

// The same run once more, told.
void Search::tell_how(std::size_t depth, const std::string& violation) {
  result_.violation = violation;
  path_[0]->world.restore();
  world_.past = {};
  result_.trace.push_back("start\n" + world().describe());
  for (std::size_t i = 0; i <= depth; ++i) {
    const Choice choice = path_[i]->choices[path_[i]->next - 1];
    const std::string what = world_.describe(choice);
    world_.apply(choice);
    result_.trace.push_back(what + '\n' + world().describe());
  }
  CHECK(this->violation() == result_.violation);
}

Search::Before Search::look() const {
  Before before;
  before.committed = world().checks().committed();
  before.reads = world().reads_answered();
  for (const NodeId id : world_.ids()) before.logs[id.value] = world().log(id);
  return before;
}

// Counts what was reached.
void Search::look_at(const Choice& choice, const Before& before) {
  std::set<Term> leading;
  for (const NodeId id : world_.ids()) {
    if (!world().up(id)) continue;
    const Core& core = world().core(id);
    if (core.role() == Role::leader) leading.insert(core.term());
    if (core.role() == Role::leader && world().checks().committed() > before.committed &&
        core.commit() > before.committed) {
      ++result_.reached["commit in term " + walraft::describe(core.term())];
      if (core.log().term_of(before.committed) < core.term()) ++result_.reached["commit of an older term's batch"];
    }
  }
  if (world().reads_answered() > before.reads) ++result_.reached["a read is answered"];
  if (leading.size() > 1) ++result_.reached["two leaders at once"];
  const ModelLog& log = world().log(choice.node);
  const ModelLog& old = before.logs[choice.node.value];
  if (log.end() >= old.end()) return;
  if (choice.kind == Kind::crash) ++result_.reached["a crash loses a batch"];
  if (choice.kind != Kind::finish_cut) return;
  ++result_.reached["a batch is cut"];
  const ModelBatch& lost = old.batches[log.end().value];
  std::size_t copies = 0;
  for (const ModelLog& one : before.logs) {
    copies += one.durable > lost.index && one.batches[lost.index.value] == lost;
  }
  if (copies > 1) ++result_.reached["a batch that a majority held durably is cut"];
}

// Of the state that the world is in: a hash of everything that can come next. The world is left as it was.
std::uint64_t Search::successors() {
  Level level;
  level.world.take();
  level.past = world_.past;
  std::set<Fingerprint> next;
  for (const Choice& choice : world_.choices()) {
    level.world.restore();
    world_.past = level.past;
    world_.apply(choice);
    next.insert(violation().empty() ? print() : Fingerprint{});
  }
  level.world.restore();
  world_.past = level.past;
  std::uint64_t hash = next.size();
  for (const Fingerprint& print : next) hash = sim::mix64(hash ^ print.low);
  return hash;
}

void Search::verify(const Fingerprint& reached) {
  if (reached.high % scope_.verify != 0) return;
  const std::uint64_t hash = successors();
  const auto [at, fresh] = compared_.emplace(reached, hash);
  if (fresh) return;
  ++result_.verified;
  if (at->second != hash) {
    result_.violation =
        "two states that are taken for one behave differently: core_fingerprint.cc leaves something out";
    result_.trace.push_back(world().describe());
  }
}

}  // namespace

SearchResult search_core(const SearchScope& scope) { return Search(scope).run(); }

std::string describe(const SearchScope& scope, const SearchResult& result) {
  char line[400];
  std::snprintf(line, sizeof line,
                "%s: %llu states, %llu transitions, longest run %zu steps, %s, %.1f s (%llu orders of the nodes, %llu "
                "verified)",
                scope.name.c_str(), static_cast<unsigned long long>(result.states),
                static_cast<unsigned long long>(result.transitions), result.depth,
                !result.violation.empty() ? "ended at a violation"
                : result.cut              ? "CUT: not everything was seen"
                                          : "exhausted",
                result.seconds, static_cast<unsigned long long>(result.names),
                static_cast<unsigned long long>(result.verified));
  return line;
}

}  // namespace walraft::model
