// Disk::background on both real disks, and the names of the planted bugs.

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/wal_disk/scratch.h"
#include "wal/base/mutant.h"

namespace walraft::wal {
namespace {

class Background : public testing::TestWithParam<DiskMethod> {
 protected:
  void SetUp() override {
    disk_ = make_disk(GetParam(), system_clock());
    if (disk_ == nullptr) GTEST_SKIP() << "NOT RUN: this kernel or sandbox has no io_uring";
  }
  std::unique_ptr<Disk> disk_;
};

INSTANTIATE_TEST_SUITE_P(RealDisks, Background, testing::Values(DiskMethod::uring, DiskMethod::thread),
                         [](const auto& param) { return param.param == DiskMethod::uring ? "Uring" : "Thread"; });

Result<void> nothing() { return {}; }

TEST_P(Background, WorkRunsElsewhereAndDoneHere) {
  std::thread::id worker;
  std::thread::id finisher;
  disk_->background(0, [&]() -> Result<void> { worker = std::this_thread::get_id(); return {}; },
                    [&](Result<void> result) {
                      EXPECT_TRUE(result);
                      finisher = std::this_thread::get_id();
                    });
  ASSERT_TRUE(run_until(*disk_, [&] { return finisher != std::thread::id(); }));
  EXPECT_EQ(finisher, std::this_thread::get_id());
  EXPECT_NE(worker, std::this_thread::get_id());
}

TEST_P(Background, SlowWorkRestsNineTimesAsLongAsItTakesAndLetsOtherJobsPass) {
  constexpr std::uint64_t kTakesUs = 2'000;
  std::vector<std::uint64_t> starts;
  std::vector<std::uint64_t> ends;
  const auto slow = [&]() -> Result<void> {
    starts.push_back(system_clock().monotonic_us());
    std::this_thread::sleep_for(std::chrono::microseconds(kTakesUs));
    ends.push_back(system_clock().monotonic_us());
    return {};
  };
  int done = 0;
  for (int i = 0; i < 4; ++i) disk_->background_slowly(slow, [&](Result<void>) { ++done; });
  bool passed = false;
  disk_->background(kTakesUs, nothing, [&](Result<void>) { passed = done < 4; });
  ASSERT_TRUE(run_until(*disk_, [&] { return done == 4; }));
  EXPECT_TRUE(passed);
  for (std::size_t i = 1; i < starts.size(); ++i) {
    EXPECT_GE(starts[i] - ends[i - 1], 9 * (ends[i - 1] - starts[i - 1]));
  }
}

TEST_P(Background, DoneComesFromPollOnly) {
  std::atomic<bool> worked = false;
  bool done = false;
  disk_->background(0, [&]() -> Result<void> { worked = true; return {}; }, [&](Result<void>) { done = true; });
  while (!worked) std::this_thread::yield();
  disk_->wait(1'000'000);
  disk_->submit();
  EXPECT_FALSE(done);
  ASSERT_TRUE(run_until(*disk_, [&] { return done; }));
}

TEST_P(Background, AFailedJobIsTheCallersToJudge) {
  std::string message;
  disk_->background(0, [] { return Result<void>(error(Code::not_found, "no such segment")); },
                    [&](Result<void> result) { message = result.error().message; });
  ASSERT_TRUE(run_until(*disk_, [&] { return !message.empty(); }));
  EXPECT_EQ(message, "no such segment");
  EXPECT_FALSE(disk_->failed());
}

TEST_P(Background, RunsInOrderOfDueTimeAndNotBeforeIt) {
  std::vector<std::string> order;
  const std::uint64_t start_us = system_clock().monotonic_us();
  const auto add = [&](std::uint64_t delay_us, const std::string& name) {
    disk_->background(delay_us, nothing, [&order, name, delay_us, start_us](Result<void>) {
      order.push_back(name);
      EXPECT_GE(system_clock().monotonic_us(), start_us + delay_us);
    });
  };
  std::atomic<bool> all_added = false;  // the thread is kept busy, so that the order is not that of adding
  disk_->background(0, [&]() -> Result<void> { while (!all_added) std::this_thread::yield(); return {}; }, nullptr);
  add(60'000, "late");
  add(30'000, "middle");
  add(0, "first");
  add(0, "second");
  add(45'000, "after middle");
  add(0, "third");
  all_added = true;
  ASSERT_TRUE(run_until(*disk_, [&] { return order.size() == 6; }));
  const std::vector<std::string> expected = {"first", "second", "third", "middle", "after middle", "late"};
  EXPECT_EQ(order, expected);
}

TEST_P(Background, AnEarlierJobOvertakesOneThatWaits) {
  bool late = false;
  bool early = false;
  disk_->background(3'600'000'000, nothing, [&](Result<void>) { late = true; });
  disk_->background(1'000, nothing, [&](Result<void>) { early = true; });
  ASSERT_TRUE(run_until(*disk_, [&] { return early; }));
  EXPECT_FALSE(late);
}

TEST_P(Background, DoneMayAddTheNext) {
  int rounds = 0;
  std::function<void(Result<void>)> again = [&](Result<void>) {
    if (++rounds < 5) disk_->background(0, nothing, again);
  };
  disk_->background(0, nothing, again);
  EXPECT_TRUE(run_until(*disk_, [&] { return rounds == 5; }));
}

TEST_P(Background, ALongJobDoesNotHoldUpWrites) {
  Scratch scratch;
  auto file = scratch.directory().create("a", Access::write).value();
  ASSERT_TRUE(file->allocate(kBlockBytes));
  Blocks data(1);
  TestWrite write(*file, 0, data.view());
  std::atomic<bool> release = false;
  bool done = false;
  disk_->background(0, [&]() -> Result<void> { while (!release) std::this_thread::yield(); return {}; },
                    [&](Result<void>) { done = true; });
  disk_->write(write);
  disk_->submit();
  EXPECT_TRUE(run_until(*disk_, [&] { return write.times_durable == 1; }));
  EXPECT_FALSE(done);
  release = true;
  EXPECT_TRUE(run_until(*disk_, [&] { return done; }));
}

TEST_P(Background, DestructorWaitsForTheRunningJobAndDropsTheOthers) {
  std::atomic<bool> started = false;
  std::atomic<bool> finished = false;
  std::atomic<int> others = 0;
  disk_->background(0,
                    [&]() -> Result<void> {
                      started = true;
                      std::this_thread::sleep_for(std::chrono::milliseconds(30));
                      finished = true;
                      return {};
                    },
                    [&](Result<void>) { ++others; });
  const auto other = [&]() -> Result<void> { ++others; return {}; };
  disk_->background(1'000, other, nullptr);
  disk_->background(3'600'000'000, other, nullptr);
  while (!started) std::this_thread::yield();
  disk_.reset();
  EXPECT_TRUE(finished);
  EXPECT_EQ(others, 0);
}

TEST_P(Background, WhatTheWorkHoldsIsLetGoOnItsThread) {
  std::atomic<bool> elsewhere = false;
  const auto main_thread = std::this_thread::get_id();
  bool done = false;
  {
    std::shared_ptr<int> held(new int(1), [&, main_thread](int* number) {
      elsewhere = std::this_thread::get_id() != main_thread;
      delete number;
    });
    std::atomic<bool> handed_over = false;
    disk_->background(0,
                      [held, &handed_over]() -> Result<void> {
                        while (!handed_over) std::this_thread::yield();
                        return {};
                      },
                      [&](Result<void>) { done = true; });
    held.reset();
    handed_over = true;
    ASSERT_TRUE(run_until(*disk_, [&] { return done; }));
  }
  EXPECT_TRUE(elsewhere);
}

TEST(Mutants, HaveDistinctNamesThatAreFoundAgain) {
  std::set<std::string_view> names;
  for (const std::string_view name : mutant_names()) {
    EXPECT_TRUE(names.insert(name).second) << name;
    ASSERT_TRUE(mutant_named(name)) << name;
    EXPECT_EQ(to_string(*mutant_named(name)), name);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Mutant::s2_settle_not_durable) + 1) << "the last of the enum";
  EXPECT_EQ(mutant_named("m14_no_directory_sync"), Mutant::m14_no_directory_sync);
  EXPECT_EQ(mutant_named("m31_no_dsync"), Mutant::m31_no_dsync);
  EXPECT_FALSE(mutant_named(""));
  EXPECT_FALSE(mutant_named("m99"));
}

#ifdef WALRAFT_MUTANTS
TEST(Mutants, OneAtATime) {
  set_mutant(Mutant::m31_no_dsync);
  EXPECT_TRUE(mutant(Mutant::m31_no_dsync));
  EXPECT_FALSE(mutant(Mutant::m26_sync_error_retried));
  set_mutant(Mutant::m26_sync_error_retried);
  EXPECT_FALSE(mutant(Mutant::m31_no_dsync));
  set_mutant(std::nullopt);
  EXPECT_FALSE(mutant(Mutant::m26_sync_error_retried));
}

TEST(MutantsDeathTest, AMisspeltNameEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // a fresh process, which reads its environment
  setenv("WALRAFT_MUTANT", "m31_no_dsink", 1);
  EXPECT_EXIT(mutant(Mutant::m31_no_dsync), testing::ExitedWithCode(2), "m31_no_dsink: no such planted bug");
  setenv("WALRAFT_MUTANT", "m31_no_dsync", 1);
  EXPECT_EXIT(std::_Exit(mutant(Mutant::m31_no_dsync) ? 7 : 8), testing::ExitedWithCode(7), "");
  unsetenv("WALRAFT_MUTANT");
}
#else
static_assert(!mutant(Mutant::m31_no_dsync));
#endif

}  // namespace
}  // namespace walraft::wal
