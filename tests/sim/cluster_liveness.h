#pragma once

// After trouble, a majority of a simulated cluster that is well and connected, while the rest is down, cut off one way,
// or has a disk that hangs: within a bounded time each log has one leader there, everybody streams, and commits are
// equal without a new append; an append commits; every node reads back what was acknowledged; and then nothing changes
// any more (reliability.md 5.3: L1-L4).

#include <cstdint>
#include <string>

#include "tests/sim/cluster_clients.h"
#include "tests/sim/cluster_trouble.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

// Empty: it became one. Otherwise what it did not do, and how things stand. `settled_us`: how long it took.
std::string heal_and_settle(ClusterWorld& world, ClusterTrouble& trouble, ClusterClients& clients, SimRng& rng,
                            std::uint64_t& settled_us);

}  // namespace walraft::sim
