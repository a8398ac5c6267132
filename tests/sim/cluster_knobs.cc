#include "tests/sim/cluster_knobs.h"

#include <initializer_list>
#include <utility>

namespace walraft::sim {
namespace {

std::uint64_t pick(SimRng& rng, std::initializer_list<std::uint64_t> of) {
  return *(of.begin() + rng.below(of.size()));
}

}  // namespace

ClusterKnobs ClusterKnobs::calm(std::uint16_t nodes) {
  ClusterKnobs knobs;
  knobs.nodes = nodes;
  return knobs;
}

ClusterKnobs ClusterKnobs::draw(SimRng& rng) {
  ClusterKnobs knobs;
  const auto one_of = [&](std::initializer_list<std::uint64_t> of) { return pick(rng, of); };
  knobs.nodes = static_cast<std::uint16_t>(one_of({1, 3, 3, 3, 3, 3, 3, 5, 5, 5}));
  knobs.events = rng.between(3'000, 6'000);
  knobs.quiet_us = one_of({0, 2'000'000, 2'500'000, 3'000'000});
  knobs.tick_us = one_of({20'000, 50'000, 50'000, 100'000});
  knobs.turn_us = one_of({1, 100, 1'000});
  knobs.tail_cache_bytes = one_of({4u << 10, 16u << 10, 64u << 10});
  knobs.window_bytes = one_of({16u << 10, 64u << 10, 1u << 20});
  knobs.inflight_bytes = one_of({8u << 10, 1u << 20});
  const std::uint64_t disk = one_of({50, 500, 3'000, 20'000});
  knobs.disk_min_us = disk / 2;
  knobs.disk_max_us = disk * 3;

  SimNetwork::Knobs& network = knobs.network;
  network.control_max_us = one_of({200, 2'000, 30'000});
  network.control_min_us = network.control_max_us / 10;
  network.stream_max_us = one_of({200, 2'000, 30'000, 100'000});
  network.stream_min_us = network.stream_max_us / 10;
  network.stream_us_per_kib = one_of({0, 0, 100});
  network.late_percent = one_of({0, 0, 2, 15});
  network.late_us = one_of({20'000, 300'000, 2'000'000});
  network.drop_percent = one_of({0, 0, 1, 10});
  network.double_percent = one_of({0, 0, 10});
  network.damage_permille = one_of({0, 0, 0, 10, 50});
  network.stale_percent = one_of({0, 0, 30});
  network.half_open_percent = one_of({0, 20, 80});

  knobs.clients = one_of({3, 6, 9});
  knobs.think_us = one_of({20'000, 100'000, 100'000, 400'000});
  knobs.record_bytes_max = one_of({8, 100, 400, 2'500});
  knobs.records_max = one_of({1, 3, 8});
  knobs.expect_percent = one_of({0, 10, 60});

  knobs.trouble_us = one_of({30'000, 100'000, 300'000, 1'000'000});
  knobs.restart_us = one_of({20'000, 300'000, 1'500'000});
  // Each kind of trouble is in about every third run.
  for (std::uint64_t* kind : {&knobs.power_cuts, &knobs.kills, &knobs.crash_points, &knobs.stops, &knobs.resets,
                              &knobs.cuts, &knobs.partitions, &knobs.clocks, &knobs.slow_disks, &knobs.hanging_disks,
                              &knobs.full_disks, &knobs.transfers}) {
    *kind = one_of({0, 0, 0, 1, 4});
  }
  knobs.storms = one_of({0, 0, 0, 0, 1});
  knobs.disk_errors = one_of({0, 0, 0, 0, 1});
  knobs.wipes = one_of({0, 0, 0, 0, 0, 1});
  if (rng.below(5) ==
      0) {  // long tails that nobody commits, cut later over several segments, and crashes in the middle of that
    knobs.record_bytes_max = 12'000;
    knobs.records_max = 3;
    knobs.clients = 9;
    knobs.think_us = 20'000;
    knobs.inflight_bytes = 1u << 20;
    knobs.window_bytes = 1u << 20;
    knobs.trouble_us = 300'000;
    knobs.restart_us = 20'000;
    knobs.partitions = 3;
    knobs.crash_points = 6;
    knobs.hanging_disks = knobs.full_disks = knobs.stops = knobs.clocks = 0;
  }
  if (rng.below(8) == 0) {  // the others must stay up for a while between an image and its use
    knobs.harms = 10;
    knobs.power_cuts = knobs.kills = knobs.crash_points = knobs.storms = knobs.disk_errors = rng.below(4) == 0;
    knobs.nodes = static_cast<std::uint16_t>(one_of({3, 5}));
    knobs.think_us = one_of({100'000, 400'000});
    knobs.trouble_us = one_of({100'000, 300'000});
    knobs.tick_us = 100'000;
    knobs.clients = 3;
  }
  knobs.heals = knobs.cuts + knobs.partitions == 0 ? 0 : one_of({1, 4, 8});
  return knobs;
}

std::string describe(const ClusterKnobs& k) {
  std::string text = std::to_string(k.nodes) + " nodes, " + std::to_string(k.events) + " events, " +
                     std::to_string(k.clients) + " clients each " + std::to_string(k.think_us) + " us, trouble each " +
                     std::to_string(k.trouble_us) + " us:";
  const std::pair<const char*, std::uint64_t> kinds[] = {{"power_cuts", k.power_cuts},
                                                         {"kills", k.kills},
                                                         {"crash_points", k.crash_points},
                                                         {"storms", k.storms},
                                                         {"stops", k.stops},
                                                         {"resets", k.resets},
                                                         {"cuts", k.cuts},
                                                         {"partitions", k.partitions},
                                                         {"heals", k.heals},
                                                         {"clocks", k.clocks},
                                                         {"slow_disks", k.slow_disks},
                                                         {"hanging_disks", k.hanging_disks},
                                                         {"full_disks", k.full_disks},
                                                         {"disk_errors", k.disk_errors},
                                                         {"wipes", k.wipes},
                                                         {"harms", k.harms},
                                                         {"transfers", k.transfers},
                                                         {"late%", k.network.late_percent},
                                                         {"drop%", k.network.drop_percent},
                                                         {"double%", k.network.double_percent},
                                                         {"damage%o", k.network.damage_permille},
                                                         {"stale%", k.network.stale_percent}};
  for (const auto& [name, value] : kinds) {
    if (value != 0) text += std::string(" ") + name + "=" + std::to_string(value);
  }
  return text;
}

}  // namespace walraft::sim
