#include "tests/sim/cluster_trouble.h"

#include <algorithm>
#include <utility>

#include "wal/base/probe.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kLongUs = 6'000'000;
constexpr std::uint64_t kPlentyBytes = std::uint64_t{1} << 40;
using Channel = SimNetwork::Channel;

}  // namespace

ClusterTrouble::ClusterTrouble(ClusterWorld& world, std::uint64_t seed)
    : world_(world), rng_(seed), harm_(world, rng_.next()) {
  const ClusterKnobs& knobs = world.knobs();
  kinds_ = {{knobs.power_cuts, &ClusterTrouble::power_cut},
            {knobs.kills, &ClusterTrouble::kill},
            {knobs.crash_points, &ClusterTrouble::crash_point},
            {knobs.storms, &ClusterTrouble::storm},
            {knobs.stops, &ClusterTrouble::stop_or_resume},
            {knobs.resets, &ClusterTrouble::reset},
            {knobs.cuts, &ClusterTrouble::cut},
            {knobs.partitions, &ClusterTrouble::partition},
            {knobs.heals, &ClusterTrouble::heal_links},
            {knobs.clocks, &ClusterTrouble::clock},
            {knobs.slow_disks, &ClusterTrouble::slow_disk},
            {knobs.hanging_disks, &ClusterTrouble::hang_disk},
            {knobs.full_disks, &ClusterTrouble::full_disk},
            {knobs.disk_errors, &ClusterTrouble::disk_error},
            {knobs.wipes, &ClusterTrouble::wipe},
            {knobs.transfers, &ClusterTrouble::transfer},
            {knobs.harms, &ClusterTrouble::harm}};
  for (const auto& [weight, kind] : kinds_) weights_ += weight;
  if (weights_ != 0) world.queue().after(knobs.quiet_us, [this] { next(); });
}

void ClusterTrouble::next() {
  if (stopped_) return;
  happen();
  // Now and then nothing for long, so that something can settle.
  const std::uint64_t mean_us = world_.knobs().trouble_us * (chance(5) ? 10 : 1);
  world_.queue().after(1 + rng_.below(2 * mean_us), [this] { next(); });
}

void ClusterTrouble::happen() {
  if (harm_.busy()) return;
  world_.network().knobs() = world_.knobs().network;  // harm() made it well
  std::uint64_t at = rng_.below(weights_);
  for (const auto& [weight, kind] : kinds_) {
    if (at < weight) return (this->*kind)();
    at -= weight;
  }
}

NodeId ClusterTrouble::any_node() { return world_.ids()[rng_.below(world_.ids().size())]; }

NodeId ClusterTrouble::any_leader() {
  std::vector<NodeId> leaders;
  for (const NodeId id : world_.ids()) {
    if (!world_.up(id)) continue;
    for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
      if (world_.process(id).replica(log).core().role() == replication::Role::leader) leaders.push_back(id);
    }
  }
  return leaders.empty() || chance(20) ? any_node() : leaders[rng_.below(leaders.size())];
}

void ClusterTrouble::later(std::uint64_t at_most_us, std::function<void()> end) {
  world_.queue().after(1 + rng_.below(at_most_us), [this, end = std::move(end)] {
    if (!stopped_) end();
  });
}

// --- Processes and power ---------------------------------------------------------------------------------------------

CrashChoice ClusterTrouble::any_choice() {
  switch (rng_.below(6)) {
    case 0:
    case 1: return CrashChoice::lose_unsynced();
    case 2: return CrashChoice::keep_everything();
    default: return CrashChoice::keep_random(rng_.next());
  }
}

void ClusterTrouble::power_cut() { world_.crash(any_leader(), any_choice()); }

void ClusterTrouble::kill() { world_.crash(any_leader(), CrashChoice::kill_process()); }

void ClusterTrouble::crash_point() {
  SimFilesystem& filesystem = world_.filesystem(chance(30) ? any_leader() : any_node());
  filesystem.crash_at(filesystem.operations() + 1 + rng_.below(30),
                      chance(50) ? CrashMoment::before : CrashMoment::after);
}

