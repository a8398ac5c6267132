// walctl diskcheck: what synced writes cost on this disk, in the way that the server writes (O_DIRECT and O_DSYNC over a
// file that was written before), and whether that suits a log.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tools/walctl/commands.h"

namespace walraft::walctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kFileBytes = 32u << 20;
constexpr std::size_t kSmallBytes = 4u << 10;
constexpr std::size_t kLargeBytes = 256u << 10;
constexpr auto kDuration = std::chrono::seconds(2);  // of each measurement

class TestFile {
 public:
  ~TestFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  Result<void> open(const std::string& directory) {
    std::string path = directory + "/walraft-diskcheck.XXXXXX";
    const int plain = ::mkstemp(path.data());
    if (plain < 0) return error(Code::failed, directory + ": cannot make a file: " + std::strerror(errno));
    path_ = path;
    descriptor_ = plain;
    const std::vector<char> zeros(1u << 20, 'w');
    for (std::size_t at = 0; at < kFileBytes; at += zeros.size()) {
      if (::pwrite(plain, zeros.data(), zeros.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(zeros.size())) {
        return error(errno == ENOSPC ? Code::no_space : Code::failed,
                     directory + ": cannot write 32 MiB: " + std::strerror(errno));
      }
    }
    if (::fdatasync(plain) != 0) return error(Code::failed, directory + ": cannot sync: " + std::strerror(errno));
    int synced = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    direct_ = synced >= 0;
    if (!direct_) synced = ::open(path.c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC);
    if (synced < 0) return error(Code::failed, directory + ": cannot open for synced writes: " + std::strerror(errno));
    ::close(plain);
    descriptor_ = synced;
    return {};
  }

  // Latency of each write, in microseconds, sorted.
  Result<std::vector<double>> measure(std::size_t bytes, double& seconds) {
    const std::unique_ptr<void, decltype(&std::free)> memory(std::aligned_alloc(4096, bytes), &std::free);
    std::memset(memory.get(), 'x', bytes);
    std::vector<double> latencies;
    const auto start = Clock::now();
    std::size_t at = 0;
    for (auto now = start; now - start < kDuration;) {
      if (::pwrite(descriptor_, memory.get(), bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) {
        return error(Code::failed, std::string("a synced write failed: ") + std::strerror(errno));
      }
      const auto then = std::exchange(now, Clock::now());
      latencies.push_back(std::chrono::duration<double, std::micro>(now - then).count());
      at = (at + bytes) % kFileBytes;
    }
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::sort(latencies.begin(), latencies.end());
    return latencies;
  }

  bool direct() const { return direct_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  bool direct_ = false;
};

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
  TestFile file;
  if (auto ok = file.open(directory); !ok) return fail(ok.error());
  double seconds = 0, large_seconds = 0;
  const auto small = file.measure(kSmallBytes, seconds);
  if (!small) return fail(small.error());
  const auto large = file.measure(kLargeBytes, large_seconds);
  if (!large) return fail(large.error());
  const double p50 = percentile(*small, 50), p90 = percentile(*small, 90), p99 = percentile(*small, 99),
               p999 = percentile(*small, 99.9), p9999 = percentile(*small, 99.99);
  const double bandwidth = static_cast<double>(large->size() * kLargeBytes) / large_seconds / 1e6;
  if (global.output == Output::json) {
    std::printf("{\"directory\":\"%s\",\"direct\":%s,\"synced_write_us\":{\"bytes\":%zu,\"count\":%zu,\"p50\":%.0f,"
                "\"p90\":%.0f,\"p99\":%.0f,\"p99.9\":%.0f,\"p99.99\":%.0f},\"bandwidth_mb_per_s\":%.0f,\"verdict\":\"%s\"}\n",
                json_escape(directory).c_str(), file.direct() ? "true" : "false", kSmallBytes, small->size(), p50, p90, p99,
                p999, p9999, bandwidth, verdict_of(p50, p99));
    return 0;
  }
  std::printf("%s: %s\n", printable(directory).c_str(),
              file.direct() ? "direct synced writes over written blocks" : "no O_DIRECT here: buffered synced writes");
  std::printf("4 KiB, one after the other: p50 %.0f us, p90 %.0f, p99 %.0f, p99.9 %.0f, p99.99 %.0f (%zu writes, %.0f/s)\n",
              p50, p90, p99, p999, p9999, small->size(), static_cast<double>(small->size()) / seconds);
  std::printf("256 KiB: %.0f MB/s, p50 %.0f us\n", bandwidth, percentile(*large, 50));
  std::printf("verdict: %s\n", verdict_of(p50, p99));
  return 0;
}

}  // namespace walraft::walctl
