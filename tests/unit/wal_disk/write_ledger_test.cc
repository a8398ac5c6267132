#include "wal/write_ledger.h"

#include <gtest/gtest.h>

#include "tests/unit/wal_disk/scratch.h"

namespace walraft::wal {
namespace {

class SetClock final : public Clock {
 public:
  std::uint64_t monotonic_us() override { return now_us; }
  std::int64_t wall_us() override { return 0; }
  std::uint64_t now_us = 1'000;
};

class WriteLedgerTest : public testing::Test {
 protected:
  Scratch scratch_;
  void SetUp() override {
    if (!scratch_.directory().has_direct()) GTEST_SKIP() << "NOT RUN: " << scratch_.path() << " has no O_DIRECT";
    file_ = scratch_.directory().create("a", Access::direct).value();
  }
  std::unique_ptr<File> file_;
  Blocks data_{4};
  SetClock clock_;
  WriteLedger ledger_{clock_};
};

TEST_F(WriteLedgerTest, RefusesWhatIsNotAligned) {
  TestWrite position(*file_, 512, data_.view());
  TestWrite length(*file_, 0, data_.view().first(512));
  TestWrite memory(*file_, 0, data_.view().subspan(512, kBlockBytes));
  TestWrite nothing(*file_, 0, {});
  TestWrite nowhere;
  EXPECT_DEATH(ledger_.add(position), "position");
  EXPECT_DEATH(ledger_.add(length), "size");
  EXPECT_DEATH(ledger_.add(memory), "address");
  EXPECT_DEATH(ledger_.add(nothing), "size");
  EXPECT_DEATH(ledger_.add(nowhere), "file");
}

TEST_F(WriteLedgerTest, KeepsTheOldestWhateverFinishesFirst) {
  TestWrite writes[3];
  WriteLedger::Slot slots[3];
  for (int i = 0; i < 3; ++i) {
    writes[i] = TestWrite(*file_, i * kBlockBytes, data_.view().first(kBlockBytes));
    ledger_.add(writes[i]);
    slots[i] = *ledger_.take_queued();
    clock_.now_us += 10;
  }
  EXPECT_EQ(ledger_.oldest_age_us(), 30u);
  EXPECT_EQ(&ledger_.finish(slots[1]), &writes[1]);  // took 20
  EXPECT_EQ(ledger_.oldest_age_us(), 30u);
  EXPECT_EQ(&ledger_.finish(slots[0]), &writes[0]);  // took 30
  EXPECT_EQ(ledger_.oldest_age_us(), 10u);
  ledger_.add(writes[0]);  // the slot of another is used again, and it is the youngest
  EXPECT_EQ(ledger_.oldest_age_us(), 10u);
  EXPECT_EQ(&ledger_.finish(slots[2]), &writes[2]);  // took 10
  EXPECT_EQ(ledger_.oldest_age_us(), 0u);
  clock_.now_us += 5;
  EXPECT_EQ(ledger_.oldest_age_us(), 5u);
  EXPECT_EQ(&ledger_.finish(*ledger_.take_queued()), &writes[0]);  // took 5
  EXPECT_EQ(ledger_.oldest_age_us(), 0u);
  EXPECT_EQ(ledger_.stats().writes, 4u);
  EXPECT_EQ(ledger_.stats().written_bytes, 4 * kBlockBytes);
  EXPECT_EQ(ledger_.stats().sync_us_total, 65u);
  EXPECT_EQ(ledger_.stats().sync_us_max, 30u);
  EXPECT_EQ(ledger_.stats().sync_us_last, 5u);
}

TEST_F(WriteLedgerTest, TheRestOfAWriteGoesFirst) {
  TestWrite first(*file_, 0, data_.view());
  TestWrite second(*file_, 4 * kBlockBytes, data_.view());
  ledger_.add(first);
  ledger_.add(second);
  const auto slot = *ledger_.take_queued();
  EXPECT_FALSE(ledger_.advance(slot, kBlockBytes + 7));
  EXPECT_EQ(ledger_.position(slot), kBlockBytes + 7);
  EXPECT_EQ(ledger_.bytes(slot).size(), 3 * kBlockBytes - 7);
  EXPECT_EQ(ledger_.bytes(slot).data(), data_.data() + kBlockBytes + 7);
  ledger_.requeue(slot);
  EXPECT_EQ(ledger_.take_queued(), slot);
  const auto other = *ledger_.take_queued();
  EXPECT_FALSE(ledger_.has_queued());
  ledger_.requeue(other);  // into an empty queue
  TestWrite third(*file_, 8 * kBlockBytes, data_.view());
  ledger_.add(third);
  EXPECT_EQ(ledger_.take_queued(), other);
  EXPECT_TRUE(ledger_.take_queued());
  EXPECT_FALSE(ledger_.take_queued());
  EXPECT_TRUE(ledger_.advance(slot, 3 * kBlockBytes - 7));
  EXPECT_DEATH((void)ledger_.advance(slot, 1), "written_bytes");
}

TEST_F(WriteLedgerTest, OneWriteOfABufferedFileAtATime) {
  auto buffered = scratch_.directory().create("b", Access::write).value();
  TestWrite direct[2];
  TestWrite queued[3];
  for (int i = 0; i < 3; ++i) {
    queued[i] = TestWrite(*buffered, i * kBlockBytes, data_.view().first(kBlockBytes));
    ledger_.add(queued[i]);
  }
  for (int i = 0; i < 2; ++i) {
    direct[i] = TestWrite(*file_, i * kBlockBytes, data_.view().first(kBlockBytes));
    ledger_.add(direct[i]);
  }
  const auto first = *ledger_.take_queued();
  EXPECT_EQ(ledger_.descriptor(first), buffered->descriptor());
  EXPECT_EQ(ledger_.descriptor(*ledger_.take_queued()), file_->descriptor());
  EXPECT_EQ(ledger_.descriptor(*ledger_.take_queued()), file_->descriptor());
  EXPECT_FALSE(ledger_.take_queued());
  ledger_.requeue(first);  // a short write keeps its turn
  EXPECT_EQ(ledger_.take_queued(), first);
  EXPECT_FALSE(ledger_.take_queued());
  EXPECT_EQ(&ledger_.finish(first), &queued[0]);
  const auto second = *ledger_.take_queued();
  EXPECT_EQ(ledger_.position(second), kBlockBytes);
  EXPECT_FALSE(ledger_.take_queued());
  EXPECT_EQ(&ledger_.finish(second), &queued[1]);
  ledger_.add(queued[0]);  // behind the third
  const auto third = *ledger_.take_queued();
  EXPECT_EQ(ledger_.position(third), 2 * kBlockBytes);
  EXPECT_FALSE(ledger_.has_queued());
  ledger_.finish(third);
  EXPECT_EQ(&ledger_.finish(*ledger_.take_queued()), &queued[0]);
  ledger_.add(queued[1]);  // none is left to wait for
  EXPECT_TRUE(ledger_.take_queued());
}

TEST_F(WriteLedgerTest, TheFirstFailureIsToldOnce) {
  int told = 0;
  std::string message;
  const auto handler = [&](const Error& error) {
    ++told;
    message = error.message;
    ledger_.fail({Code::failed, "from the handler"});
  };
  ledger_.on_failure(handler);
  ledger_.fail({Code::failed, "first"});
  ledger_.fail({Code::failed, "second"});
  ledger_.on_failure(handler);
  EXPECT_TRUE(ledger_.failed());
  EXPECT_EQ(told, 1);
  EXPECT_EQ(message, "first");
}

TEST_F(WriteLedgerTest, AHandlerThatComesLateIsTold) {
  int told = 0;
  ledger_.fail({Code::failed, "early"});
  ledger_.on_failure([&](const Error&) { ++told; });
  ledger_.on_failure([&](const Error&) { ++told; });
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace walraft::wal
