// Reads share rounds of heartbeats: one is under way, the next one waits, and no read is proven by a round that began
// before it came.

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "tests/model/core_world.h"

namespace walraft::model {
namespace {

constexpr NodeId kLeader{1};

class ReadRounds : public testing::Test {
 protected:
  ReadRounds() : world_(options()) {
    world_.advance(2'100'000);
    world_.tick(kLeader);
    for (int i = 0; i < 20; ++i) round();
    EXPECT_EQ(world_.core(kLeader).role(), replication::Role::leader);
    EXPECT_EQ(world_.core(kLeader).commit(), Index(1)) << "the NOOP";
  }

  CoreWorld::Options options() {
    CoreWorld::Options options;
    options.tell = [this](const std::string& what) {
      if (what.find(" answers a read: committed") != std::string::npos) ++answered_;
    };
    return options;
  }
  void round() {
    for (std::size_t left = world_.letters(); left > 0; --left) world_.deliver_letter(0);
    for (const NodeId id : world_.ids()) {
      for (const NodeId peer : world_.ids()) {
        if (id != peer) world_.send_entries(id, peer, 10);
      }
    }
    for (const StreamKey& key : world_.ready_streams()) world_.deliver_frame(key);
    for (const NodeId id : world_.ids()) {
      world_.persist(id);
      world_.sync(id, world_.log(id).end());
      if (world_.core(id).leader() == kLeader && id != kLeader) world_.tick(id);  // dials
    }
  }
  std::size_t letters(const std::string& beginning) const {
    std::size_t count = 0;
    for (std::size_t at = 0; at < world_.letters(); ++at) {
      count += replication::describe(world_.letter(at).message).starts_with(beginning);
    }
    return count;
  }
  void deliver(const std::string& beginning) {
    for (std::size_t at = world_.letters(); at-- > 0;) {
      if (replication::describe(world_.letter(at).message).starts_with(beginning)) world_.deliver_letter(at);
    }
  }
  void read(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(world_.read(kLeader));
  }

  int answered_ = 0;
  CoreWorld world_;
};

TEST_F(ReadRounds, ManyReadsShareTheNextOne) {
  read(1);
  EXPECT_EQ(letters("heartbeat term"), 2U) << "one round, to two followers, at once";
  read(50);
  EXPECT_EQ(letters("heartbeat term"), 2U) << "they wait for the next one";
  deliver("heartbeat term");
  deliver("heartbeat reply");
  EXPECT_EQ(answered_, 1) << "what was under way when they came proves nothing for the others";
  EXPECT_EQ(letters("heartbeat term"), 2U) << "the next one, for all fifty";
  deliver("heartbeat term");
  deliver("heartbeat reply");
  EXPECT_EQ(answered_, 51);
  EXPECT_EQ(letters("heartbeat"), 0U) << "nobody waits, nothing is sent";
}

// A round whose answers are lost holds the waiting ones up only until the next beat.
TEST_F(ReadRounds, ALostRoundIsMadeUpForByTheNextBeat) {
  read(1);
  read(5);
  while (world_.letters() > 0) world_.drop_letter(0);
  world_.advance(100'000);
  world_.tick(kLeader);
  deliver("heartbeat term");
  deliver("heartbeat reply");
  EXPECT_EQ(answered_, 6);
}

// What came while two rounds were under way (the second by the clock) waits for a third.
TEST_F(ReadRounds, NoReadIsProvenByAnOlderRound) {
  read(1);
  world_.advance(100'000);
  world_.tick(kLeader);
  read(1);
  EXPECT_EQ(letters("heartbeat term"), 4U);
  deliver("heartbeat term");
  deliver("heartbeat reply");
  EXPECT_EQ(answered_, 1);
  deliver("heartbeat term");
  deliver("heartbeat reply");
  EXPECT_EQ(answered_, 2);
}

}  // namespace
}  // namespace walraft::model
