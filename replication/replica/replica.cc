#include "replication/replica/replica.h"

#include <algorithm>
#include <utility>

#include "replication/replica/incarnation.h"
#include "wal/base/check.h"

namespace walraft::replication {

// --- Start and end ---------------------------------------------------------------------------------------------------

Replica::Replica(Shard& shard, Options options, std::unique_ptr<wal::Log> log)
    : shard_(shard),
      options_(std::move(options)),
      log_(shard, options_.identity, std::move(log)),
      core_(boot(), shard.timing(), shard.rng(), shard.clock().monotonic_us()),
      appends_(shard, core_, log_, options_.name, options_.record_bytes_max),
      outflow_(shard, core_, log_, [this] { mark(); }),
      inflow_(shard, core_, log_) {
  core_.set_window(shard.limits().follower_window_bytes);
  log_.wal().on_durable([this](Index durable) {
    core_.on_durable(durable, now_us());
    carry_out();
    mark();
  });
}

Boot Replica::boot() const {
  const wal::Log& log = log_.wal();
  const wal::HardState state = shard_.hard_state().find(options_.identity.log).value_or(wal::HardState{});
  const bool alone = options_.members.voters() == 1 && options_.members.is_voter(shard_.self().node);
  // Recovery makes durable what it keeps.
  const Index known = alone ? log.durable() : std::max(state.commit_bound, log.recovery().commit);
  return {.self = shard_.self().node,
          .disk = shard_.self().disk,
          .incarnation = shard_.self().incarnation,
          .ballot = {state.term, state.voted_for},
          .log = log_.terms(),
          .durable = log.durable(),
          .commit = std::clamp(known, log.first_index(), log.durable()),
          .suspect = log.suspect(),
          .members = options_.members,
          .configurations = {}};
}

Result<std::unique_ptr<Replica>> Replica::open(Shard& shard, Options options, std::unique_ptr<wal::Log> log) {
  std::unique_ptr<Replica> replica(new Replica(shard, std::move(options), std::move(log)));
  if (auto begun = replica->log_.begin(replica->core_.commit()); !begun) return std::unexpected(begun.error());
  shard.add(*replica);
  return replica;
}

Replica::~Replica() {
  *alive_ = false;
  shard_.remove(*this);
}

void Replica::abandon(const Error& error) {
  appends_.abandon(error);
  for (auto& [token, read] : std::exchange(reads_, {})) read.answer(std::unexpected(error));
}

// --- Users -----------------------------------------------------------------------------------------------------------

void Replica::append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms, Answer answer) {
  appends_.append(batch, header, terms, std::move(answer));
  mark();
}

void Replica::refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer) {
  appends_.refuse(std::move(error), chain, std::move(answer));
  mark();
}

void Replica::find_committed(std::function<void(Result<Offset>)> answer) {
  const std::uint64_t token = ++read_token_;
  Read& read = reads_[token];
  read.answer = std::move(answer);
  if (core_.alone()) {
    read.proven = core_.commit();  // nobody else could append
  } else if (!core_.read_index(token, now_us())) {
    read.proven = error(Code::unavailable, "log \"" + name() + "\": this node does not lead it, or not yet; try again");
  }
  carry_out();
  mark();
}

bool Replica::transfer(NodeId to) {
  const bool begun = core_.transfer(to, now_us());
  carry_out();
  return begun;
}

void Replica::add_listener(Listener& listener) { listeners_.push_back(&listener); }

void Replica::remove_listener(Listener& listener) {
  if (walking_) {
    std::replace(listeners_.begin(), listeners_.end(), &listener, static_cast<Listener*>(nullptr));
  } else {
    std::erase(listeners_, &listener);
  }
}

void Replica::tell_listeners() {
  if (!std::exchange(committed_moved_, false)) return;
  walking_ = true;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i] != nullptr) listeners_[i]->on_commit();
  }
  walking_ = false;
  std::erase(listeners_, nullptr);
}

void Replica::answer_reads() {
  for (auto at = reads_.begin(); at != reads_.end();) {
    const auto& proven = at->second.proven;
    if (!proven || (*proven && **proven > log_.committed_index())) {
      ++at;
      continue;
    }
    const Read read = std::move(at->second);
    at = reads_.erase(at);  // before the answer, which may ask again: its token is larger
    read.answer(*read.proven ? Result<Offset>(log_.committed()) : std::unexpected(read.proven->error()));
  }
}

// --- The network -----------------------------------------------------------------------------------------------------

void Replica::receive(NodeId from, const ControlMessage& message) {
  core_.receive(from, message, now_us());
  carry_out();
}

void Replica::receive(NodeId from, const StreamMessage& message) {
  inflow_.receive(from, message);
  carry_out();
  mark();  // an ack makes room in a window
}

void Replica::receive(NodeId from, const EntriesHead& head, std::shared_ptr<const wal::Chunk> owner, ByteView bytes) {
  inflow_.receive(from, head, std::move(owner), bytes);
  carry_out();
  mark();
}

void Replica::on_stream_lost(NodeId peer, const SessionId& session) {
  core_.on_stream_lost(peer, session, now_us());
  carry_out();
}

void Replica::on_peer_gone(NodeId peer) {
  core_.on_peer_gone(peer, now_us());
  carry_out();
}

// --- Ready -----------------------------------------------------------------------------------------------------------

void Replica::carry_out() {
  if (std::exchange(carrying_out_, true)) return;  // the loop below goes round again
  for (Ready ready = core_.ready(); !ready.empty(); ready = core_.ready()) {
    carry_out(std::move(ready));
    notice_leadership();
  }
  carrying_out_ = false;
  if (log_.advance(core_.applicable())) {
    committed_moved_ = true;
    mark();
  }
  if (appends_.answerable(core_.commit())) mark();
}

