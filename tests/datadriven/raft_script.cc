#include "tests/datadriven/raft_script.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace walraft {
namespace {

using model::CoreWorld;
using model::StreamKey;

constexpr std::uint64_t kElectionUs = 2'100'000;  // more than any election timeout
constexpr std::uint64_t kRunStepUs = 20'000;
constexpr int kSettleMax = 100'000;

NodeId node_of(const std::string& word) { return NodeId{static_cast<std::uint16_t>(std::stoul(word))}; }

std::uint64_t time_of(const std::string& word) {
  std::size_t unit = 0;
  const std::uint64_t number = std::stoull(word, &unit);
  if (word.substr(unit) == "ms") return number * 1'000;
  if (word.substr(unit) == "s") return number * 1'000'000;
  throw std::runtime_error("a time is 300ms or 2s, not " + word);
}

bool is_number(const std::string& word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
}

// "2 1 3..5": behind the node, batches of the terms 1, 3, 4 and 5.
std::vector<Term> terms_of(const std::vector<std::string>& words) {
  std::vector<Term> terms;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t dots = words[i].find("..");
    const std::uint64_t last = std::stoull(dots == std::string::npos ? words[i] : words[i].substr(dots + 2));
    for (std::uint64_t term = std::stoull(words[i]); term <= last; ++term) terms.emplace_back(term);
  }
  return terms;
}

// The whole line in words.
std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace

std::string RaftScript::run(const std::string& line) {
  out_.str("");
  if (!failed_.empty()) return "";
  try {
    carry_out(parse_command(line));
  } catch (const std::exception& e) {
    fail(line + ": " + e.what());
  }
  if (world_ && !world_->violation().empty()) fail("invariant " + world_->violation());
  show_changes();
  return out_.str();
}

void RaftScript::fail(const std::string& what) {
  if (!failed_.empty()) return;
  failed_ = what;
  out_ << "FAILED " << what << "\n";
}

CoreWorld& RaftScript::world() {
  if (!world_) throw std::runtime_error("there are no nodes yet");
  return *world_;
}

void RaftScript::carry_out(const Command& c) {
  telling_ = true;
  if (c.verb == "nodes") return make(c);
  if (c.verb == "expect") return expect(c);
  if (c.verb == "trace") {
    trace_ = c.words.at(0) == "on";
  } else if (c.verb == "status") {
    out_ << world().describe();
  } else if (c.verb == "logs") {
    show_logs();
  } else if (c.verb == "flows") {
    show_flows(node_of(c.words.at(0)));
  } else if (!try_client(c) && !try_network(c) && !try_disk(c)) {
    throw std::runtime_error("no such command");
  }
}

