// The hard-state file as its users see it: what is written is found again, in rounds of one sync.

#include "wal/hard_state.h"

#include <gtest/gtest.h>

#include "tests/unit/wal_state/crash_filesystem.h"
#include "wal/base/mutant.h"
#include "wal/hard_state_format.h"

namespace walraft::wal {
namespace {

using namespace crash;

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes.fill(n);
  return id;
}

const Uuid kDisk = uuid(0xd1);

HardState vote(std::uint64_t term, std::uint16_t node) { return {.term = Term(term), .voted_for = NodeId{node}}; }

class HardStateTest : public ::testing::Test {
 protected:
  HardStateTest() { EXPECT_TRUE(HardStateFile::create(directory_, "hard_state", kDisk)); }

  void reopen() {
    file_.reset();
    auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::direct, disk_);
    ASSERT_TRUE(file) << file.error().message;
    file_ = std::move(*file);
  }
  void settle() {
    file_->flush();
    for (int i = 0; i < 100 && !file_->idle(); ++i) disk_.poll();
    ASSERT_TRUE(file_->idle());
  }
  HardStateFile::Contents read() {
    auto contents = HardStateFile::read(directory_, "hard_state", kDisk);
    EXPECT_TRUE(contents) << contents.error().message;
    return contents ? *contents : HardStateFile::Contents{};
  }

  Medium medium_;
  MemoryDirectory directory_{medium_};
  MemoryDisk disk_;
  std::unique_ptr<HardStateFile> file_;
};

TEST_F(HardStateTest, NewFileIsEmptyAndSound) {
  reopen();
  EXPECT_TRUE(file_->contents().logs.empty());
  EXPECT_TRUE(file_->contents().damage.empty());
  EXPECT_EQ(file_->contents().nameless, 0u);
  EXPECT_FALSE(file_->find(uuid(1)));
  EXPECT_TRUE(file_->idle());
}

TEST_F(HardStateTest, KeepsEveryField) {
  const HardState state{.term = Term(7),
                        .voted_for = NodeId{65535},
                        .durable_bound = Index(0x0102030405060708),
                        .commit_bound = Index(11),
                        .trim_index = Index(12),
                        .trim_offset = Offset(13),
                        .suspect = true};
  reopen();
  ASSERT_TRUE(file_->write(uuid(1), state, nullptr));
  EXPECT_EQ(file_->find(uuid(1)), state);  // at once
  settle();
  for (int i = 0; i < 2; ++i) {
    reopen();
    EXPECT_EQ(file_->find(uuid(1)), state);
    ASSERT_EQ(file_->contents().logs.size(), 1u);
    EXPECT_EQ(file_->contents().logs[0].state, state);
    EXPECT_FALSE(file_->contents().logs[0].lost);
    EXPECT_FALSE(file_->contents().logs[0].repaired);
  }
}

TEST_F(HardStateTest, DoneOnlyWhenDurable) {
  reopen();
  bool done = false;
  ASSERT_TRUE(file_->write(uuid(1), vote(1, 1), [&] { done = true; }));
  file_->flush();
  EXPECT_FALSE(done);
  ASSERT_EQ(disk_.in_flight().size(), 2u);  // both twins
  disk_.complete_one(1);
  EXPECT_FALSE(done);
  disk_.complete_one(0);
  EXPECT_TRUE(done);
}

TEST_F(HardStateTest, LaterWritesReplaceEarlierOnesAndRunTogether) {
  reopen();
  std::string order;
  ASSERT_TRUE(file_->write(uuid(1), vote(1, 1), [&] { order += "a"; }));
  ASSERT_TRUE(file_->write(uuid(1), vote(2, 1), [&] { order += "b"; }));
  file_->flush();
  EXPECT_EQ(disk_.stats().writes, 2u);
  ASSERT_TRUE(file_->write(uuid(1), vote(3, 1), [&] { order += "c"; }));  // waits for its turn
  file_->flush();
  EXPECT_EQ(disk_.stats().writes, 2u);
  disk_.poll();
  EXPECT_EQ(order, "ab");
  EXPECT_EQ(disk_.stats().writes, 4u);  // the finished round started the next
  disk_.poll();
  EXPECT_EQ(order, "abc");
  reopen();
  EXPECT_EQ(file_->find(uuid(1)), vote(3, 1));
}

TEST_F(HardStateTest, DoneMayWriteAgain) {
  reopen();
  int rounds = 0;
  std::function<void()> again = [&] {
    if (++rounds < 5) {
      ASSERT_TRUE(file_->write(uuid(1), vote(rounds, 1), again));
      file_->flush();
    }
  };
  ASSERT_TRUE(file_->write(uuid(1), vote(0, 1), again));
  settle();
  EXPECT_EQ(rounds, 5);
}

