#pragma once

// What a seed draws before anything happens (swarm testing): how many nodes there are, how large things are, which
// kinds of trouble this run has and how often, so that some runs have much of one kind and none of another.

#include <cstdint>
#include <string>

#include "tests/sim/sim_network.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

struct ClusterKnobs {
  std::uint16_t nodes = 3;
  std::uint8_t logs = 3;
  std::uint64_t events = 3'000;
  std::uint64_t quiet_us = 2'500'000;  // nothing goes wrong at first
  std::uint64_t tick_us = 40'000;      // of the node's clock
  std::uint64_t turn_us = 100;         // from a wake to the turn, at most
  std::uint64_t tail_cache_bytes = 32u << 10;
  std::uint64_t window_bytes = 64u << 10;
  std::uint64_t inflight_bytes = 1u << 20;
  std::uint64_t disk_min_us = 100, disk_max_us = 1'000;
  SimNetwork::Knobs network;

  // --- Clients ---
  std::uint64_t clients = 6;
  std::uint64_t think_us = 100'000;
  std::uint64_t record_bytes_max = 200;
  std::uint64_t records_max = 3;
  std::uint64_t expect_percent = 10;

  // --- Trouble --- from time to time one thing, by these weights
  std::uint64_t trouble_us = 200'000;  // on average
  std::uint64_t restart_us = 300'000;  // on average, until a node that is down starts
  std::uint64_t power_cuts = 0;
  std::uint64_t kills = 0;
  std::uint64_t crash_points = 0;      // at one of the disk's next operations
  std::uint64_t storms = 0;            // all nodes lose their power
  std::uint64_t stops = 0;
  std::uint64_t resets = 0;
  std::uint64_t cuts = 0;              // single links, single channels, one way
  std::uint64_t partitions = 0;  // groups that hear each other and nobody else; with the leader on the small side
  std::uint64_t heals = 0;
  std::uint64_t clocks = 0;
  std::uint64_t slow_disks = 0;
  std::uint64_t hanging_disks = 0;
  std::uint64_t full_disks = 0;
  std::uint64_t disk_errors = 0;
  std::uint64_t wipes = 0;  // a minority comes back with empty disks
  std::uint64_t harms = 0;  // a minority's disks are older images of themselves, or damaged; and the images are made
  std::uint64_t transfers = 0;

  static ClusterKnobs draw(SimRng& rng);
  // No trouble at all: what remains is chance in time.
  static ClusterKnobs calm(std::uint16_t nodes);
};

std::string describe(const ClusterKnobs& knobs);

}  // namespace walraft::sim
