#include "replication/core/message.h"

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

using walraft::describe;

const char* name_of(VoteReason reason) {
  static constexpr const char* kNames[] = {"timeout", "stream_dead", "transfer"};
  return kNames[static_cast<int>(reason)];
}
const char* name_of(DiskState state) {
  static constexpr const char* kNames[] = {"healthy", "slow", "stalled"};
  return kNames[static_cast<int>(state)];
}
const char* name_of(RefuseReason reason) {
  static constexpr const char* kNames[] = {"not_leader", "removed", "amnesia", "more_history", "trimmed", "diverged"};
  return kNames[static_cast<int>(reason)];
}
const char* name_of(CloseReason reason) {
  static constexpr const char* kNames[] = {"protocol", "replaced", "stepped_down"};
  return kNames[static_cast<int>(reason)];
}

std::string history(const std::vector<TermEnd>& terms) {
  std::string text = "[";
  for (const TermEnd& run : terms) {
    if (text.size() > 1) text += ' ';
    text += describe(run.term) + '/' + describe(run.end);
  }
  return text + ']';
}

std::string of(const VoteRequest& m) {
  return std::string(m.pre ? "pre-vote?" : "vote?") + " term=" + describe(m.term) + " log=" + describe(m.log) +
         (m.reason == VoteReason::timeout ? "" : std::string(" ") + name_of(m.reason));
}
std::string of(const VoteReply& m) {
  return std::string(m.pre ? "pre-vote" : "vote") + (m.granted ? " granted" : " refused") +
         " term=" + describe(m.term) + " campaign=" + describe(m.campaign);
}
std::string of(const Heartbeat& m) {
  return "heartbeat term=" + describe(m.term) + " seq=" + describe(m.seq) + " commit=" + describe(m.commit) +
         " session=" + describe(m.session) + (m.disk == DiskState::healthy ? "" : std::string(" ") + name_of(m.disk));
}
std::string of(const HeartbeatReply& m) {
  return "heartbeat reply term=" + describe(m.term) + " seq=" + describe(m.seq) + " session=" + describe(m.session) +
         (m.stream_dead ? " stream_dead" : "") +
         (m.disk == DiskState::healthy ? "" : std::string(" ") + name_of(m.disk)) + (m.suspect ? " suspect" : "");
}
std::string of(const BootQuestion&) { return "boot question"; }
std::string of(const BootAnswer& m) {
  return "boot answer term=" + describe(m.term) + " incarnation=" + describe(m.known.incarnation) +
         " mark=" + describe(m.known.mark.term) + '/' + describe(m.known.mark.durable) +
         " vote=" + describe(m.known.vote.term) + '/' + describe(m.known.vote.vote);
}
std::string of(const TimeoutNow& m) { return "timeout-now term=" + describe(m.term) + " log=" + describe(m.log); }
std::string of(const Hello& m) {
  return "hello " + describe(m.session) + " term=" + describe(m.term) + " end=" + describe(m.end) +
         " durable=" + describe(m.durable) + " commit=" + describe(m.commit) + " history=" + history(m.history) +
         (m.history_complete ? "" : " cut") + (m.suspect ? " suspect" : "");
}
std::string of(const Welcome& m) {
  return "welcome " + describe(m.session) + " term=" + describe(m.term) + " match=" + describe(m.match_term) + '/' +
         describe(m.match) + " end=" + describe(m.end) + " commit=" + describe(m.commit) +
         " history=" + history(m.history);
}
std::string of(const Refuse& m) {
  return "refuse " + describe(m.session) + " term=" + describe(m.term) + ' ' + name_of(m.reason) +
         " leader=" + describe(m.leader);
}
std::string of(const Accept& m) {
  return "accept " + describe(m.session) + " term=" + describe(m.term) + " match=" + describe(m.match) +
         " durable=" + describe(m.durable);
}
std::string of(const CommitTo& m) {
  return "commit " + describe(m.session) + " term=" + describe(m.term) + " commit=" + describe(m.commit);
}
std::string of(const Ping& m) {
  return "ping " + describe(m.session) + " term=" + describe(m.term) + " seq=" + describe(m.seq);
}
std::string of(const Ack& m) {
  return "ack " + describe(m.session) + " term=" + describe(m.term) + " end=" + describe(m.end) +
         " durable=" + describe(m.durable) + (m.ping_seq == 0 ? "" : " ping=" + describe(m.ping_seq)) +
         (m.window_bytes == 0 ? " window=0" : "");
}
std::string of(const Close& m) {
  return "close " + describe(m.session) + " term=" + describe(m.term) + ' ' + name_of(m.reason);
}

}  // namespace

std::string describe(const SessionId& session) {
  if (session.incarnation == 0) return "none";
  return 's' + std::to_string(session.incarnation) + '.' + std::to_string(session.counter);
}

std::string describe(const LogEnd& end) { return walraft::describe(end.term) + '/' + walraft::describe(end.end); }

std::string describe(const ControlMessage& message) {
  return std::visit([](const auto& m) { return of(m); }, message);
}

std::string describe(const StreamMessage& message) {
  return std::visit([](const auto& m) { return of(m); }, message);
}

std::string describe(const EntriesHead& m) {
  return "entries " + describe(m.session) + " term=" + walraft::describe(m.term) +
         " after=" + walraft::describe(m.from_term) + '/' + walraft::describe(m.from) +
         " commit=" + walraft::describe(m.commit);
}

}  // namespace walraft::replication
