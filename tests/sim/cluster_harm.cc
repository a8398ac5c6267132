#include "tests/sim/cluster_harm.h"

#include <algorithm>
#include <string>
#include <utility>

#include "wal/base/probe.h"
#include "wal/hard_state_format.h"
#include "wal/segment_format.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kOldUs = 2'000'000;    // a log says within a second what was durable (FORMAT.md section 8)
constexpr std::uint64_t kDownUs = 3'000'000;   // what it sent has arrived
constexpr std::uint64_t kAheadUs = 1'000'000;
constexpr std::uint64_t kLookUs = 50'000;
constexpr std::uint64_t kGiveUpUs = 20'000'000;

// One of the slots that are in use, in either copy.
std::uint64_t place_in_hard_state(SimRng& rng) {
  return rng.below(2) * wal::hard_state::kHalfBytes + wal::kBlockBytes + rng.below(2) * wal::hard_state::kRegionBytes +
         rng.below(4 * wal::hard_state::kSlotBytes);
}

}  // namespace

void ClusterHarm::take_image(NodeId node) {
  Known& known = known_[node];
  if (known.image != nullptr && others_stayed(node) && rng_.below(4) != 0) return;
  known.image = world_.filesystem(node).fork();
  known.at_us = world_.now_us();
  known.lives.clear();
  for (const NodeId other : world_.ids()) {
    if (other != node) known.lives[other] = world_.lives(other);
  }
}

bool ClusterHarm::others_stayed(NodeId node) const {
  const auto& lives = known_.at(node).lives;
  return std::ranges::all_of(
      lives, [&](const auto& other) { return world_.up(other.first) && world_.lives(other.first) == other.second; });
}

bool ClusterHarm::possible(NodeId node) const {
  const auto known = known_.find(node);
  return known != known_.end() && world_.up(node) && world_.now_us() > known->second.at_us + kOldUs &&
         others_stayed(node);
}

NodeId ClusterHarm::any_other(NodeId node, NodeId than) {
  const auto& ids = world_.ids();
  for (;;) {
    const NodeId other = ids[rng_.below(ids.size())];
    if (other != node && other != than) return other;
  }
}

void ClusterHarm::cut_streams(bool are_cut) {
  for (const NodeId other : world_.ids()) {
    if (other == behind_) continue;
    world_.network().cut(behind_, other, SimNetwork::Channel::stream, are_cut);
    world_.network().cut(other, behind_, SimNetwork::Channel::stream, are_cut);
  }
}

void ClusterHarm::begin(NodeId node) {
  harmed_ = node;
  if (rng_.below(3) != 0) {
    behind_ = any_other(node, NodeId());
    world_.say("the streams of node " + describe(behind_) + " are cut");
    cut_streams(true);
  }
  world_.queue().after(1 + rng_.below(kAheadUs), [this] { crash(); });
}

void ClusterHarm::crash() {
  const std::size_t log = rng_.below(world_.knobs().logs);
  std::uint64_t last_segment = 1;
  world_.keep_down(harmed_, true);
  if (world_.up(harmed_)) {
    const auto segments = world_.process(harmed_).replica(log).log().view().segments;
    if (!segments.empty()) last_segment = segments.back().file->header.number;
    world_.crash(harmed_, CrashChoice::lose_unsynced());
  }
  world_.queue().after(kDownUs, [this, log, last_segment] {
    if (!world_.up(harmed_) && others_stayed(harmed_)) harm(last_segment, log);
    start();
    wait();
  });
}

void ClusterHarm::start() {
  world_.keep_down(harmed_, false);
  world_.start(harmed_);
  if (!world_.up(harmed_)) {  // what is left of its disk is no disk of a node
    world_.replace_disk(harmed_);
    world_.start(harmed_);
  }
  give_up_us_ = world_.now_us() + kGiveUpUs;
}

void ClusterHarm::harm(std::uint64_t last_segment, std::size_t log) {
  const std::string folder = "log" + std::to_string(log + 1) + "/";
  const std::string last = folder + wal::segment_name(last_segment);
  const std::uint64_t kind = rng_.below(6);
  if (kind < 3) {
    PROBE("sim: an older image of a disk is put back");
    world_.say("node " + describe(harmed_) + " gets an older image of its disk");
    return world_.put_back(harmed_, *known_.at(harmed_).image);
  }
  world_.harm_disk(harmed_, [&](SimFilesystem& filesystem) {
    if (kind == 3) {
      PROBE("sim: bits of the hard state flip");
      world_.say("bits of the hard state of node " + describe(harmed_) + " flip");
      for (std::uint64_t bits = rng_.between(1, 6); bits > 0; --bits) {
        filesystem.flip_bit("hard_state", place_in_hard_state(rng_), static_cast<unsigned>(rng_.below(8)));
      }
    } else if (!filesystem.exists(last)) {
      return;
    } else if (kind == 4) {
      PROBE("sim: the last segment of a log is gone");
      world_.say("node " + describe(harmed_) + " loses " + last);
      filesystem.delete_on_medium(last);
    } else {
      PROBE("sim: the last segment of a log is cut short");
      world_.say("node " + describe(harmed_) + " loses the end of " + last);
      filesystem.truncate_on_medium(last, wal::kFramesPosition + rng_.below(4) * wal::kBlockBytes);
    }
  });
}

void ClusterHarm::wait() {
  bool over = !world_.up(harmed_) || world_.now_us() > give_up_us_;
  if (!over) {
    const SimProcess& process = world_.process(harmed_);
    over = true;
    for (std::size_t log = 0; log < process.logs(); ++log) over = over && !process.replica(log).core().asking();
  }
  if (!over) return world_.queue().after(kLookUs, [this] { wait(); });
  if (behind_ != NodeId()) {
    world_.crash(any_other(harmed_, behind_), CrashChoice::lose_unsynced());
    cut_streams(false);
  }
  known_.erase(harmed_);
  harmed_ = behind_ = NodeId();
}

}  // namespace walraft::sim
