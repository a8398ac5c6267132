#include "tests/sim/cluster_run.h"

#include <iostream>

#include "tests/sim/cluster_clients.h"
#include "tests/sim/cluster_knobs.h"
#include "tests/sim/cluster_liveness.h"
#include "tests/sim/cluster_trouble.h"
#include "tests/sim/cluster_world.h"

namespace walraft::sim {
namespace {

ClusterKnobs draw(Mode mode, SimRng& rng) {
  ClusterKnobs knobs = ClusterKnobs::draw(rng);
  return mode == Mode::calm ? ClusterKnobs::calm(knobs.nodes) : knobs;
}

}  // namespace

ClusterRun run_cluster(std::uint64_t seed, Mode mode, bool show) {
  SimRng rng(seed);
  const ClusterKnobs knobs = draw(mode, rng);
  ClusterRun result;
  result.knobs = describe(knobs);
  if (show) std::cout << result.knobs << '\n';
  ClusterWorld world(rng.next(), knobs);
  if (show) world.show();
  ClusterClients clients(world, rng.next());
  ClusterTrouble trouble(world, rng.next());
  const std::uint64_t events = mode == Mode::liveness ? knobs.events / 2 : knobs.events;
  while ((world.events() < events || trouble.busy()) && world.violation().empty()) world.step();
  result.violation = world.violation();
  if (mode == Mode::liveness && result.violation.empty()) {
    result.violation = heal_and_settle(world, trouble, clients, rng, result.settled_us);
  }
  for (std::size_t log = 0; log < knobs.logs && result.violation.empty(); ++log) {
    for (const model::Violation& wrong : model::check_history(clients.history(log))) {
      result.violation += "C1 History of log " + std::to_string(log + 1) + ": " + model::describe(wrong.fault) + ": " +
                          wrong.what + '\n';
    }
  }
  result.events = world.events();
  result.virtual_us = world.now_us();
  for (std::size_t log = 0; log < knobs.logs; ++log) result.committed += world.checks().committed(log).value;
  result.acknowledged = clients.acknowledged();
  result.delivered = clients.delivered();
  result.reads = clients.reads();
  result.trace = world.trace_hash();
  return result;
}

}  // namespace walraft::sim
