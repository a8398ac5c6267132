#include "tools/walbench/schedule.h"

#include <gtest/gtest.h>

#include "tools/walbench/append_load.h"

namespace walraft::walbench {
namespace {

using namespace std::chrono_literals;

TEST(OpenLoopSchedule, is_steady_and_gathers_no_error) {
  const OpenLoopSchedule::Time start{12345s};
  const OpenLoopSchedule thirds(start, 3);
  EXPECT_EQ(thirds.due(0), start);
  EXPECT_EQ(thirds.due(3), start + 1s);
  EXPECT_EQ(thirds.due(3 * 86'400), start + 24h);
  for (std::uint64_t n = 0; n < 1000; ++n) EXPECT_LT(thirds.due(n), thirds.due(n + 1));
}

TEST(OpenLoopSchedule, takes_rates_above_and_below_one) {
  const OpenLoopSchedule::Time start{1s};
  EXPECT_EQ(OpenLoopSchedule(start, 0.5).due(1), start + 2s);
  EXPECT_EQ(OpenLoopSchedule(start, 1e6).due(1'000'001), start + 1s + 1us);
}

// What is due does not depend on what became of the appends before: the schedule is never told.
TEST(OpenLoopSchedule, a_stall_is_paid_for_by_all_that_was_due_in_it) {
  const OpenLoopSchedule::Time start{1s};
  const OpenLoopSchedule schedule(start, 1000);
  Histogram latency;
  // 1000 appends, a server that answers at once but stands still from 100 ms to 300 ms.
  for (std::uint64_t n = 0; n < 1000; ++n) {
    const auto due = schedule.due(n);
    const auto answered = due >= start + 100ms && due < start + 300ms ? start + 300ms : due;
    latency.record(static_cast<std::uint64_t>((answered - due).count()));
  }
  EXPECT_EQ(latency.percentile(79), 0u);
  EXPECT_GT(latency.percentile(90), 90'000'000u);  // one in five waited, 100 ms in the mean of them
  EXPECT_GE(latency.max(), 199'000'000u);
}

TEST(Window, holds_its_start_and_not_its_end) {
  const Time start{10s};
  const Window window{start - 1s, start, start + 1s};
  EXPECT_TRUE(window.holds(start));
  EXPECT_TRUE(window.holds(start + 1s - 1ns));
  EXPECT_FALSE(window.holds(start + 1s));
  EXPECT_FALSE(window.holds(start - 1ns));
}

}  // namespace
}  // namespace walraft::walbench