void ClusterTrouble::storm() {
  for (const NodeId id : world_.ids()) world_.crash(id, any_choice());
}

// Nothing runs on it for a while, and it does not know.
void ClusterTrouble::stop_or_resume() {
  const NodeId node = any_leader();
  if (!world_.up(node) || world_.stopped(node)) return;
  world_.say("node " + describe(node) + " is stopped");
  world_.stop(node);
  later(chance(50) ? 300'000 : kLongUs, [this, node] {
    world_.say("node " + describe(node) + " goes on");
    world_.resume(node);
  });
}

// --- Links -----------------------------------------------------------------------------------------------------------

void ClusterTrouble::reset() {
  const NodeId a = any_leader();
  const NodeId b = any_node();
  if (a == b) return;
  world_.say("the stream between " + describe(a) + " and " + describe(b) + " is reset");
  world_.network().reset(a, b);
}

void ClusterTrouble::cut_both(NodeId from, NodeId to, bool is_cut) {
  world_.network().cut(from, to, Channel::control, is_cut);
  world_.network().cut(from, to, Channel::stream, is_cut);
}

void ClusterTrouble::cut() {
  const NodeId around = any_leader();
  const std::uint64_t kind = rng_.below(5);
  world_.say("links around " + describe(around) + " are cut, kind " + std::to_string(kind));
  for (const NodeId other : world_.ids()) {
    if (other == around || chance(world_.ids().size() == 3 ? 50 : 30)) continue;
    switch (kind) {
      case 0: world_.network().cut(around, other, Channel::control, true); break;
      case 1: world_.network().cut(other, around, Channel::control, true); break;
      case 2: world_.network().cut(around, other, Channel::stream, true); break;
      case 3: world_.network().cut(other, around, Channel::stream, true); break;
      default: chance(50) ? cut_both(around, other, true) : cut_both(other, around, true); break;
    }
  }
  later(chance(70) ? 1'500'000 : 2 * kLongUs, [this] { heal_links(); });
}

// Often a leader and one follower on the small side: they make batches that a later leader takes back.
void ClusterTrouble::partition() {
  const NodeId leader = any_leader();
  const NodeId follower = any_node();
  const bool pair = chance(60);
  std::map<NodeId, std::uint64_t> group;
  for (const NodeId id : world_.ids()) {
    group[id] =
        pair ? (id == leader || (id == follower && world_.ids().size() > 3) || (id == follower && chance(30)) ? 1 : 0)
             : rng_.below(3);
  }
  std::string said = "groups";
  for (const auto& [id, of] : group) said += ' ' + std::to_string(of);
  world_.say(said);
  for (const NodeId a : world_.ids()) {
    for (const NodeId b : world_.ids()) {
      if (a != b) cut_both(a, b, group[a] != group[b]);
    }
  }
  later(chance(70) ? 4'000'000 : 2 * kLongUs, [this] { heal_links(); });
}

void ClusterTrouble::heal_links() {
  world_.say("all links are well");
  world_.network().heal();
}

// --- Clocks and disks ------------------------------------------------------------------------------------------------

void ClusterTrouble::clock() {
  static constexpr std::uint64_t kPercents[] = {0, 10, 50, 100, 100, 150, 400};
  const NodeId node = any_leader();
  world_.set_clock(node, kPercents[rng_.below(7)], chance(30) ? rng_.below(kLongUs) : 0);
  later(kLongUs, [this, node] { world_.set_clock(node, 100, chance(50) ? rng_.below(2'000'000) : 0); });
}

void ClusterTrouble::slow_disk() {
  const NodeId node = any_leader();
  const std::uint64_t us = chance(50) ? 50'000 : 1'000'000;
  world_.say("the disk of node " + describe(node) + " gets slow");
  world_.set_disk_latency(node, us / 10, us);
  later(kLongUs,
        [this, node] { world_.set_disk_latency(node, world_.knobs().disk_min_us, world_.knobs().disk_max_us); });
}

