#pragma once

// The clients of a simulated cluster, and what they were told (tests/model/history.h). Each has one log and does one
// thing at a time: it appends, to the node that it believes to lead; it asks where the log ends; or it tails the log on
// any node, from where it stands. It gives up what takes too long, and never learns what became of it.
// Thread: one.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/model/history.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/sim_rng.h"

namespace walraft::sim {

class ClusterClients {
 public:
  ClusterClients(ClusterWorld& world, std::uint64_t seed);

  // No client asks for anything any more; what is under way may still be answered.
  void stop() { stopped_ = true; }
  // One append to this node, outside of all clients; `answered` tells how it ended.
  void append(NodeId node, std::size_t log, std::function<void(bool ok)> answered);

  // The whole history of a log, with what the cluster holds of it in the end.
  model::History history(std::size_t log) const;
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t delivered() const { return delivered_; }
  std::uint64_t reads() const { return reads_; }

 private:
  struct Client {
    std::size_t log = 0;
    NodeId believed;
    bool reads = false;  // tails; else appends and asks
    std::uint64_t next = 0;  // where it tails
    std::uint64_t session = 0;
    std::uint64_t busy = 0;  // the number of what is under way; 0: nothing
    std::uint64_t patient_until_us = 0;
  };

  void go_on(std::size_t client);
  void append_of(std::size_t client);
  void ask(std::size_t client);
  void ask_node(NodeId node, std::size_t log, const std::function<void(bool ok)>& answered);
  void ask_at_once(NodeId node);
  void tail(std::size_t client);
  void answered(std::size_t client, std::uint64_t number, bool try_elsewhere, NodeId leader);
  NodeId any_node();
  std::vector<std::byte> batch_of(std::size_t log, std::uint64_t records_max, std::uint64_t bytes_max,
                                  std::vector<std::uint64_t>& values);
  std::uint64_t stamp() { return ++stamp_; }
  bool chance(std::uint64_t percent) { return rng_.below(100) < percent; }

  ClusterWorld& world_;
  SimRng rng_;
  std::vector<Client> clients_;
  std::vector<model::History> histories_;
  std::vector<std::uint64_t> tails_;  // by log: the last one that anybody was told
  std::vector<std::uint64_t> answered_;  // by log: behind the last record that was acknowledged to anybody
  std::uint64_t stamp_ = 0;
  std::uint64_t values_ = 0;
  std::uint64_t numbers_ = 0;
  std::uint64_t sessions_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t reads_ = 0;
  bool stopped_ = false;
};

}  // namespace walraft::sim
