#pragma once

// The promises of a cluster, as an onlooker sees them who sees all nodes and remembers everything (the list is in
// replication/STREAMING_RAFT.md; the protocol's own numbers in brackets). Looks at a node after each of its events, at
// what leaves it, and at what it finds on its disk when it starts again; each look costs as much as there is news.
//
//   R1   one leader a term; one vote a term and disk [I1, I11]      of what leaves a node
//   R2   one batch for an index and term, with one history [I2-I4]  of what is in a log
//   R4   who is elected has what was committed [I5]
//   R5   one committed batch for an index, for ever [I6]
//   ST2  what a leader counts of a follower is durable there [I8, I18]
//   ST4  a node's commit grows, ST6 and nothing below it is cut [I9]
//   D1   what a node once had durably is there after each restart [I8]
//   D2   its term too, if it ever said it [I11]
//   D3   what a leader commits is durable on a majority [I7]
//   D6   nobody takes its log for damaged where nothing was damaged
//   P6   no ack tells more than what is durable
// Thread: one.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "replication/replica/replica.h"
#include "wal/base/ids.h"
#include "wal/batch.h"
#include "wal/chunk.h"

namespace walraft::sim {

class ClusterChecks {
 public:
  ClusterChecks(std::size_t logs, std::size_t voters) : voters_(voters), logs_(logs) {}

  void fail(const std::string& name, const std::string& what);
  const std::string& violation() const { return violation_; }  // the first; empty: none

  // --- Looking ---
  // `log` counts from 0, in all calls.
  void look(NodeId node, std::size_t log, const replication::Replica& replica);
  // What it finds on its disk.
  void on_start(NodeId node, std::size_t log, const replication::Replica& replica);
  // Its power is cut within an event: what it appended or cut in it may be done on the disk.
  void on_cut_off(NodeId node, std::size_t log, const replication::Replica& replica);
  // Its process has ended, with the power or without.
  void on_crash(NodeId node);
  // Its disk is another one from now on, on which there is nothing. A leader may still count what the old one had.
  void on_disk_replaced(NodeId node);
  // Its disk is an older image of itself, or damaged. From now on it may be SUSPECT.
  void on_disk_harmed(NodeId node);
  void leaves(NodeId from, NodeId to, const Uuid& disk, std::size_t log, const replication::ControlMessage& message,
              const replication::Replica& replica);
  void leaves(NodeId from, NodeId to, std::size_t log, const replication::StreamMessage& message,
              const replication::Replica& replica);
  // A reader was given these.
  void on_read(NodeId node, std::size_t log, const std::vector<wal::BatchRef>& batches);

  // --- What is the case ---
  Index committed(std::size_t log) const { return Index(logs_[log].committed.size()); }
  // The records of everything committed, by offset: the first eight bytes of each.
  const std::vector<std::uint64_t>& records(std::size_t log) const { return logs_[log].records; }

 private:
  struct Batch {
    Term term;
    Digest digest;
    std::uint32_t body = 0;  // a checksum of its bytes as they are, whatever its header says
    bool operator==(const Batch&) const = default;
  };
  struct Made {  // by index: what was ever written there
    Batch batch;
    Offset base;
    std::vector<std::uint64_t> records;
  };
  struct OnNode {
    std::vector<Batch> batches;  // written
    std::vector<Batch> cut;      // a cut is under way: what was there before
    Index durable;               // as far as the node could have told of it
    Index commit;                // of this life
    Term term;                   // of this life
    Term said;                   // the highest that left
    bool leads = false;
    bool replaced = false;       // its disk is not the first one, or not what it was
    bool harmed = false;
  };
  struct OfLog {
    std::vector<std::vector<Made>> made;
    std::vector<Batch> committed;
    std::vector<Term> committed_in;  // the term of the leader that did it
    std::vector<std::uint64_t> records;
    std::map<Term, NodeId> leaders;
    std::map<std::pair<Uuid, Term>, NodeId> votes;
    std::map<NodeId, OnNode> nodes;
    std::vector<OnNode> replaced;  // as they were
  };

  static Batch batch_of(ByteView bytes, const wal::BatchHeader& header);
  Batch remember(NodeId node, OfLog& log, const wal::BatchRef& ref, const replication::Replica& replica);
  void look_at_tail(NodeId node, OfLog& log, OnNode& on, const replication::Replica& replica);
  void look_at_flows(NodeId node, OfLog& log, const replication::Replica& replica);
  void look_at_commit(NodeId node, OfLog& log, OnNode& on, const replication::Replica& replica);
  void look_at_leader(NodeId node, OfLog& log, OnNode& on, const replication::Replica& replica);
  void say(NodeId node, std::size_t log, Term term);
  void vote(NodeId node, const Uuid& disk, std::size_t log, Term term, NodeId candidate);
  static std::string name(NodeId node, const replication::Replica& replica);

  std::size_t voters_;
  std::vector<OfLog> logs_;
  std::string violation_;
};

// The first eight bytes of each record.
std::vector<std::uint64_t> sim_records(ByteView batch);

}  // namespace walraft::sim
