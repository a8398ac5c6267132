#include "tests/sim/sim_node.h"

#include <map>
#include <utility>

#include "replication/replica/incarnation.h"
#include "wal/base/check.h"

namespace walraft::sim {
namespace {

constexpr std::string_view kHardState = "hard_state";

}  // namespace

SimProcess::SimProcess(SimFilesystem& filesystem, SimClock& clock, replication::Peers& peers, const Options& options,
                       std::function<void()> wake)
    : disk_(filesystem, clock), rng_(options.seed) {
  disk_.set_latency_us(options.latency_min_us, options.latency_max_us);
  if (auto opened = open(filesystem, clock, peers, options, std::move(wake)); !opened) error_ = opened.error();
}

Result<void> SimProcess::open(SimFilesystem& filesystem, SimClock& clock, replication::Peers& peers,
                              const Options& options, std::function<void()> wake) {
  root_ = filesystem.root();
  auto hard_state = wal::HardStateFile::open(*root_, kHardState, options.disk, wal::Access::direct, disk_);
  if (!hard_state) return std::unexpected(std::move(hard_state.error()).at("the hard state"));
  hard_state_ = std::move(*hard_state);
  const auto incarnation = replication::begin_incarnation(*hard_state_, options.disk, disk_);
  if (!incarnation) return std::unexpected(incarnation.error());
  shard_ = std::make_unique<replication::Shard>(
      replication::Self{.node = options.node, .disk = options.disk, .incarnation = *incarnation}, options.limits,
      options.timing, disk_, *hard_state_, peers, clock, rng_, std::move(wake));
  shard_->on_alarm([this](const std::string& what) { alarms_.push_back(what); });
  wal::LogOptions log_options;
  log_options.segment_bytes = log_options.first_segment_bytes = wal::kSegmentBytesMin;
  log_options.tail_cache_bytes = options.tail_cache_bytes;
  log_options.is_new = options.first_start;
  log_options.durable_is_commit = options.members.voters() == 1;
  for (std::uint8_t id = 1; id <= options.logs; ++id) {
    const std::string name = "log" + std::to_string(id);
    auto directory = root_->subdirectory(name, true);
    if (!directory) return std::unexpected(directory.error());
    if (auto synced = root_->sync(); !synced) return synced;
    auto log = wal::Log::open(std::move(*directory), sim_log(id), log_options, *hard_state_, disk_, clock, rng_);
    if (!log) return std::unexpected(std::move(log.error()).at(name));
    auto replica = replication::Replica::open(
        *shard_, {.name = name, .identity = sim_log(id), .members = options.members}, std::move(*log));
    if (!replica) return std::unexpected(std::move(replica.error()).at(name));
    replicas_.push_back(std::move(*replica));
  }
  return {};
}

std::unique_ptr<SimFilesystem> make_sim_machine(const Uuid& disk, std::uint64_t seed) {
  static std::map<Uuid, std::unique_ptr<SimFilesystem>> made;
  auto& pattern = made[disk];
  if (!pattern) {
    pattern = std::make_unique<SimFilesystem>(1);
    const auto root = pattern->root();
    CHECK(wal::HardStateFile::create(*root, kHardState, disk).has_value());
  }
  auto machine = pattern->fork();
  machine->crash(CrashChoice::lose_unsynced());
  machine->reseed(seed);
  return machine;
}

}  // namespace walraft::sim
