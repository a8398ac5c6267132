#include "tests/sim/cluster_world.h"

#include <algorithm>
#include <iostream>

#include "wal/base/check.h"
#include "wal/base/probe.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kLookAgainUs = 20'000;

std::size_t number_of(const Uuid& log) { return log.bytes[0] - 1u; }

}  // namespace

ClusterWorld::ClusterWorld(std::uint64_t seed, const ClusterKnobs& knobs)
    : knobs_(knobs), rng_(seed), checks_(knobs.logs, knobs.nodes), network_(queue_, *this, rng_.next()) {
  network_.knobs() = knobs.network;
  for (std::uint16_t id = 1; id <= knobs.nodes; ++id) {
    ids_.push_back(NodeId{id});
    members_.members.push_back({NodeId{id}, sim_disk(NodeId{id}, 0)});
  }
  for (const NodeId id : ids_) {
    auto made = std::make_unique<Machine>();
    made->id = id;
    made->filesystem = make_sim_machine(sim_disk(id, 0), rng_.next());
    made->time.set_rate(0, 100);
    made->latency_min_us = knobs.disk_min_us;
    made->latency_max_us = knobs.disk_max_us;
    machines_.push_back(std::move(made));
  }
  for (const NodeId id : ids_) start(id);
}

// Processes go before what they use; a disk that lost its power writes nothing more.
ClusterWorld::~ClusterWorld() {
  for (const auto& machine : machines_) {
    if (machine->process == nullptr) continue;
    machine->filesystem->crash(CrashChoice::lose_unsynced());
    machine->process.reset();
  }
}

void ClusterWorld::show() {
  shows_ = true;
  network_.show([this](const std::string& line) { say(line); });
}

void ClusterWorld::say(const std::string& line) const {
  if (shows_) std::cout << events() << ' ' << now_us() / 1000 << "ms " << line << '\n';
}

std::uint64_t ClusterWorld::trace_hash() const {
  std::uint64_t hash = mix64(network_.trace_hash() ^ events());
  for (const auto& machine : machines_) hash = mix64(hash ^ machine->filesystem->trace_hash() ^ machine->lives);
  return hash;
}

void ClusterWorld::step() {
  if (violation().empty()) CHECK(queue_.run_one());
}

void ClusterWorld::run_for_us(std::uint64_t duration_us) {
  bool over = false;
  queue_.after(duration_us, [&over] { over = true; });
  while (!over && violation().empty()) step();
}

// --- A process lives -------------------------------------------------------------------------------------------------

void ClusterWorld::bring_clock(Machine& machine) {
  const std::uint64_t local_us = machine.time.local_us(now_us());
  if (local_us > machine.clock.monotonic_us()) machine.clock.advance_to_us(local_us);
}

void ClusterWorld::act(NodeId node, const std::function<void(SimProcess&)>& verb) {
  Machine& m = machine(node);
  if (m.process == nullptr || !violation().empty()) return;
  bring_clock(m);
  network_.hold();
  try {
    verb(*m.process);
  } catch (const SimCrash& crash) {
    PROBE("sim: power is cut at an operation of the disk");
    say("node " + walraft::describe(node) + " loses its power at operation " + std::to_string(crash.operation));
    for (std::size_t log = 0; log < knobs_.logs; ++log) checks_.on_cut_off(node, log, m.process->replica(log));
    network_.release(false);
    return die(m, any_crash());
  }
  for (std::size_t log = 0; log < knobs_.logs; ++log) checks_.look(node, log, m.process->replica(log));
  network_.release(true);
  if (m.process->disk().failed()) {
    PROBE("sim: a disk fails and the process ends");
    say("node " + walraft::describe(node) + " ends: its disk failed");
    m.filesystem->clear_faults();
    return die(m, chance(50) ? CrashChoice::kill_process() : any_crash());
  }
  schedule_disk(m);
}

void ClusterWorld::wake(Machine& m, std::uint64_t life) {
  if (std::exchange(m.turn_comes, true)) return;
  const auto turn = [this, &m, life](const auto& again) -> void {
    if (m.life != life) return;
    if (m.stopped) {
      queue_.after(kLookAgainUs, [again] { again(again); });
      return;
    }
    m.turn_comes = false;
    act(m.id, [](SimProcess& process) { process.shard().turn(); });
  };
  queue_.after(1 + rng_.below(knobs_.turn_us), [turn] { turn(turn); });
}

void ClusterWorld::schedule_disk(Machine& m) {
  const auto local_us = m.process->disk().next_due_us();
  if (!local_us) return;
  const std::uint64_t due_us = std::max(m.time.world_us(*local_us).value_or(now_us() + kLookAgainUs), now_us() + 1);
  if (m.disk_due_us && *m.disk_due_us <= due_us) return;
  m.disk_due_us = due_us;
  queue_.at(due_us, [this, &m, due_us, life = m.life] {
    if (m.life != life || m.disk_due_us != due_us) return;
    disk_event(m);
  });
}

