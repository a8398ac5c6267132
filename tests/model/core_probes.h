#pragma once

// The rare branches of the core, marked by PROBE, that no world of working nodes reaches: what leads there is a peer with
// a bug, or a disk that lied. tests/unit/replication_core/core_strangers_test.cc feeds a core by hand until each of
// them was passed; every other one has to be reached by random runs or by scripts (tests/datadriven/raft_probes.cc).

#include <string_view>

namespace walraft::model {

inline constexpr std::string_view kReachedByHand[] = {
    "accept of another match",  // a follower that cut its log elsewhere than it was told
    "ack of what was never sent",  // a follower that counts wrong
    "halt: diverged",  // a disk lost what a majority had acknowledged
    "halt: the digests differ",  // the same index and term, made twice
    "halt: the leader parts below our commit",
    "refused: diverged",
    "refused: no member",  // membership does not change yet
    "refused: trimmed",  // retention is the replica's, and no model's
    "vote request of another disk",  // by a node that does not know its own
    "welcome disagrees with our history",
};

}  // namespace walraft::model
