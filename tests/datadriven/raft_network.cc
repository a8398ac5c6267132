#include "tests/datadriven/raft_network.h"

#include <algorithm>
#include <stdexcept>

namespace walraft {
namespace {

using model::CoreWorld;
using model::Frame;
using model::Letter;
using model::StreamKey;

bool is_ready(const CoreWorld& world, const StreamKey& key) {
  const auto ready = world.ready_streams();
  return std::find(ready.begin(), ready.end(), key) != ready.end();
}

// What comes next on it is meant.
bool next_fits(const CoreWorld& world, const StreamKey& key, const Pick& pick) {
  const auto& frames = world.frames(key);
  return pick.on_link(key) && !frames.empty() && pick.fits(frames.front());
}

}  // namespace

bool RaftNetwork::try_command(CoreWorld& world, const Command& c) {
  if (c.verb == "deliver") {
    deliver(world, pick_of(c, 0));
  } else if (c.verb == "drop") {
    drop(world, pick_of(c, 0));
  } else if (c.verb == "stash") {
    stash(world, c.words.at(0), pick_of(c, 1));
  } else if (c.verb == "replay") {
    replay(world, c.words.at(0));
  } else if (c.verb == "cut" || c.verb == "block" || c.verb == "isolate" || c.verb == "heal") {
    set_cut(world, c);
  } else if (c.verb == "gone") {
    const Link link = link_of(c.words.at(0));
    world.peer_gone(link.to, link.from);
  } else if (c.verb == "lose") {
    lose(world, pick_of(c, 0));
  } else if (c.verb == "break") {
    break_streams(world, link_of(c.words.at(0)));
  } else {
    return false;
  }
  return true;
}

bool RaftNetwork::in_flight(const CoreWorld& world, const Pick& pick) {
  for (std::size_t at = 0; at < world.letters(); ++at) {
    if (pick.fits(world.letter(at))) return true;
  }
  const auto streams = world.streams();
  return std::any_of(streams.begin(), streams.end(), [&](const StreamKey& key) { return next_fits(world, key, pick); });
}

void RaftNetwork::deliver(CoreWorld& world, const Pick& pick) {
  const std::size_t letters = deliver_letters(world, pick);
  if (deliver_frames(world, pick, letters) == 0) throw std::runtime_error("nothing of the kind can be delivered");
}

std::size_t RaftNetwork::deliver_letters(CoreWorld& world, const Pick& pick) {
  std::vector<Letter> letters;  // what is there now, not what comes of it
  for (std::size_t at = 0; at < world.letters();) {
    const bool taken = pick.fits(world.letter(at)) && !pick.enough(letters.size());
    if (taken) letters.push_back(world.letter(at));
    if (taken && !pick.keep) {
      world.drop_letter(at);
    } else {
      ++at;
    }
  }
  for (const Letter& letter : letters) {
    out_ << describe(letter.from) << "->" << describe(letter.to) << " " << replication::describe(letter.message)
         << "\n";
    world.deliver_stale(letter);
  }
  return letters.size();
}

// How many there are together with the `delivered` that went before.
std::size_t RaftNetwork::deliver_frames(CoreWorld& world, const Pick& pick, std::size_t delivered) {
  for (const StreamKey& key : world.ready_streams()) {
    if (!pick.on_link(key)) continue;
    for (std::size_t left = world.frames(key).size(); left > 0; --left) {
      if (!is_ready(world, key) || !next_fits(world, key, pick) || pick.enough(delivered)) break;
      ++delivered;
      out_ << describe(key.from) << "->" << describe(key.to) << " " << model::describe(world.frames(key).front())
           << "\n";
      world.deliver_frame(key);
    }
  }
  return delivered;
}

void RaftNetwork::drop(CoreWorld& world, const Pick& pick) {
  std::size_t dropped = 0;
  for (std::size_t at = 0; at < world.letters();) {
    if (!pick.fits(world.letter(at)) || pick.enough(dropped)) {
      ++at;
      continue;
    }
    world.drop_letter(at);
    ++dropped;
  }
  if (dropped == 0) throw std::runtime_error("nothing of the kind is in flight");
}

void RaftNetwork::lose(CoreWorld& world, const Pick& pick) {
  for (const StreamKey& key : world.streams()) {
    if (next_fits(world, key, pick)) return world.lose_frame(key);
  }
  throw std::runtime_error("nothing of the kind is next");
}

void RaftNetwork::break_streams(CoreWorld& world, const Link& link) {
  const Link between{link.from, link.to, true};
  for (const StreamKey& key : world.streams()) {
    if (between.is(key.from, key.to)) world.break_stream(key);
  }
}

void RaftNetwork::stash(const CoreWorld& world, const std::string& name, const Pick& pick) {
  Stash& stash = stashes_[name];
  for (std::size_t at = 0; at < world.letters(); ++at) {
    if (pick.fits(world.letter(at))) stash.letters.push_back(world.letter(at));
  }
  for (const StreamKey& key : world.streams()) {
    if (!pick.on_link(key)) continue;
    for (const Frame& frame : world.frames(key)) {
      if (pick.fits(frame)) stash.frames.emplace_back(key, frame);
    }
  }
  if (stash.letters.empty() && stash.frames.empty()) throw std::runtime_error("nothing of the kind is in flight");
}

void RaftNetwork::replay(CoreWorld& world, const std::string& name) {
  const Stash stash = stashes_.at(name);
  for (const Letter& letter : stash.letters) {
    out_ << describe(letter.from) << "->" << describe(letter.to) << " again: " << replication::describe(letter.message)
         << "\n";
    world.deliver_stale(letter);
  }
  for (const auto& [key, frame] : stash.frames) {
    out_ << describe(key.from) << "->" << describe(key.to) << " again: " << model::describe(frame) << "\n";
    world.deliver_stale(key, frame);
  }
}

void RaftNetwork::set_cut(CoreWorld& world, const Command& c) {
  for (const NodeId a : world.ids()) {
    for (const NodeId b : world.ids()) {
      if (a == b) continue;
      if (c.verb == "heal") {
        world.cut(a, b, false);
        world.block_streams(a, b, false);
      } else if (c.verb == "isolate") {
        if (a == node_of(c.words.at(0)) || b == node_of(c.words.at(0))) world.cut(a, b, true);
      } else if (link_of(c.words.at(0)).is(a, b)) {
        if (c.verb == "block") {
          world.block_streams(a, b, true);
        } else {
          world.cut(a, b, true);
        }
      }
    }
  }
}

}  // namespace walraft
