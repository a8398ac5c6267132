#pragma once

// Cores of one log with nothing real around them: logs are vectors, disks remember what they were told to sync, the
// network is a bag of control messages and a queue for each direction of a stream session. Nothing happens by itself;
// each verb is one step, and after each step all invariants are checked (core_checks.h).
//
// For scripts, random runs and exhaustive search of the protocol alone. The same core inside real replicas, logs and
// disks is another world's business.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "replication/core/core.h"
#include "tests/model/core_checks.h"
#include "tests/sim/sim_rng.h"

namespace walraft::model {

using replication::ControlMessage;
using replication::Core;
using replication::EntriesHead;
using replication::SessionId;
using replication::StreamMessage;

// In flight on the control channel.
struct Letter {
  NodeId from;
  NodeId to;
  ControlMessage message;
};

// In flight on a stream, in order.
struct Frame {
  std::variant<StreamMessage, std::pair<EntriesHead, std::vector<ModelBatch>>> content;
};

// One direction of one session.
struct StreamKey {
  NodeId from;
  NodeId to;
  SessionId session;
  auto operator<=>(const StreamKey&) const = default;
};

std::string describe(const Frame& frame);

class CoreWorld {
 public:
  struct Options {
    std::uint16_t nodes = 3;
    std::uint64_t seed = 1;
    replication::Timing timing;
    std::uint64_t window_bytes = 1'000;  // each batch counts as 100
    // What goes at once otherwise takes a verb of its own: a side hears that its session broke; a digest is read.
    bool late_losses = false;
    bool late_digests = false;
    // What a node asks the others after a start, and their answers, are letters like any other.
    bool late_boots = false;
    // What was under way when a session ended can still be delivered: stale().
    bool keep_stale = false;
    // Hears of all that is sent, answered, and asked of a disk: "1->2 vote? term=1 log=0/0".
    std::function<void(const std::string&)> tell = nullptr;
  };
  explicit CoreWorld(const Options& options);

  // --- Time, and what nodes do ---
  void advance(std::uint64_t by_us);
  std::uint64_t now_us() const { return now_us_; }
  // The node's own clock goes on at this rate; 0: it stands still.
  void set_clock_rate(NodeId node, std::uint64_t percent) { nodes_.at(node).clock_percent = percent; }
  std::uint64_t clock_us(NodeId node) const { return nodes_.at(node).clock_us; }
  const replication::Ballot& ballot(NodeId node) const { return nodes_.at(node).ballot; }  // durable
  std::uint64_t incarnation(NodeId node) const { return nodes_.at(node).incarnation; }
  void tick(NodeId node);
  // The leader's client appends one batch; false if it may not now.
  bool propose(NodeId node);
  // The next frame to `peer`, of at most `batches`; false if there is nothing to send.
  bool send_entries(NodeId node, NodeId peer, std::size_t batches);
  // The log of a leader did not take a batch that was stamped.
  void fail_append(NodeId node);
  bool transfer(NodeId node, NodeId to);
  bool read(NodeId node);

  // --- Disks ---
  // The oldest ballot that waits is durable now; false if none waits.
  bool persist(NodeId node);
  // Everything written below `to` is durable now.
  bool sync(NodeId node, Index to);
  bool finish_cut(NodeId node);
  // Reads the oldest digest that the core asked for (late_digests); false if it asked for none.
  bool look_up(NodeId node);
  // How much the leader may send ahead of the node's acks.
  void set_window(NodeId node, std::uint64_t bytes);
  // A disk whose oldest write is this old.
  void stall_disk(NodeId node, std::uint64_t age_us) { nodes_.at(node).disk_age_us = age_us; }

  // --- The network ---
  std::size_t letters() const { return letters_.size(); }
  const Letter& letter(std::size_t at) const { return letters_[at]; }
  void deliver_letter(std::size_t at, bool keep_copy = false);
  void drop_letter(std::size_t at) { letters_.erase(letters_.begin() + static_cast<std::ptrdiff_t>(at)); }
  // Streams with something in flight that can be delivered.
  std::vector<StreamKey> ready_streams() const;
  void deliver_frame(const StreamKey& key);
  const std::deque<Frame>& frames(const StreamKey& key) const { return streams_.at(key); }
  // The next frame is gone and the stream goes on: what no transport does, but a sender with a bug.
  void lose_frame(const StreamKey& key) { streams_.at(key).pop_front(); }
  // The same bytes once more, however old: of a session that may be over, from a connection that nobody closed.
  void deliver_stale(const StreamKey& key, const Frame& frame);
  void deliver_stale(const Letter& letter);
  // keep_stale: what sessions that are over left under way.
  const std::vector<std::pair<StreamKey, Frame>>& stale() const { return stale_; }
  // late_losses: directions of sessions that broke, whose `to` has not heard of it.
  const std::vector<StreamKey>& losses() const { return losses_; }
  void deliver_loss(std::size_t at);
  // One way: letters are lost, frames wait. Heals with `cut` false.
  void cut(NodeId from, NodeId to, bool cut);
  bool is_cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }
  // One way: frames wait, letters pass.
  void block_streams(NodeId from, NodeId to, bool block);
  // Breaks a session: what is in flight is lost, both sides hear of it.
  void break_stream(const StreamKey& key);
  std::vector<StreamKey> streams() const;
  // Both connections of `node` to `peer` were reset: its process is gone.
  void peer_gone(NodeId node, NodeId peer);

