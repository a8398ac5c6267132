// walctl diskcheck: what synced writes cost on this disk, in the way that the server writes, and whether that suits a log.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tools/synced_file.h"
#include "tools/walctl/commands.h"

namespace walraft::walctl {
namespace {

constexpr std::size_t kSmallBytes = 4u << 10;
constexpr std::size_t kLargeBytes = 256u << 10;
constexpr auto kDuration = std::chrono::seconds(2);  // of each measurement

struct Measured {
  std::vector<double> latencies;  // of each write, in microseconds, sorted
  double bytes_per_second = 0;
};

Result<Measured> measure(const SyncedFile& file, std::size_t bytes) {
  Measured measured;
  const auto pace = file.write(bytes, kDuration,
                               [&](std::uint64_t ns) { measured.latencies.push_back(static_cast<double>(ns) / 1e3); });
  if (!pace) return std::unexpected(pace.error());
  measured.bytes_per_second = *pace;
  std::ranges::sort(measured.latencies);
  return measured;
}

double percentile(const std::vector<double>& sorted, double p) {
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(p / 100 * static_cast<double>(sorted.size())))];
}

const char* verdict_of(double p50, double p99) {
  // No medium syncs in less: what answers so fast has not reached one, or it has a cache with power of its own.
  if (p50 < 10) return "suspect: faster than media are. Sync is ignored here, or the cache keeps its data without power";
  if (p99 < 2'000) return "good for a log";
  if (p99 < 20'000) return "usable: expect appends of this latency";
  return "slow: appends wait this long; look for another disk";
}

}  // namespace

int diskcheck(const Global& global, const std::string& directory) {
  const auto file = SyncedFile::make(directory);
  if (!file) return fail(file.error());
  const auto small_writes = measure(*file, kSmallBytes);
  if (!small_writes) return fail(small_writes.error());
  const auto large_writes = measure(*file, kLargeBytes);
  if (!large_writes) return fail(large_writes.error());
  const std::vector<double>& small = small_writes->latencies;
  const double p50 = percentile(small, 50), p90 = percentile(small, 90), p99 = percentile(small, 99),
               p999 = percentile(small, 99.9), p9999 = percentile(small, 99.99);
  const double bandwidth = large_writes->bytes_per_second / 1e6;
  if (global.output == Output::json) {
    std::printf(
        "{\"directory\":\"%s\",\"direct\":%s,\"synced_write_us\":{\"bytes\":%zu,\"count\":%zu,\"p50\":%.0f,"
        "\"p90\":%.0f,\"p99\":%.0f,\"p99.9\":%.0f,\"p99.99\":%.0f},\"bandwidth_mb_per_s\":%.0f,\"verdict\":\"%s\"}\n",
        json_escape(directory).c_str(), file->direct() ? "true" : "false", kSmallBytes, small.size(), p50, p90, p99,
        p999, p9999, bandwidth, verdict_of(p50, p99));
    return 0;
  }
  std::printf("%s: %s\n", printable(directory).c_str(),
              file->direct() ? "direct synced writes over written blocks" : "no O_DIRECT here: buffered synced writes");
  std::printf(
      "4 KiB, one after the other: p50 %.0f us, p90 %.0f, p99 %.0f, p99.9 %.0f, p99.99 %.0f (%zu writes, %.0f/s)\n",
      p50, p90, p99, p999, p9999, small.size(), small_writes->bytes_per_second / kSmallBytes);
  std::printf("256 KiB: %.0f MB/s, p50 %.0f us\n", bandwidth, percentile(large_writes->latencies, 50));
  std::printf("verdict: %s\n", verdict_of(p50, p99));
  return 0;
}

}  // namespace walraft::walctl
