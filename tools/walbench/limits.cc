#include "tools/walbench/limits.h"

#include <optional>
#include <thread>
#include <utility>

#include "tools/walbench/loopback.h"

namespace walraft::walbench {
namespace {

constexpr std::size_t kSmallBytes = 4u << 10;
constexpr std::size_t kLargeBytes = 1u << 20;
constexpr std::size_t kWriters = 3;

struct Writing {
  Histogram latency;
  double bytes_per_second = 0;
  std::optional<Error> failed = {};
};

// `files.size()` threads, each one synced write after the other.
Result<Writing> write_synced(std::span<const SyncedFile> files, std::size_t bytes, std::chrono::microseconds duration) {
  std::vector<Writing> each(files.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < files.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto pace = files[i].write(bytes, duration, [&](std::uint64_t ns) { each[i].latency.record(ns); });
      if (pace) {
        each[i].bytes_per_second = *pace;
      } else {
        each[i].failed = pace.error();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Writing all;
  for (const Writing& one : each) {
    if (one.failed) return std::unexpected(*one.failed);
    all.latency.merge(one.latency);
    all.bytes_per_second += one.bytes_per_second;
  }
  return all;
}

}  // namespace

void Limits::merge(const Limits& other) {
  direct = direct && other.direct;
  write_one.merge(other.write_one);
  write_three.merge(other.write_three);
  round_trip.merge(other.round_trip);
  disk_bytes_one = (disk_bytes_one + other.disk_bytes_one) / 2;
  disk_bytes_three = (disk_bytes_three + other.disk_bytes_three) / 2;
  tcp_bytes = (tcp_bytes + other.tcp_bytes) / 2;
}

Result<Gauge> Gauge::make(const std::string& directory) {
  Gauge gauge;
  for (std::size_t i = 0; i < kWriters; ++i) {
    auto file = SyncedFile::make(directory);
    if (!file) return std::unexpected(file.error());
    gauge.files_.push_back(std::move(*file));
  }
  return gauge;
}

Result<Limits> Gauge::measure(std::chrono::microseconds each) {
  const std::span one(files_.data(), 1);
  Limits limits;
  limits.direct = one[0].direct();
  auto small_one = write_synced(one, kSmallBytes, each);
  if (!small_one) return std::unexpected(small_one.error());
  limits.write_one = std::move(small_one->latency);
  auto round_trip = measure_round_trip(256, each);
  if (!round_trip) return std::unexpected(round_trip.error());
  limits.round_trip = std::move(*round_trip);
  auto small_three = write_synced(files_, kSmallBytes, each);
  if (!small_three) return std::unexpected(small_three.error());
  limits.write_three = std::move(small_three->latency);
  const auto large_one = write_synced(one, kLargeBytes, each);
  if (!large_one) return std::unexpected(large_one.error());
  limits.disk_bytes_one = large_one->bytes_per_second;
  const auto large_three = write_synced(files_, kLargeBytes, each);
  if (!large_three) return std::unexpected(large_three.error());
  limits.disk_bytes_three = large_three->bytes_per_second;
  const auto tcp = measure_tcp_bandwidth(each);
  if (!tcp) return std::unexpected(tcp.error());
  limits.tcp_bytes = *tcp;
  return limits;
}

}  // namespace walraft::walbench