// In the order of the fields.
void Replica::carry_out(Ready ready) {
  if (ready.suspect) mark_suspect(*ready.suspect);
  if (ready.persist) persist(*ready.persist);
  if (ready.truncate_to) truncate(*ready.truncate_to);
  if (ready.append_noop) noop_wanted_ = true;
  for (const Index index : ready.look_up) {
    log_.find_digest(index, [this, index](const Digest& digest) {
      core_.on_digest(index, digest, now_us());
      carry_out();
      mark();
    });
  }
  for (const ClosedSession& closed : ready.closed) {
    shard_.peers().close(closed.peer, identity().log, closed.session);
    inflow_.forget(closed.peer, closed.session);
  }
  for (const Envelope& envelope : ready.send) {
    std::visit([&](const auto& of_channel) { shard_.peers().send(envelope.to, identity().log, of_channel); },
               envelope.message);
  }
  for (const ReadAnswer& read : ready.reads) {
    const auto at = reads_.find(read.token);
    if (at == reads_.end()) continue;
    at->second.proven = read.commit ? Result<Index>(*read.commit)
                                    : error(Code::unavailable, "log \"" + name() + "\": leadership ended; try again");
    mark();
  }
  if (ready.settled) log_.wal().settle([] {});
  if (ready.halt) {
    appends_.on_leadership_lost(core_.commit());
    shard_.alarm("log \"" + name() + "\" is stopped on this node: " + *ready.halt);
  }
}

// In the round of the hard state that carries the ballot behind it, or an earlier one.
void Replica::mark_suspect(std::uint64_t incarnation) {
  log_.wal().mark_suspect([] {});
  skip_incarnations(shard_.hard_state(), shard_.self().disk, incarnation);
  shard_.alarm("log \"" + name() + "\": others know more of this disk than it holds: it is an older state of itself");
}

void Replica::persist(const Ready::Persist& ballot) {
  wal::HardState state = shard_.hard_state().find(identity().log).value_or(wal::HardState{});
  state.term = ballot.ballot.term;
  state.voted_for = ballot.ballot.vote;
  state.commit_bound = std::max(state.commit_bound, core_.applicable());
  unpersisted_.reset();
  auto written = shard_.hard_state().write(identity().log, state, [this, alive = alive_, version = ballot.version] {
    if (!*alive) return;
    core_.on_persisted(version, now_us());
    carry_out();
    mark();
  });
  if (!written) {
    unpersisted_ = ballot;
    appends_.refuse_pending(written.error());
  }
  mark();
}

void Replica::truncate(Index to) {
  log_.truncate(to, [this, alive = alive_] {
    if (!*alive) return;
    core_.on_truncated(now_us());
    core_.on_durable(log_.wal().durable(), now_us());  // nobody was told of it meanwhile
    carry_out();
    mark();
  });
  mark();
}

// The batch that opens the term (proto:2.3), as soon as the log takes it.
void Replica::append_noop() {
  if (!noop_wanted_) return;
  const auto stamp = core_.stamp_noop();
  noop_wanted_ = stamp.has_value();
  if (!stamp) return;  // the role that wanted it is over
  auto noop = wal::make_control_batch(identity().id, wal::BatchKind::noop, {});
  const auto appended = log_.append_own(noop, *stamp, wal::Use::control);
  if (appended) {
    noop_wanted_ = false;
    core_.on_appended(std::nullopt, now_us());
    return;
  }
  if (appended.error().code == Code::over_limit) return;
  // No room for 128 bytes: the appends that wanted them are refused, the next one tries again.
  if (appended.error().code == Code::no_space) shard_.need_reserve();
  appends_.refuse_pending(Error(appended.error()).at("log \"" + name() + "\""));
}

// Right after the event that ended it: what was committed under it is known now, and never as well later.
void Replica::notice_leadership() {
  const Term leading = core_.role() == Role::leader ? core_.term() : Term();
  if (leading == leading_) return;
  if (leading_ != Term()) appends_.on_leadership_lost(core_.commit());
  leading_ = leading;
  mark();
}

// --- Shard -----------------------------------------------------------------------------------------------------------

void Replica::turn() {
  marked_ = false;
  if (inflow_.holds()) inflow_.go_on();
  carry_out();
  appends_.answer(core_.commit());
  answer_reads();
  tell_listeners();
  if (appends_.has_pending() && core_.alone()) {
    if (unpersisted_) persist(*unpersisted_);
    core_.lead(now_us());
    carry_out();
  }
  append_noop();
  appends_.go_on();
  outflow_.send();
  core_.tell_commits();
  carry_out();
  // What is left waits for the disk (a segment is being prepared), for our vote, or for followers.
  const bool waits = noop_wanted_ || inflow_.holds() || (appends_.has_pending() && core_.role() == Role::leader);
  if (waits && !std::exchange(stalled_, true)) shard_.stall(*this);
  log_.wal().flush();
}

void Replica::go_on() {
  stalled_ = false;
  mark();
}

void Replica::tick() {
  log_.wal().tick();
  if (core_.alone()) return;  // nothing of a sole voter depends on time
  if (unpersisted_) persist(*unpersisted_);
  core_.tick(now_us(), shard_.disk().oldest_write_age_us());
  carry_out();
}

void Replica::mark() {
  if (marked_) return;
  marked_ = true;
  shard_.mark(*this);
}

}  // namespace walraft::replication
