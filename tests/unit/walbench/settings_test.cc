#include "tools/walbench/settings.h"

#include <gtest/gtest.h>

#include "tools/walbench/append_load.h"

namespace walraft::walbench {
namespace {

using namespace std::chrono_literals;

Arguments append() {
  Arguments arguments;
  arguments.command = "append";
  return arguments;
}

TEST(Settings, a_cell_for_each_size_and_each_number_in_flight) {
  Arguments arguments = append();
  arguments.size = "32,256,1KiB,16KiB";
  arguments.inflight = "1,64,1024";
  arguments.duration = "300ms";
  arguments.warmup = "0";
  const auto cells = cells_of(arguments);
  ASSERT_TRUE(cells) << cells.error().message;
  ASSERT_EQ(cells->size(), 12u);
  EXPECT_EQ((*cells)[0].size, 32u);
  EXPECT_EQ((*cells)[0].inflight, 1u);
  EXPECT_EQ((*cells)[11].size, 16'384u);
  EXPECT_EQ((*cells)[11].inflight, 1024u);
  EXPECT_EQ((*cells)[5].duration, 300ms);
  EXPECT_EQ((*cells)[5].warmup, 0ms);
}

TEST(Settings, a_batch_holds_as_many_records_as_fit_and_at_least_one) {
  Arguments arguments = append();
  arguments.size = "32,100,64KiB";
  arguments.batch_bytes = "16KiB";
  const auto cells = cells_of(arguments);
  ASSERT_TRUE(cells) << cells.error().message;
  EXPECT_EQ((*cells)[0].records_per_append(), 512u);
  EXPECT_EQ((*cells)[1].records_per_append(), 163u);
  EXPECT_EQ((*cells)[2].records_per_append(), 1u);
  EXPECT_EQ(cells_of(append())->front().records_per_append(), 1u);
}

TEST(Settings, an_open_loop_has_no_number_in_flight) {
  Arguments arguments = append();
  arguments.rate = "1234.5";
  arguments.inflight = "1,64";
  const auto cells = cells_of(arguments);
  ASSERT_TRUE(cells) << cells.error().message;
  ASSERT_EQ(cells->size(), 1u);
  EXPECT_EQ(cells->front().inflight, 0u);
  EXPECT_EQ(cells->front().rate, 1234.5);
}

TEST(Settings, what_is_under_way_stays_below_32_MiB_over_all_connections) {
  Work work;
  work.size = 1u << 20;
  work.inflight = 1024;
  EXPECT_EQ(inflight_within_bound(work), 31u);
  work.connections = 4;
  EXPECT_EQ(inflight_within_bound(work), 7u);
  work.size = 256;
  EXPECT_EQ(inflight_within_bound(work), 1024u);
  work.size = 8u << 20;
  work.connections = 64;
  EXPECT_EQ(inflight_within_bound(work), 1u);
}

TEST(Settings, what_is_wrong_is_named_with_what_is_allowed) {
  const auto wrong = [](auto change, const std::string& option) {
    Arguments arguments = append();
    change(arguments);
    const auto cells = cells_of(arguments);
    ASSERT_FALSE(cells) << option;
    EXPECT_EQ(cells.error().code, Code::usage);
    EXPECT_TRUE(cells.error().message.starts_with(option)) << cells.error().message;
  };
  for (const char* bad : {"", "0", "x", "1KB", "-1", "9MiB", "32,,64", "18446744073709551616"}) {
    wrong([&](Arguments& a) { a.size = bad; }, "--size");
    if (*bad != '\0') wrong([&](Arguments& a) { a.batch_bytes = bad; }, "--batch-bytes");
  }
  for (const char* bad : {"", "0", "x", "1KiB", "-1", "8193", "1 "}) {
    wrong([&](Arguments& a) { a.inflight = bad; }, "--inflight");
    wrong([&](Arguments& a) { a.connections = bad; }, "--connections");
    wrong([&](Arguments& a) { a.readers = bad; }, "--readers");
  }
  for (const char* bad : {"0", "-5", "x", "5/s", "nan", "inf", "1e10"})
    wrong([&](Arguments& a) { a.rate = bad; }, "--rate");
  for (const char* bad : {"", "0", "5", "5x", "-5s"}) wrong([&](Arguments& a) { a.duration = bad; }, "--duration");
  wrong([](Arguments& a) { a.warmup = "1"; }, "--warmup");
  wrong([](Arguments& a) { a.fill = "0"; }, "--fill");
  wrong([](Arguments& a) { a.size = "1", a.batch_bytes = "1MiB"; }, "--batch-bytes");
  wrong([](Arguments& a) { a.command = "tail", a.size = "7"; }, "--size");
}

}  // namespace
}  // namespace walraft::walbench
