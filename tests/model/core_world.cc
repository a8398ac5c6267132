#include "tests/model/core_world.h"

#include <algorithm>

#include "replication/core/quorum.h"
#include "wal/base/check.h"

namespace walraft::model {
namespace {

constexpr std::uint64_t kBatchBytes = 100;
constexpr std::ptrdiff_t kStaleMax = 300;  // frames

SessionId session_of(const StreamMessage& message) {
  return std::visit([](const auto& m) { return m.session; }, message);
}

Digest chain(const Digest& before, const ModelBatch& batch) {
  std::uint64_t hash = sim::mix64(before.low ^ sim::mix64(batch.index.value));
  hash = sim::mix64(hash ^ sim::mix64(batch.term.value));
  return {sim::mix64(hash ^ batch.content), 0};
}

std::string link(NodeId from, NodeId to) { return describe(from) + "->" + describe(to) + ' '; }

}  // namespace

std::string describe(const Frame& frame) {
  if (const auto* message = std::get_if<StreamMessage>(&frame.content)) return replication::describe(*message);
  const auto& [head, batches] = std::get<1>(frame.content);
  std::string text = replication::describe(head) + " [";
  for (const ModelBatch& batch : batches) {
    text += (text.back() == '[' ? "" : " ") + walraft::describe(batch.term) + '/' + walraft::describe(batch.index);
  }
  return text + ']';
}

CoreWorld::CoreWorld(const Options& options) : options_(options), rng_(options.seed) {
  checks_.set_voters(options.nodes);
  for (std::uint16_t i = 1; i <= options.nodes; ++i) nodes_[NodeId{i}];
  delivering_boots_ = true;  // when all are up
  for (const NodeId id : ids()) start(id);
  delivering_boots_ = false;
  deliver_boots();
}

std::vector<NodeId> CoreWorld::ids() const {
  std::vector<NodeId> all;
  for (const auto& [id, node] : nodes_) all.push_back(id);
  return all;
}

void CoreWorld::start(NodeId id) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr);
  // What the core would not even start with: a planted bug left the disk so.
  const bool behind = !node.log.batches.empty() && node.ballot.term < node.log.batches.back().term;
  if (behind && !node.ballot_lost) {
    return checks_.fail("D2 Ballot before batches", "node " + walraft::describe(id) + " comes back in term " +
                                                        walraft::describe(node.ballot.term) + " with a batch of term " +
                                                        walraft::describe(node.log.batches.back().term));
  }
  if (node.commit_bound > node.log.end()) {
    return checks_.fail("ST6 Truncation", "node " + walraft::describe(id) + " comes back with " +
                                              walraft::describe(node.log.end()) + " batches, and had committed " +
                                              walraft::describe(node.commit_bound));
  }
  node.rng = std::make_unique<sim::SimRng>(rng_.next());
  replication::Boot boot;
  boot.self = id;
  boot.disk = Uuid{{static_cast<std::uint8_t>(id.value), node.disk}};
  boot.suspect = node.suspect;
  boot.incarnation = ++node.incarnation;
  boot.ballot = node.ballot;
  for (const ModelBatch& batch : node.log.batches) boot.log.append(batch.term);
  boot.durable = node.log.durable;
  boot.commit = node.commit_bound;
  for (std::uint16_t i = 1; i <= options_.nodes; ++i) {
    boot.members.members.push_back({NodeId{i}, Uuid{{static_cast<std::uint8_t>(i)}}, true});
  }
  node.core = std::make_unique<Core>(std::move(boot), options_.timing, *node.rng, node.clock_us);
  node.core->set_window(options_.window_bytes);
  checks_.on_restart(id);
  settle(id);
}

void CoreWorld::crash(NodeId id, std::size_t kept) {
  Node& node = nodes_.at(id);
  CHECK(node.core != nullptr);
  node.core.reset();
  node.persisting.clear();
  node.looking_up.clear();
  node.noop_wanted = false;
  node.reads.clear();
  node.disk_age_us = 0;
  if (node.cutting) {  // either the cut counts or it does not
    if (kept % 2 == 0) node.log.batches.resize(node.cutting->value);
    node.cutting.reset();
  }
  const std::size_t end = std::min(node.log.batches.size(), node.log.durable.value + kept);
  node.log.batches.resize(end);
  node.log.durable = Index(end);
  forget_streams(id);
}

