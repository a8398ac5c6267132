#include "replication/core/formation.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

std::string list(const std::vector<NodeId>& nodes) {
  std::string text;
  for (const NodeId node : nodes) text += (text.empty() ? "" : ", ") + describe(node);
  return text;
}

}  // namespace

Formation::Formation(Self self, std::optional<Cluster> formed) : self_(std::move(self)), cluster_(std::move(formed)) {
  CHECK(std::is_sorted(self_.listed.begin(), self_.listed.end()) &&
        std::find(self_.listed.begin(), self_.listed.end(), self_.node) != self_.listed.end());
  if (cluster_) state_ = State::formed;
}

void Formation::start(const Uuid& fresh_uuid) {
  if (state_ == State::waiting) decide(fresh_uuid);
}

std::vector<NodeId> Formation::to_ask() const {
  std::vector<NodeId> asked;
  if (state_ == State::formed || state_ == State::deciding) return asked;
  for (const NodeId node : self_.listed) {
    if (node != self_.node) asked.push_back(node);  // also who has answered: it may be formed by now
  }
  return asked;
}

FormationAnswer Formation::answer() const { return {self_.cluster_name, self_.listed, self_.disk, cluster_}; }

void Formation::on_answer(NodeId from, const FormationAnswer& answer, const Uuid& fresh_uuid) {
  if (state_ == State::formed || state_ == State::deciding) return;
  empty_.erase(from);
  complaints_.erase(from);
  if (answer.cluster_name != self_.cluster_name) {
    complaints_[from] = "node " + describe(from) + " belongs to cluster \"" + answer.cluster_name +
                        "\", this one to \"" + self_.cluster_name + "\" (cluster.name): correct one of them";
    return;
  }
  if (answer.formed) {
    const Member* mine = answer.formed->members.find(self_.node);
    if (mine != nullptr && mine->disk == self_.disk) {
      proposal_ = answer.formed;
      state_ = State::deciding;
      return;
    }
    state_ = State::refused;
    complaints_[from] = mine == nullptr ? "the cluster exists and does not know node " + describe(self_.node) +
                                              "; waiting for: walctl member add " + describe(self_.node)
                                        : "the cluster knows node " + describe(self_.node) + " with the disk " +
                                              describe(mine->disk) + ", and this one is " + describe(self_.disk) +
                                              ": bring the old disk back, or remove the node and add it under a new id";
    return;
  }
  if (answer.listed != self_.listed) {
    complaints_[from] = "node " + describe(from) + " lists the members " + list(answer.listed) + ", this node " +
                        list(self_.listed) + " (cluster.members): to form a cluster all lists must be the same";
    return;
  }
  empty_[from] = answer.disk;
  decide(fresh_uuid);
}

// Only if all agree that there is nothing yet, and only the lowest id.
void Formation::decide(const Uuid& fresh_uuid) {
  if (state_ != State::waiting || empty_.size() + 1 < self_.listed.size()) return;
  if (self_.node != self_.listed.front()) return;
  Cluster cluster{fresh_uuid, {}};
  for (const NodeId node : self_.listed) {
    cluster.members.members.push_back({node, node == self_.node ? self_.disk : empty_.at(node), true});
  }
  proposal_ = std::move(cluster);
  state_ = State::deciding;
}

void Formation::on_durable() {
  CHECK(state_ == State::deciding);
  cluster_ = std::exchange(proposal_, std::nullopt);
  state_ = State::formed;
}

std::string Formation::why() const {
  if (state_ == State::formed || state_ == State::deciding) return "";
  std::string text;
  for (const auto& [node, complaint] : complaints_) text += (text.empty() ? "" : "; ") + complaint;
  std::vector<NodeId> silent;
  for (const NodeId node : self_.listed) {
    if (node != self_.node && !empty_.contains(node) && !complaints_.contains(node)) silent.push_back(node);
  }
  if (!silent.empty()) text += (text.empty() ? "" : "; ") + ("no answer from node " + list(silent));
  if (text.empty()) text = "waiting for node " + describe(self_.listed.front()) + " to form the cluster";
  return text;
}

}  // namespace walraft::replication
