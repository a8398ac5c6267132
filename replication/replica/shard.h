#pragma once

// What the replicas of one shard share: the disk, the hard state, the clock, the budget of bytes in flight, and the
// turn of the loop that sends everything off together.
// Thread: shard, but the constructor.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "replication/core/timing.h"
#include "replication/replica/peers.h"
#include "wal/base/clock.h"
#include "wal/base/ids.h"
#include "wal/disk.h"
#include "wal/hard_state.h"

namespace walraft::replication {

class Replica;

struct Limits {
  std::uint32_t record_bytes_max = 1u << 20;
  std::uint32_t batch_bytes_max = 4u << 20;      // records without their length fields
  std::uint64_t inflight_bytes_max = 64u << 20;  // appended but not committed, over all logs of the shard
  // What a leader may send of one log ahead of a follower's acks. At least two batches of the largest size.
  std::uint64_t follower_window_bytes = 32u << 20;
};

// This node, as its peers know it.
struct Self {
  NodeId node;
  Uuid disk;                      // of its data directory
  std::uint64_t incarnation = 1;  // one more than at its last start (incarnation.h)
};

class Shard {
 public:
  // `wake` asks for a turn() soon, on the shard thread, after what the loop has ready now. All references outlive the
  // shard.
  Shard(const Self& self, const Limits& limits, const Timing& timing, wal::Disk& disk, wal::HardStateFile& hard_state,
        Peers& peers, Clock& clock, Rng& rng, std::function<void()> wake);

  const Self& self() const { return self_; }
  const Timing& timing() const { return timing_; }
  const Limits& limits() const { return limits_; }
  void set_limits(const Limits& limits) { limits_ = limits; }  // for what comes from now on
  wal::Disk& disk() { return disk_; }
  wal::HardStateFile& hard_state() { return hard_state_; }
  Peers& peers() { return peers_; }
  // Null if this node does not have the log.
  Replica* find(const Uuid& log) const;
  Clock& clock() { return clock_; }
  Rng& rng() { return rng_; }

  // One turn: every replica with news goes on, then the disk gets it all.
  void turn();
  // Delivers the disk's completions, then takes a turn. Call it when Disk::event_descriptor() is readable.
  void disk_turn();
  // Time passes: housekeeping of all logs, and the protocol's clock. Every 100 ms or so; every tenth of a heartbeat's
  // interval (Timing) where logs have more than one voter.
  void tick();
  // For an end in order, when nothing is busy: writes down how far each log was durable, so that the next start would
  // miss even its last segment. at_rest() when that is done.
  void prove_tails();
  bool at_rest() const { return hard_state_.idle() && disk_.oldest_write_age_us() == 0; }

  // The reserve of the disk (wal/ballast.h). A control batch found no room: `handler` is to let the reserve go, and to
  // call reserve_held(true) when it has been taken again. In between only control batches are written, so that data
  // cannot use it up.
  void on_reserve_needed(std::function<void()> handler) { reserve_needed_ = std::move(handler); }
  void reserve_held(bool held) { reserve_held_ = held; }
  bool reserve_held() const { return reserve_held_; }
  void need_reserve();

  // Something that people must look at: said once, when it is found.
  void on_alarm(std::function<void(const std::string&)> handler) { alarm_ = std::move(handler); }
  void alarm(const std::string& what) const;

  // For replicas.
  void add(Replica& replica);
  void remove(Replica& replica);
  void mark(Replica& replica);  // has something for the next turn
  void stall(Replica& replica);  // waits for the disk: go_on() after its next completion; once until then
  bool reserve(std::uint64_t bytes);
  void release(std::uint64_t bytes) { inflight_bytes_ -= bytes; }

  std::uint64_t inflight_bytes() const { return inflight_bytes_; }

 private:
  void turn_stalled();
  void probe();

  const Self self_;
  const Timing timing_;
  Limits limits_;
  wal::Disk& disk_;
  wal::HardStateFile& hard_state_;
  Peers& peers_;
  Clock& clock_;
  Rng& rng_;
  std::function<void()> wake_;
  std::map<Uuid, Replica*> replicas_;
  std::vector<Replica*> marked_;
  std::vector<Replica*> stalled_;
  std::vector<Replica*> turning_;  // scratch of turn()
  bool woken_ = false;
  bool reserve_held_ = true;
  std::function<void()> reserve_needed_;
  std::function<void(const std::string&)> alarm_;
  std::uint64_t inflight_bytes_ = 0;
  std::uint64_t probe_at_us_ = 0;
};

}  // namespace walraft::replication
