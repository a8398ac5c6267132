#include "tests/model/core_checks.h"

#include <algorithm>

#include "replication/core/quorum.h"
#include "wal/base/check.h"

namespace walraft::model {

using replication::Role;

void CoreChecks::fail(const std::string& name, const std::string& what) {
  if (violation_.empty()) violation_ = name + ": " + what;
}

void CoreChecks::on_created(NodeId node, const ModelBatch& batch) {
  const auto creator = creators_.emplace(batch.term, node).first;
  if (creator->second != node) {
    fail("R1 Election Safety", "nodes " + describe(creator->second) + " and " + describe(node) +
                                   " make batches in term " + describe(batch.term));
  }
  const auto [at, fresh] = created_.emplace(std::pair(batch.index, batch.term), batch.content);
  if (!fresh && at->second != batch.content) {
    fail("R2 Leader Append-Only", "two batches at " + describe(batch.index) + " in term " + describe(batch.term));
  }
}

void CoreChecks::on_ballot(NodeId node, const replication::Ballot& ballot) {
  if (ballot.vote == NodeId()) return;
  const auto [at, fresh] = votes_.emplace(std::pair(node, ballot.term), ballot.vote);
  // A vote for who leads that term already elects nobody.
  const auto leader = elected_.find(ballot.term);
  const bool moot = leader != elected_.end() && leader->second == ballot.vote;
  if (!fresh && at->second != ballot.vote && !moot) {
    fail("R1 Election Safety", "node " + describe(node) + " votes twice in term " + describe(ballot.term));
  }
}

void CoreChecks::on_cut(NodeId node, Index to, Index commit) {
  if (to < commit) {
    fail("ST6 Truncation",
         "node " + describe(node) + " cuts to " + describe(to) + ", below its commit " + describe(commit));
  }
}

void CoreChecks::after_step(NodeId stepped, const std::vector<NodeView>& nodes) {
  const auto at = std::find_if(nodes.begin(), nodes.end(), [&](const NodeView& n) { return n.id == stepped; });
  if (at == nodes.end() || at->core == nullptr) return;
  const replication::Core& core = *at->core;
  if (core.halted()) fail("halted", "node " + describe(stepped) + ": " + *core.halted());
  const auto before = seen_.find(stepped);
  if (before != seen_.end()) {
    if (core.term() < before->second.term) fail("D2 Terms grow", "node " + describe(stepped));
    if (core.commit() < before->second.commit) fail("ST4 Commit is monotone", "node " + describe(stepped));
  }
  if (core.role() == Role::leader) {
    const auto [leader, fresh] = elected_.emplace(core.term(), stepped);
    if (leader->second != stepped) {
      fail("R1 Election Safety",
           "term " + describe(core.term()) + " has leaders " + describe(leader->second) + " and " + describe(stepped));
    }
    if (fresh) {
      // R4: whoever is elected has everything that was committed in earlier terms. (Votes that come late may elect a
      // leader of a term that is over: it can commit nothing.)
      for (const ModelBatch& batch : committed_) {
        if (committed_in_[batch.index.value] > core.term()) break;
        const auto& log = at->log->batches;
        if (batch.index.value >= log.size() || log[batch.index.value] != batch) {
          fail("R4 Leader Completeness", "node " + describe(stepped) + " leads term " + describe(core.term()) +
                                             " without the committed batch " + describe(batch.index));
          break;
        }
      }
    }
    check_flows(*at, nodes);
  }
  check_matching(*at, nodes);
  if (before == seen_.end() || core.commit() > before->second.commit) check_commit(*at, nodes);
  seen_[stepped] = {core.term(), core.role(), core.commit(), Term()};
}

// R5, and for a leader ST7 and D3: what it commits would survive if every node lost power now.
void CoreChecks::check_commit(const NodeView& node, const std::vector<NodeView>& nodes) {
  const Index commit = node.core->commit();
  const auto& log = node.log->batches;
  if (commit > node.log->end())
    return fail("ST4 Commit", "node " + describe(node.id) + " commits what it does not have");
  for (std::uint64_t i = 0; i < commit.value; ++i) {
    if (i < committed_.size()) {
      if (committed_[i] != log[i]) {
        return fail("R5 State-Machine Safety",
                    "node " + describe(node.id) + " commits another batch at " + std::to_string(i));
      }
      continue;
    }
    std::size_t copies = 0;
    for (const NodeView& other : nodes) {
      copies += other.log->durable.value > i && other.log->batches[i] == log[i];
    }
    if (copies < replication::quorum_size(voters_)) {
      return fail("D3 Counted is durable", "batch " + std::to_string(i) + " is committed at node " + describe(node.id) +
                                               " with " + std::to_string(copies) + " durable copies");
    }
    if (node.core->role() != Role::leader) {
      return fail("ST4 Commit", "node " + describe(node.id) + " commits " + std::to_string(i) + " before any leader");
    }
    committed_.push_back(log[i]);
    committed_in_.push_back(node.core->term());
  }
  if (node.core->role() == Role::leader && log[commit.value - 1].term != node.core->term()) {
    fail("ST7 Current term", "node " + describe(node.id) + " commits up to a batch of term " +
                                 describe(log[commit.value - 1].term) + " in term " + describe(node.core->term()));
  }
}

// ST2: what a leader believes of its followers is never more than the truth.
void CoreChecks::check_flows(const NodeView& leader, const std::vector<NodeView>& nodes) {
  for (const auto& [peer, flow] : leader.core->leading()->peers()) {
    const auto at = std::find_if(nodes.begin(), nodes.end(), [&](const NodeView& n) { return n.id == peer; });
    const Index match = flow.match();
    if (match > at->log->durable) {
      // A follower may have cut its log for a newer leader since; then its ballot says so.
      if (at->durable_ballot->term > leader.core->term()) continue;
      return fail("ST2 Belief", "leader " + describe(leader.id) + " counts " + describe(match) + " on node " +
                                    describe(peer) + ", which has " + describe(at->log->durable));
    }
  }
}

// R3: the same index and term, the same log up to there. The digest chains, so equal digests are enough.
void CoreChecks::check_matching(const NodeView& node, const std::vector<NodeView>& nodes) {
  for (const NodeView& other : nodes) {
    if (other.id == node.id) continue;
    const auto& a = node.log->batches;
    const auto& b = other.log->batches;
    for (std::size_t i = std::min(a.size(), b.size()); i-- > 0;) {
      if (a[i].term != b[i].term) continue;
      if (a[i].digest != b[i].digest) {
        return fail("R3 Log Matching", "nodes " + describe(node.id) + " and " + describe(other.id) +
                                           " differ at or below " + std::to_string(i));
      }
      break;
    }
  }
}

}  // namespace walraft::model
