#include "tests/model/core_liveness.h"

#include <algorithm>
#include <vector>

#include "tests/model/core_steps.h"
#include "wal/base/check.h"

namespace walraft::model {
namespace {

constexpr std::uint64_t kRoundUs = 20'000;
constexpr std::uint64_t kSettleUs = 60'000'000;
constexpr std::uint64_t kSteadyUs = 2'000'000;
constexpr std::uint64_t kQuietUs = 8'000'000;

class Healed {
 public:
  explicit Healed(std::uint64_t seed) : steps_(seed), world_(steps_.world()) {}

  CoreLiveness go() {
    for (int i = 0; i < 1'500 && world_.violation().empty(); ++i) steps_.step();
    if (!world_.violation().empty()) return {world_.violation(), 0};
    heal();
    CoreLiveness result;
    // It may look settled by chance at first, while a leader has yet to notice that it lost the others.
    std::uint64_t settled_us = 0;
    while (settled_us < kSteadyUs && result.settled_us < kSettleUs) {
      if (!round()) return {world_.violation(), 0};
      result.settled_us += kRoundUs;
      settled_us = settled() ? settled_us + kRoundUs : 0;
    }
    if (!settled()) return {"L1 Settles: not within " + std::to_string(kSettleUs / 1'000'000) + " s\n" + text(), 0};
    const Index before = world_.core(leader()).commit();
    if (!world_.propose(leader())) return {"L3 Appends: the leader takes nothing\n" + text(), 0};
    for (std::uint64_t us = 0; us < kQuietUs / 4; us += kRoundUs) round();
    if (!settled() || world_.core(leader()).commit() <= before) return {"L3 Appends: no commit\n" + text(), 0};
    const std::string quiet = shape();
    for (std::uint64_t us = 0; us < kQuietUs; us += kRoundUs) {
      if (!round()) return {world_.violation(), 0};
      if (shape() != quiet) return {"L2 Quiet: was " + quiet + ", is " + shape() + '\n' + text(), 0};
    }
    return {recovered(), result.settled_us};
  }

 private:
  // A node that was rolled back counts again when all others have answered it.
  std::string recovered() const {
    if (recovering_.size() < sick_.size()) return "";
    for (const NodeId id : recovering_) {
      if (world_.core(id).suspect() || world_.core(id).asking()) return "L4 Rolled back for ever\n" + text();
    }
    return "";
  }

  void heal() {
    auto ids = world_.ids();
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[steps_.rng().below(i)]);
    const std::size_t quorum = ids.size() / 2 + 1;
    const std::size_t want = quorum + steps_.rng().below(ids.size() - quorum + 1);
    for (const NodeId id : ids) {
      const bool sound = !steps_.wiped().contains(id) && !steps_.rolled_back().contains(id);
      if (sound && well_.size() < want) {
        well_.push_back(id);
      } else {
        sick_.push_back(id);
      }
    }
    std::sort(well_.begin(), well_.end());
    for (const NodeId id : ids) {
      world_.set_clock_rate(id, 100);
      world_.stall_disk(id, 0);
      if (!world_.up(id)) world_.start(id);
      for (const NodeId other : ids) {
        if (other != id) world_.cut(id, other, false);
      }
    }
    for (const NodeId id : sick_) {
      const std::uint64_t kind = steps_.rng().below(4);
      // One that was rolled back and may not have heard of it stays down: those that know may be down now.
      const bool in_doubt = world_.up(id) && steps_.rolled_back().contains(id) && world_.in_doubt(id);
      if (kind == 0 || steps_.wiped().contains(id) || in_doubt) {
        world_.crash(id, 0);
        continue;
      }
      if (steps_.rolled_back().contains(id)) {  // it is well, and may be suspect: nobody waits for it, and it may lead
        recovering_.push_back(id);
        continue;
      }
      if (kind == 3) hung_.insert(id);
      for (const NodeId other : ids) {
        if (other != id && kind == 1) world_.cut(other, id, true);  // it is deaf
        if (other != id && kind == 2) world_.cut(id, other, true);  // it is mute
      }
    }
  }

  // Everybody gets what is under way, and does all there is to do. False at a violation.
  bool round() {
    world_.advance(kRoundUs);
    sick_us_ += kRoundUs;
    while (!world_.losses().empty()) world_.deliver_loss(0);
    for (const NodeId id : world_.ids()) {
      if (!world_.up(id)) continue;
      const bool hangs = hung_.contains(id);
      if (hangs) world_.stall_disk(id, sick_us_);
      world_.tick(id);
      while (world_.look_up(id)) {
      }
      while (!hangs && world_.persist(id)) {
      }
      if (!hangs) world_.finish_cut(id);
      if (!hangs) world_.sync(id, world_.log(id).end());
      for (const NodeId peer : world_.ids()) {
        if (peer != id) world_.send_entries(id, peer, 10);
      }
    }
    for (std::size_t left = world_.letters(); left > 0; --left) world_.deliver_letter(0);
    for (const StreamKey& key : world_.ready_streams()) {
      for (std::size_t left = 20; left > 0; --left) {
        const auto ready = world_.ready_streams();
        if (std::find(ready.begin(), ready.end(), key) == ready.end()) break;
        world_.deliver_frame(key);
      }
    }
    return world_.violation().empty();
  }

  NodeId leader() const {
    for (const auto* nodes : {&well_, &recovering_}) {
      for (const NodeId id : *nodes) {
        if (world_.core(id).role() == replication::Role::leader) return id;
      }
    }
    return NodeId();
  }

  bool settled() const {
    const NodeId leads = leader();
    if (leads == NodeId()) return false;
    const replication::Core& core = world_.core(leads);
    if (!core.stamp()) return false;  // a hand-over that is under way
    for (const NodeId id : well_) {
      const replication::Core& other = world_.core(id);
      if (other.term() != core.term() || other.log().end() != core.log().end()) return false;
      if (other.commit() != other.log().end() || other.durable() != other.log().end()) return false;
      if (id == leads) continue;
      if (other.leader() != leads || other.upstream().state() != replication::Upstream::State::streaming) return false;
      if (core.leading()->peers().at(id).state() != replication::PeerFlow::State::streaming) return false;
    }
    return true;
  }

  // What may not change any more: the leader, its term, the sessions.
  std::string shape() const {
    std::string text = "leader " + walraft::describe(leader());
    for (const NodeId id : well_) {
      text += ' ' + walraft::describe(world_.core(id).term()) + '/' +
              replication::describe(world_.core(id).upstream().session());
    }
    return text;
  }

  std::string text() const {
    std::string text = world_.describe() + "well:";
    for (const NodeId id : well_) text += ' ' + walraft::describe(id);
    return text;
  }

  CoreSteps steps_;
  CoreWorld& world_;
  std::vector<NodeId> well_;
  std::vector<NodeId> sick_;
  std::vector<NodeId> recovering_;  // of the sick ones
  std::set<NodeId> hung_;
  std::uint64_t sick_us_ = 0;
};

}  // namespace

CoreLiveness run_core_liveness(std::uint64_t seed) { return Healed(seed).go(); }

}  // namespace walraft::model
