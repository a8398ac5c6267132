#include "tests/datadriven/raft_script.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "tests/datadriven/raft_words.h"

namespace walraft {

using model::CoreWorld;

std::string RaftScript::run(const std::string& line) {
  out_.str("");
  if (!failed_.empty()) return "";
  try {
    carry_out(parse_command(line));
  } catch (const std::exception& e) {
    fail(line + ": " + e.what());
  }
  if (world_ && !world_->violation().empty()) fail("invariant " + world_->violation());
  if (world_) report_.changes(*world_, out_);
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
    RaftReport::logs(world(), out_);
  } else if (c.verb == "flows") {
    RaftReport::flows(world(), node_of(c.words.at(0)), out_);
  } else if (!try_client(c) && !try_time(c) && !network_.try_command(world(), c) && !try_disk(c)) {
    throw std::runtime_error("no such command");
  }
}

void RaftScript::make(const Command& c) {
  CoreWorld::Options options;
  options.nodes = static_cast<std::uint16_t>(c.number(0));
  options.window_bytes = c.number("window", 10'000);
  options.late_digests = c.text("digests") == "late";
  options.late_boots = c.text("boots") == "late";
  options.tell = [this](const std::string& what) {
    if (telling_) out_ << "  " << what << "\n";
  };
  world_ = std::make_unique<CoreWorld>(options);
  settling_.set_frame_batches(c.number("frame", 1'000));
  report_.start(*world_);
}

// --- Clients and senders

bool RaftScript::try_client(const Command& c) {
  if (c.verb == "propose") {
    propose(c);
  } else if (c.verb == "send") {
    send(c);
  } else if (c.verb == "read") {
    if (!world().read(node_of(c.words.at(0)))) throw std::runtime_error("refused");
  } else if (c.verb == "transfer") {
    const Link link = link_of(c.words.at(0));
    if (!world().transfer(link.from, link.to)) throw std::runtime_error("refused");
  } else {
    return false;
  }
  return true;
}

void RaftScript::propose(const Command& c) {
  const NodeId node = node_of(c.words.at(0));
  for (std::uint64_t i = 0; i < (c.words.size() > 1 ? c.number(1) : 1); ++i) {
    if (!world().propose(node)) throw std::runtime_error("refused");
    const auto& batch = world_->log(node).batches.back();
    out_ << "  " << describe(node) << " appends " << describe(batch.term) << "/" << describe(batch.index) << "\n";
  }
}

void RaftScript::send(const Command& c) {
  const Pick pick = pick_of(c, 0);
  const std::size_t batches = pick.count == 0 ? settling_.frame_batches() : pick.count;
  if (!world().send_entries(pick.link.from, pick.link.to, batches)) throw std::runtime_error("refused");
}

// --- Time, and what happens by itself

bool RaftScript::try_time(const Command& c) {
  if (c.verb == "wait") {
    world().advance(time_of(c.words.at(0)));
  } else if (c.verb == "tick") {
    if (c.words.size() > 1) world().advance(time_of(c.words[1]));
    if (c.words.at(0) == "all") {
      settling_.tick_all(world());
    } else {
      world().tick(node_of(c.words[0]));
    }
  } else if (c.verb == "elect" || c.verb == "run" || c.verb == "settle") {
    telling_ = trace_;
    if (c.verb == "elect") {
      settling_.elect(world(), node_of(c.words.at(0)));
    } else if (c.verb == "run") {
      settling_.run(world(), time_of(c.words.at(0)));
    } else {
      settling_.settle(world());
    }
  } else {
    return false;
  }
  return true;
}

// --- Disks and crashes

bool RaftScript::try_disk(const Command& c) {
  static const std::set<std::string> kVerbs{"persist", "sync",   "finish_cut", "hold",        "release",
                                            "pause",   "resume", "stall",      "crash",       "start",
                                            "wipe",    "damage", "write",      "fail_append", "window",
                                            "look_up", "image",  "roll_back",  "lose_ballot"};
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
    settling_.hold(node);
  } else if (c.verb == "release") {
    settling_.release(node);
  } else if (c.verb == "pause") {
    settling_.pause(node);
  } else if (c.verb == "resume") {
    settling_.resume(node);
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
  } else if (c.verb == "image") {
    world().take_image(node);
  } else if (c.verb == "roll_back") {
    world().roll_back(node);
  } else if (c.verb == "lose_ballot") {
    world().lose_ballot(node);
  } else {
    world().damage(node, Index(c.number(1)));
  }
  if (!done) throw std::runtime_error("nothing to do");
  return true;
}

// --- Expectations

void RaftScript::expect(const Command& c) {
  const std::string& what = c.words.at(0);
  if (what == "leader") return expect_leader(c.words.at(1));
  if (what == "committed") return expect_committed(c);
  if (what == "refused") return expect_refused(c);
  if (what == "flight" || what == "silence") {
    const bool there = RaftNetwork::in_flight(world(), pick_of(c, 1));
    if (there != (what == "flight")) fail("expect " + what + " " + c.words[1]);
    return;
  }
  expect_words(c);
}

void RaftScript::expect_leader(const std::string& who) {
  std::string leaders;
  for (const NodeId node : world().ids()) {
    if (world_->up(node) && world_->core(node).role() == replication::Role::leader) {
      leaders += (leaders.empty() ? "" : " ") + describe(node);
    }
  }
  if ((leaders.empty() ? "none" : leaders) != who) fail("expect leader " + who + ": it is " + leaders);
}

void RaftScript::expect_committed(const Command& c) {
  const std::uint64_t committed = world().checks().committed().value;
  if (committed != c.number(1)) fail("expect committed " + c.words[1] + ": it is " + describe(committed));
}

void RaftScript::expect_refused(const Command& c) {
  std::string line = c.all.at(1);
  for (std::size_t i = 2; i < c.all.size(); ++i) line += " " + c.all[i];
  const Command refused = parse_command(line);
  try {
    carry_out(refused);
  } catch (const std::exception&) {
    return;
  }
  fail("expect refused " + c.words[1] + ": it was done");
}

void RaftScript::expect_words(const Command& c) {
  const NodeId node = node_of(c.words.at(0));
  const auto said = words_of(world().describe(node));
  for (const std::string& word : std::vector<std::string>(c.all.begin() + 1, c.all.end())) {
    const bool negated = word.starts_with("!");
    const bool there = std::find(said.begin(), said.end(), negated ? word.substr(1) : word) != said.end();
    if (there == negated) fail("expect " + c.words[0] + " " + word + ": " + world_->describe(node));
  }
}

}  // namespace walraft
