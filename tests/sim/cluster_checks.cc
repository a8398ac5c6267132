#include "tests/sim/cluster_checks.h"

#include <algorithm>

#include "replication/core/quorum.h"
#include "tests/sim/sim_rng.h"
#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/batch.h"

namespace walraft::sim {

using replication::Replica;
using replication::Role;

std::vector<std::uint64_t> sim_records(ByteView batch) {
  std::vector<std::uint64_t> values;
  const auto header = wal::decode_batch_header(batch);
  if (!header || header->kind != wal::BatchKind::data) return values;
  wal::RecordCursor records(*header, batch);
  while (const auto record = records.next())
    values.push_back(record->size() < 8 ? 0 : load_le<std::uint64_t>(record->data()));
  return values;
}

void ClusterChecks::fail(const std::string& name, const std::string& what) {
  if (violation_.empty()) violation_ = name + ": " + what;
}

std::string ClusterChecks::name(NodeId node, const Replica& replica) {
  return "node " + describe(node) + " " + replica.name();
}

// --- What is in a log ------------------------------------------------------------------------------------------------

ClusterChecks::Batch ClusterChecks::batch_of(ByteView bytes, const wal::BatchHeader& header) {
  return {header.term, header.digest, crc32c(bytes.subspan(wal::kBatchHeaderBytes))};
}

ClusterChecks::Batch ClusterChecks::remember(NodeId node, OfLog& log, const wal::BatchRef& ref,
                                             const Replica& replica) {
  const auto header = wal::decode_batch_header(ref.bytes);
  CHECK(header.has_value(), ref.index);
  const Batch batch = batch_of(ref.bytes, *header);
  if (log.made.size() <= ref.index.value) log.made.resize(ref.index.value + 1);
  auto& made = log.made[ref.index.value];
  const auto same_term = std::ranges::find(made, header->term, [](const Made& m) { return m.batch.term; });
  if (same_term == made.end()) {
    const auto leader = log.leaders.find(header->term);
    const bool own = (replica.core().role() == Role::leader && header->term == replica.term()) ||
                     (leader != log.leaders.end() && leader->second == node);
    made.push_back({batch, header->base_offset, sim_records(ref.bytes)});
    if (!own) {
      fail("R2 Origin", name(node, replica) + " has a batch " + describe(ref.index) + " of term " +
                            describe(header->term) + " that no leader made");
    }
  } else if (same_term->batch != batch) {
    fail("R2 Log Matching", "two batches or histories at " + describe(ref.index) + " in term " +
                                describe(header->term) + ", the second in " + name(node, replica));
  }
  return batch;
}

void ClusterChecks::on_cut_off(NodeId node, std::size_t log_number, const Replica& replica) {
  OfLog& log = logs_[log_number];
  OnNode& on = log.nodes[node];
  // A cut that began in it, and one that is done: what was there has other terms now, or none.
  const replication::LogTerms& now = replica.core().log();
  if (replica.core().truncating()) on.durable = std::min(on.durable, replica.tail().index);
  on.durable = std::min(on.durable, now.end());
  while (on.durable > now.base() && now.term_before(on.durable) != on.batches[on.durable.value - 1].term) {
    on.durable = Index(on.durable.value - 1);
  }
  const Index from(on.batches.size());
  std::vector<wal::BatchRef> fresh;
  if (from >= replica.tail().index || !replica.log().read_tail(from, replica.tail().index, 1u << 30, fresh)) return;
  for (const wal::BatchRef& ref : fresh) remember(node, log, ref, replica);
}

void ClusterChecks::look_at_tail(NodeId node, OfLog& log, OnNode& on, const Replica& replica) {
  const wal::LogPoint tail = replica.tail();
  if (tail.index.value < on.batches.size()) {
    if (tail.index < on.commit) {
      fail("ST6 Truncation",
           name(node, replica) + " cuts to " + describe(tail.index) + ", below its commit " + describe(on.commit));
    }
    if (on.cut.empty()) on.cut = on.batches;
    on.batches.resize(tail.index.value);
    on.durable = std::min(on.durable, tail.index);
  }
  std::vector<wal::BatchRef> fresh;
  while (on.batches.size() < tail.index.value) {
    fresh.clear();
    const Index from(on.batches.size());
    if (!replica.log().read_tail(from, tail.index, 1u << 20, fresh) || fresh.empty()) {
      wal::LogReader reader(replica.log().view());
      if (const auto read = reader.read(from, 1u << 20, fresh); !read || fresh.empty()) {
        return fail("D5 Readable", name(node, replica) + " cannot read its batch " + describe(from) + ": " +
                                       (read ? "nothing there" : read.error().message));
      }
    }
    for (const wal::BatchRef& ref : fresh) on.batches.push_back(remember(node, log, ref, replica));
  }
  if (tail.index > Index() && on.batches.back().digest != tail.digest) {
    fail("R2 Leader Append-Only",
         name(node, replica) + " has another batch before " + describe(tail.index) + " than it had");
  }
  if (!replica.core().truncating()) on.cut.clear();
}

void ClusterChecks::look_at_leader(NodeId node, OfLog& log, OnNode& on, const Replica& replica) {
  const bool leads = replica.core().role() == Role::leader;
  if (!leads || std::exchange(on.leads, leads)) {
    on.leads = leads;
    return;
  }
  const Term term = replica.term();
  const auto [leader, fresh] = log.leaders.emplace(term, node);
  if (leader->second != node) {
    fail("R1 Election Safety", replica.name() + ": term " + describe(term) + " has leaders " +
                                   describe(leader->second) + " and " + describe(node));
  }
  // Votes that come late may elect a leader of a term that is over: it can commit nothing, and need not have
  // everything.
  std::size_t must = log.committed.size();
  while (must > 0 && log.committed_in[must - 1] > term) --must;
  if (must > 0 && (on.batches.size() < must || on.batches[must - 1] != log.committed[must - 1])) {
    fail("R4 Leader Completeness", name(node, replica) + " leads term " + describe(term) +
                                       " without the committed batch " + std::to_string(must - 1));
  }
}

// A follower may have cut its log for a newer leader since; then its term says so. One on another disk is told of by
// on_disk_replaced().
void ClusterChecks::look_at_flows(NodeId node, OfLog& log, const Replica& replica) {
  if (!replica.core().leading()) return;
  for (const auto& [peer, flow] : replica.core().leading()->peers()) {
    const OnNode& other = log.nodes[peer];
    if (flow.match() <= other.durable || other.said > replica.term() || other.replaced) continue;
    fail("ST2 Belief", name(node, replica) + " counts " + describe(flow.match()) + " on node " + describe(peer) +
                           ", which has " + describe(other.durable));
  }
}

void ClusterChecks::look_at_commit(NodeId node, OfLog& log, OnNode& on, const Replica& replica) {
  const Index commit = replica.core().commit();
  if (commit == on.commit) return;
  if (commit < on.commit) return fail("ST4 Commit is monotone", name(node, replica));
  if (commit.value > on.batches.size())
    return fail("ST4 Commit", name(node, replica) + " commits what it does not have");
  for (std::uint64_t i = on.commit.value; i < commit.value; ++i) {
    const Batch& batch = on.batches[i];
    if (i < log.committed.size()) {
      if (log.committed[i] == batch) continue;
      return fail("R5 State-Machine Safety", name(node, replica) + " commits another batch at " + std::to_string(i));
    }
    std::size_t copies = 0;
    const auto has = [&](const OnNode& other) { return other.durable.value > i && other.batches[i] == batch; };
    for (const auto& [id, other] : log.nodes) copies += has(other);
    copies += static_cast<std::size_t>(std::ranges::count_if(log.replaced, has));
    if (copies < replication::quorum_size(voters_)) {
      return fail("D3 Counted is durable", name(node, replica) + " commits batch " + std::to_string(i) +
                                               ", which has " + std::to_string(copies) + " durable copies");
    }
    if (replica.core().role() != Role::leader && voters_ > 1) {  // what a sole voter has durably is committed
      return fail("ST4 Commit", name(node, replica) + " commits " + std::to_string(i) + " before any leader");
    }
    const auto& made = log.made[i];
    const auto at = std::ranges::find(made, batch, &Made::batch);
    CHECK(at != made.end());
    if (at->base.value != log.records.size()) {
      return fail("C3 Dense", name(node, replica) + " commits a batch at offset " + describe(at->base) + ", not " +
                                  std::to_string(log.records.size()));
    }
    log.records.insert(log.records.end(), at->records.begin(), at->records.end());
    log.committed.push_back(batch);
    log.committed_in.push_back(replica.term());
  }
  if (replica.core().role() == Role::leader && on.batches[commit.value - 1].term != replica.term()) {
    fail("ST7 Current term", name(node, replica) + " commits up to a batch of term " +
                                 describe(on.batches[commit.value - 1].term) + " in term " + describe(replica.term()));
  }
  on.commit = commit;
}

void ClusterChecks::look(NodeId node, std::size_t log_number, const Replica& replica) {
  if (!violation_.empty()) return;
  OfLog& log = logs_[log_number];
  OnNode& on = log.nodes[node];
  if (replica.core().halted()) fail("halted", name(node, replica) + ": " + *replica.core().halted());
  if (replica.term() < on.term) fail("D2 Terms grow", name(node, replica));
  on.term = replica.term();
  look_at_tail(node, log, on, replica);
  // Of a cut that is under way the log itself says nothing yet.
  const Index durable = std::min(replica.log().durable(), replica.tail().index);
  if (durable < on.durable) fail("D1 Durable", name(node, replica) + " takes back what is durable");
  on.durable = durable;
  if (!violation_.empty()) return;
  look_at_leader(node, log, on, replica);
  look_at_flows(node, log, replica);
  look_at_commit(node, log, on, replica);
}

// --- Crashes and disks -----------------------------------------------------------------------------------------------

void ClusterChecks::on_crash(NodeId node) {
  for (OfLog& log : logs_) {
    OnNode& on = log.nodes[node];
    on.commit = Index();
    on.term = Term();
    on.leads = false;
  }
}

void ClusterChecks::on_disk_replaced(NodeId node) {
  for (OfLog& log : logs_) {
    log.replaced.push_back(std::exchange(log.nodes[node], {}));
    log.nodes[node].replaced = true;
  }
}

void ClusterChecks::on_disk_harmed(NodeId node) {
  on_disk_replaced(node);
  for (OfLog& log : logs_) log.nodes[node].harmed = true;
}

void ClusterChecks::on_start(NodeId node, std::size_t log_number, const Replica& replica) {
  if (!violation_.empty()) return;
  OfLog& log = logs_[log_number];
  OnNode& on = log.nodes[node];
  const OnNode before = std::exchange(on, {});
  if (replica.core().suspect() && !before.harmed)
    return fail("D6 Suspect", name(node, replica) + " takes its log for damaged, and it is not");
  if (replica.tail().index < before.durable) {
    return fail("D1 Durable", name(node, replica) + " ends at " + describe(replica.tail().index) +
                                  " after a restart, and " + describe(before.durable) + " was durable");
  }
  if (replica.term() < before.said) {
    return fail("D2 Term is durable", name(node, replica) + " starts in term " + describe(replica.term()) +
                                          ", and spoke in " + describe(before.said));
  }
  on.said = before.said;
  on.replaced = before.replaced;
  on.harmed = before.harmed;
  look_at_tail(node, log, on, replica);
  if (before.durable > Index() && on.batches[before.durable.value - 1] != before.batches[before.durable.value - 1]) {
    return fail("D1 Durable",
                name(node, replica) + " has another batch before " + describe(before.durable) + " after a restart");
  }
  look(node, log_number, replica);
}

// --- What leaves -----------------------------------------------------------------------------------------------------

void ClusterChecks::say(NodeId node, std::size_t log, Term term) {
  OnNode& on = logs_[log].nodes[node];
  on.said = std::max(on.said, term);
}

void ClusterChecks::vote(NodeId node, const Uuid& disk, std::size_t log, Term term, NodeId candidate) {
  const auto [at, fresh] = logs_[log].votes.emplace(std::pair(disk, term), candidate);
  if (at->second != candidate) {
    fail("R1 One vote", "node " + describe(node) + " votes for " + describe(at->second) + " and " +
                            describe(candidate) + " in term " + describe(term) + " of log " + std::to_string(log + 1));
  }
}

void ClusterChecks::leaves(NodeId from, NodeId to, const Uuid& disk, std::size_t log,
                           const replication::ControlMessage& message, const Replica&) {
  if (const auto* request = std::get_if<replication::VoteRequest>(&message)) {
    if (request->pre) return;
    vote(from, disk, log, request->term, from);
  } else if (const auto* reply = std::get_if<replication::VoteReply>(&message)) {
    if (reply->granted && !reply->pre) vote(from, disk, log, reply->campaign, to);
  }
  std::visit(
      [&](const auto& m) {
        if constexpr (requires { m.term; }) say(from, log, m.term);
      },
      message);
}

void ClusterChecks::leaves(NodeId from, NodeId, std::size_t log, const replication::StreamMessage& message,
                           const Replica& replica) {
  Index told;
  if (const auto* hello = std::get_if<replication::Hello>(&message)) told = hello->durable;
  if (const auto* accept = std::get_if<replication::Accept>(&message)) told = accept->durable;
  if (const auto* ack = std::get_if<replication::Ack>(&message)) told = ack->durable;
  // A cut that was ordered later in the same event does not make it wrong.
  if (told > replica.log().durable() && told.value > logs_[log].nodes[from].cut.size()) {
    fail("P6 Acks are durable", name(from, replica) + " tells of " + describe(told) + ", and " +
                                    describe(replica.log().durable()) + " is durable");
  }
  std::visit([&](const auto& m) { say(from, log, m.term); }, message);
}

// --- Readers ---------------------------------------------------------------------------------------------------------

void ClusterChecks::on_read(NodeId node, std::size_t log, const std::vector<wal::BatchRef>& batches) {
  for (const wal::BatchRef& ref : batches) {
    const auto header = wal::decode_batch(ref.bytes);
    if (!header)
      return fail("D5 Intact", "node " + describe(node) + " hands out a damaged batch: " + header.error().message);
    const auto& committed = logs_[log].committed;
    if (ref.index.value >= committed.size()) {
      return fail("T3 Only committed", "node " + describe(node) + " hands out batch " + describe(ref.index) +
                                           " of log " + std::to_string(log + 1) + ", which nobody has committed");
    }
    if (committed[ref.index.value] != batch_of(ref.bytes, *header)) {
      return fail("T2 The truth", "node " + describe(node) + " hands out another batch " + describe(ref.index) +
                                      " of log " + std::to_string(log + 1) + " than was committed");
    }
  }
}

}  // namespace walraft::sim
