#pragma once

// The server of the stream channel over simulated disk, time and connections: the same input gives the same run.
// Thread: one.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "replication/state/catalogue.h"
#include "rpc/stream/server.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_rng.h"
#include "tests/sim/sim_stream.h"
#include "wal/base/check.h"
#include "wal/hard_state.h"

namespace walraft::sim {

// Old data is read when the loop comes to it, or when hold() ends.
class SimReaders final : public rpc::ReaderPool {
 public:
  explicit SimReaders(SimLoop& loop) : loop_(loop) {}
  void run(std::function<void()> work, std::function<void()> done) override {
    ++waiting;
    auto job = [this, work = std::move(work), done = std::move(done)] {
      --waiting;
      work();
      loop_.post(done);
    };
    if (holding_) {
      held_.push_back(std::move(job));
    } else {
      loop_.post(std::move(job));
    }
  }
  void hold(bool holding) {
    holding_ = holding;
    for (auto& job : std::exchange(held_, {})) loop_.post(std::move(job));
  }

  std::size_t waiting = 0;

 private:
  SimLoop& loop_;
  bool holding_ = false;
  std::vector<rpc::Loop::Task> held_;
};

class ServerWorld {
 public:
  explicit ServerWorld(const std::vector<std::string>& logs, const replication::Limits& limits = {},
                       std::size_t connections_max = 64)
      : root_(filesystem_.root()) {
    const Uuid cluster{{1, 2, 3}};
    CHECK(wal::HardStateFile::create(*root_, "hard_state", cluster).has_value());
    hard_state_ = must(wal::HardStateFile::open(*root_, "hard_state", cluster, wal::Access::direct, disk_));
    shard_ = std::make_unique<replication::Shard>(replication::Self{NodeId{1}, cluster}, limits, replication::Timing{},
                                                  disk_, *hard_state_, peers_, clock_, rng_,
                                                  [this] { loop_.post([this] { shard_->turn(); }); });
    wal::LogOptions options;
    options.first_segment_bytes = 64u << 10;
    options.segment_bytes = 1u << 20;
    options.tail_cache_bytes = 128u << 10;  // small: readers are to meet the files too
    catalogue_ = must(replication::Catalogue::open(*shard_, must(root_->subdirectory("logs", true)), cluster, options));
    auto readers = std::make_unique<SimReaders>(loop_);
    readers_ = readers.get();
    server_ = std::make_unique<rpc::Server>(loop_, std::move(readers), *shard_, *catalogue_,
                                            rpc::ServerOptions{.cluster_name = "test",
                                                               .cluster_uuid = cluster,
                                                               .node = NodeId{1},
                                                               .software = "test",
                                                               .connections_max = connections_max});
    for (const std::string& log : logs) {
      catalogue_->create({.name = log}, [](const auto& made) { CHECK(made.has_value()); });
    }
    settle();
  }

  std::shared_ptr<Wire> connect(const std::string& machine = "10.0.0.1") {
    auto wire = std::make_shared<Wire>();
    server_->accept(std::make_unique<SimStream>(loop_, wire, machine));
    return wire;
  }

  // One thing of those that can be done now; false if there is none.
  bool step() {
    if (loop_.run_one()) return true;
    if (!disk_.step(rng_)) return false;
    shard_->disk_turn();
    return true;
  }
  // Until nothing can be done without time passing.
  void settle() {
    while (step() || wait_for_disk()) {
    }
  }
  // Time passes, and everything happens when it is due.
  void pass_us(std::uint64_t duration_us) {
    const std::uint64_t until = clock_.monotonic_us() + duration_us;
    for (;;) {
      while (step()) {
      }
      std::uint64_t next = until;
      if (const auto due = loop_.next_due_us()) next = std::min(next, *due);
      if (const auto due = disk_.next_due_us()) next = std::min(next, *due);
      if (next == until && clock_.monotonic_us() >= until) return;
      clock_.advance_to_us(std::max(next, clock_.monotonic_us()));
      if (clock_.monotonic_us() >= tick_due_us_) {
        shard_->tick();
        tick_due_us_ = clock_.monotonic_us() + 100'000;
      }
    }
  }
  void pass_s(std::uint64_t seconds) { pass_us(seconds * 1'000'000); }

  rpc::Server& server() { return *server_; }
  replication::Catalogue& catalogue() { return *catalogue_; }
  replication::Shard& shard() { return *shard_; }
  SimReaders& readers() { return *readers_; }
  SimDisk& disk() { return disk_; }
  SimFilesystem& filesystem() { return filesystem_; }

 private:
  template <class T>
  static T must(Result<T> result) {
    CHECK(result.has_value());
    return std::move(*result);
  }

  bool wait_for_disk() {
    if (disk_.writes_in_flight() == 0) return false;
    const auto due = disk_.next_due_us();
    if (!due) return false;
    clock_.advance_to_us(std::max(*due, clock_.monotonic_us()));
    return true;
  }

  SimClock clock_;
  SimRng rng_{7};
  SimFilesystem filesystem_;
  SimLoop loop_{clock_};
  SimDisk disk_{filesystem_, clock_};
  std::unique_ptr<wal::Directory> root_;
  std::unique_ptr<wal::HardStateFile> hard_state_;
  replication::NoPeers peers_;
  std::unique_ptr<replication::Shard> shard_;
  std::unique_ptr<replication::Catalogue> catalogue_;
  std::unique_ptr<rpc::Server> server_;
  SimReaders* readers_ = nullptr;  // the server's
  std::uint64_t tick_due_us_ = 0;
};

}  // namespace walraft::sim