void CoreWorld::write(NodeId id, const std::vector<Term>& terms, Term ballot) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr && !terms.empty() && ballot >= terms.back());
  node.log = {};
  for (const Term term : terms) {
    ModelBatch batch{node.log.end(), term, sim::mix64(node.log.end().value * 1'000 + term.value), {}};
    batch.digest = chain(digest_at(node, batch.index), batch);
    node.log.batches.push_back(batch);
  }
  node.log.durable = node.log.end();
  node.ballot = {ballot, NodeId()};
}

void CoreWorld::wipe(NodeId id) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr);
  ++node.disk;
  node.suspect = false;
  node.log = {};
  node.ballot = {};
  node.commit_bound = Index();
  node.image.reset();
  disown(id);
  checks_.on_wiped(id);
}

void CoreWorld::disown(NodeId id) {
  for (auto& [other, peer] : nodes_) {
    if (peer.core == nullptr || !peer.core->leading()) continue;
    peer.core->on_stream_lost(id, peer.core->leading()->peers().at(id).session(), peer.clock_us);
    settle(other);
  }
  std::erase_if(stale_, [&](const auto& frame) { return frame.first.from == id; });
}

void CoreWorld::take_image(NodeId id) {
  Node& node = nodes_.at(id);
  ModelLog log = node.log;
  log.batches.resize(log.durable.value);
  node.image = Node::Image{node.incarnation, std::move(log), node.ballot, node.commit_bound};
}

void CoreWorld::roll_back(NodeId id) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr && node.image);
  node.incarnation = node.image->incarnation;
  node.log = node.image->log;
  node.ballot = node.image->ballot;
  node.commit_bound = node.image->commit_bound;
  node.suspect = false;
  disown(id);
}

bool CoreWorld::image_shows(NodeId id) const {
  const Node& node = nodes_.at(id);
  if (!node.image) return false;
  const replication::BootCheck::Image image{id, node.image->incarnation + 1, node.image->ballot,
                                            node.image->log.durable};
  std::size_t knowing = 0;
  for (const auto& [other, peer] : nodes_) {
    if (other == id || peer.core == nullptr || peer.disk != 0) continue;
    knowing += replication::BootCheck::behind(image, peer.core->memory().of(id), false);
  }
  return knowing + replication::quorum_size(nodes_.size()) > nodes_.size();
}

bool CoreWorld::in_doubt(NodeId id) const {
  const Node& node = nodes_.at(id);
  return node.core != nullptr && (node.core->asking() || (node.core->suspect() && !node.suspect));
}

void CoreWorld::lose_ballot(NodeId id) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr);
  node.ballot = {};
  node.ballot_lost = true;
}

void CoreWorld::damage(NodeId id, Index to) {
  Node& node = nodes_.at(id);
  CHECK(node.core == nullptr && to <= node.log.end());
  node.suspect = true;
  node.log.batches.resize(to.value);
  node.log.durable = to;
  node.commit_bound = std::min(node.commit_bound, to);
}

void CoreWorld::forget_streams(NodeId id) {
  // What is on its way arrives; nothing new comes from here, and the peers hear of it sooner or later.
  for (const StreamKey& key : streams()) {
    if (key.from == id || key.to == id) break_stream(key);
  }
}

// --- Steps -----------------------------------------------------------------------------------------------------------

void CoreWorld::advance(std::uint64_t by_us) {
  now_us_ += by_us;
  for (auto& [id, node] : nodes_) node.clock_us += by_us * node.clock_percent / 100;
}

void CoreWorld::tick(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return;
  node.core->tick(node.clock_us, node.disk_age_us);
  settle(id);
}

bool CoreWorld::propose(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr || node.cutting) return false;
  const auto stamp = node.core->stamp();
  if (!stamp) return false;
  append(id, make_batch(node, *stamp, false));
  settle(id);
  return true;
}

ModelBatch CoreWorld::make_batch(const Node& node, const replication::Stamp& stamp, bool noop) {
  ModelBatch batch{stamp.index, stamp.term, noop ? 0 : ++made_, {}};
  batch.digest = chain(digest_at(node, stamp.index), batch);
  return batch;
}

Digest CoreWorld::digest_at(const Node& node, Index index) const {
  return index == Index() ? Digest{} : node.log.batches[index.value - 1].digest;
}

