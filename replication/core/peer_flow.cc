#include "replication/core/peer_flow.h"

#include <algorithm>

#include "wal/base/check.h"
#include "wal/base/probe.h"

namespace walraft::replication {

void PeerFlow::open(const Hello& hello, Index match, std::uint64_t heartbeat_seq, std::uint64_t now_us) {
  close();
  state_ = State::handshaking;
  session_ = hello.session;
  counts_ = !hello.suspect;
  if (hello.suspect) PROBE("session of a suspect follower");
  match_ = next_ = match;
  window_bytes_ = hello.window_bytes;
  opened_at_seq_ = heartbeat_seq;
  stream_us_ = now_us;
}

void PeerFlow::welcomed() {
  CHECK(state_ == State::handshaking);
  state_ = State::welcomed;
}

void PeerFlow::accepted(const Accept& accept, std::uint64_t now_us) {
  CHECK(state_ == State::welcomed);
  state_ = State::streaming;
  if (accept.durable < accept.match) PROBE("accepted before it was durable");
  match_ = std::min(accept.durable, accept.match);
  contact_us_ = stream_us_ = pong_us_ = progress_us_ = now_us;
}

bool PeerFlow::acked(const Ack& ack, std::uint64_t now_us) {
  if (ack.durable > next_ || ack.end > next_) {
    PROBE("ack of what was never sent");
    return false;
  }
  if (ack.durable > match_) {
    match_ = ack.durable;
    progress_us_ = now_us;
    while (!in_flight_.empty() && in_flight_.front().end <= match_) {
      in_flight_bytes_ -= in_flight_.front().bytes;
      in_flight_.pop_front();
    }
  }
  if (ack.ping_seq > pong_seq_) {
    pong_seq_ = ack.ping_seq;
    pong_us_ = now_us;
  }
  // Nothing outstanding: whatever is sent next has from now on to get through, not from the last batch on, which may
  // be long ago.
  if (match_ == next_) progress_us_ = now_us;
  contact_us_ = stream_us_ = now_us;
  window_bytes_ = ack.window_bytes;
  return true;
}

void PeerFlow::close() {
  state_ = State::none;
  session_ = {};
  match_ = next_ = sent_commit_ = Index();
  in_flight_.clear();
  in_flight_bytes_ = 0;
}

void PeerFlow::sent(Index end, std::uint64_t bytes, Index commit) {
  CHECK(state_ == State::welcomed || state_ == State::streaming);
  CHECK(end > next_, end, next_);
  if (state_ == State::welcomed) PROBE("batches leave before the accept");
  next_ = end;
  sent_commit_ = std::max(sent_commit_, commit);
  in_flight_.push_back({end, bytes});
  in_flight_bytes_ += bytes;
  if (in_flight_bytes_ >= window_bytes_) PROBE("window is full");
}

bool PeerFlow::fresh(std::uint64_t now_us, const Timing& timing) const {
  if (!in_contact(now_us, timing)) return false;
  if (disk_ != DiskState::healthy) return true;
  const std::uint64_t limit_us = timing.stream_dead_us();
  const bool idle = state_ == State::streaming && match_ == next_;
  return (idle && now_us <= pong_us_ + limit_us) || now_us <= progress_us_ + limit_us;
}

}  // namespace walraft::replication