void ClusterTrouble::hang_disk() {
  const NodeId node = any_leader();
  world_.hang_disk(node, true);
  later(chance(50) ? 1'000'000 : 2 * kLongUs, [this, node] { world_.hang_disk(node, false); });
}

void ClusterTrouble::full_disk() {
  const NodeId node = any_leader();
  SimFilesystem& filesystem = world_.filesystem(node);
  world_.say("the disk of node " + describe(node) + " is full");
  filesystem.set_capacity(filesystem.used_bytes() + rng_.below(200'000));
  later(kLongUs, [this, node] {
    world_.say("the disk of node " + describe(node) + " has room");
    world_.filesystem(node).set_capacity(kPlentyBytes);
  });
}

void ClusterTrouble::disk_error() {
  static constexpr FaultKind kKinds[] = {FaultKind::sync_fails, FaultKind::sync_drops, FaultKind::write_fails};
  const NodeId node = any_leader();
  if (!world_.up(node)) return;
  world_.filesystem(node).inject(
      {.kind = kKinds[rng_.below(3)], .path = chance(80) ? "log" : "", .skip = rng_.below(6)});
}

bool ClusterTrouble::may_lose_disk(NodeId node) const {
  return to_wipe_.contains(node) || harmed_.contains(node) ||
         to_wipe_.size() + harmed_.size() < (world_.ids().size() - 1) / 2;
}

void ClusterTrouble::wipe() {
  const NodeId node = any_node();
  if (!may_lose_disk(node)) return;
  harmed_.erase(node);
  to_wipe_.insert(node);
  world_.crash(node, CrashChoice::lose_unsynced());
  if (!world_.up(node)) world_.replace_disk(node);
}

void ClusterTrouble::transfer() {
  const NodeId node = any_leader();
  if (!world_.up(node) || world_.stopped(node)) return;
  const std::size_t log = rng_.below(world_.knobs().logs);
  const NodeId to = any_node();
  world_.say("node " + describe(node) + " is to hand log " + std::to_string(log + 1) + " over to " + describe(to));
  world_.act(node, [&](SimProcess& process) { process.replica(log).transfer(to); });
}

void ClusterTrouble::harm() {
  const NodeId node = any_leader();
  if (!world_.up(node) || world_.wiped(node) || to_wipe_.contains(node) || !may_lose_disk(node)) return;
  if (!harm_.possible(node)) return harm_.take_image(node);
  make_well();
  harmed_.insert(node);
  harm_.begin(node);
}

// --- Its end ---------------------------------------------------------------------------------------------------------

void ClusterTrouble::make_well() {
  world_.network().heal();
  SimNetwork::Knobs& network = world_.network().knobs();
  network.late_percent = network.drop_percent = network.double_percent = network.damage_permille =
      network.half_open_percent = 0;
  for (const NodeId id : world_.ids()) {
    world_.filesystem(id).clear_faults();
    world_.filesystem(id).crash_at(0);
    world_.filesystem(id).set_capacity(kPlentyBytes);
    world_.set_clock(id, 100, 0);
    world_.set_disk_latency(id, world_.knobs().disk_min_us, world_.knobs().disk_max_us);
    world_.hang_disk(id, false);
    world_.resume(id);
  }
}

void ClusterTrouble::heal(const std::set<NodeId>& sick) {
  stop();
  world_.say("the trouble is over");
  make_well();
  for (const NodeId id : world_.ids()) {
    if (!sick.contains(id)) {
      world_.start(id);
      continue;
    }
    const std::uint64_t kind = rng_.below(4);
    if (kind == 0) {
      world_.keep_down(id, true);
      world_.crash(id, any_choice());
      continue;
    }
    world_.start(id);
    if (kind == 1) {
      world_.hang_disk(id, true);
      continue;
    }
    for (const NodeId other : world_.ids()) {
      if (other != id) kind == 2 ? cut_both(other, id, true) : cut_both(id, other, true);
    }
  }
}

}  // namespace walraft::sim
