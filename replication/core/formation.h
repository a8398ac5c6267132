#pragma once

// How empty nodes become a cluster, once, and how an empty node finds that there is one already (proto:2.11).
//
//   waiting --- all listed members answered, agree, are empty; mine is the lowest id ---> forming --- durable --->
//   formed
//      |                                                                                     ^
//      +--- somebody is formed, and names me with my disk --------------------- adopting ----+
//      +--- somebody is formed, and does not: this node never forms, and says why every minute (refused)
//
// The lowest id decides alone and makes its decision durable before it tells anybody; the others learn it by asking. So
// there is one decision, as long as that disk lives. If it is lost before others made its decision theirs, there can be
// a second one; but no node is ever in two clusters, so only one of them can have a majority, and no record is in
// danger.
//
// Asks again at each tick until it is over. Pure, as the core is. Thread: shard.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "replication/core/membership.h"
#include "wal/base/ids.h"

namespace walraft::replication {

// A cluster: what a node must have on its disk before it takes part in anything.
struct Cluster {
  Uuid uuid;
  Configuration members;  // of `_system`
  bool operator==(const Cluster&) const = default;
};

struct FormationQuery {
  std::string cluster_name;
};

struct FormationAnswer {
  std::string cluster_name;
  std::vector<NodeId> listed;  // in the configuration file of the one who answers, ascending
  Uuid disk;
  std::optional<Cluster> formed;
};

class Formation {
 public:
  struct Self {
    NodeId node;
    Uuid disk;
    std::string cluster_name;
    std::vector<NodeId> listed;  // the members of the configuration file, ascending, this node among them
  };
  // `formed`: what the disk says.
  Formation(Self self, std::optional<Cluster> formed);

  enum class State : std::uint8_t {
    waiting,  // for answers
    deciding,  // proposal() is to be made durable, then on_durable()
    formed,
    refused,  // why() says what an operator has to do; asking goes on
  };
  State state() const { return state_; }

  // Whom to ask now: each listed member that has not given an answer that counts. Nobody once formed.
  std::vector<NodeId> to_ask() const;
  // `fresh_uuid` is used if this answer lets this node form the cluster.
  void on_answer(NodeId from, const FormationAnswer& answer, const Uuid& fresh_uuid);
  // Sole member: nobody needs to be asked.
  void start(const Uuid& fresh_uuid);
  FormationAnswer answer() const;

  // What becomes this node's cluster; valid while deciding.
  const Cluster& proposal() const { return *proposal_; }
  void on_durable();
  const std::optional<Cluster>& cluster() const { return cluster_; }

  // What this node waits for, for the log: "waiting for node 2: it has not answered".
  std::string why() const;

 private:
  void decide(const Uuid& fresh_uuid);

  const Self self_;
  State state_ = State::waiting;
  std::optional<Cluster> cluster_;
  std::optional<Cluster> proposal_;
  std::map<NodeId, Uuid> empty_;  // members that answered, agree, and are empty: their disks
  std::map<NodeId, std::string> complaints_;
};

}  // namespace walraft::replication
