#include "tools/walbench/verdict.h"

#include <gtest/gtest.h>

#include "tools/walbench/report.h"

namespace walraft::walbench {
namespace {

Cell cell_of(const std::string& command, std::uint32_t size, std::uint32_t inflight) {
  Cell cell;
  cell.work.command = command;
  cell.work.size = size;
  cell.work.inflight = inflight;
  cell.limits.write_one.record(100'000, 10);
  cell.limits.round_trip.record(20'000, 10);
  cell.limits.disk_bytes_one = 900e6;
  cell.limits.disk_bytes_three = 1000e6;
  cell.limits.tcp_bytes = 2000e6;
  cell.tally.seconds = 2;
  cell.tally.latency.record(150'000, 100);
  return cell;
}

TEST(Verdict, one_append_at_a_time_is_judged_by_disk_and_round_trip) {
  Cell cell = cell_of("append", 256, 1);
  EXPECT_NEAR(judge(cell).latency_ratio, 150.0 / 120.0, 0.02);
  EXPECT_TRUE(judge(cell).text.starts_with("reached: p50 1.2")) << judge(cell).text;
  cell.tally.latency = Histogram();
  cell.tally.latency.record(170'000, 100);
  EXPECT_TRUE(judge(cell).text.starts_with("MISSED: p50 1.4")) << judge(cell).text;
  cell.work.inflight = 2;
  EXPECT_EQ(judge(cell).latency_ratio, 0);
}

TEST(Verdict, a_deep_pipeline_is_judged_by_the_smaller_bandwidth) {
  Cell cell = cell_of("append", 16'384, 1024);
  cell.tally.bytes = 1'020'000'000;  // in two seconds
  EXPECT_NEAR(judge(cell).bandwidth_ratio, 0.51, 1e-9);
  EXPECT_TRUE(judge(cell).text.starts_with("reached: 0.51")) << judge(cell).text;
  cell.limits.disk_bytes_three = 3000e6;  // now TCP is the smaller one
  EXPECT_NEAR(judge(cell).bandwidth_ratio, 0.255, 1e-9);
  EXPECT_TRUE(judge(cell).text.starts_with("MISSED")) << judge(cell).text;
}

TEST(Verdict, small_records_in_batches_are_counted) {
  Cell cell = cell_of("append", 32, 64);
  cell.work.batch_bytes = 65'536;
  cell.tally.records = 4'000'000;
  EXPECT_TRUE(judge(cell).text.starts_with("reached: 2.00 million")) << judge(cell).text;
  cell.tally.records = 3'900'000;
  EXPECT_TRUE(judge(cell).text.starts_with("MISSED")) << judge(cell).text;
}

TEST(Verdict, a_readers_cost_is_the_median_of_the_rounds) {
  Cell cell = cell_of("mixed", 256, 64);
  cell.mixed = MixedTally{.alone = {100, 100, 200}, .beside = {90, 50, 170}, .latency_alone = {}};
  EXPECT_NEAR(cell.mixed->cost(), 0.15, 1e-9);
  EXPECT_TRUE(judge(cell).text.starts_with("reached: one reader costs 15 %")) << judge(cell).text;
  cell.mixed->beside[0] = 70;
  EXPECT_TRUE(judge(cell).text.starts_with("MISSED: one reader costs 30 %")) << judge(cell).text;
}

TEST(Verdict, says_what_makes_a_figure_doubtful) {
  Cell cell = cell_of("tail", 256, 1);
  cell.server = ServerUse{.cpu_seconds = 1, .rss_peak = 201u << 20};
  cell.cpu_waited = 0.7;
  const std::string text = judge(cell).text;
  EXPECT_NE(text.find("MISSED: the server's memory is 201 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("waited for a processor in 70 %"), std::string::npos) << text;
}

TEST(Report, compares_like_cells_and_refuses_what_is_no_result) {
  walbench::Run run{.version = "1",
                    .command = "append",
                    .directory = ".",
                    .server = "x",
                    .log = "y",
                    .cells = {cell_of("append", 256, 1)}};
  run.cells[0].tally.records = 1000;
  const std::string old = run_json(run);
  run.cells[0].tally.records = 2000;
  const auto better = comparison(run, old);
  ASSERT_TRUE(better) << better.error().message;
  EXPECT_NE(better->find("throughput 2.00 x, p50 1.00 x"), std::string::npos) << *better;
  EXPECT_EQ(better->find("SLOWER"), std::string::npos) << *better;

  run.cells[0].tally.latency = Histogram();
  run.cells[0].tally.latency.record(300'000, 100);
  EXPECT_NE(comparison(run, old)->find("SLOWER"), std::string::npos);
  run.cells[0].limits.write_one = Histogram();
  run.cells[0].limits.write_one.record(200'000, 10);  // so did the disk: it is not ours
  EXPECT_EQ(comparison(run, old)->find("SLOWER"), std::string::npos);

  run.cells[0].work.size = 512;
  EXPECT_EQ(*comparison(run, old), "no cell of the baseline is like one of this run\n");
  for (const char* bad : {"", "{", "[]", "{\"cells\":[]}", "{\"format\":\"walbench-1\",\"cells\":[{}]}"}) {
    const auto refused = comparison(run, bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, Code::invalid);
  }
  const auto table = report_text("old.json", old);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_NE(table->find("append        256         1"), std::string::npos) << *table;
  EXPECT_FALSE(report_text("bad.json", "{}"));
}

}  // namespace
}  // namespace walraft::walbench
