#pragma once

// What processes cost, from /proc. Any thread.

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace walraft::walbench {

// User and system time of all threads so far, seconds; nothing if there is no such process.
std::optional<double> cpu_seconds_of(pid_t process);
// The most resident memory since reset_rss_peak(), bytes.
std::optional<std::uint64_t> rss_peak_of(pid_t process);
void reset_rss_peak(pid_t process);
// For how long some task has waited for a processor since the start of the machine, microseconds.
std::optional<std::uint64_t> cpu_waited_us();

// What is used between start() and stop(). `server` 0: not on this machine.
class Meter {
 public:
  explicit Meter(pid_t server) : server_(server) {}
  void start();
  void stop();

  std::optional<double> server_cpu_seconds() const { return server_cpu_; }
  std::optional<std::uint64_t> server_rss_peak() const { return server_rss_; }
  double client_cpu_seconds() const { return client_cpu_; }
  double cpu_waited() const { return waited_; }  // share of the time; -1: not known

 private:
  pid_t server_;
  std::optional<double> server_cpu_;
  std::optional<std::uint64_t> server_rss_;
  std::optional<std::uint64_t> waited_before_;
  std::uint64_t started_ns_ = 0;
  double client_cpu_ = 0;
  double waited_ = -1;
};

}  // namespace walraft::walbench
