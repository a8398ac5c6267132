// What must happen to whole nodes in a drawn order: scenes that random runs come across, and that are worth a name.

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "tests/sim/cluster_world.h"
#include "wal/batch.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kSecondUs = 1'000'000;

class ClusterScenes : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(world_.violation(), ""); }

  NodeId leader() const {
    for (const NodeId id : world_.ids()) {
      if (world_.up(id) && replica(id).core().role() == replication::Role::leader) return id;
    }
    return NodeId();
  }
  const replication::Replica& replica(NodeId node) const { return world_.process(node).replica(0); }

  void cut_off(NodeId node, bool is_cut) {
    for (const NodeId other : world_.ids()) {
      if (other == node) continue;
      for (const auto channel : {SimNetwork::Channel::control, SimNetwork::Channel::stream}) {
        world_.network().cut(node, other, channel, is_cut);
        world_.network().cut(other, node, channel, is_cut);
      }
    }
  }

  // The answer comes later, at `answer`.
  void append(NodeId node, std::string_view record, std::optional<Result<replication::Committed>>& answer) {
    wal::BatchBuilder builder;
    ASSERT_TRUE(builder.add(bytes_of(record)));
    const MutableBytes batch = builder.finish({.log_id = LogId(1)});
    const auto header = wal::decode_unstamped_batch(batch);
    ASSERT_TRUE(header);
    world_.act(node, [&](SimProcess& process) {
      process.replica(0).append(batch, *header, {}, [&answer](Result<replication::Committed> is) { answer = is; });
    });
  }

  ClusterWorld world_{7, ClusterKnobs::calm(3)};
};

// influx:S13: the client of a deposed leader is told OK, for whatever stands at its index now.
TEST_F(ClusterScenes, AnAppendWhoseIndexAnotherLeaderTookIsNotAnsweredOk) {
  world_.run_for_us(5 * kSecondUs);
  const NodeId old = leader();
  ASSERT_NE(old, NodeId());
  cut_off(old, true);
  std::optional<Result<replication::Committed>> lost, kept;
  append(old, "lost", lost);
  const Index at = replica(old).tail().index;
  world_.run_for_us(8 * kSecondUs);  // the others elect one of them
  const NodeId next = leader();
  ASSERT_NE(next, NodeId());
  ASSERT_NE(next, old);
  append(next, "kept", kept);
  world_.run_for_us(kSecondUs);
  ASSERT_TRUE(kept && *kept);
  ASSERT_GE(replica(next).core().commit(), at);
  cut_off(old, false);
  world_.run_for_us(5 * kSecondUs);
  EXPECT_EQ(replica(old).core().commit(), replica(next).core().commit()) << "the old leader follows";
  ASSERT_TRUE(lost.has_value());
  ASSERT_FALSE(lost->has_value()) << "it stands in no log";
  EXPECT_EQ(lost->error().code, Code::unknown) << lost->error().message;
}

}  // namespace
}  // namespace walraft::sim
