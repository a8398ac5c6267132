#include "tests/sim/cluster_clients.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "wal/base/check.h"
#include "wal/batch.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kPatienceUs = 3'000'000;
constexpr std::size_t kReadBytes = 4'096;

}  // namespace

ClusterClients::ClusterClients(ClusterWorld& world, std::uint64_t seed) : world_(world), rng_(seed) {
  const auto& knobs = world.knobs();
  histories_.resize(knobs.logs);
  tails_.resize(knobs.logs);
  answered_.resize(knobs.logs);
  world.on_resume([this](NodeId node) { ask_at_once(node); });
  for (std::size_t i = 0; i < knobs.clients; ++i) {
    clients_.push_back({.log = i % knobs.logs, .believed = any_node(), .reads = i % 3 == 2 || (i % 5 == 4)});
    clients_.back().session = ++sessions_;
    world.queue().after(rng_.below(2 * knobs.think_us), [this, i] { go_on(i); });
  }
}

NodeId ClusterClients::any_node() { return world_.ids()[rng_.below(world_.ids().size())]; }

void ClusterClients::go_on(std::size_t at) {
  if (stopped_) return;
  world_.queue().after(1 + rng_.below(2 * world_.knobs().think_us), [this, at] { go_on(at); });
  Client& client = clients_[at];
  if (client.busy != 0) {
    if (world_.now_us() < client.patient_until_us) return;
    client.busy = 0;  // it never learns
    client.believed = any_node();
  }
  if (client.reads) return tail(at);
  if (!world_.up(client.believed) || world_.stopped(client.believed)) {
    client.believed = any_node();
    return;
  }
  chance(75) ? append_of(at) : ask(at);
}

std::vector<std::byte> ClusterClients::batch_of(std::size_t log, std::uint64_t records_max, std::uint64_t bytes_max,
                                                std::vector<std::uint64_t>& values) {
  wal::BatchBuilder builder;
  for (std::uint64_t records = rng_.between(1, records_max); records > 0; --records) {
    values.push_back(mix64(++values_) | 1);
    std::vector<std::byte> record(8 + rng_.below(bytes_max), std::byte{static_cast<unsigned char>(values_)});
    store_le(record.data(), values.back());
    CHECK(builder.add(record));
  }
  const MutableBytes batch = builder.finish({.log_id = LogId(log + 1)});
  return {batch.begin(), batch.end()};
}

void ClusterClients::answered(std::size_t at, std::uint64_t number, bool try_elsewhere, NodeId leader) {
  Client& client = clients_[at];
  if (client.busy == number) client.busy = 0;
  if (try_elsewhere) client.believed = leader != NodeId() ? leader : any_node();
}

void ClusterClients::append_of(std::size_t at) {
  Client& client = clients_[at];
  const std::size_t log = client.log;
  const std::uint64_t number = client.busy = ++numbers_;
  client.patient_until_us = world_.now_us() + kPatienceUs;
  model::AppendOp op;
  auto batch = batch_of(log, world_.knobs().records_max, world_.knobs().record_bytes_max, op.values);
  replication::Replica::AppendTerms terms;
  if (chance(world_.knobs().expect_percent)) {
    op.expected = tails_[log] - (tails_[log] > 0 && chance(10) ? 1 : 0);
    terms.expect_offset = Offset(*op.expected);
  }
  op.invoked = stamp();
  auto& appends = histories_[log].appends;
  const std::size_t which = appends.size();
  appends.push_back(std::move(op));
  const NodeId node = client.believed;
  world_.act(node, [&](SimProcess& process) {
    const auto header = wal::decode_unstamped_batch(batch);
    CHECK(header.has_value());
    process.replica(log).append(
        batch, *header, terms, [this, at, number, log, which, node](Result<replication::Committed> answer) {
          model::AppendOp& done = histories_[log].appends[which];
          done.completed = stamp();
          if (answer) {
            done.outcome = model::AppendOutcome::ok;
            done.first = answer->first.value;
            tails_[log] = answered_[log] = std::max(answered_[log], answer->last.value + 1);
            ++acknowledged_;
          } else if (answer.error().code != Code::unknown) {
            done.outcome = model::AppendOutcome::not_written;
            if (answer.error().code == Code::condition_failed) tails_[log] = *(done.tail = answer.error().detail);
          }
          const bool elsewhere = !answer && answer.error().code != Code::condition_failed;
          answered(at, number, elsewhere,
                   elsewhere && world_.up(node) ? world_.process(node).replica(log).leader() : NodeId());
        });
  });
}

