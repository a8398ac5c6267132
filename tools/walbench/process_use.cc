#include "tools/walbench/process_use.h"

#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>

namespace walraft::walbench {
namespace {

std::string proc(pid_t process, const char* file) { return "/proc/" + std::to_string(process) + "/" + file; }

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

std::optional<double> cpu_seconds_of(pid_t process) {
  std::ifstream file(proc(process, "stat"));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The second field is the name in parentheses, which may hold anything; utime and stime are the 14th and 15th.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::optional<std::uint64_t> rss_peak_of(pid_t process) {
  std::ifstream file(proc(process, "status"));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) << 10;
  }
  return std::nullopt;
}

void reset_rss_peak(pid_t process) { std::ofstream(proc(process, "clear_refs")) << "5"; }

std::optional<std::uint64_t> cpu_waited_us() {
  std::ifstream file("/proc/pressure/cpu");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const auto at = line.find("total=");
  if (at == std::string::npos) return std::nullopt;
  return std::stoull(line.substr(at + 6));
}

void Meter::start() {
  if (server_ != 0) {
    reset_rss_peak(server_);
    server_cpu_ = cpu_seconds_of(server_);
  }
  client_cpu_ = cpu_seconds_of(::getpid()).value_or(0);
  waited_before_ = cpu_waited_us();
  started_ns_ = now_ns();
}

void Meter::stop() {
  const double us = static_cast<double>(now_ns() - started_ns_) / 1e3;
  const auto waited = cpu_waited_us();
  waited_ = waited && waited_before_ && us > 0 ? static_cast<double>(*waited - *waited_before_) / us : -1;
  client_cpu_ = cpu_seconds_of(::getpid()).value_or(0) - client_cpu_;
  if (server_ == 0) return;
  const auto now = cpu_seconds_of(server_);
  server_cpu_ = now && server_cpu_ ? std::optional(*now - *server_cpu_) : std::nullopt;
  server_rss_ = rss_peak_of(server_);
}

}  // namespace walraft::walbench