void CoreWorld::append(NodeId id, ModelBatch batch) {
  Node& node = nodes_.at(id);
  CHECK(batch.index == node.log.end(), batch.index, node.log.end());
  checks_.on_created(id, batch);
  node.log.batches.push_back(batch);
  node.core->on_appended(std::nullopt, node.clock_us);
}

bool CoreWorld::send_entries(NodeId id, NodeId peer, std::size_t batches) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return false;
  const auto sending = node.core->next_send(peer);
  if (!sending) return false;
  const std::size_t from = sending->head.from.value;
  const std::size_t room = std::max<std::size_t>(1, sending->bytes_max / kBatchBytes);
  const std::size_t end = std::min({from + batches, from + room, static_cast<std::size_t>(sending->end.value)});
  CHECK(end > from && end <= node.log.batches.size(), end, from);
  std::vector<ModelBatch> content(node.log.batches.begin() + static_cast<std::ptrdiff_t>(from),
                                  node.log.batches.begin() + static_cast<std::ptrdiff_t>(end));
  const auto key = StreamKey{id, peer, sending->head.session};
  node.core->on_sent(peer, sending->head.session, Index(end), content.size() * kBatchBytes);
  if (streams_.contains(key)) {
    streams_[key].push_back({std::pair(sending->head, std::move(content))});
    tell(link(id, peer) + walraft::model::describe(streams_[key].back()));
  }
  settle(id);
  return true;
}

void CoreWorld::fail_append(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return;
  node.core->on_append_failed(now_us_);
  settle(id);
}

bool CoreWorld::transfer(NodeId id, NodeId to) {
  Node& node = nodes_.at(id);
  const bool begun = node.core != nullptr && node.core->transfer(to, node.clock_us);
  if (begun) settle(id);
  return begun;
}

bool CoreWorld::read(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return false;
  const std::uint64_t token = ++reads_;
  node.reads[token] = checks_.committed();
  const bool begun = node.core->read_index(token, node.clock_us);
  if (!begun) node.reads.erase(token);
  settle(id);
  return begun;
}

bool CoreWorld::persist(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr || node.persisting.empty()) return false;
  const auto [write, suspect] = node.persisting.front();
  node.persisting.pop_front();
  node.ballot = write.ballot;
  node.ballot_lost = false;
  if (suspect) {
    node.suspect = true;
    node.incarnation = *suspect;
  }
  checks_.on_ballot(id, write.ballot);
  node.core->on_persisted(write.version, node.clock_us);
  settle(id);
  return true;
}

bool CoreWorld::sync(NodeId id, Index to) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr || node.cutting || to <= node.log.durable || to > node.log.end()) return false;
  node.log.durable = to;
  node.core->on_durable(to, node.clock_us);
  settle(id);
  return true;
}

bool CoreWorld::look_up(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr || node.looking_up.empty()) return false;
  const Index index = node.looking_up.front();
  node.looking_up.pop_front();
  // The log may have been cut since: then nobody waits for it.
  if (index <= node.log.end()) node.core->on_digest(index, digest_at(node, index), node.clock_us);
  if (options_.late_digests) settle(id);
  return true;
}

bool CoreWorld::finish_cut(NodeId id) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr || !node.cutting) return false;
  node.log.batches.resize(node.cutting->value);
  node.log.durable = std::min(node.log.durable, *node.cutting);
  node.cutting.reset();
  node.core->on_truncated(node.clock_us);
  settle(id);
  return true;
}

// --- The network -----------------------------------------------------------------------------------------------------

void CoreWorld::deliver_letter(std::size_t at, bool keep_copy) {
  const Letter letter = letters_.at(at);
  if (!keep_copy || is_cut(letter.from, letter.to)) drop_letter(at);
  if (!is_cut(letter.from, letter.to)) deliver_stale(letter);
}

void CoreWorld::deliver_stale(const Letter& letter) {
  Node& node = nodes_.at(letter.to);
  if (node.core == nullptr) return;
  node.core->receive(letter.from, letter.message, node.clock_us);
  settle(letter.to);
}

std::vector<StreamKey> CoreWorld::streams() const {
  std::vector<StreamKey> all;
  for (const auto& [key, frames] : streams_) all.push_back(key);
  return all;
}

