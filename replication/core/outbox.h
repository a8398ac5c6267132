#pragma once

// What the parts of a core want done, collected, and held back until the ballot that it depends on is durable: every
// message carries the term, so none leaves before the term does survive a power cut (inv:D2). However long that takes,
// what is held back stays small: of the answers that repeat, only the newest to each node waits.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <variant>

#include "replication/core/ready.h"
#include "wal/base/mutant.h"

namespace walraft::replication {

class Outbox {
 public:
  void send(NodeId to, ControlMessage message) {
    if (std::holds_alternative<HeartbeatReply>(message)) forget_held<ControlMessage, HeartbeatReply>(to);
    send_any({to, std::move(message)});
  }
  void send(NodeId to, StreamMessage message) {
    if (std::holds_alternative<Ack>(message)) forget_held<StreamMessage, Ack>(to);
    send_any({to, std::move(message)});
  }

  // Its version: durable when on_persisted() names it or a later one.
  std::uint64_t persist(const Ballot& ballot) {
    ready_.persist = {ballot, ++version_};
    if (mutant(ballot.vote == NodeId() ? Mutant::h6b_term_not_synced : Mutant::h6a_vote_not_synced))
      persisted_ = version_;
    return version_;
  }
  void on_persisted(std::uint64_t version) {
    persisted_ = std::max(persisted_, version);
    while (!held_.empty() && held_.front().first <= persisted_) {
      ready_.send.push_back(std::move(held_.front().second));
      held_.pop_front();
    }
  }
  bool persisted() const { return persisted_ >= version_; }

  // Nothing leaves before it is durable: persist() follows.
  void suspect(std::uint64_t incarnation) { ready_.suspect = incarnation; }

  void close(NodeId peer, const SessionId& session) { ready_.closed.push_back({peer, session}); }
  void look_up(Index index) { ready_.look_up.push_back(index); }
  void truncate(Index to) { ready_.truncate_to = to; }
  void append_noop() { ready_.append_noop = true; }
  void answer(const ReadAnswer& answer) { ready_.reads.push_back(answer); }
  void settled() { ready_.settled = true; }
  void halt(std::string why) { ready_.halt = std::move(why); }

  // The role that wanted it is over.
  void drop_noop() { ready_.append_noop = false; }

  Ready take() { return std::exchange(ready_, {}); }

 private:
  friend struct CorePeek;  // tests/model/core_fingerprint.cc reads the whole state
  void send_any(Envelope envelope) {
    if (persisted()) {
      ready_.send.push_back(std::move(envelope));
    } else {
      held_.emplace_back(version_, std::move(envelope));
    }
  }

  // Says no more than the one that is about to be sent: a leader looks at the newest answer only.
  template <class Channel, class Answer>
  void forget_held(NodeId to) {
    std::erase_if(held_, [&](const auto& held) {
      const auto* message = std::get_if<Channel>(&held.second.message);
      return held.second.to == to && message != nullptr && std::holds_alternative<Answer>(*message);
    });
  }

  Ready ready_;
  std::uint64_t version_ = 0;
  std::uint64_t persisted_ = 0;
  std::deque<std::pair<std::uint64_t, Envelope>> held_;
};

}  // namespace walraft::replication
