#pragma once

// Whether this node's disk is an older image of itself: an old backup that was brought back, the snapshot of a volume.
// Such a disk is in order, and has forgotten votes and batches that the node gave its word on. Only others can tell: after
// each start a node asks all other voters what they know of it (peer_memory.h), and until it knows enough it neither
// hears nor says anything else, so that its disk stays as it was found.
//
//   open --- all others answered; or enough of them to make a majority with it, and the rest had their time ---> closed
//     |
//     +--- somebody knows more than the disk does ---> rolled back: SUSPECT, under a fresh incarnation
//
// What it detects and what it cannot: STREAMING_RAFT.md, "A disk from the past".

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "replication/core/membership.h"
#include "replication/core/message.h"
#include "replication/core/timing.h"
#include "wal/base/ids.h"

namespace walraft::replication {

class BootCheck {
 public:
  // What a node's disk says.
  struct Image {
    NodeId self;
    std::uint64_t incarnation = 0;  // of this start
    Ballot ballot;
    Index durable;
  };
  BootCheck(NodeId self, std::uint64_t nonce, std::uint64_t now_us) : self_(self), nonce_(nonce), began_us_(now_us) {}

  // Does `known` show that the disk is behind? `used`: the image's incarnation is in use by now, so others may know it.
  static bool behind(const Image& image, const Remembered& known, bool used);

  bool open() const { return open_; }
  void close() { open_ = false; }
  std::uint64_t nonce() const { return nonce_; }

  // Whom to ask now; each time it is called with some, the next time is a heartbeat later.
  std::vector<NodeId> to_ask(const Configuration& members, const Timing& timing, std::uint64_t now_us);
  // Who asks us is up: it is asked back at once, but once a heartbeat.
  bool asks_back(NodeId from) { return !answered_.contains(from) && asked_back_.insert(from).second; }
  // To this start's question, from the right disk. True: it knows more than our disk does (also one that comes late).
  bool on_answer(NodeId from, const BootAnswer& answer, const Image& image);
  bool enough(const Configuration& members, const Timing& timing, std::uint64_t now_us) const;
  // Every other voter has answered: no vote of ours that was forgotten is of a higher term than told_term().
  bool all_told(const Configuration& members) const { return answered(members) == others(members); }
  Term told_term() const { return term_; }
  // One that nobody has heard of.
  std::uint64_t fresh_incarnation(std::uint64_t ours) const { return std::max(ours, incarnation_ + 1); }

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  std::size_t others(const Configuration& members) const {
    return members.voters() - (members.is_voter(self_) ? 1 : 0);
  }
  std::size_t answered(const Configuration& members) const;

  const NodeId self_;
  const std::uint64_t nonce_;
  const std::uint64_t began_us_;
  bool open_ = true;
  std::uint64_t ask_at_us_ = 0;
  std::set<NodeId> answered_;
  std::set<NodeId> asked_back_;  // since the last to_ask()
  Term term_;
  std::uint64_t incarnation_ = 0;
};

}  // namespace walraft::replication