std::vector<StreamKey> CoreWorld::ready_streams() const {
  std::vector<StreamKey> ready;
  for (const auto& [key, frames] : streams_) {
    const Node& to = nodes_.at(key.to);
    if (frames.empty() || to.core == nullptr || is_cut(key.from, key.to)) continue;
    if (blocked_.contains({key.from, key.to})) continue;
    // Batches wait while the log is looked at or cut; what came before them has been taken.
    const bool entries = frames.front().content.index() == 1;
    const auto& upstream = to.core->upstream();
    if (entries && upstream.is_session(key.from, key.session) && !upstream.takes_entries()) continue;
    ready.push_back(key);
  }
  return ready;
}

void CoreWorld::deliver_frame(const StreamKey& key) {
  auto& queue = streams_.at(key);
  const Frame frame = std::move(queue.front());
  queue.pop_front();
  deliver_stale(key, frame);
}

void CoreWorld::deliver_stale(const StreamKey& key, const Frame& frame) {
  Node& node = nodes_.at(key.to);
  if (node.core == nullptr) return;
  if (const auto* message = std::get_if<StreamMessage>(&frame.content)) {
    // A new session: the leader can answer on it.
    if (std::holds_alternative<replication::Hello>(*message)) streams_[{key.to, key.from, key.session}];
    node.core->receive(key.from, *message, node.clock_us);
    return settle(key.to);
  }
  const auto& [head, batches] = std::get<1>(frame.content);
  std::vector<replication::Entry> entries;
  Digest before = head.from <= node.log.end() ? digest_at(node, head.from) : Digest{};
  for (const ModelBatch& batch : batches) {
    entries.push_back({batch.index, batch.term, chain(before, batch) == batch.digest, std::nullopt});
    before = batch.digest;
  }
  const std::uint64_t end = node.core->log().end().value;
  if (node.core->receive_entries(key.from, head, entries, node.clock_us) == Core::Frame::append) {
    for (const ModelBatch& batch : batches) {
      if (batch.index.value >= end) node.log.batches.push_back(batch);
    }
  }
  settle(key.to);
}

void CoreWorld::cut(NodeId from, NodeId to, bool cut) {
  if (cut) {
    cuts_.insert({from, to});
  } else {
    cuts_.erase({from, to});
  }
}

void CoreWorld::set_window(NodeId id, std::uint64_t bytes) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return;
  node.core->set_window(bytes);
  settle(id);
}

void CoreWorld::peer_gone(NodeId id, NodeId peer) {
  Node& node = nodes_.at(id);
  if (node.core == nullptr) return;
  node.core->on_peer_gone(peer, now_us_);
  settle(id);
}

void CoreWorld::block_streams(NodeId from, NodeId to, bool block) {
  if (block) {
    blocked_.insert({from, to});
  } else {
    blocked_.erase({from, to});
  }
}

void CoreWorld::break_stream(const StreamKey& key) {
  for (const StreamKey& side : {key, StreamKey{key.to, key.from, key.session}}) {
    if (!erase_stream(side) || nodes_.at(side.to).core == nullptr) continue;
    losses_.push_back(side);
    if (!options_.late_losses) deliver_loss(losses_.size() - 1);
  }
}

bool CoreWorld::erase_stream(const StreamKey& key) {
  const auto at = streams_.find(key);
  if (at == streams_.end()) return false;
  if (options_.keep_stale) {
    for (Frame& frame : at->second) stale_.emplace_back(key, std::move(frame));
    if (stale_.size() > kStaleMax) stale_.erase(stale_.begin(), stale_.end() - kStaleMax);
  }
  streams_.erase(at);
  return true;
}

void CoreWorld::deliver_loss(std::size_t at) {
  const StreamKey side = losses_.at(at);
  losses_.erase(losses_.begin() + static_cast<std::ptrdiff_t>(at));
  Node& to = nodes_.at(side.to);
  if (to.core == nullptr) return;
  to.core->on_stream_lost(side.from, side.session, to.clock_us);
  settle(side.to);
}

// --- Readies ---------------------------------------------------------------------------------------------------------

void CoreWorld::settle(NodeId id) {
  Node& node = nodes_.at(id);
  while (node.core != nullptr) {
    node.core->tell_commits();
    replication::Ready ready = node.core->ready();
    if (ready.empty()) break;
    carry_out(id, std::move(ready));
  }
  if (node.core != nullptr) {
    node.commit_bound = std::max(node.commit_bound, std::min(node.core->commit(), node.log.durable));
  }
  std::vector<CoreChecks::NodeView> views;
  for (const auto& [other, state] : nodes_) views.push_back({other, state.core.get(), &state.log, &state.ballot});
  checks_.after_step(id, views);
  deliver_boots();
}

