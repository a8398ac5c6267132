#include "replication/core/upstream.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {
namespace {

constexpr std::size_t kHistoryMax = 128;  // terms in a HELLO, unless the leader asks for more

}  // namespace

void Upstream::follow(NodeId leader, Term term, std::uint64_t now_us) {
  if (leader_ == leader && term_ == term) return;
  leave();
  leader_ = leader;
  term_ = term;
  heard_us_ = now_us;
  backoff_us_ = 0;
  redial(now_us);
}

void Upstream::leave() {
  end_session();
  leader_ = {};
}

void Upstream::end_session() {
  if (state_ == State::idle) return;
  outbox_.close(leader_, session_);
  state_ = State::idle;
  welcome_.reset();
}

void Upstream::tick(std::uint64_t now_us) {
  if (leader_ == NodeId()) return;
  if (state_ == State::dialing && now_us > dialed_us_ + view_.timing.election_timeout_us) {
    PROBE("hello is not answered");
    lost(now_us);
  }
  if (state_ == State::streaming && dead(now_us) && now_us > dialed_us_ + view_.timing.stream_dead_us()) {
    PROBE("follower ends a silent stream");
    lost(now_us);
  }
  // An old cut must be over before a new session may show what this log has.
  if (state_ == State::idle && now_us >= dial_at_us_ && view_.truncating) PROBE("dialing waits for a cut");
  if (state_ == State::idle && now_us >= dial_at_us_ && !view_.truncating) dial(now_us);
}

void Upstream::dial(std::uint64_t now_us) {
  session_ = {view_.incarnation, ++sessions_};
  state_ = State::dialing;
  dialed_us_ = now_us;
  ping_seq_ = 0;
  Hello hello{.session = session_,
              .term = term_,
              .disk = view_.disk,
              .commit = view_.commit,
              .end = view_.log.end(),
              .durable = view_.durable,
              .history = view_.log.history(),
              .suspect = view_.suspect,
              .window_bytes = window_bytes_};
  if (hello.history.size() > kHistoryMax && !whole_history_) {
    PROBE("history is too long for a hello");
    hello.history.erase(hello.history.begin(), hello.history.end() - kHistoryMax);
    hello.history_complete = false;
  }
  outbox_.send(leader_, std::move(hello));
}

void Upstream::lost(std::uint64_t now_us) {
  end_session();
  backoff_us_ = std::clamp(backoff_us_ * 2, view_.timing.redial_min_us(), view_.timing.redial_max_us());
  redial(now_us + backoff_us_ / 2 + rng_.next() % (backoff_us_ / 2 + 1));
}

std::optional<std::string> Upstream::on_welcome(const Welcome& welcome, std::uint64_t now_us) {
  if (state_ != State::dialing) return std::nullopt;  // a doubled one
  heard_us_ = now_us;
  term_ = welcome.term;
  const std::optional<TermEnd> match = match_point(view_.log.history(), welcome.history);
  if (!mutant(Mutant::h1_no_term_check_at_handshake)) {
    // proto:I12: both sides compute it, and neither believes the other.
    if (match != TermEnd{welcome.match_term, welcome.match}) {
      PROBE("welcome disagrees with our history");
      reject_frame(now_us);
      return std::nullopt;
    }
    if (welcome.match < view_.commit) {
      PROBE("halt: the leader parts below our commit");
      return "the leader's log parts from ours at " + describe(welcome.match) + ", below our commit " +
             describe(view_.commit);
    }
  }
  state_ = State::checking;
  welcome_ = welcome;
  outbox_.look_up(welcome.match);
  return std::nullopt;
}

std::optional<std::string> Upstream::on_digest(Index index, const Digest& digest, std::optional<Index>& cut) {
  if (state_ != State::checking || index != welcome_->match) return std::nullopt;
  if (digest != welcome_->digest && !mutant(Mutant::h1_no_term_check_at_handshake)) {
    PROBE("halt: the digests differ");
    return "the digests at the match point " + describe(index) + " differ: ours " + describe(digest) +
           ", the leader's " + describe(welcome_->digest);
  }
  if (index < view_.log.end() && !mutant(Mutant::h2_replayed_entries_dropped)) {
    PROBE("handshake cuts the log");
    state_ = State::truncating;
    cut = index;
  } else {
    accept();
  }
  return std::nullopt;
}

void Upstream::on_truncated() {
  if (state_ == State::truncating) accept();
}

void Upstream::accept() {
  state_ = State::streaming;
  backoff_us_ = 0;
  whole_history_ = false;
  welcome_seq_ = welcome_->heartbeat_seq;
  commit_.verify(term_, welcome_->match);
  commit_.learn(term_, welcome_->commit);
  outbox_.send(leader_, Accept{session_, term_, welcome_->match, view_.durable});
  welcome_.reset();
}

std::optional<std::string> Upstream::on_refuse(const Refuse& refuse, std::uint64_t now_us) {
  if (state_ != State::dialing) return std::nullopt;
  heard_us_ = now_us;
  whole_history_ = refuse.reason == RefuseReason::more_history;
  if (refuse.reason == RefuseReason::diverged) {
    PROBE("halt: diverged");
    return "the leader does not have what is committed here";
  }
  lost(now_us);
  if (whole_history_) redial(now_us);
  return std::nullopt;
}

bool Upstream::fits(const EntriesHead& head, std::uint64_t now_us) {
  CHECK(state_ == State::streaming);
  heard_us_ = now_us;
  if (head.from == view_.log.end() && head.from_term == view_.log.last_term()) return true;
  if (mutant(Mutant::h2_replayed_entries_dropped) && head.from < view_.log.end()) return true;
  PROBE("frame does not continue the log");
  reject_frame(now_us);
  return false;
}

void Upstream::reject_frame(std::uint64_t now_us) {
  outbox_.send(leader_, Close{session_, term_, CloseReason::protocol});
  lost(now_us);
}

void Upstream::on_commit(const CommitTo& commit, std::uint64_t now_us) {
  heard_us_ = now_us;
  if (state_ == State::streaming) commit_.learn(term_, commit.commit);
  if (welcome_) PROBE("commit during a handshake");
  if (welcome_) welcome_->commit = std::max(welcome_->commit, commit.commit);
}

void Upstream::on_ping(const Ping& ping, std::uint64_t now_us) {
  heard_us_ = now_us;
  ping_seq_ = std::max(ping_seq_, ping.seq);
  acknowledge();
}

void Upstream::on_heartbeat(const SessionId& session, std::uint64_t seq, std::uint64_t now_us) {
  // The leader has dropped the session since it welcomed it: it forgot to say so, or we did not hear.
  if (state_ != State::streaming || seq <= welcome_seq_ || session == session_) return;
  PROBE("leader has dropped our session");
  lost(now_us);
}

void Upstream::acknowledge() {
  if (state_ != State::streaming) return;
  const Index durable = mutant(Mutant::h7_ack_before_sync) ? view_.log.end() : view_.durable;
  outbox_.send(leader_, Ack{session_, term_, view_.log.end(), durable, ping_seq_, queue_age_us_, window_bytes_});
}

void Upstream::set_window(std::uint64_t bytes) {
  const bool opens = window_bytes_ == 0 && bytes > 0;
  window_bytes_ = bytes;
  if (opens && state_ == State::streaming) PROBE("window opens again");
  if (opens) acknowledge();
}

}  // namespace walraft::replication