void ClusterWorld::disk_event(Machine& m) {
  m.disk_due_us.reset();
  if (m.stopped) {
    m.disk_due_us = now_us() + kLookAgainUs;
    queue_.at(*m.disk_due_us, [this, &m, life = m.life] {
      if (m.life == life) disk_event(m);
    });
    return;
  }
  const bool hears = chance(80);
  act(m.id, [&](SimProcess& process) {
    if (!process.disk().step(rng_)) return;
    while (chance(50) && process.disk().step(rng_)) {
    }
    if (hears) process.shard().disk_turn();
  });
  if (!hears && m.process != nullptr) disk_turn_later(m, m.life);
}

void ClusterWorld::disk_turn_later(Machine& m, std::uint64_t life) {
  queue_.after(1 + rng_.below(2 * knobs_.disk_max_us), [this, &m, life] {
    if (m.life != life) return;
    if (m.stopped) return disk_turn_later(m, life);
    act(m.id, [](SimProcess& process) { process.shard().disk_turn(); });
  });
}

void ClusterWorld::tick(Machine& m, std::uint64_t life) {
  if (m.life != life) return;
  const std::uint64_t percent = m.time.percent();
  queue_.after(percent == 0 ? kLookAgainUs : knobs_.tick_us * 100 / percent + rng_.below(1'000),
               [this, &m, life] { tick(m, life); });
  if (m.stopped || percent == 0) return;
  act(m.id, [](SimProcess& process) { process.shard().tick(); });
}

// --- It dies and starts ----------------------------------------------------------------------------------------------

CrashChoice ClusterWorld::any_crash() {
  switch (rng_.below(6)) {
    case 0: return CrashChoice::lose_unsynced();
    case 1: return CrashChoice::keep_everything();
    case 2: return CrashChoice::keep_only_newest();
    case 3: return CrashChoice::lose_only_newest();
    default: return CrashChoice::keep_random(rng_.next());
  }
}

void ClusterWorld::crash(NodeId node, CrashChoice choice) {
  if (!up(node)) return;
  say("node " + walraft::describe(node) +
      (choice.kind == CrashChoice::Kind::kill_process ? " is killed" : " loses its power"));
  die(machine(node), choice);
}

void ClusterWorld::die(Machine& m, CrashChoice choice) {
  m.filesystem->crash_at(0);
  m.filesystem->crash(choice);
  m.process.reset();
  m.life = 0;
  m.stopped = false;
  m.turn_comes = false;
  m.disk_due_us.reset();
  checks_.on_crash(m.id);
  network_.on_crash(m.id, choice.kind == CrashChoice::Kind::kill_process);
  start_later(m);
}

void ClusterWorld::start_later(Machine& m) {
  queue_.after(1 + rng_.below(2 * knobs_.restart_us), [this, &m] {
    if (!m.kept_down) start(m.id);
  });
}

void ClusterWorld::start(NodeId node) {
  Machine& m = machine(node);
  if (m.process != nullptr || !violation().empty()) return;
  if (m.hangs) return start_later(m);
  bring_clock(m);
  const std::uint64_t life = ++m.lives;
  const bool first = !m.started_once;
  const std::uint64_t struck = m.filesystem->faults_struck();
  try {
    m.process =
        std::make_unique<SimProcess>(*m.filesystem, m.clock, network_.peers_of(node),
                                     SimProcess::Options{.node = node,
                                                         .disk = sim_disk(node, m.disk_generation),
                                                         .logs = knobs_.logs,
                                                         .members = members_,
                                                         .timing = {},
                                                         .limits = {.record_bytes_max = 1u << 20,
                                                                    .batch_bytes_max = 1u << 20,
                                                                    .inflight_bytes_max = knobs_.inflight_bytes,
                                                                    .follower_window_bytes = knobs_.window_bytes},
                                                         .tail_cache_bytes = knobs_.tail_cache_bytes,
                                                         .latency_min_us = m.latency_min_us,
                                                         .latency_max_us = m.latency_max_us,
                                                         .first_start = first,
                                                         .seed = rng_.next()},
                                     [this, &m, life] { wake(m, life); });
  } catch (const SimCrash&) {
    PROBE("sim: power is cut within recovery");
    m.process.reset();
    return die(m, any_crash());
  }
  // What it waited for its disk took no time in the world: its clock is ahead by that, from now on.
  const std::uint64_t local_us = m.time.local_us(now_us());
  if (m.clock.monotonic_us() > local_us) {
    m.time.set_rate(now_us(), m.time.percent(), m.clock.monotonic_us() - local_us);
  }
  m.life = life;
  if (!m.process->started()) {
    const Error& error = *m.process->error();
    say("node " + walraft::describe(node) + " does not start: " + error.message);
    if (error.code != Code::no_space && m.filesystem->faults_struck() == struck) {
      checks_.fail("D4 Recovery", "node " + walraft::describe(node) + " does not start: " + error.message);
    }
    m.filesystem->clear_faults();
    return die(m, CrashChoice::kill_process());
  }
  say("node " + walraft::describe(node) + " starts");
  m.started_once = true;
  for (std::size_t log = 0; log < knobs_.logs; ++log) checks_.on_start(node, log, m.process->replica(log));
  schedule_disk(m);
  tick(m, life);
}

void ClusterWorld::replace_disk(NodeId node) {
  Machine& m = machine(node);
  CHECK(m.process == nullptr);
  say("node " + walraft::describe(node) + " gets an empty disk");
  ++m.disk_generation;
  m.started_once = false;
  m.filesystem = make_sim_machine(sim_disk(node, m.disk_generation), rng_.next());
  checks_.on_disk_replaced(node);
}

void ClusterWorld::put_back(NodeId node, const SimFilesystem& image) {
  Machine& m = machine(node);
  CHECK(m.process == nullptr);
  m.filesystem = image.fork();
  m.filesystem->crash(any_crash());
  m.filesystem->reseed(rng_.next());
  checks_.on_disk_harmed(node);
}

void ClusterWorld::harm_disk(NodeId node, const std::function<void(SimFilesystem&)>& harm) {
  CHECK(machine(node).process == nullptr);
  harm(*machine(node).filesystem);
  checks_.on_disk_harmed(node);
}

void ClusterWorld::resume(NodeId node) {
  if (!std::exchange(machine(node).stopped, false)) return;
  if (on_resume_ && up(node)) on_resume_(node);
}

// --- Its clock and its disk ------------------------------------------------------------------------------------------

void ClusterWorld::set_clock(NodeId node, std::uint64_t percent, std::uint64_t jump_us) {
  say("the clock of node " + walraft::describe(node) + " runs at " + std::to_string(percent) + " % and jumps by " +
      std::to_string(jump_us) + " us");
  Machine& m = machine(node);
  m.time.set_rate(now_us(), percent, jump_us);
  if (m.process != nullptr) schedule_disk(m);
}

void ClusterWorld::set_disk_latency(NodeId node, std::uint64_t min_us, std::uint64_t max_us) {
  Machine& m = machine(node);
  m.latency_min_us = min_us;
  m.latency_max_us = max_us;
  if (m.process != nullptr) m.process->disk().set_latency_us(min_us, max_us);
}

void ClusterWorld::hang_disk(NodeId node, bool hangs) {
  Machine& m = machine(node);
  m.hangs = hangs;
  say("the disk of node " + walraft::describe(node) + (hangs ? " hangs" : " goes on"));
  if (m.process == nullptr) return;
  if (hangs) {
    m.process->disk().hang();
  } else {
    m.process->disk().release_hanging();
    schedule_disk(m);
  }
}

// --- The network -----------------------------------------------------------------------------------------------------

void ClusterWorld::receive(NodeId to, NodeId from, const Uuid& log, const replication::ControlMessage& message) {
  act(to, [&](SimProcess& process) { process.replica(number_of(log)).receive(from, message); });
}

void ClusterWorld::receive(NodeId to, NodeId from, const Uuid& log, const replication::StreamMessage& message) {
  act(to, [&](SimProcess& process) { process.replica(number_of(log)).receive(from, message); });
}

void ClusterWorld::receive(NodeId to, NodeId from, const Uuid& log, const replication::EntriesHead& head,
                           std::shared_ptr<const wal::Chunk> owner, ByteView bytes) {
  act(to, [&](SimProcess& process) { process.replica(number_of(log)).receive(from, head, std::move(owner), bytes); });
}

void ClusterWorld::lost(NodeId node, NodeId peer, const Uuid& log, const replication::SessionId& session) {
  act(node, [&](SimProcess& process) { process.replica(number_of(log)).on_stream_lost(peer, session); });
}

void ClusterWorld::peer_gone(NodeId node, NodeId peer) {
  act(node, [&](SimProcess& process) {
    for (std::size_t log = 0; log < process.logs(); ++log) process.replica(log).on_peer_gone(peer);
  });
}

void ClusterWorld::leaves(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message) {
  const Machine& m = machine(from);
  checks_.leaves(from, to, sim_disk(from, m.disk_generation), number_of(log), message,
                 m.process->replica(number_of(log)));
}

void ClusterWorld::leaves(NodeId from, NodeId to, const Uuid& log, const replication::StreamMessage& message) {
  checks_.leaves(from, to, number_of(log), message, machine(from).process->replica(number_of(log)));
}

}  // namespace walraft::sim
