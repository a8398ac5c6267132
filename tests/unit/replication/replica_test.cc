#include "replication/replica/replica.h"

#include <gtest/gtest.h>

#include "replication/replica/shard.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"

namespace walraft::replication {
namespace {

constexpr wal::LogIdentity kIdentity{Uuid{{1, 2, 3}}, Uuid{{4, 5, 6}}, LogId(7)};

Uuid other_log(std::size_t i) {
  return Uuid{{9, static_cast<std::uint8_t>(i & 0xff), static_cast<std::uint8_t>(i >> 8)}};
}

// A replica of one log in the simulator, without a loop: the test takes the turns.
class ReplicaTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(wal::HardStateFile::create(*root_, "hard_state", Uuid{{7}}));
    hard_state_ = std::move(*wal::HardStateFile::open(*root_, "hard_state", Uuid{{7}}, wal::Access::direct, disk_));
    shard_ = std::make_unique<Shard>(Self{NodeId{1}, Uuid{{7}}}, Limits{}, Timing{}, disk_, *hard_state_, peers_,
                                     clock_, rng_, [] {});
  }

  std::unique_ptr<wal::Log> open_log() {
    wal::LogOptions options;
    options.segment_bytes = options.first_segment_bytes = wal::kSegmentBytesMin;
    options.durable_is_commit = true;
    auto log = wal::Log::open(std::move(*root_->subdirectory("log", true)), kIdentity, options, *hard_state_, disk_,
                              clock_, rng_);
    EXPECT_TRUE(log) << log.error().message;
    return std::move(*log);
  }

  void begin() {
    auto replica = Replica::open(*shard_, {.name = "log", .identity = kIdentity, .members = {{{NodeId{1}, Uuid{{7}}}}}},
                                 open_log());
    ASSERT_TRUE(replica) << replica.error().message;
    replica_ = std::move(*replica);
  }

  void append(std::string_view record) {
    wal::BatchBuilder builder;
    ASSERT_TRUE(builder.add(bytes_of(record)));
    const MutableBytes batch = builder.finish({.log_id = kIdentity.id});
    const auto header = wal::decode_unstamped_batch(batch);
    ASSERT_TRUE(header);
    replica_->append(batch, *header, {}, [this](Result<Committed> answer) {
      answers_.push_back(answer ? Code::ok : answer.error().code);
    });
  }

  void turn() {
    shard_->turn();
    disk_.settle();
    shard_->disk_turn();
    disk_.settle();
    shard_->disk_turn();
  }

  sim::SimFilesystem filesystem_{5};
  sim::SimClock clock_;
  sim::SimRng rng_{11};
  std::unique_ptr<wal::Directory> root_ = filesystem_.root();
  sim::SimDisk disk_{filesystem_, clock_};
  std::unique_ptr<wal::HardStateFile> hard_state_;
  NoPeers peers_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Replica> replica_;
  std::vector<Code> answers_;
};

TEST_F(ReplicaTest, answers_an_append_when_it_is_durable) {
  begin();
  append("a");
  EXPECT_TRUE(answers_.empty()) << "never from within append()";
  shard_->turn();
  EXPECT_TRUE(answers_.empty()) << "not before the disk has it";
  turn();
  EXPECT_EQ(answers_, std::vector{Code::ok});
  EXPECT_EQ(replica_->committed(), Offset(1));
  EXPECT_EQ(shard_->inflight_bytes(), 0u);
}

// It used to wait for ever, with its bytes taken from the budget of all logs.
TEST_F(ReplicaTest, refuses_appends_while_hard_state_has_no_slot_for_the_log) {
  for (std::size_t i = 0; i < wal::HardStateFile::kLogsMax; ++i) {
    ASSERT_TRUE(hard_state_->write(other_log(i), wal::HardState{.term = Term(1)}, [] {})) << i;
  }
  hard_state_->flush();
  disk_.settle();
  begin();
  append("a");
  append("b");
  turn();
  append("c");
  turn();
  EXPECT_EQ(answers_, (std::vector{Code::over_limit, Code::over_limit, Code::over_limit}));
  EXPECT_EQ(shard_->inflight_bytes(), 0u);
  ASSERT_TRUE(hard_state_->remove(other_log(3), [] {}));
  turn();
  append("d");
  turn();
  ASSERT_EQ(answers_.size(), 4u);
  EXPECT_EQ(answers_.back(), Code::ok);
}

// Only the first of them used to be refused in each turn of the disk, the others a tenth of a second apart.
TEST_F(ReplicaTest, refuses_all_that_waits_where_the_disk_has_no_room_for_the_first_batch_of_the_term) {
  begin();
  append("a");
  turn();
  replica_.reset();
  {
    auto log = open_log();
    filesystem_.set_capacity(filesystem_.used_bytes());
    for (Result<void> appended; appended || appended.error().code == Code::over_limit;) {
      auto batch = wal::make_control_batch(kIdentity.id, wal::BatchKind::cursor, std::vector<std::byte>(1'000));
      const wal::LogPoint tail = log->tail();
      wal::stamp_batch(batch, {tail.index, tail.offset, tail.term, log->durable(), tail.timestamp_us}, tail.digest);
      appended = log->append(batch, wal::Use::control);
      log->flush();
      disk_.settle();
      log->tick();
    }
    wal::LogPoint tail = log->tail();  // to the last 128 bytes
    for (Result<void> appended; appended;) {
      auto batch = wal::make_control_batch(kIdentity.id, wal::BatchKind::cursor, {});
      tail = log->tail();
      wal::stamp_batch(batch, {tail.index, tail.offset, tail.term, log->durable(), tail.timestamp_us}, tail.digest);
      appended = log->append(batch, wal::Use::control);
      log->flush();
      disk_.settle();
    }
  }
  int reserve_needed = 0;
  shard_->on_reserve_needed([&] { ++reserve_needed; });
  begin();
  answers_.clear();
  for (int i = 0; i < 50; ++i) append("x");
  turn();
  shard_->tick();
  turn();
  EXPECT_EQ(answers_, std::vector<Code>(50, Code::no_space));
  EXPECT_EQ(shard_->inflight_bytes(), 0u);

  // The reserve goes once, and what it leaves is for control batches: the term begins, data waits until it is held again.
  EXPECT_EQ(reserve_needed, 1);
  EXPECT_FALSE(shard_->reserve_held());
  filesystem_.set_capacity(1u << 30);
  answers_.clear();
  clock_.advance_us(2'000'000);
  append("y");
  for (int i = 0; i < 20 && answers_.empty(); ++i) {
    shard_->tick();
    turn();
  }
  EXPECT_EQ(answers_, std::vector{Code::no_space});
  EXPECT_GT(replica_->tail().index, Index(1));
  shard_->reserve_held(true);
  append("z");
  for (int i = 0; i < 20 && answers_.size() < 2; ++i) {
    clock_.advance_us(200'000);
    shard_->tick();
    turn();
  }
  EXPECT_EQ(answers_.back(), Code::ok);
  EXPECT_EQ(reserve_needed, 1);
}

}  // namespace
}  // namespace walraft::replication
