#pragma once

// The invariants of the protocol (reliability: R1-R5, ST1-ST9, D3), as an onlooker sees them who sees all nodes at
// once. Names in messages are those of that list.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replication/core/core.h"
#include "wal/base/ids.h"

namespace walraft::model {

struct ModelBatch {
  Index index;
  Term term;
  std::uint64_t content = 0;  // 0 for a NOOP; else unique
  Digest digest;
  bool operator==(const ModelBatch&) const = default;
};

// A log on a disk: [0, size) written, [0, durable) survives a power cut.
struct ModelLog {
  std::vector<ModelBatch> batches;
  Index durable;
  Index end() const { return Index(batches.size()); }
};

class CoreChecks {
 public:
  void set_voters(std::size_t voters) { voters_ = voters; }

  // A leader appended a batch of its own.
  void on_created(NodeId node, const ModelBatch& batch);
  // After each step: `before` is what the core was, for the node that took it.
  struct Seen {
    Term term;
    replication::Role role = replication::Role::follower;
    Index commit;
    Term commit_term;
  };
  struct NodeView {
    NodeId id;
    const replication::Core* core = nullptr;  // null: down
    const ModelLog* log = nullptr;
    const replication::Ballot* durable_ballot = nullptr;
  };
  void after_step(NodeId stepped, const std::vector<NodeView>& nodes);
  // The node's log was cut to `to`.
  void on_cut(NodeId node, Index to, Index commit);
  // The node came back from a crash.
  void on_restart(NodeId node) { seen_.erase(node); }
  // The node's disk was replaced: what votes from there is somebody else, and counts for nobody.
  void on_wiped(NodeId node) {
    std::erase_if(votes_, [&](const auto& vote) { return vote.first.first == node; });
  }
  void on_ballot(NodeId node, const replication::Ballot& ballot);

  // Everything committed anywhere so far: index -> batch.
  Index committed() const { return Index(committed_.size()); }
  const std::string& violation() const { return violation_; }
  void fail(const std::string& name, const std::string& what);

 private:
  friend class CoreFingerprint;
  void check_commit(const NodeView& node, const std::vector<NodeView>& nodes);
  void check_flows(const NodeView& leader, const std::vector<NodeView>& nodes);
  void check_matching(const NodeView& node, const std::vector<NodeView>& nodes);

  std::size_t voters_ = 0;
  std::string violation_;
  std::map<Term, NodeId> elected_;
  std::map<Term, NodeId> creators_;
  std::map<std::pair<Index, Term>, std::uint64_t> created_;
  std::map<std::pair<NodeId, Term>, NodeId> votes_;
  std::vector<ModelBatch> committed_;
  std::vector<Term> committed_in_;  // the term of the leader that committed it
  std::map<NodeId, Seen> seen_;
};

}  // namespace walraft::model
