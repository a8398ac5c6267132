#pragma once

// A cluster in one thread: machines (sim_node.h) on a network (sim_network.h), events in the order of their time, and
// the checks after each. The same seed and the same calls give the same events.
// What goes wrong, and what clients do, come from outside (cluster_trouble.h, cluster_clients.h). Thread: one.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/cluster_checks.h"
#include "tests/sim/cluster_knobs.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

class ClusterWorld final : private SimNetwork::Nodes {
 public:
  ClusterWorld(std::uint64_t seed, const ClusterKnobs& knobs);
  ~ClusterWorld() override;

  // The next event. Nothing happens any more after a violation.
  void step();
  void run_for_us(std::uint64_t duration_us);  // of the world's time
  const std::string& violation() const { return checks_.violation(); }

  const ClusterKnobs& knobs() const { return knobs_; }
  std::uint64_t now_us() const { return queue_.now_us(); }
  std::uint64_t events() const { return queue_.events(); }
  // Of everything that happened.
  std::uint64_t trace_hash() const;
  // Each event, a line; to stdout.
  void show();
  void say(const std::string& line) const;

  EventQueue& queue() { return queue_; }
  SimNetwork& network() { return network_; }
  ClusterChecks& checks() { return checks_; }
  const std::vector<NodeId>& ids() const { return ids_; }

  // --- One machine ---
  bool up(NodeId node) const { return machine(node).process != nullptr; }
  bool stopped(NodeId node) const override { return machine(node).stopped; }
  bool wiped(NodeId node) const { return machine(node).disk_generation != 0; }
  // How often it was started.
  std::uint64_t lives(NodeId node) const { return machine(node).lives; }
  const SimProcess& process(NodeId node) const { return *machine(node).process; }  // it is up
  SimFilesystem& filesystem(NodeId node) { return *machine(node).filesystem; }
  // An event of a client: `verb` runs within the process, which is up and not stopped.
  void act(NodeId node, const std::function<void(SimProcess&)>& verb);

  void crash(NodeId node, CrashChoice choice);
  void start(NodeId node);                // if it is down
  void keep_down(NodeId node, bool is_kept) {
    machine(node).kept_down = is_kept;
  }  // else it starts again after a while
  void replace_disk(NodeId node);         // it is down; by an empty one, under the same id
  // It is down. What was on its disk an image has instead, or `harm` does to it.
  void put_back(NodeId node, const SimFilesystem& image);
  void harm_disk(NodeId node, const std::function<void(SimFilesystem&)>& harm);
  void stop(NodeId node) { machine(node).stopped = true; }
  // It does not know yet that it was stopped: whoever asks it now is told by `asked`, before its next look at the clock.
  void resume(NodeId node);
  void on_resume(std::function<void(NodeId)> asked) { on_resume_ = std::move(asked); }
  void set_clock(NodeId node, std::uint64_t percent, std::uint64_t jump_us);
  std::uint64_t clock_percent(NodeId node) const { return machine(node).time.percent(); }
  void set_disk_latency(NodeId node, std::uint64_t min_us, std::uint64_t max_us);
  void hang_disk(NodeId node, bool hangs);

 private:
  struct Machine {
    NodeId id;
    std::unique_ptr<SimFilesystem> filesystem;
    SimClock clock;
    NodeTime time;
    std::unique_ptr<SimProcess> process;  // null: down
    std::uint64_t life = 0;
    std::uint64_t lives = 0;
    std::uint8_t disk_generation = 0;
    bool started_once = false;
    bool stopped = false;
    bool kept_down = false;
    bool hangs = false;
    bool turn_comes = false;
    std::optional<std::uint64_t> disk_due_us;  // of the event that comes
    std::uint64_t latency_min_us = 0, latency_max_us = 0;
  };

  Machine& machine(NodeId node) const { return *machines_[node.value - 1]; }
  void bring_clock(Machine& machine);
  void die(Machine& machine, CrashChoice choice);
  void start_later(Machine& machine);
  void wake(Machine& machine, std::uint64_t life);
  void schedule_disk(Machine& machine);
  void disk_event(Machine& machine);
  void disk_turn_later(Machine& machine, std::uint64_t life);  // what the disk did is heard of late
  void tick(Machine& machine, std::uint64_t life);
  CrashChoice any_crash();
  bool chance(std::uint64_t percent) { return rng_.below(100) < percent; }

  std::uint64_t life(NodeId node) const override { return machine(node).life; }
  void receive(NodeId to, NodeId from, const Uuid& log, const replication::ControlMessage& message) override;
  void receive(NodeId to, NodeId from, const Uuid& log, const replication::StreamMessage& message) override;
  void receive(NodeId to, NodeId from, const Uuid& log, const replication::EntriesHead& head,
               std::shared_ptr<const wal::Chunk> owner, ByteView bytes) override;
  void lost(NodeId node, NodeId peer, const Uuid& log, const replication::SessionId& session) override;
  void peer_gone(NodeId node, NodeId peer) override;
  void leaves(NodeId from, NodeId to, const Uuid& log, const replication::ControlMessage& message) override;
  void leaves(NodeId from, NodeId to, const Uuid& log, const replication::StreamMessage& message) override;

  ClusterKnobs knobs_;
  SimRng rng_;
  EventQueue queue_;
  ClusterChecks checks_;
  SimNetwork network_;
  replication::Configuration members_;
  std::vector<NodeId> ids_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::function<void(NodeId)> on_resume_;
  bool shows_ = false;
};

}  // namespace walraft::sim
