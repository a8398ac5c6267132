#include "tests/model/search_world.h"

#include <algorithm>
#include <memory>
#include <set>

#include "tests/model/core_fingerprint.h"
#include "tests/model/world_arena.h"
#include "wal/base/check.h"

namespace walraft::model {

using replication::Election;
using replication::PeerFlow;
using replication::Role;

namespace {

constexpr std::uint64_t kHeartbeatUs = kElectionTimeoutUs / 10;
constexpr std::uint64_t kDialStepUs = 5'000;
constexpr unsigned kHeartbeatsMax = 6;  // of one leader without a silence: their steps stay below every limit

}  // namespace

SearchWorld::SearchWorld(const SearchScope& scope) : scope_(scope) {
  CHECK(scope_.logs.size() == 3 && scope_.heartbeats <= kHeartbeatsMax);
  CHECK(scope_.crashes < CoreFingerprint::kIncarnations);
  WorldArena::reset();
  const WorldArena::Allocating in_arena;
  CHECK(WorldArena::owns(std::make_unique<int>().get()));  // the program has allocation.cc
  CoreWorld::Options options;
  options.nodes = 3;
  options.timing.election_timeout_us = kElectionTimeoutUs;
  world_ = new CoreWorld(options);
  for (const NodeId id : ids_) world_->set_clock_rate(id, 0);
  for (const NodeId id : ids_) {
    const auto& terms = scope_.logs[id.value - 1u];
    world_->crash(id, 0);
    if (!terms.empty()) world_->write(id, terms, scope_.term);
    world_->start(id);
    while (world_->incarnation(id) < CoreFingerprint::first_incarnation(id)) {
      world_->crash(id, 0);
      world_->start(id);
    }
  }
  settle();
}

// --- Choices ---------------------------------------------------------------------------------------------------------

std::vector<Choice> SearchWorld::choices() const {
  std::vector<Choice> all;
  for (const NodeId id : ids_) {
    const bool ballot = world_->persisting(id);
    const bool cut = world_->core(id).truncating();
    if (ballot) all.push_back({Kind::persist, id, {}});
    if (cut) all.push_back({Kind::finish_cut, id, {}});
    // All else waits for this disk, but for a crash.
    if ((!ballot || scope_.late_ballots) && (!cut || scope_.late_cuts)) continue;
    add_crashes(id, all);
    return all;
  }
  for (std::size_t i = 0; i < world_->letters(); ++i) {
    const Letter& letter = world_->letter(i);
    all.push_back({Kind::letter, letter.to, letter.from, i});
    const Core& to = world_->core(letter.to);
    const bool asked = std::holds_alternative<replication::VoteRequest>(letter.message);
    if (asked && to.role() != Role::leader && to.election().sticky(world_->clock_us(letter.to))) {
      all.push_back({Kind::letter_after_silence, letter.to, letter.from, i});
    }
  }
  const auto ready = world_->ready_streams();
  for (std::size_t i = 0; i < ready.size(); ++i) all.push_back({Kind::frame, ready[i].to, ready[i].from, i});
  for (const NodeId id : ids_) add_node_choices(id, all);
  if (past.used.losses < scope_.losses) {
    const auto streams = world_->streams();
    for (std::size_t i = 0; i < streams.size(); ++i) {
      const StreamKey other{streams[i].to, streams[i].from, streams[i].session};
      const bool both = std::binary_search(streams.begin(), streams.end(), other);
      if (!both || streams[i] < other) all.push_back({Kind::lose, streams[i].from, streams[i].to, i});
    }
  }
  return all;
}

void SearchWorld::add_node_choices(NodeId id, std::vector<Choice>& all) const {
  const Core& core = world_->core(id);
  if (world_->log(id).durable < world_->log(id).end() && !core.truncating()) all.push_back({Kind::sync, id, {}});
  const bool leads = core.role() == Role::leader;
  if (past.used.silences < scope_.silences && (leads || core.term() < scope_.term_max)) {
    all.push_back({Kind::silence, id, {}});
  }
  add_crashes(id, all);
  if (!leads) return;
  if (past.used.batches < scope_.batches && core.stamp()) all.push_back({Kind::propose, id, {}});
  if (past.used.heartbeats < scope_.heartbeats) all.push_back({Kind::heartbeat, id, {}});
  if (past.used.reads < scope_.reads && core.leading()->noop_committed()) all.push_back({Kind::read, id, {}});
  if (past.used.transfers < scope_.transfers && core.leading()->noop_committed() && core.term() < scope_.term_max) {
    for (const NodeId to : ids_) {
      if (to != id) all.push_back({Kind::transfer, id, to});
    }
  }
}

void SearchWorld::add_crashes(NodeId id, std::vector<Choice>& all) const {
  if (past.used.crashes == scope_.crashes) return;
  const std::size_t unsynced = world_->log(id).end() - world_->log(id).durable;
  // In the middle of a cut, an even number is a cut that counts, an odd one a cut that does not (core_world.cc).
  const std::size_t most = std::max<std::size_t>(unsynced, world_->core(id).truncating() ? 1 : 0);
  for (std::size_t kept = 0; kept <= most; ++kept) all.push_back({Kind::crash, id, {}, kept});
}

void SearchWorld::let_pass(NodeId id, std::uint64_t us) {
  world_->set_clock_rate(id, 100);
  world_->advance(us);
  world_->set_clock_rate(id, 0);
}

void SearchWorld::apply(const Choice& choice) {
  const WorldArena::Allocating in_arena;
  const NodeId id = choice.node;
  switch (choice.kind) {
    case Kind::persist: world_->persist(id); break;
    case Kind::finish_cut: world_->finish_cut(id); break;
    case Kind::letter_after_silence: let_pass(id, kSilenceUs); [[fallthrough]];
    case Kind::letter: world_->deliver_letter(choice.at); break;
    case Kind::frame: world_->deliver_frame(world_->ready_streams()[choice.at]); break;
    case Kind::sync: world_->sync(id, world_->log(id).end()); break;
    case Kind::propose:
      ++past.used.batches;
      world_->propose(id);
      break;
    case Kind::silence:
      ++past.used.silences;
      let_pass(id, kSilenceUs);
      world_->tick(id);
      break;
    case Kind::heartbeat:
      ++past.used.heartbeats;
      let_pass(id, kHeartbeatUs);
      world_->tick(id);
      break;
    case Kind::read:
      ++past.used.reads;
      world_->read(id);
      break;
    case Kind::transfer:
      ++past.used.transfers;
      world_->transfer(id, choice.peer);
      break;
    case Kind::lose:
      ++past.used.losses;
      world_->break_stream(world_->streams()[choice.at]);
      break;
    case Kind::crash:
      ++past.used.crashes;
      past.opened[world_->incarnation(id)] = static_cast<std::uint8_t>(CoreFingerprint::sessions(world_->core(id)));
      world_->crash(id, choice.at);
      world_->start(id);
      break;
  }
  settle();
}

std::string SearchWorld::describe(const Choice& choice) const {
  const std::string node = "node " + walraft::describe(choice.node);
  const std::string link = walraft::describe(choice.peer) + "->" + walraft::describe(choice.node) + ' ';
  switch (choice.kind) {
    case Kind::persist: return "the ballot of " + node + " is durable";
    case Kind::finish_cut: return "the log of " + node + " is cut";
    case Kind::letter: return link + replication::describe(world_->letter(choice.at).message);
    case Kind::letter_after_silence:
      return link + replication::describe(world_->letter(choice.at).message) + ", after a silence";
    case Kind::frame: return link + model::describe(world_->frames(world_->ready_streams()[choice.at]).front());
    case Kind::sync: return "the log of " + node + " is durable";
    case Kind::propose: return node + " appends";
    case Kind::silence: return node + " heard nobody for long";
    case Kind::heartbeat: return node + " sends heartbeats";
    case Kind::read: return node + " is read";
    case Kind::transfer: return node + " hands over to " + walraft::describe(choice.peer);
    case Kind::lose: return "the session of " + node + " and " + walraft::describe(choice.peer) + " breaks";
    case Kind::crash: return node + " crashes and keeps " + std::to_string(choice.at) + ", and is back";
  }
  return "?";
}

// --- What is done as soon as it can be -------------------------------------------------------------------------------

void SearchWorld::settle() {
  bool more = true;
  while (more && world_->violation().empty()) {
    more = false;
    for (const NodeId id : ids_) {
      if (world_->up(id)) more |= settle_node(id);
    }
    if (!world_->violation().empty()) break;
    more |= settle_letters();
    more |= settle_frames();
    more |= end_dead_sessions();
  }
}

// Dials, or sends what there is.
bool SearchWorld::settle_node(NodeId id) {
  const Core& core = world_->core(id);
  bool any = false;
  if (core.role() == Role::leader) {
    for (const NodeId peer : ids_) {
      while (peer != id && world_->send_entries(id, peer, 1)) any = true;
    }
    return any;
  }
  using State = replication::Upstream::State;
  while (core.upstream().state() == State::idle && core.upstream().leader() != NodeId() && !core.truncating()) {
    let_pass(id, kDialStepUs);
    world_->tick(id);
    any = true;
  }
  return any;
}

bool SearchWorld::settle_letters() {
  std::set<std::uint64_t> seen;
  for (std::size_t i = 0; i < world_->letters(); ++i) {
    const Letter& letter = world_->letter(i);
    const auto* asked = std::get_if<replication::VoteRequest>(&letter.message);
    if ((asked != nullptr && asked->term > scope_.term_max) || !seen.insert(fingerprint(letter)).second) {
      world_->drop_letter(i--);
    } else if (inert(letter)) {
      world_->deliver_letter(i);
      return true;
    }
  }
  return false;
}

bool SearchWorld::settle_frames() {
  for (const StreamKey& key : world_->ready_streams()) {
    if (!inert(key, world_->frames(key).front())) continue;
    world_->deliver_frame(key);
    return true;
  }
  return false;
}

// Where a letter changes nothing, now and for ever; or it is a pre-vote's answer.
bool SearchWorld::inert(const Letter& letter) const {
  if (world_->persisting(letter.to) || world_->persisting(letter.from)) return false;
  const Core& from = world_->core(letter.from);
  const Core& to = world_->core(letter.to);
  // Who is told of a term that it knows is told nothing; nor is the one that it answers.
  const auto both_know = [&](Term term) { return term < to.term() && from.term() >= to.term(); };
  if (const auto* m = std::get_if<replication::VoteRequest>(&letter.message)) {
    const bool asks = from.election().stage() == Election::Stage::asking && from.term() + 1 == m->term;
    return m->pre ? !asks && from.term() >= to.term() : both_know(m->term);
  }
  if (const auto* m = std::get_if<replication::VoteReply>(&letter.message)) {
    const bool counts = m->granted && to.election().stage() == Election::Stage::campaigning && to.term() == m->campaign;
    return m->pre || (m->term <= to.term() && !counts);
  }
  if (const auto* m = std::get_if<replication::Heartbeat>(&letter.message)) return both_know(m->term);
  if (const auto* m = std::get_if<replication::HeartbeatReply>(&letter.message)) {
    if (m->term > to.term()) return false;
    if (to.role() != Role::leader || m->term < to.term()) return true;
    // Of this term: it proves leadership to a read, or shows that the follower has another session than the leader.
    const PeerFlow& flow = to.leading()->peers().at(letter.from);
    const bool fits = m->session == flow.session() && m->stream_age_us <= 4 * kElectionTimeoutUs;
    const bool told = flow.state() == PeerFlow::State::none || m->seq <= flow.opened_at_seq() || fits;
    return told && past.used.reads == 0;
  }
  return std::get<replication::TimeoutNow>(letter.message).term < to.term();
}

// The same of a frame.
bool SearchWorld::inert(const StreamKey& key, const Frame& frame) const {
  if (world_->persisting(key.to)) return false;
  const Core& to = world_->core(key.to);
  const bool current = to.upstream().is_session(key.from, key.session);
  const PeerFlow* flow = to.leading() ? &to.leading()->peers().at(key.from) : nullptr;
  const bool led = flow != nullptr && flow->is_session(key.session);
  const auto* message = std::get_if<StreamMessage>(&frame.content);
  if (message == nullptr) return !current || std::get<1>(frame.content).first.term != to.term();
  if (std::holds_alternative<replication::Hello>(*message)) return false;
  if (const auto* ack = std::get_if<replication::Ack>(message)) {
    const bool counted = led && ack->durable <= flow->match() && ack->end <= flow->next();
    return !led || counted || ack->term != to.term();
  }
  const Term term = std::visit([](const auto& m) { return m.term; }, *message);
  const bool ends =
      std::holds_alternative<replication::Refuse>(*message) || std::holds_alternative<replication::Close>(*message);
  if (ends && term > to.term()) return false;
  return !current && !led;
}

bool SearchWorld::is_session(const StreamKey& key) const {
  const auto has = [&](NodeId node, NodeId peer) {
    const Core& core = world_->core(node);
    return core.upstream().is_session(peer, key.session) ||
           (core.leading() && core.leading()->peers().at(peer).is_session(key.session));
  };
  return has(key.from, key.to) || has(key.to, key.from);
}

// Connections over which nothing comes, and which neither side has for a session.
bool SearchWorld::end_dead_sessions() {
  for (const StreamKey& key : world_->streams()) {
    const StreamKey other{key.to, key.from, key.session};
    const auto streams = world_->streams();
    const bool back = std::binary_search(streams.begin(), streams.end(), other);
    if (!world_->frames(key).empty() || (back && !world_->frames(other).empty()) || is_session(key)) continue;
    world_->break_stream(key);
    return true;
  }
  return false;
}

}  // namespace walraft::model
