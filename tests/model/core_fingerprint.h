#pragma once

// What two CoreWorlds must have in common to behave alike for ever: 128 bits of the cores, the disks, the network and
// what the checks remember. Left out is what cannot matter again in the worlds of core_search.h, so that more states are
// one; each omission says why, in core_fingerprint.cc. CoreSearch compares the successors of states that it takes for
// the same (`verify`), which is how a field that was forgotten here is found.
//
// Time: the clocks of these worlds go in steps of a silence (kSilenceUs), or in steps so small that all of them
// together reach no limit. So of every moment it is enough to know how many silences ago it was.

#include <array>
#include <compare>
#include <cstdint>

#include "tests/model/core_world.h"

namespace walraft::model {

inline constexpr std::uint64_t kElectionTimeoutUs = 1'000'000;
// Of one silence a node doubts its leader and stands for election; of two its stream counts as dead.
inline constexpr std::uint64_t kSilenceUs = kElectionTimeoutUs * 5 / 2;

struct Fingerprint {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const Fingerprint&) const = default;
};

// The node 1 + i is called renaming[i] instead.
using Renaming = std::array<std::uint16_t, 3>;
// How many sessions were opened in each incarnation that is over; see CoreFingerprint::owner().
using SessionCounts = std::array<std::uint8_t, 32>;

class CoreFingerprint {
 public:
  static constexpr std::uint64_t kIncarnations = 8;  // of each node
  // Incarnations of different nodes differ, so that sessions do as well: they tell whose they are.
  static constexpr std::uint64_t first_incarnation(NodeId node) { return node.value * kIncarnations; }
  static constexpr NodeId owner(std::uint64_t incarnation) {
    return NodeId{static_cast<std::uint16_t>(incarnation / kIncarnations)};
  }
  // How many sessions a node has opened since its start.
  static std::uint64_t sessions(const Core& core);
  // Of three nodes at most. `salt` is mixed in: what the search knows besides.
  static Fingerprint of(const CoreWorld& world, const Renaming& renaming, const SessionCounts& opened,
                        std::uint64_t salt);
};

// Of a letter with its addresses.
std::uint64_t fingerprint(const Letter& letter);

}  // namespace walraft::model
