#pragma once

// Ready is everything that the core wants done. Core::ready() hands it out and starts an empty one; the replica does
// all of it, in the order of the fields, before it gives the core the next event.
//
//   0. suspect      the disk turned out to be an older image of itself (boot_check.h): mark the log SUSPECT, durably no
//                   later than `persist` (Boot::suspect of the next start); incarnations count on from this one.
//   1. persist      write term and vote; when they are durable call on_persisted(version).
//   2. truncate_to  cut the log there; when no power cut can bring the rest back call on_truncated(). Until then the
//                   log takes no batches, and the replica keeps back what arrives on the stream
//                   (Core::receive_entries() says `wait`).
//   3. append_noop  stamp a NOOP with Core::stamp_noop(), append it, call on_appended(); as soon as the log takes it.
//   4. look_up      find the digest behind each of these batches, call on_digest(); at once or later.
//   5. closed       these sessions are over: forget what is queued for them, and what arrives on them.
//   6. send         may leave now. What must wait for 1 is not in here before on_persisted() (inv:D2), and an ack is
//                   not in here before the sync that it speaks of (proto:P6): the core holds back, the replica sends.
//   7. reads        answers to read_index().
//   8. settled, halt: see there.
//
// Batches take another way, so that their bytes never pass through here:
//   leader     stamp() -> wal::Log::append -> on_appended();  next_send(peer) -> read the log, send -> on_sent()
//   follower   receive_entries(head, entries) says `append` -> append them all
//   both       on_durable(index) when a sync has covered them
//
// Thread: shard.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "replication/core/message.h"
#include "wal/base/ids.h"

namespace walraft::replication {

struct Envelope {
  NodeId to;
  std::variant<ControlMessage, StreamMessage> message;
};

struct ClosedSession {
  NodeId peer;
  SessionId session;
};

struct ReadAnswer {
  std::uint64_t token = 0;
  std::optional<Index> commit;  // everything below was committed when the read was asked for; nothing: not the leader
};

struct Ready {
  struct Persist {
    Ballot ballot;
    std::uint64_t version = 0;
  };
  std::optional<std::uint64_t> suspect;
  std::optional<Persist> persist;
  std::optional<Index> truncate_to;
  bool append_noop = false;
  std::vector<Index> look_up;
  std::vector<ClosedSession> closed;
  std::vector<Envelope> send;
  std::vector<ReadAnswer> reads;
  // The log has everything again that it may have acknowledged and lost: take the mark off it (inv:D6).
  bool settled = false;
  // The protocol's own rules were found broken: this log stops, for people to look at. Says what was seen.
  std::optional<std::string> halt;

  bool empty() const {
    return !suspect && !persist && !truncate_to && !append_noop && look_up.empty() && closed.empty() && send.empty() &&
           reads.empty() && !settled && !halt;
  }
};

}  // namespace walraft::replication
