#include "tools/walbench/limits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "tools/walbench/loopback.h"

namespace walraft::walbench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kFileBytes = 32u << 20;
constexpr std::size_t kSmallBytes = 4u << 10;
constexpr std::size_t kLargeBytes = 1u << 20;
constexpr std::size_t kWriters = 3;

std::unexpected<Error> disk_error(const std::string& what) {
  return error(errno == ENOSPC ? Code::no_space : Code::failed, what + ": " + std::strerror(errno));
}

struct Writing {
  Histogram latency;
  double bytes_per_second = 0;
  int failed = 0;  // errno
};

// `files.size()` threads, each one synced write after the other.
Result<Writing> write_synced(const std::vector<int>& files, std::size_t bytes, std::chrono::microseconds duration) {
  std::vector<Writing> each(files.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < files.size(); ++i) {
    threads.emplace_back([&, i] {
      const std::unique_ptr<void, decltype(&std::free)> memory(std::aligned_alloc(4096, bytes), &std::free);
      std::memset(memory.get(), 'x', bytes);
      const auto start = Clock::now();
      std::size_t at = 0, count = 0;
      auto now = start;
      for (; now - start < duration; ++count) {
        if (::pwrite(files[i], memory.get(), bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) {
          each[i].failed = errno == 0 ? EIO : errno;
          return;
        }
        const auto then = std::exchange(now, Clock::now());
        each[i].latency.record(static_cast<std::uint64_t>((now - then).count()));
        at = (at + bytes) % kFileBytes;
      }
      each[i].bytes_per_second =
          static_cast<double>(count * bytes) / std::chrono::duration<double>(now - start).count();
    });
  }
  for (std::thread& thread : threads) thread.join();
  Writing all;
  for (const Writing& one : each) {
    if (one.failed != 0) {
      errno = one.failed;
      return disk_error("a synced write of the disk's measurement failed");
    }
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
  const std::vector<char> block(kLargeBytes, 'w');
  for (std::size_t i = 0; i < kWriters; ++i) {
    std::string path = directory + "/walbench-disk.XXXXXX";
    const int plain = ::mkostemp(path.data(), O_CLOEXEC);
    if (plain < 0) return disk_error(directory + ": cannot make a file to measure the disk with");
    gauge.files_.push_back(plain);
    int synced = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (synced < 0) {
      gauge.direct_ = false;
      synced = ::open(path.c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC);
    }
    const int why = errno;
    ::unlink(path.c_str());
    errno = why;
    if (synced < 0) return disk_error(directory + ": cannot open a file for synced writes");
    gauge.files_.back() = synced;
    bool written = true;
    for (std::size_t at = 0; at < kFileBytes && written; at += block.size()) {
      written =
          ::pwrite(plain, block.data(), block.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(block.size());
    }
    written = written && ::fdatasync(plain) == 0;
    const int write_failed = errno;
    ::close(plain);
    errno = write_failed;
    if (!written) return disk_error(directory + ": cannot write 32 MiB to measure the disk with");
  }
  return gauge;
}

Gauge::Gauge(Gauge&& other) noexcept : files_(std::exchange(other.files_, {})), direct_(other.direct_) {}

Gauge::~Gauge() {
  for (const int file : files_) ::close(file);
}

Result<Limits> Gauge::measure(std::chrono::microseconds each) {
  const std::vector<int> one(files_.begin(), files_.begin() + 1);
  Limits limits;
  limits.direct = direct_;
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