void RaftScript::make(const Command& c) {
  CoreWorld::Options options;
  options.nodes = static_cast<std::uint16_t>(c.number(0));
  options.window_bytes = c.number("window", 10'000);
  options.late_digests = c.text("digests") == "late";
  options.tell = [this](const std::string& what) {
    if (telling_) out_ << "  " << what << "\n";
  };
  world_ = std::make_unique<CoreWorld>(options);
  frame_batches_ = c.number("frame", 1'000);
  for (const NodeId node : world_->ids()) shown_[node] = world_->describe(node);
}

// --- Clients and time

bool RaftScript::try_client(const Command& c) {
  if (c.verb == "elect") {
    elect(node_of(c.words.at(0)));
  } else if (c.verb == "propose") {
    propose(c);
  } else if (c.verb == "read") {
    if (!world().read(node_of(c.words.at(0)))) throw std::runtime_error("refused");
  } else if (c.verb == "transfer") {
    const Pick to = pick_of(c, 0);
    if (!world().transfer(to.link.from, to.link.to)) throw std::runtime_error("refused");
  } else if (c.verb == "wait") {
    world().advance(time_of(c.words.at(0)));
  } else if (c.verb == "tick") {
    if (c.words.size() > 1) world().advance(time_of(c.words[1]));
    tick(c.words.at(0));
  } else if (c.verb == "run") {
    telling_ = trace_;
    run_for(time_of(c.words.at(0)));
  } else if (c.verb == "settle") {
    telling_ = trace_;
    settle();
  } else {
    return false;
  }
  return true;
}

void RaftScript::elect(NodeId node) {
  telling_ = trace_;
  world().advance(kElectionUs);
  world_->tick(node);
  settle();
  for (const NodeId other : world_->ids()) {
    // A leader that was replaced and does not know it stays as it is.
    if (awake(other) && world_->core(other).role() != replication::Role::leader) world_->tick(other);
  }
  settle();
  if (world_->core(node).role() != replication::Role::leader) fail(describe(node) + " was not elected");
}

void RaftScript::propose(const Command& c) {
  const NodeId node = node_of(c.words.at(0));
  for (std::uint64_t i = 0; i < (c.words.size() > 1 ? c.number(1) : 1); ++i) {
    if (!world().propose(node)) throw std::runtime_error("refused");
    const auto& batch = world_->log(node).batches.back();
    out_ << "  " << describe(node) << " appends " << describe(batch.term) << "/" << describe(batch.index) << "\n";
  }
}

void RaftScript::tick(const std::string& who) {
  if (who != "all") return world().tick(node_of(who));
  for (const NodeId node : world().ids()) {
    if (awake(node)) world_->tick(node);
  }
}

void RaftScript::run_for(std::uint64_t us) {
  for (std::uint64_t passed = 0; passed < us && world().violation().empty(); passed += kRunStepUs) {
    world_->advance(kRunStepUs);
    tick("all");
    settle();
  }
}

void RaftScript::settle() {
  for (int i = 0; i < kSettleMax; ++i) {
    if (!world().violation().empty() || !settle_once()) return;
  }
  throw std::runtime_error("it never comes to rest");
}

// One round of everything that can happen without time; false if nothing could.
bool RaftScript::settle_once() {
  const bool disks = settle_disks();
  const bool letters = settle_letters();
  const bool streams = settle_streams();
  return disks || letters || streams;
}

bool RaftScript::settle_disks() {
  bool any = false;
  for (const NodeId node : world_->ids()) {
    if (!awake(node) || held_.contains(node)) continue;
    any |= world_->look_up(node);
    any |= world_->persist(node) || world_->finish_cut(node) || world_->sync(node, world_->log(node).end());
  }
  return any;
}

bool RaftScript::settle_letters() {
  bool any = false;
  for (std::size_t at = 0; at < world_->letters();) {
    if (paused_.contains(world_->letter(at).to)) {
      ++at;
    } else {
      world_->deliver_letter(at);
      any = true;
    }
  }
  return any;
}

bool RaftScript::settle_streams() {
  bool any = false;
  for (const NodeId from : world_->ids()) {
    for (const NodeId to : world_->ids())
      any |= from != to && awake(from) && world_->send_entries(from, to, frame_batches_);
  }
  for (const StreamKey& key : world_->ready_streams()) {
    const auto ready = world_->ready_streams();  // an earlier one may have ended it
    if (paused_.contains(key.to) || std::find(ready.begin(), ready.end(), key) == ready.end()) continue;
    world_->deliver_frame(key);
    any = true;
  }
  return any;
}

// --- The network

RaftScript::Pick RaftScript::pick_of(const Command& c, std::size_t from) const {
  Pick pick;
  const std::string& link = c.words.at(from);
  const std::size_t arrow = link.find('-');
  if (arrow == std::string::npos || link.find('>') == std::string::npos) {
    throw std::runtime_error("a link is 1->2 or 1<->2, not " + link);
  }
  pick.link = {node_of(link), node_of(link.substr(link.find('>') + 1))};
  for (std::size_t i = from + 1; i < c.all.size(); ++i) {
    if (c.all[i] == "keep") {
      pick.keep = true;
    } else if (is_number(c.all[i])) {
      pick.count = std::stoull(c.all[i]);
    } else {
      pick.what += (pick.what.empty() ? "" : " ") + c.all[i];
    }
  }
  return pick;
}

bool RaftScript::letter_fits(const model::Letter& letter, const Pick& pick) const {
  return letter.from == pick.link.from && letter.to == pick.link.to && pick.what != "stream" &&
         (pick.what == "control" || replication::describe(letter.message).starts_with(pick.what));
}

bool RaftScript::frame_fits(const StreamKey& key, const Pick& pick) const {
  const auto& frames = world_->frames(key);
  return key.from == pick.link.from && key.to == pick.link.to && !frames.empty() && pick.what != "control" &&
         (pick.what == "stream" || model::describe(frames.front()).starts_with(pick.what));
}

bool RaftScript::in_flight(const Pick& pick) const {
  for (std::size_t at = 0; at < world_->letters(); ++at) {
    if (letter_fits(world_->letter(at), pick)) return true;
  }
  const auto streams = world_->streams();
  return std::any_of(streams.begin(), streams.end(), [&](const StreamKey& key) { return frame_fits(key, pick); });
}

void RaftScript::deliver(const Pick& pick) {
  std::size_t delivered = 0;
  std::vector<model::Letter> letters;  // what is there now, not what comes of it
  for (std::size_t at = 0; at < world().letters();) {
    const bool taken = letter_fits(world_->letter(at), pick) && (pick.count == 0 || delivered < pick.count);
    if (!taken) {
      ++at;
      continue;
    }
    ++delivered;
    letters.push_back(world_->letter(at));
    if (pick.keep) {
      ++at;
    } else {
      world_->drop_letter(at);
    }
  }
  for (const model::Letter& letter : letters) {
    out_ << describe(letter.from) << "->" << describe(letter.to) << " " << replication::describe(letter.message)
         << "\n";
    world_->deliver_stale(letter);
  }
  for (const StreamKey& key : world_->ready_streams()) {
    if (key.from != pick.link.from || key.to != pick.link.to) continue;
    for (std::size_t left = world_->frames(key).size(); left > 0; --left) {
      const auto ready = world_->ready_streams();
      if (std::find(ready.begin(), ready.end(), key) == ready.end() || !frame_fits(key, pick)) break;
      if (pick.count != 0 && delivered == pick.count) break;
      ++delivered;
      out_ << describe(key.from) << "->" << describe(key.to) << " " << model::describe(world_->frames(key).front())
           << "\n";
      world_->deliver_frame(key);
    }
  }
  if (delivered == 0) throw std::runtime_error("nothing of the kind can be delivered");
}

void RaftScript::drop(const Pick& pick) {
  std::size_t dropped = 0;
  for (std::size_t at = 0; at < world().letters();) {
    if (!letter_fits(world_->letter(at), pick) || (pick.count != 0 && dropped == pick.count)) {
      ++at;
      continue;
    }
    world_->drop_letter(at);
    ++dropped;
  }
  if (dropped == 0) throw std::runtime_error("nothing of the kind is in flight");
}

void RaftScript::lose(const Pick& pick) {
  for (const StreamKey& key : world().streams()) {
    if (frame_fits(key, pick)) return world_->lose_frame(key);
  }
  throw std::runtime_error("nothing of the kind is next");
}

void RaftScript::stash(const std::string& name, const Pick& pick) {
  Stash& stash = stashes_[name];
  for (std::size_t at = 0; at < world().letters(); ++at) {
    if (letter_fits(world_->letter(at), pick)) stash.letters.push_back(world_->letter(at));
  }
  for (const StreamKey& key : world_->streams()) {
    if (key.from != pick.link.from || key.to != pick.link.to || pick.what == "control") continue;
    for (const model::Frame& frame : world_->frames(key)) {
      if (pick.what == "stream" || model::describe(frame).starts_with(pick.what)) stash.frames.emplace_back(key, frame);
    }
  }
  if (stash.letters.empty() && stash.frames.empty()) throw std::runtime_error("nothing of the kind is in flight");
}

void RaftScript::replay(const std::string& name) {
  const Stash stash = stashes_.at(name);
  for (const model::Letter& letter : stash.letters) {
    out_ << describe(letter.from) << "->" << describe(letter.to) << " again: " << replication::describe(letter.message)
         << "\n";
    world_->deliver_stale(letter);
  }
  for (const auto& [key, frame] : stash.frames) {
    out_ << describe(key.from) << "->" << describe(key.to) << " again: " << model::describe(frame) << "\n";
    world_->deliver_stale(key, frame);
  }
}

void RaftScript::set_cut(const Command& c) {
  for (const NodeId a : world().ids()) {
    for (const NodeId b : world_->ids()) {
      if (a == b) continue;
      if (c.verb == "heal") {
        world_->cut(a, b, false);
        world_->block_streams(a, b, false);
      } else if (c.verb == "isolate") {
        if (a == node_of(c.words.at(0)) || b == node_of(c.words.at(0))) world_->cut(a, b, true);
      } else {
        const Link link = pick_of(c, 0).link;
        const bool both = c.words.at(0).find('<') != std::string::npos;
        if (!(a == link.from && b == link.to) && !(both && a == link.to && b == link.from)) continue;
        if (c.verb == "block") {
          world_->block_streams(a, b, true);
        } else {
          world_->cut(a, b, true);
        }
      }
    }
  }
}

bool RaftScript::try_network(const Command& c) {
  if (c.verb == "deliver") {
    deliver(pick_of(c, 0));
  } else if (c.verb == "drop") {
    drop(pick_of(c, 0));
  } else if (c.verb == "stash") {
    stash(c.words.at(0), pick_of(c, 1));
  } else if (c.verb == "replay") {
    replay(c.words.at(0));
  } else if (c.verb == "cut" || c.verb == "block" || c.verb == "isolate" || c.verb == "heal") {
    set_cut(c);
  } else if (c.verb == "gone") {
    const Link link = pick_of(c, 0).link;
    world().peer_gone(link.to, link.from);
  } else if (c.verb == "lose") {
    lose(pick_of(c, 0));
  } else if (c.verb == "break") {
    const Link link = pick_of(c, 0).link;
    for (const StreamKey& key : world().streams()) {
      const bool between = (key.from == link.from && key.to == link.to) || (key.from == link.to && key.to == link.from);
      if (between) world_->break_stream(key);
    }
  } else if (c.verb == "send") {
    const Pick pick = pick_of(c, 0);
    if (!world().send_entries(pick.link.from, pick.link.to, pick.count == 0 ? frame_batches_ : pick.count)) {
      throw std::runtime_error("refused");
    }
  } else {
    return false;
  }
  return true;
}

// --- Disks and crashes

bool RaftScript::try_disk(const Command& c) {
  static const std::set<std::string> kVerbs{"persist", "sync",        "finish_cut", "hold",   "release", "pause",
                                            "resume",  "stall",       "crash",      "start",  "wipe",    "damage",
                                            "write",   "fail_append", "window",     "look_up"};
  if (!kVerbs.contains(c.verb)) return false;
  const NodeId node = node_of(c.words.at(0));
  bool done = true;
  if (c.verb == "persist") {
    done = world().persist(node);
  } else if (c.verb == "sync") {
    done = world().sync(node, c.words.size() > 1 ? Index(c.number(1)) : world_->log(node).end());
  } else if (c.verb == "finish_cut") {
    done = world().finish_cut(node);
  } else if (c.verb == "hold") {
    held_.insert(node);
  } else if (c.verb == "release") {
    held_.erase(node);
  } else if (c.verb == "pause") {
    paused_.insert(node);
  } else if (c.verb == "resume") {
    paused_.erase(node);
  } else if (c.verb == "stall") {
    world().stall_disk(node, time_of(c.words.at(1)));
  } else if (c.verb == "crash") {
    world().crash(node, c.number("kept", 0));
  } else if (c.verb == "start") {
    world().start(node);
  } else if (c.verb == "wipe") {
    world().wipe(node);
  } else if (c.verb == "write") {
    const auto terms = terms_of(c.words);
    world().write(node, terms, Term(c.number("term", terms.back().value)));
  } else if (c.verb == "look_up") {
    done = world().look_up(node);
  } else if (c.verb == "window") {
    world().set_window(node, c.number(1));
  } else if (c.verb == "fail_append") {
    world().fail_append(node);
  } else {
    world().damage(node, Index(c.number(1)));
  }
  if (!done) throw std::runtime_error("nothing to do");
  return true;
}

// --- What is the case

void RaftScript::expect_leader(const std::string& who) {
  std::string leaders;
  for (const NodeId node : world().ids()) {
    if (world_->up(node) && world_->core(node).role() == replication::Role::leader) {
      leaders += (leaders.empty() ? "" : " ") + describe(node);
    }
  }
  if ((leaders.empty() ? "none" : leaders) != who) fail("expect leader " + who + ": it is " + leaders);
}

void RaftScript::expect(const Command& c) {
  const std::string& what = c.words.at(0);
  if (what == "leader") return expect_leader(c.words.at(1));
  if (what == "committed") {
    const std::uint64_t committed = world().checks().committed().value;
    if (committed != c.number(1)) fail("expect committed " + c.words[1] + ": it is " + describe(committed));
    return;
  }
  if (what == "flight" || what == "silence") {
    if (in_flight(pick_of(c, 1)) != (what == "flight")) fail("expect " + what + " " + c.words[1]);
    return;
  }
  if (what == "refused") {
    std::string line = c.all.at(1);
    for (std::size_t i = 2; i < c.all.size(); ++i) line += " " + c.all[i];
    const Command refused = parse_command(line);
    try {
      carry_out(refused);
    } catch (const std::exception&) {
      return;
    }
    return fail("expect refused " + c.words[1] + ": it was done");
  }
  const NodeId node = node_of(what);
  const auto said = words_of(world().describe(node));
  for (const std::string& word : std::vector<std::string>(c.all.begin() + 1, c.all.end())) {
    const bool negated = word.starts_with("!");
    const bool there = std::find(said.begin(), said.end(), negated ? word.substr(1) : word) != said.end();
    if (there == negated) fail("expect " + what + " " + word + ": " + world_->describe(node));
  }
}

void RaftScript::show_changes() {
  if (!world_) return;
  for (const NodeId node : world_->ids()) {
    std::string line = world_->describe(node);
    if (shown_[node] == line) continue;
    out_ << line << "\n";
    shown_[node] = std::move(line);
  }
}

void RaftScript::show_logs() {
  for (const NodeId node : world().ids()) {
    const auto& log = world_->log(node);
    out_ << describe(node) << ":";
    for (const auto& batch : log.batches) out_ << " " << describe(batch.term);
    out_ << ", durable " << describe(log.durable) << "\n";
  }
}

void RaftScript::show_flows(NodeId node) {
  static constexpr std::string_view kStates[] = {"none", "handshaking", "welcomed", "streaming"};
  const auto& leader = world().core(node).leading();
  if (!leader) throw std::runtime_error("not a leader");
  for (const auto& [peer, flow] : leader->peers()) {
    out_ << describe(node) << "->" << describe(peer) << " " << kStates[static_cast<std::size_t>(flow.state())] << " "
         << replication::describe(flow.session()) << " next=" << describe(flow.next())
         << " match=" << describe(flow.match()) << "\n";
  }
}

}  // namespace walraft
