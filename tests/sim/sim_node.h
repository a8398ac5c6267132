#pragma once

// A machine of a simulated cluster: its disk, its clock, and while it is up the process on it with a few logs. The
// process is what the server runs, but for sockets: Shard, Replicas, wal::Log, HardStateFile on a SimFilesystem.
// Whoever drives it calls its verbs from events of the world; each first brings the clock up to the world's time.
// Thread: one.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/replica/replica.h"
#include "replication/replica/shard.h"
#include "tests/sim/crash_choice.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/hard_state.h"

namespace walraft::sim {

inline constexpr Uuid kSimCluster{{0xc1}};
// The first byte of a log's uuid is its id.
constexpr wal::LogIdentity sim_log(std::uint8_t id) { return {kSimCluster, Uuid{{id, 0x10}}, LogId(id)}; }
// `generation`: 0 for the disk that the configuration names; each replacement counts one more.
constexpr Uuid sim_disk(NodeId node, std::uint8_t generation) {
  return Uuid{{static_cast<std::uint8_t>(node.value), 0xd1, generation}};
}

// A process that runs. Dies with its filesystem's crash; then it may only be destroyed.
class SimProcess {
 public:
  struct Options {
    NodeId node;
    Uuid disk;
    std::uint8_t logs = 3;
    replication::Configuration members;
    replication::Timing timing;
    replication::Limits limits;
    std::uint64_t tail_cache_bytes = 32u << 10;
    std::uint64_t latency_min_us = 0, latency_max_us = 0;
    bool first_start = false;  // of this disk
    std::uint64_t seed = 1;
  };

  // Reads the disk, blocks in simulated time. Throws SimCrash where its filesystem says so.
  SimProcess(SimFilesystem& filesystem, SimClock& clock, replication::Peers& peers, const Options& options,
             std::function<void()> wake);

  bool started() const { return error_ == std::nullopt; }
  const std::optional<Error>& error() const { return error_; }  // why it did not start

  SimDisk& disk() { return disk_; }
  replication::Shard& shard() { return *shard_; }
  wal::HardStateFile& hard_state() { return *hard_state_; }
  replication::Replica& replica(std::size_t log) { return *replicas_[log]; }
  const replication::Replica& replica(std::size_t log) const { return *replicas_[log]; }
  std::size_t logs() const { return replicas_.size(); }
  const std::vector<std::string>& alarms() const { return alarms_; }

 private:
  Result<void> open(SimFilesystem& filesystem, SimClock& clock, replication::Peers& peers, const Options& options,
                    std::function<void()> wake);

  SimDisk disk_;
  SimRng rng_;
  std::unique_ptr<wal::Directory> root_;
  std::unique_ptr<wal::HardStateFile> hard_state_;
  std::unique_ptr<replication::Shard> shard_;
  std::vector<std::unique_ptr<replication::Replica>> replicas_;
  std::vector<std::string> alarms_;
  std::optional<Error> error_;
};

// The clock of a machine against the world's: it may run slow or fast, stand still, and jump ahead.
class NodeTime {
 public:
  // The machine's monotonic clock when the world's shows `world_us`.
  std::uint64_t local_us(std::uint64_t world_us) const {
    return base_local_us_ + (world_us - base_world_us_) * percent_ / 100;
  }
  // When it will show `local_us`; nothing if it stands still.
  std::optional<std::uint64_t> world_us(std::uint64_t local_us) const {
    if (percent_ == 0) return std::nullopt;
    if (local_us <= base_local_us_) return base_world_us_;
    return base_world_us_ + ((local_us - base_local_us_) * 100 + percent_ - 1) / percent_;
  }
  std::uint64_t percent() const { return percent_; }
  void set_rate(std::uint64_t world_us, std::uint64_t percent, std::uint64_t jump_us = 0) {
    base_local_us_ = local_us(world_us) + jump_us;
    base_world_us_ = world_us;
    percent_ = percent;
  }

 private:
  std::uint64_t base_world_us_ = 0;
  std::uint64_t base_local_us_ = 0;
  std::uint64_t percent_ = 100;
};

// An empty disk on which the hard state has been made, as a node's first start leaves it. Copies of one that was made
// before, as making it takes long.
std::unique_ptr<SimFilesystem> make_sim_machine(const Uuid& disk, std::uint64_t seed);

}  // namespace walraft::sim
