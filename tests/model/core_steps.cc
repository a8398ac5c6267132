#include "tests/model/core_steps.h"

#include <algorithm>
#include <map>
#include <vector>

#include "wal/base/check.h"

namespace walraft::model {
namespace {

constexpr std::size_t kLettersMax = 300;

std::string text_of(const StreamKey& key) {
  return walraft::describe(key.from) + "->" + walraft::describe(key.to) + ' ' + replication::describe(key.session);
}

// How much a leader could believe by it.
Index claim(const Frame& frame) {
  const auto* message = std::get_if<StreamMessage>(&frame.content);
  const auto* ack = message == nullptr ? nullptr : std::get_if<replication::Ack>(message);
  return ack == nullptr ? Index() : ack->durable;
}

}  // namespace

CoreWorld::Options CoreSteps::options(sim::SimRng& rng) {
  CoreWorld::Options options;
  options.nodes = std::initializer_list<std::uint16_t>{1, 3, 3, 3, 5, 5, 5}.begin()[rng.below(7)];
  options.seed = rng.next();
  options.timing.election_timeout_us = 1'000'000;
  options.window_bytes = 200 + 100 * rng.below(20);
  options.late_losses = rng.below(2) == 0;
  options.late_digests = rng.below(2) == 0;
  options.late_boots = rng.below(2) == 0;
  options.keep_stale = true;
  return options;
}

CoreSteps::CoreSteps(std::uint64_t seed) : rng_(seed), world_(options(rng_)) {
  drop_ = pick({0, 0, 3, 10});
  double_ = pick({0, 0, 3, 10});
  break_ = pick({0, 1, 3, 10});
  crash_ = pick({0, 1, 3, 8});
  stall_ = pick({0, 0, 2});
  cut_ = pick({0, 2, 6});
  stop_ = pick({0, 0, 5, 20});
  clock_ = pick({0, 0, 0, 10});
  stale_ = pick({0, 2, 20});
  wipe_ = pick({0, 0, 30});
  image_ = pick({0, 0, 2});
  slow_sync_ = pick({1, 1, 2, 4});
  slow_ballot_ = pick({0, 20, 90});
  step_us_ = pick({100, 1'000, 5'000, 20'000});
  if (slow_ballot_ == 90) crash_ = std::max<std::uint64_t>(crash_, 3);
  phases_ = chance(40);
  if (chance(world_.ids().size() == 5
                 ? 50
                 : 20)) {  // leaders that come back, and what was said to them before: nothing else gets in the way
    drop_ = double_ = break_ = crash_ = stall_ = cut_ = stop_ = clock_ = 0;
    stale_ = 30;
    slow_sync_ = 1;
    slow_ballot_ = 0;
    step_us_ = 1'000;
    phases_ = comeback_ = true;
  }
}

NodeId CoreSteps::any_node() {
  const auto ids = world_.ids();
  NodeId id = ids[rng_.below(ids.size())];
  for (int tries = 0; stopped(id) && tries < 4; ++tries) id = ids[rng_.below(ids.size())];
  return id;
}

NodeId CoreSteps::any_leader() {
  std::vector<NodeId> leaders;
  for (const NodeId id : world_.ids()) {
    if (world_.up(id) && !stopped(id) && world_.core(id).role() == replication::Role::leader) leaders.push_back(id);
  }
  return leaders.empty() || chance(10) ? any_node() : leaders[rng_.below(leaders.size())];
}

void CoreSteps::step() {
  said_.clear();
  if (phases_ && phase_steps_-- == 0) return comeback_ ? comeback() : begin_phase();
  const std::uint64_t kind = rng_.below(100);
  if (kind < 30) return network();
  if (kind < 60) return stream();
  if (kind < 73) return disk();
  if (kind < 83) return time();
  if (kind < 88) return client();
  if (kind < 96) return replicate();
  trouble();
}

void CoreSteps::network() {
  if (world_.letters() == 0) return chance(20) ? time() : disk();
  // Mostly the newest: what is going on comes to its end in spite of all that lies about.
  const std::size_t of = chance(60) ? std::min<std::size_t>(world_.letters(), 6) : world_.letters();
  const std::size_t at = world_.letters() - 1 - rng_.below(of);
  const NodeId to = world_.letter(at).to;
  say("letter " + walraft::describe(world_.letter(at).from) + "->" + walraft::describe(to) + ' ' +
      replication::describe(world_.letter(at).message));
  if (chance(drop_) || world_.letters() > kLettersMax) {
    said_ += " dropped";
    world_.drop_letter(at);
  } else if (!stopped(to)) {
    world_.deliver_letter(at, chance(double_));
  }
}

void CoreSteps::stream() {
  if (!world_.stale().empty() && chance(stale_)) return stale_bytes();
  if (!world_.losses().empty() && chance(20)) {
    const std::size_t at = rng_.below(world_.losses().size());
    if (stopped(world_.losses()[at].to)) return;
    say("hears of a loss " + text_of(world_.losses()[at]));
    return world_.deliver_loss(at);
  }
  auto ready = world_.ready_streams();
  std::erase_if(ready, [&](const StreamKey& key) { return stopped(key.to); });
  if (ready.empty()) return network();
  const StreamKey key = ready[rng_.below(ready.size())];
  say("frame " + text_of(key) + ' ' + describe(world_.frames(key).front()));
  world_.deliver_frame(key);
}

// Of a few, the one that claims most: it is what a leader might believe.
void CoreSteps::stale_bytes() {
  std::size_t at = rng_.below(world_.stale().size());
  for (int tries = 0; tries < 6; ++tries) {
    const std::size_t other = rng_.below(world_.stale().size());
    if (claim(world_.stale()[other].second) > claim(world_.stale()[at].second)) at = other;
  }
  const auto [key, frame] = world_.stale()[at];
  if (stopped(key.to) || world_.is_cut(key.from, key.to)) return;
  say("stale " + text_of(key) + ' ' + describe(frame));
  world_.deliver_stale(key, frame);
}

void CoreSteps::disk() {
  const NodeId id = any_node();
  if (!world_.up(id) || stopped(id)) return;
  say("disk " + walraft::describe(id));
  if (chance(image_)) world_.take_image(id);
  // The ballot and the log are written side by side: either may be durable first.
  if (!chance(slow_ballot_) && world_.persist(id)) return;
  if ((chance(50) && world_.look_up(id)) || world_.finish_cut(id) || world_.look_up(id)) return;
  if (!chance(100 / slow_sync_)) return;
  const Index durable = world_.log(id).durable;
  const Index end = world_.log(id).end();
  if (durable < end) world_.sync(id, durable + 1 + rng_.below(end - durable));
}

void CoreSteps::time() {
  world_.advance(rng_.below(2 * step_us_));
  if (chance(1)) world_.advance(rng_.below(1'500'000));
  const bool last_act = comeback_ && act_ > 0 && act_ % 5 == 0;
  const NodeId id = last_act && chance(60) ? first_ : any_node();
  if (stopped(id)) return;
  say("tick " + walraft::describe(id));
  world_.tick(id);
}

void CoreSteps::client() {
  const NodeId id = any_leader();
  if (!world_.up(id) || stopped(id)) return;
  if (chance(20)) {
    say("read " + walraft::describe(id));
    world_.read(id);
  } else {
    say("propose " + walraft::describe(id));
    world_.propose(id);
  }
}

void CoreSteps::replicate() {
  const NodeId id = any_leader();
  const NodeId peer = any_node();
  if (id == peer || stopped(id)) return;
  say("send " + walraft::describe(id) + "->" + walraft::describe(peer));
  world_.send_entries(id, peer, 1 + rng_.below(5));
}

void CoreSteps::trouble() {
  NodeId id = any_node();
  // Where ballots take long, trouble likes a node that has batches of a term that its disk does not know yet.
  for (const NodeId other : world_.ids()) {
    if (slow_ballot_ != 90 || !world_.up(other) || !world_.persisting(other)) continue;
    if (world_.core(other).log().last_term() == world_.core(other).term() && chance(70)) id = other;
  }
  if (!world_.up(id) || chance(crash_ * 5)) return crash_or_start(id);
  if (chance(stop_) || (!stopped_.empty() && chance(8))) return stop_or_resume(chance(70) ? any_leader() : id);
  if (chance(break_ * 5)) {
    const auto all = world_.streams();
    if (all.empty()) return;
    const StreamKey key = all[rng_.below(all.size())];
    say("break " + text_of(key));
    return world_.break_stream(key);
  }
  if (chance(stall_ * 10)) {
    say("stall " + walraft::describe(id));
    return world_.stall_disk(id, chance(50) ? 0 : 1'000'000 + rng_.below(5'000'000));
  }
  if (chance(clock_)) {
    const std::uint64_t percent = pick({0, 10, 50, 100, 100, 200, 1'000});
    say("clock " + walraft::describe(id) + " at " + std::to_string(percent) + " %");
    return world_.set_clock_rate(id, percent);
  }
  if (chance(cut_ * 5)) return partition();
  if (chance(10)) {
    say("transfer " + walraft::describe(id));
    world_.transfer(id, any_node());
  }
}

bool CoreSteps::some_in_doubt() const {
  return std::any_of(rolled_back_.begin(), rolled_back_.end(), [&](NodeId id) { return world_.in_doubt(id); });
}

// A minority may lose their disks for good, or get older ones back: the promises hold no further. One at a time gets an
// older one back, and only if whoever answers it, somebody will know.
bool CoreSteps::lose_disk(NodeId id) {
  if (wiped_.contains(id) || wiped_.size() + rolled_back_.size() >= (world_.ids().size() - 1) / 2) return false;
  if (chance(wipe_)) {
    world_.wipe(id);
    wiped_.insert(id);
    return true;
  }
  if (image_ == 0 || some_in_doubt() || !world_.image_shows(id)) return false;
  world_.roll_back(id);
  rolled_back_.insert(id);
  return true;
}

void CoreSteps::crash_or_start(NodeId id) {
  if (world_.up(id)) {
    // What is known of a disk from the past is in memory: those that know stay up until it knows, too.
    if (some_in_doubt()) return;
    say("crash " + walraft::describe(id));
    stopped_.erase(id);
    return world_.crash(id, rng_.below(4));
  }
  const bool lost = lose_disk(id);
  say("start " + walraft::describe(id) +
      (wiped_.contains(id) ? " on another disk"
       : lost              ? " on a disk from the past"
                           : ""));
  world_.start(id);
}

// A stopped node gets nothing and does nothing, and time goes on. When it resumes, what waited for it may come at once,
// before its first look at the clock; so may a client.
void CoreSteps::stop_or_resume(NodeId id) {
  if (stopped_.empty() || (chance(30) && stopped_.size() < world_.ids().size() / 2)) {
    say("stop " + walraft::describe(id));
    stopped_.insert(id);
    if (chance(50)) world_.advance(1'000'000 + rng_.below(1'500'000));
    return;
  }
  const NodeId back = *stopped_.begin();
  say("resume " + walraft::describe(back));
  stopped_.erase(back);
  if (chance(50)) world_.read(back);
  if (chance(50)) {
    for (std::size_t at = world_.letters(); at-- > 0;) {
      if (world_.letter(at).to == back) world_.deliver_letter(at);
    }
  }
}

// Cuts some links, one way or both, around one node or anywhere; or heals all.
void CoreSteps::partition() {
  const bool heal = chance(40);
  const NodeId around = any_node();
  const bool anywhere = chance(30);
  const bool both = chance(70);
  say(heal ? "heal" : "cut around " + walraft::describe(around));
  for (const NodeId a : world_.ids()) {
    for (const NodeId b : world_.ids()) {
      if (a == b) continue;
      if (heal) {
        world_.cut(a, b, false);
      } else if (anywhere ? chance(20) : a == around || (both && b == around)) {
        world_.cut(a, b, true);
      }
    }
  }
}

// The nodes fall into groups that do not hear each other, for a while; often long enough that the next to look at its
// clock stands for election. A leader with a single follower makes batches that a later leader has to take back, and
// may come back itself.
void CoreSteps::begin_phase() {
  phase_steps_ = 20 + rng_.below(pick({100, 400}));
  const bool whole = chance(20);
  const bool pair = chance(50);
  const std::uint64_t groups = 2 + rng_.below(2);
  const NodeId leader = any_leader();
  const NodeId follower = any_node();
  std::map<NodeId, std::uint64_t> group;
  for (const NodeId id : world_.ids()) {
    group[id] = whole ? 0 : pair ? (id == leader || id == follower ? 0 : 1) : rng_.below(groups);
  }
  fall_into(group, chance(60));
}

// The same with a plot: a leader is left with one follower, and what that one acknowledges is on its way; the others
// elect another leader, which takes it back from the follower and reaches nobody else; then the first comes back. What
// was on its way arrives when it is no longer true.
void CoreSteps::comeback() {
  const std::uint64_t act = act_++ % 5;
  phase_steps_ = 30 + rng_.below(act == 1 ? 120 : 250);
  if (act == 2 && chance(world_.ids().size() == 5
                             ? 10
                             : 60)) {  // it does not look at its clock, and so does not know that it lost the others
    phase_steps_ += 250;
    stopped_.insert(first_);
  }
  if (act == 3 && stopped_.erase(first_) == 1) world_.read(first_);
  if (act == 1) {
    first_ = any_leader();
    do follower_ = any_node();
    while (follower_ == first_ && world_.ids().size() > 1);
  }
  for (int tries = 0; act == 3 && tries < 8; ++tries) {
    second_ = any_leader();
    if (second_ != first_) break;
  }
  std::map<NodeId, std::uint64_t> group;
  for (const NodeId id : world_.ids()) {
    const bool alone = act == 4 ? id == second_ : id == follower_ || id == (act == 3 ? second_ : first_);
    group[id] = act != 0 && alone ? 1 : 0;
  }
  fall_into(group, act == 2 || act == 4 || (act == 0 && chance(50)));
}

void CoreSteps::fall_into(const std::map<NodeId, std::uint64_t>& group, bool later) {
  say("groups");
  for (const auto& [id, of] : group) said_ += ' ' + std::to_string(of);
  for (const NodeId a : world_.ids()) {
    for (const NodeId b : world_.ids()) {
      if (a != b) world_.cut(a, b, group.at(a) != group.at(b));
    }
  }
  if (later) world_.advance(1'000'000 + rng_.below(1'500'000));
}

}  // namespace walraft::model
