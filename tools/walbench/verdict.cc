#include "tools/walbench/verdict.h"

#include <algorithm>

#include "tools/walbench/text.h"

namespace walraft::walbench {
namespace {

constexpr std::uint32_t kDeep = 16;
constexpr std::uint32_t kLargeAppend = 16u << 10;

// Reached or missed, as the target of this kind of work says.
std::string against_targets(const Cell& cell, const Verdict& verdict) {
  const Work& work = cell.work;
  const auto said = [](bool reached, const std::string& what) { return (reached ? "reached: " : "MISSED: ") + what; };
  if (cell.mixed) {
    if (work.readers != 1) return text_of("%u readers cost %.0f %%", work.readers, 100 * cell.mixed->cost());
    return said(cell.mixed->cost() < kReaderCostMax,
                text_of("one reader costs %.0f %%, target < %.0f %%", 100 * cell.mixed->cost(), 100 * kReaderCostMax));
  }
  if (work.command != "append" || work.rate > 0) return "no target for this";
  if (verdict.latency_ratio > 0) {
    return said(
        verdict.latency_ratio <= kLatencyRatioMax,
        text_of("p50 %.2f x (synced write + round trip), target <= %.1f", verdict.latency_ratio, kLatencyRatioMax));
  }
  const std::uint32_t append_bytes = work.records_per_append() * work.size;
  if (work.size <= 32 && work.records_per_append() > 1) {
    return said(cell.tally.records_per_second() >= kRecordsPerSecondMin,
                text_of("%.2f million records/s, target >= %.0f", cell.tally.records_per_second() / 1e6,
                        kRecordsPerSecondMin / 1e6));
  }
  if (append_bytes >= kLargeAppend && work.inflight * work.connections >= kDeep) {
    return said(
        verdict.bandwidth_ratio >= kBandwidthRatioMin,
        text_of("%.2f x the smaller of disk and TCP, target >= %.1f", verdict.bandwidth_ratio, kBandwidthRatioMin));
  }
  return "no target for this";
}

}  // namespace

Verdict judge(const Cell& cell) {
  Verdict verdict;
  const bool appends = cell.work.command == "append" || cell.mixed.has_value();
  const double limit = appends ? std::min(cell.limits.disk_bytes(), cell.limits.tcp_bytes) : cell.limits.tcp_bytes;
  if (limit > 0) verdict.bandwidth_ratio = cell.tally.bytes_per_second() / limit;
  const auto wait_ns = cell.limits.write_one.percentile(50) + cell.limits.round_trip.percentile(50);
  if (cell.work.command == "append" && cell.work.rate == 0 && cell.work.inflight == 1 && cell.work.connections == 1 &&
      cell.work.records_per_append() == 1 && wait_ns > 0) {
    verdict.latency_ratio = static_cast<double>(cell.tally.latency.percentile(50)) / static_cast<double>(wait_ns);
  }
  verdict.text = against_targets(cell, verdict);
  if (cell.server && cell.server->rss_peak >= kServerRssMax) {
    verdict.text +=
        text_of("; MISSED: the server's memory is %.0f MiB, target < %.0f",
                static_cast<double>(cell.server->rss_peak) / (1 << 20), static_cast<double>(kServerRssMax) / (1 << 20));
  }
  if (cell.cpu_waited > 0.5) {
    verdict.text += text_of("; some task waited for a processor in %.0f %% of the time", 100 * cell.cpu_waited);
  }
  return verdict;
}

}  // namespace walraft::walbench