  // --- Crashes ---
  // Power fails: what was not synced is gone, but for a prefix of `kept` written batches that happened to reach the
  // disk.
  void crash(NodeId node, std::size_t kept);
  void start(NodeId node);
  // Of a node that is down: its log holds batches of these terms, all durable, and its ballot is of `ballot`, the last
  // of them or a later one. The same index and term is the same batch on every node.
  void write(NodeId node, const std::vector<Term>& terms, Term ballot);
  // Of a node that is down: its disk is replaced by an empty one.
  void wipe(NodeId node);
  // Of a node that is down: its disk lost everything from `to` on, and its log knows that it did (SUSPECT).
  void damage(NodeId node, Index to);
  // Keeps a copy of what the node's disk has durably now, in place of an older copy.
  void take_image(NodeId node);
  // Of a node that is down: its disk is replaced by that copy.
  void roll_back(NodeId node);
  bool has_image(NodeId node) const { return nodes_.at(node).image.has_value(); }
  // Whoever answers the node after it was rolled back, one of those that it waits for knows better: as many others that
  // are up know it to be ahead of the image.
  bool image_shows(NodeId node) const;
  // The node is up and its disk does not say yet whether it is suspect: it may have been rolled back.
  bool in_doubt(NodeId node) const;
  // Of a node that is down: its ballot is lost, its log is not.
  void lose_ballot(NodeId node);
  bool up(NodeId node) const { return nodes_.at(node).core != nullptr; }

  const Core& core(NodeId node) const { return *nodes_.at(node).core; }
  std::vector<NodeId> ids() const;
  const ModelLog& log(NodeId node) const { return nodes_.at(node).log; }
  bool persisting(NodeId node) const { return !nodes_.at(node).persisting.empty(); }
  const CoreChecks& checks() const { return checks_; }
  std::uint64_t reads_answered() const { return reads_answered_; }
  // Empty, or the first broken rule.
  const std::string& violation() const { return checks_.violation(); }
  // One line a node.
  std::string describe() const;
  std::string describe(NodeId node) const;

 private:
  friend class CoreFingerprint;
  struct Node {
    std::unique_ptr<Core> core;  // none: down
    std::unique_ptr<sim::SimRng> rng;
    std::uint64_t incarnation = 0;
    std::uint8_t disk = 0;  // how often it was replaced
    bool suspect = false;
    ModelLog log;
    replication::Ballot ballot;  // durable
    bool ballot_lost = false;  // and the log may be ahead of it
    struct Persisting {
      replication::Ready::Persist write;
      std::optional<std::uint64_t> suspect;
    };
    std::deque<Persisting> persisting;
    struct Image {
      std::uint64_t incarnation = 0;
      ModelLog log;
      replication::Ballot ballot;
      Index commit_bound;
    };
    std::optional<Image> image;
    std::optional<Index> cutting;
    bool noop_wanted = false;
    std::deque<Index> looking_up;
    std::uint64_t disk_age_us = 0;
    std::uint64_t clock_us = 1'000'000;
    std::uint64_t clock_percent = 100;
    Index commit_bound;  // told by the core before the crash: commits never go back
    std::map<std::uint64_t, Index> reads;  // token -> what was committed anywhere when it was asked
  };

  void settle(NodeId id);  // carries out the core's Readies until there are none
  void carry_out(NodeId id, replication::Ready ready);
  void append(NodeId id, ModelBatch batch);
  ModelBatch make_batch(const Node& node, const replication::Stamp& stamp, bool noop);
  Digest digest_at(const Node& node, Index index) const;
  void forget_streams(NodeId node);
  // What the node said of a disk that is gone is not heard any more: that disk may not count.
  void disown(NodeId node);
  void deliver_boots();
  // One direction of a session is over; false if it was before.
  bool erase_stream(const StreamKey& key);
  void tell(const std::string& what) const {
    if (options_.tell) options_.tell(what);
  }

  Options options_;
  sim::SimRng rng_;
  std::uint64_t now_us_ = 1'000'000;
  std::uint64_t made_ = 0;  // batches, for their contents
  std::uint64_t reads_ = 0;
  std::uint64_t reads_answered_ = 0;
  std::map<NodeId, Node> nodes_;
  std::vector<Letter> letters_;
  std::deque<Letter> boots_;  // unless late_boots
  bool delivering_boots_ = false;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::set<std::pair<NodeId, NodeId>> blocked_;  // for streams only
  std::map<StreamKey, std::deque<Frame>> streams_;
  std::vector<std::pair<StreamKey, Frame>> stale_;
  std::vector<StreamKey> losses_;
  CoreChecks checks_;
};

}  // namespace walraft::model
