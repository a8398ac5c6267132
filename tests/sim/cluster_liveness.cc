#include "tests/sim/cluster_liveness.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "wal/base/check.h"

namespace walraft::sim {
namespace {

using replication::Core;
using replication::Role;

constexpr std::uint64_t kRoundUs = 100'000;
constexpr std::uint64_t kSettleUs = 60'000'000;
constexpr std::uint64_t kSteadyUs = 1'500'000;   // longer than a leader that lost the others takes to notice it
constexpr std::uint64_t kAppendUs = 5'000'000;
constexpr std::uint64_t kQuietUs = 5'000'000;    // longer than a stream can be dead

class Settling {
 public:
  Settling(ClusterWorld& world, ClusterClients& clients, std::vector<NodeId> well)
      : world_(world), clients_(clients), well_(std::move(well)) {}

  std::string go(std::uint64_t& settled_us) {
    std::uint64_t steady_us = 0;
    for (settled_us = 0; steady_us < kSteadyUs; settled_us += kRoundUs) {
      if (settled_us > kSettleUs)
        return "L1 Settles: not within " + std::to_string(kSettleUs / 1'000'000) + " s: " + missing() + text();
      if (!round()) return world_.violation();
      steady_us = missing().empty() ? steady_us + kRoundUs : 0;
    }
    std::size_t answered = 0;
    for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
      const NodeId to = alone() ? well_.front() : leader(log);
      world_.say("an append to log " + std::to_string(log + 1) + " on node " + describe(to));
      clients_.append(to, log, [&answered](bool ok) { answered += ok; });
    }
    for (std::uint64_t us = 0; us < kAppendUs && (answered < world_.knobs().logs || !missing().empty());
         us += kRoundUs) {
      if (!round()) return world_.violation();
    }
    if (answered < world_.knobs().logs)
      return "L3 Appends: " + std::to_string(answered) + " of one to each log were acknowledged" + text();
    const std::string quiet = shape();
    for (std::uint64_t us = 0; us < kQuietUs; us += kRoundUs) {
      if (!round()) return world_.violation();
      if (shape() != quiet || !missing().empty())
        return "L2 Quiet: was " + quiet + ", is " + shape() + ' ' + missing() + text();
    }
    return read_back();
  }

 private:
  bool alone() const { return world_.ids().size() == 1; }

  bool round() {
    world_.run_for_us(kRoundUs);
    return world_.violation().empty();
  }

  const Core& core(NodeId node, std::size_t log) const { return world_.process(node).replica(log).core(); }

  NodeId leader(std::size_t log) const {
    for (const NodeId id : well_) {
      if (core(id, log).role() == Role::leader) return id;
    }
    return NodeId();
  }

  // Empty: nothing.
  std::string missing() const {
    for (const NodeId id : well_) {
      if (!world_.up(id)) return "node " + describe(id) + " is down";
    }
    for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
      const std::string at = "log " + std::to_string(log + 1) + ": ";
      const NodeId leads = leader(log);
      if (leads == NodeId() && !alone()) return at + "nobody leads";
      const Core& first = core(alone() ? well_.front() : leads, log);
      if (!alone() && !first.stamp()) return at + "its leader takes no appends";
      for (const NodeId id : well_) {
        const Core& other = core(id, log);
        const std::string node = at + "node " + describe(id);
        if (other.term() != first.term() || other.log().end() != first.log().end()) return node + " is behind";
        if (other.suspect()) return node + " is suspect";
        if (other.commit() != other.log().end() || other.durable() != other.log().end())
          return node + " does not commit everything";
        if (world_.process(id).replica(log).busy()) return node + " has unanswered appends";
        if (alone() || id == leads) continue;
        if (other.leader() != leads || other.upstream().state() != replication::Upstream::State::streaming ||
            first.leading()->peers().at(id).state() != replication::PeerFlow::State::streaming) {
          return node + " does not stream";
        }
      }
    }
    return {};
  }

  // What may not change any more: leaders, terms, sessions.
  std::string shape() const {
    std::string text;
    for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
      text += " log " + std::to_string(log + 1) + " led by " + describe(leader(log));
      for (const NodeId id : well_) {
        text += ' ' + describe(core(id, log).term()) + '/' + replication::describe(core(id, log).upstream().session());
      }
    }
    return text;
  }

  std::string read_back() {
    for (const NodeId id : well_) {
      for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
        std::vector<std::uint64_t> values;
        wal::LogView view = world_.process(id).replica(log).view();
        const Offset end = view.end_offset;
        wal::LogReader reader(std::move(view));
        while (values.size() < end.value) {
          std::vector<wal::BatchRef> batches;
          const auto read = reader.read(Offset(values.size()), 1u << 20, batches);
          if (!read || batches.empty())
            return "L4 Read back: node " + describe(id) + ": " + (read ? "nothing" : read.error().message);
          for (const wal::BatchRef& ref : batches) {
            for (const std::uint64_t value : sim_records(ref.bytes)) values.push_back(value);
          }
        }
        if (values != world_.checks().records(log)) {
          return "L4 Read back: node " + describe(id) + " has other records in log " + std::to_string(log + 1) +
                 " than were committed";
        }
      }
    }
    return {};
  }

  std::string text() const {
    std::string text = "\nwell:";
    for (const NodeId id : well_) text += ' ' + describe(id);
    for (const NodeId id : world_.ids()) {
      for (std::size_t log = 0; log < world_.knobs().logs; ++log) {
        text += "\n  node " + describe(id) + " log " + std::to_string(log + 1) + ' ' +
                (world_.up(id) ? core(id, log).describe() : "down");
      }
    }
    return text;
  }

  ClusterWorld& world_;
  ClusterClients& clients_;
  std::vector<NodeId> well_;
};

}  // namespace

std::string heal_and_settle(ClusterWorld& world, ClusterTrouble& trouble, ClusterClients& clients, SimRng& rng,
                            std::uint64_t& settled_us) {
  std::vector<NodeId> ids = world.ids();
  for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[rng.below(i)]);
  const std::size_t quorum = ids.size() / 2 + 1;
  std::size_t want = quorum + rng.below(ids.size() - quorum + 1);
  // One whose disk was harmed counts again when it has heard of every other voter. Otherwise it is one of the sick.
  std::set<NodeId> out = trouble.harmed();
  const bool all = std::ranges::none_of(ids, [&](NodeId id) { return world.wiped(id); }) && rng.below(2) == 0;
  if (all) {
    out.clear();
    want = ids.size();
  }
  std::vector<NodeId> well;
  std::set<NodeId> sick;
  for (const NodeId id : ids) {
    if (!world.wiped(id) && !out.contains(id) && well.size() < want) {
      well.push_back(id);
    } else {
      sick.insert(id);
    }
  }
  std::ranges::sort(well);
  clients.stop();
  trouble.heal(sick);
  return Settling(world, clients, well).go(settled_us);
}

}  // namespace walraft::sim