TEST_F(HardStateTest, OneRoundForAllLogs) {
  reopen();
  int done = 0;
  for (std::uint16_t n = 0; n < 1'000; ++n) {
    Uuid log;
    store_le(reinterpret_cast<std::byte*>(log.bytes.data()), static_cast<std::uint64_t>(n) + 1);
    ASSERT_TRUE(file_->write(log, vote(n, 1), [&] { ++done; }));
  }
  file_->flush();
  EXPECT_EQ(disk_.stats().writes, 2u);  // neighbouring blocks go as one write
  disk_.poll();
  EXPECT_EQ(done, 1'000);
  reopen();
  EXPECT_EQ(file_->contents().logs.size(), 1'000u);
}

TEST_F(HardStateTest, FullFileRefusesAndFreesAgain) {
  reopen();
  const auto log = [](std::uint64_t n) {
    Uuid id;
    store_le(reinterpret_cast<std::byte*>(id.bytes.data()), n + 1);
    return id;
  };
  for (std::uint64_t n = 0; n < HardStateFile::kLogsMax; ++n) ASSERT_TRUE(file_->write(log(n), vote(n, 1), nullptr));
  auto refused = file_->write(log(9'000), vote(1, 1), nullptr);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::over_limit);
  settle();
  bool removed = false;
  ASSERT_TRUE(file_->remove(log(17), [&] { removed = true; }));
  EXPECT_FALSE(file_->write(log(9'000), vote(1, 1), nullptr)) << "the slot is free only when that is durable";
  settle();
  EXPECT_TRUE(removed);
  ASSERT_TRUE(file_->write(log(9'000), vote(5, 2), nullptr));
  settle();
  reopen();
  EXPECT_EQ(file_->contents().logs.size(), HardStateFile::kLogsMax);
  EXPECT_EQ(file_->find(log(9'000)), vote(5, 2));
  EXPECT_FALSE(file_->find(log(17)));
  EXPECT_TRUE(file_->contents().damage.empty());
}

TEST_F(HardStateTest, RemovedLogIsGone) {
  reopen();
  ASSERT_TRUE(file_->write(uuid(1), vote(4, 1), nullptr));
  settle();
  std::string order;
  ASSERT_TRUE(file_->write(uuid(1), vote(5, 1), [&] { order += "w"; }));
  ASSERT_TRUE(file_->remove(uuid(1), [&] { order += "r"; }));
  EXPECT_FALSE(file_->find(uuid(1)));
  settle();
  EXPECT_EQ(order, "wr");
  auto missing = file_->remove(uuid(1), nullptr);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  reopen();
  EXPECT_TRUE(file_->contents().logs.empty());
}

TEST_F(HardStateTest, RemovalDuringAWriteInFlight) {
  reopen();
  ASSERT_TRUE(file_->write(uuid(1), vote(1, 1), nullptr));
  file_->flush();
  ASSERT_TRUE(file_->remove(uuid(1), nullptr));
  ASSERT_TRUE(file_->write(uuid(1), vote(9, 9), nullptr));  // made anew: another slot
  settle();
  reopen();
  ASSERT_EQ(file_->contents().logs.size(), 1u);
  EXPECT_EQ(file_->find(uuid(1)), vote(9, 9));
}

TEST_F(HardStateTest, NoDoneAfterTheDiskFailed) {
  reopen();
  bool done = false;
  ASSERT_TRUE(file_->write(uuid(1), vote(1, 1), [&] { done = true; }));
  file_->flush();
  disk_.fail({Code::failed, "medium error"});
  EXPECT_FALSE(done);
}

TEST_F(HardStateTest, OtherDisksFileIsRefused) {
  auto file = HardStateFile::open(directory_, "hard_state", uuid(0xee), Access::write, disk_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::denied);
  EXPECT_NE(file.error().message.find("d1d1d1d1"), std::string::npos) << file.error().message;
  EXPECT_NE(file.error().message.find("eeeeeeee"), std::string::npos) << file.error().message;
}

TEST_F(HardStateTest, MissingFileIsSaid) {
  ASSERT_TRUE(directory_.remove("hard_state"));
  auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::write, disk_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::not_found);
}

TEST_F(HardStateTest, ReadingChangesNothing) {
  reopen();
  ASSERT_TRUE(file_->write(uuid(1), vote(3, 1), nullptr));
  settle();
  auto& bytes = medium_.root->names.at("hard_state")->now;
  bytes[hard_state::region_position(1, 0)] ^= std::byte{1};
  const auto before = bytes;
  const auto contents = read();
  EXPECT_EQ(bytes, before);
  ASSERT_EQ(contents.logs.size(), 1u);
  EXPECT_TRUE(contents.logs[0].repaired);
  EXPECT_EQ(contents.damage.size(), 1u);
}

TEST_F(HardStateTest, CreateNeverReplaces) {
  auto again = HardStateFile::create(directory_, "hard_state", kDisk);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
}

TEST_F(HardStateTest, WritesWithNoByteFree) {
  medium_.used_bytes_by_others = medium_.free_bytes();
  ASSERT_EQ(medium_.free_bytes(), 0u);
  reopen();
  ASSERT_TRUE(file_->write(uuid(1), vote(3, 1), nullptr));
  settle();
  reopen();
  EXPECT_EQ(file_->find(uuid(1)), vote(3, 1));
}

}  // namespace
}  // namespace walraft::wal