void ClusterClients::ask(std::size_t at) {
  Client& client = clients_[at];
  const std::uint64_t number = client.busy = ++numbers_;
  client.patient_until_us = world_.now_us() + kPatienceUs;
  const NodeId node = client.believed;
  const std::size_t log = client.log;
  ask_node(node, log, [this, at, number, log, node](bool ok) {
    answered(at, number, !ok, !ok && world_.up(node) ? world_.process(node).replica(log).leader() : NodeId());
  });
}

void ClusterClients::ask_node(NodeId node, std::size_t log, const std::function<void(bool ok)>& answered) {
  const std::uint64_t invoked = stamp();
  const std::uint64_t least = answered_[log];
  world_.act(node, [&](SimProcess& process) {
    process.replica(log).find_committed([this, log, node, invoked, least, answered](Result<Offset> answer) {
      if (answer) {
        ++reads_;
        tails_[log] = answer->value;
        histories_[log].reads.push_back(
            {.invoked = invoked, .completed = stamp(), .from = answer->value, .values = {}, .tail = answer->value});
        if (answer->value < least) {
          world_.checks().fail("C4 Linearizable reads",
                               "node " + walraft::describe(node) + " tells that log " + std::to_string(log + 1) +
                                   " ends at " + std::to_string(answer->value) + ", and " + std::to_string(least) +
                                   " records were acknowledged before it was asked");
        }
      }
      answered(answer.has_value());
    });
  });
}

// It does not know yet that it was stopped, and that others may have gone on without it.
void ClusterClients::ask_at_once(NodeId node) {
  for (std::size_t log = 0; log < histories_.size() && !stopped_; ++log) ask_node(node, log, [](bool) {});
}

void ClusterClients::tail(std::size_t at) {
  Client& client = clients_[at];
  if (chance(10)) {  // it begins anew, anywhere
    client.next = tails_[client.log] == 0 ? 0 : rng_.below(tails_[client.log] + 1);
    client.session = ++sessions_;
  }
  const NodeId node = any_node();
  if (!world_.up(node) || world_.stopped(node)) return;
  world_.act(node, [&](SimProcess& process) {
    const replication::Replica& replica = process.replica(client.log);
    std::vector<wal::BatchRef> batches;
    if (chance(30) || !replica.read_tail(Offset(client.next), kReadBytes, batches)) {
      batches.clear();
      wal::LogView view = replica.view();
      if (view.end_offset.value <= client.next) return;  // this node does not have it yet
      wal::LogReader reader(std::move(view));
      if (const auto read = reader.read(Offset(client.next), kReadBytes, batches); !read) {
        return world_.checks().fail(
            "D5 Readable", "node " + walraft::describe(node) + " " + replica.name() + ": " + read.error().message);
      }
    }
    world_.checks().on_read(node, client.log, batches);
    for (const wal::BatchRef& ref : batches) {
      std::uint64_t offset = ref.base_offset.value;
      for (const std::uint64_t value : sim_records(ref.bytes)) {
        if (offset >= client.next) {
          histories_[client.log].deliveries.push_back({client.session, stamp(), offset, value});
          client.next = offset + 1;
          ++delivered_;
        }
        ++offset;
      }
    }
  });
}

void ClusterClients::append(NodeId node, std::size_t log, std::function<void(bool ok)> answered) {
  model::AppendOp op;
  auto batch = batch_of(log, 1, 1, op.values);
  op.invoked = stamp();
  auto& appends = histories_[log].appends;
  const std::size_t which = appends.size();
  appends.push_back(std::move(op));
  world_.act(node, [&](SimProcess& process) {
    const auto header = wal::decode_unstamped_batch(batch);
    process.replica(log).append(batch, *header, {},
                                [this, log, which, answered](Result<replication::Committed> answer) {
                                  model::AppendOp& done = histories_[log].appends[which];
                                  done.completed = stamp();
                                  if (answer) {
                                    done.outcome = model::AppendOutcome::ok;
                                    done.first = answer->first.value;
                                    answered_[log] = std::max(answered_[log], answer->last.value + 1);
                                    ++acknowledged_;
                                  } else if (answer.error().code != Code::unknown) {
                                    done.outcome = model::AppendOutcome::not_written;
                                  }
                                  answered(answer.has_value());
                                });
  });
}

model::History ClusterClients::history(std::size_t log) const {
  model::History history = histories_[log];
  history.dumps.push_back({.replica = "the cluster", .first = 0, .values = world_.checks().records(log)});
  return history;
}

}  // namespace walraft::sim