void CoreWorld::deliver_boots() {
  if (std::exchange(delivering_boots_, true)) return;
  while (!boots_.empty()) {
    const Letter letter = boots_.front();
    boots_.pop_front();
    if (!is_cut(letter.from, letter.to)) deliver_stale(letter);
  }
  delivering_boots_ = false;
}

void CoreWorld::carry_out(NodeId id, replication::Ready ready) {
  Node& node = nodes_.at(id);
  if (ready.suspect) tell(walraft::describe(id) + " is suspect, incarnation " + walraft::describe(*ready.suspect));
  if (ready.persist) node.persisting.push_back({*ready.persist, ready.suspect});
  if (ready.persist)
    tell(walraft::describe(id) + " persists term=" + walraft::describe(ready.persist->ballot.term) +
         " vote=" + walraft::describe(ready.persist->ballot.vote));
  if (ready.truncate_to) {
    tell(walraft::describe(id) + " cuts its log to " + walraft::describe(*ready.truncate_to));
    node.cutting = ready.truncate_to;
    checks_.on_cut(id, *ready.truncate_to, node.core->commit());
  }
  for (const Index index : ready.look_up) {
    node.looking_up.push_back(index);
    if (!options_.late_digests) look_up(id);
  }
  for (const auto& closed : ready.closed) {
    // What this side still had under way may arrive as stale bytes; what it would have received is lost.
    erase_stream({closed.peer, id, closed.session});
    tell(walraft::describe(id) + " ends " + replication::describe(closed.session) + " with " +
         walraft::describe(closed.peer));
  }
  for (auto& envelope : ready.send) {
    if (auto* control = std::get_if<ControlMessage>(&envelope.message); control != nullptr && !options_.late_boots) {
      if (std::holds_alternative<replication::BootQuestion>(*control) ||
          std::holds_alternative<replication::BootAnswer>(*control)) {
        boots_.push_back({id, envelope.to, std::move(*control)});
        continue;
      }
    }
    if (options_.tell) {
      tell(link(id, envelope.to) +
           std::visit([](const auto& m) { return replication::describe(m); }, envelope.message));
    }
    if (auto* control = std::get_if<ControlMessage>(&envelope.message)) {
      letters_.push_back({id, envelope.to, std::move(*control)});
      continue;
    }
    auto& message = std::get<StreamMessage>(envelope.message);
    const StreamKey key{id, envelope.to, session_of(message)};
    if (std::holds_alternative<replication::Hello>(message)) streams_[key];
    const auto at = streams_.find(key);
    if (at != streams_.end()) at->second.push_back({std::move(message)});
  }
  for (const auto& answer : ready.reads) {
    const Index asked = node.reads.at(answer.token);
    node.reads.erase(answer.token);
    tell(walraft::describe(id) + " answers a read: " +
         (answer.commit ? "committed up to " + walraft::describe(*answer.commit) : std::string("not the leader")));
    if (!answer.commit) continue;
    ++reads_answered_;
    if (*answer.commit < asked) {
      checks_.fail("C4 Linearizable reads", "node " + walraft::describe(id) + " answers a read with " +
                                                walraft::describe(*answer.commit) + ", when " +
                                                walraft::describe(asked) + " was committed before it came");
    }
  }
  if (ready.settled) {
    tell(walraft::describe(id) + " is suspect no longer");
    node.suspect = false;
  }
  if (ready.append_noop) node.noop_wanted = true;
  if (node.noop_wanted && !node.cutting) {
    node.noop_wanted = false;
    if (const auto stamp = node.core->stamp_noop()) append(id, make_batch(node, *stamp, true));
  }
}

std::string CoreWorld::describe() const {
  std::string text;
  for (const auto& [id, node] : nodes_) text += describe(id) + '\n';
  return text;
}

std::string CoreWorld::describe(NodeId id) const {
  const Node& node = nodes_.at(id);
  return walraft::describe(id) + ' ' + (node.core ? node.core->describe() : std::string("down"));
}

}  // namespace walraft::model
