#pragma once

// Runs scripts of the protocol: tests/data/raft/*.txt, commands over a world of cores (tests/model/core_world.h).
// Nodes are named by number, links as 1->2 or 1<->2, "all" is every node, times are 300ms or 2s. After each command the
// nodes that changed are shown, one line each.
//
//   nodes N [window=BYTES] [frame=BATCHES] [digests=late]    a new world; first in each script
//   elect N                         2 s pass for N only: it campaigns; everything is delivered, the others dial
//   propose N [COUNT]               a client appends at N
//   read N                          a linearizable read at N; the answer is shown when it comes
//   transfer A->B                   A hands over to B
//
//   wait TIME                       nobody looks at a clock
//   tick N|all [TIME]               TIME passes, then the nodes look at their timers
//   run TIME                        20 ms, a tick of every node, everything delivered; again until TIME is over
//   settle                          everything is delivered, synced, sent on, until nothing is left
//   deliver A->B [WHAT] [COUNT] [keep]    what is in flight now and begins with WHAT ("vote?", "ack"; "control" and
//                                   "stream" are all of a channel); `keep` leaves a copy in flight (control only)
//   drop A->B [WHAT] [COUNT]        loses control messages; of streams nothing can be lost but all: break
//   gone A->B                       the connections of A's process to B were reset
//   lose A->B [WHAT]                the next frame of a stream, as no transport does, but a sender with a bug
//   break A->B                      the streams between two nodes break
//   stash NAME A->B [WHAT]          remembers what is in flight
//   replay NAME                     delivers what was stashed once more, whatever became of its session since
//   cut LINK / isolate N            control messages are lost, streams stand still
//   block LINK                      streams stand still
//   heal                            all of it
//   send A->B [COUNT]               one frame of at most COUNT batches
//
//   persist N                       a ballot that waits is durable
//   sync N [TO]                     batches before TO are durable
//   look_up N                       the digest that the core asked for first is read (digests=late; or at once)
//   finish_cut N                    a truncation is durable
//   hold N / release N              in settle and run, the disk of N does nothing / goes on
//   pause N / resume N              in settle and run, N does nothing and hears nothing / goes on
//   stall N TIME                    the oldest write of N is that old and does not end; 0s: the disk is well
//   window N BYTES                  how much N lets a leader send ahead of its acks
//   crash N [kept=COUNT]            what was not synced is lost, but for COUNT batches
//   start N
//   wipe N / damage N TO            of a node that is down: an empty disk / a log that lost what it acknowledged
//   write N TERM... [term=T]        of a node that is down: its log holds batches of these terms (1 or 3..5), its
//                                   ballot is of T
//   fail_append N                   the log of N did not take a batch
//
//   status / logs / flows N         what the nodes say / terms of their batches / a leader's view of its followers
//   trace on|off                    shows what settle, elect and run send, too
//   expect N WORD...                each WORD is in N's line; "!WORD" is not
//   expect leader N|none            of all that are up
//   expect committed N              batches, anywhere
//   expect flight A->B [WHAT] / expect silence A->B [WHAT]    something, nothing like it is in flight
//   expect refused COMMAND...       the command (propose, read, transfer, send) is refused
//
// Each command is followed by a check of all invariants. A command that cannot be carried out, an expectation that does
// not hold and a broken invariant are printed as "FAILED ...", end the script, and are failed().

#include <memory>
#include <sstream>
#include <string>

#include "tests/datadriven/raft_network.h"
#include "tests/datadriven/raft_report.h"
#include "tests/datadriven/raft_settling.h"
#include "tests/datadriven/script.h"
#include "tests/model/core_world.h"

namespace walraft {

class RaftScript {
 public:
  // What the command prints.
  std::string run(const std::string& line);
  // Empty, or the first thing that went wrong.
  const std::string& failed() const { return failed_; }

 private:
  void carry_out(const Command& command);
  bool try_client(const Command& command);
  bool try_time(const Command& command);
  bool try_disk(const Command& command);
  void make(const Command& command);
  void propose(const Command& command);
  void send(const Command& command);
  void expect(const Command& command);
  void expect_leader(const std::string& who);
  void expect_committed(const Command& command);
  void expect_refused(const Command& command);
  void expect_words(const Command& command);
  void fail(const std::string& what);
  model::CoreWorld& world();

  std::unique_ptr<model::CoreWorld> world_;
  std::ostringstream out_;
  RaftNetwork network_{out_};
  RaftSettling settling_;
  RaftReport report_;
  std::string failed_;
  bool trace_ = false;  // of bulk commands
  bool telling_ = true;  // now
};

}  // namespace walraft
