#include "tests/model/core_run.h"

#include <iostream>
#include <string_view>

#include "tests/model/core_world.h"
#include "wal/base/check.h"

namespace walraft::model {
namespace {

std::string text_of(const StreamKey& key) {
  return describe(key.from) + "->" + describe(key.to) + ' ' + replication::describe(key.session);
}

class Run {
 public:
  Run(std::uint64_t seed, bool show) : show_(show), rng_(seed), world_(options(rng_)) {
    drop_ = pick({0, 0, 3, 10});
    double_ = pick({0, 0, 3, 10});
    break_ = pick({0, 1, 3, 10});
    crash_ = pick({0, 1, 3, 8});
    stall_ = pick({0, 0, 2});
    cut_ = pick({0, 2, 6});
    slow_sync_ = pick({1, 1, 2, 4});
    step_us_ = pick({100, 1'000, 10'000});
  }

  CoreRun go(std::uint64_t steps) {
    CoreRun run;
    for (; run.steps < steps && world_.violation().empty(); ++run.steps) {
      step();
      for (const char c : said_) run.trace = sim::mix64(run.trace ^ static_cast<unsigned char>(c));
      if (show_) std::cout << run.steps << ' ' << world_.now_us() / 1000 << "ms " << said_ << '\n' << world_.describe();
    }
    run.violation = world_.violation();
    run.committed = world_.checks().committed().value;
    run.reads = world_.reads_answered();
    return run;
  }

 private:
  static CoreWorld::Options options(sim::SimRng& rng) {
    CoreWorld::Options options;
    options.nodes = static_cast<std::uint16_t>(1 + 2 * rng.below(3));
    options.seed = rng.next();
    options.timing.election_timeout_us = 1'000'000;
    options.window_bytes = 200 + 100 * rng.below(20);
    return options;
  }

  std::uint64_t pick(std::initializer_list<std::uint64_t> of) { return *(of.begin() + rng_.below(of.size())); }
  NodeId any_node() { return NodeId{static_cast<std::uint16_t>(1 + rng_.below(world_.ids().size()))}; }
  bool chance(std::uint64_t percent) { return rng_.below(100) < percent; }
  void say(const std::string& what) { said_ = what; }

  void step() {
    said_.clear();
    const std::uint64_t kind = rng_.below(100);
    if (kind < 30) return network();
    if (kind < 50) return stream();
    if (kind < 65) return disk();
    if (kind < 80) return time();
    if (kind < 88) return client();
    if (kind < 96) return replicate();
    return trouble();
  }

  void network() {
    if (world_.letters() == 0) return time();
    const std::size_t at = rng_.below(world_.letters());
    say("letter " + describe(world_.letter(at).from) + "->" + describe(world_.letter(at).to) + ' ' +
        replication::describe(world_.letter(at).message));
    if (chance(drop_) || world_.letters() > 200) {
      said_ += " dropped";
      world_.drop_letter(at);
    } else {
      world_.deliver_letter(at, chance(double_));
    }
  }

  void stream() {
    const auto ready = world_.ready_streams();
    if (ready.empty()) return network();
    const StreamKey key = ready[rng_.below(ready.size())];
    say("frame " + text_of(key));
    world_.deliver_frame(key);
  }

  void disk() {
    const NodeId id = any_node();
    if (!world_.up(id)) return;
    say("disk " + describe(id));
    if (world_.persist(id) || world_.finish_cut(id)) return;
    if (!chance(100 / slow_sync_)) return;
    const Index durable = world_.log(id).durable;
    const Index end = world_.log(id).end();
    if (durable < end) world_.sync(id, durable + 1 + rng_.below(end - durable));
  }

  void time() {
    world_.advance(rng_.below(2 * step_us_));
    if (chance(1)) world_.advance(rng_.below(1'500'000));
    const NodeId id = any_node();
    say("tick " + describe(id));
    world_.tick(id);
  }

  void client() {
    const NodeId id = any_node();
    if (!world_.up(id)) return;
    if (chance(20)) {
      say("read " + describe(id));
      world_.read(id);
    } else {
      say("propose " + describe(id));
      world_.propose(id);
    }
  }

  void replicate() {
    const NodeId id = any_node();
    const NodeId peer = any_node();
    if (id == peer) return;
    say("send " + describe(id) + "->" + describe(peer));
    world_.send_entries(id, peer, 1 + rng_.below(5));
  }

  void trouble() {
    const NodeId id = any_node();
    if (!world_.up(id)) {
      say("start " + describe(id));
      return world_.start(id);
    }
    if (chance(crash_ * 5)) {
      say("crash " + describe(id));
      return world_.crash(id, rng_.below(4));
    }
    if (chance(break_ * 5)) {
      const auto all = world_.streams();
      if (all.empty()) return;
      const StreamKey key = all[rng_.below(all.size())];
      say("break " + text_of(key));
      return world_.break_stream(key);
    }
    if (chance(stall_ * 10)) {
      say("stall " + describe(id));
      return world_.stall_disk(id, chance(50) ? 0 : 1'000'000 + rng_.below(5'000'000));
    }
    if (chance(cut_ * 5)) return partition();
    if (chance(10)) {
      say("transfer " + describe(id));
      world_.transfer(id, any_node());
    }
  }

  // Cuts some links, one way or both, around one node or anywhere; or heals all.
  void partition() {
    const bool heal = chance(40);
    const NodeId around = any_node();
    const bool anywhere = chance(30);
    const bool both = chance(70);
    say(heal ? "heal" : "cut around " + describe(around));
    for (const NodeId a : world_.ids()) {
      for (const NodeId b : world_.ids()) {
        if (a == b) continue;
        if (heal) {
          world_.cut(a, b, false);
        } else if (anywhere ? chance(20) : a == around || (both && b == around)) {
          world_.cut(a, b, true);
        }
      }
    }
  }

  bool show_;
  std::string said_;
  sim::SimRng rng_;
  CoreWorld world_;
  std::uint64_t drop_ = 0, double_ = 0, break_ = 0, crash_ = 0, stall_ = 0, cut_ = 0, slow_sync_ = 1, step_us_ = 1'000;
};

}  // namespace

CoreRun run_core(std::uint64_t seed, std::uint64_t steps, bool show) { return Run(seed, show).go(steps); }

}  // namespace walraft::model
