// What the cases of disk_methods.cc share: files, timing, rounds, and the table.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace walraft::bench {

using Clock = std::chrono::steady_clock;

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr size_t kBlock = 4 * kKiB;
constexpr size_t kGroupMax = kMiB;

inline std::atomic<bool> g_stop{false};  // set by a signal: finish nothing more
inline std::filesystem::path g_dir;      // all files are made in here, and removed with it
inline double g_case_seconds = 0.2;      // one run of one case
inline int g_rounds = 3;

[[noreturn]] inline void die(const std::string& what, int error) {
  std::fprintf(stderr, "disk_methods: %s: %s\n", what.c_str(), std::strerror(error));
  std::error_code ignored;
  std::filesystem::remove_all(g_dir, ignored);
  std::_Exit(1);
}

inline void expect(int64_t result, int64_t wanted, const char* what) {
  if (result == wanted) return;
  die(what, result < 0 ? errno : EIO);
}

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Seconds in which some task of the machine waited for a processor.
inline double cpu_waiting_seconds() {
  std::ifstream pressure("/proc/pressure/cpu");
  std::string line;
  std::getline(pressure, line);
  size_t at = line.find("total=");
  return at == std::string::npos ? 0 : double(std::strtoull(line.c_str() + at + 6, nullptr, 10)) * 1e-6;
}

inline size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }
inline size_t round_down(size_t value, size_t unit) { return value / unit * unit; }

// One buffer of the largest group, aligned for O_DIRECT.
class Buffer {
 public:
  explicit Buffer(size_t bytes = kGroupMax + kBlock, bool zero = false)
      : data_(static_cast<char*>(std::aligned_alloc(kBlock, bytes))) {
    if (data_ == nullptr) die("allocate", ENOMEM);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < bytes; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      data_[i] = zero ? '\0' : static_cast<char>(state);
    }
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() { return data_; }

 private:
  char* data_;
};

// A file that is there as long as this object.
class File {
 public:
  File(const std::string& name, int extra_flags) : path_(g_dir / name) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | extra_flags, 0600);
    if (fd_ < 0) die("open " + path_.string(), errno);
  }
  ~File() {
    close(fd_);
    unlink(path_.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Settles what earlier cases left to the journal, so that nobody pays for it.
inline void settle() {
  int fd = open(g_dir.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0 || syncfs(fd) != 0) die("syncfs", errno);
  close(fd);
}

inline void fill(int fd, size_t bytes, bool zero) {
  static Buffer zeros(kMiB, true);
  static Buffer noise(kMiB, false);
  for (size_t at = 0; at < bytes; at += kMiB) {
    size_t chunk = std::min(kMiB, bytes - at);
    expect(pwrite(fd, zero ? zeros.data() : noise.data(), chunk, off_t(at)), int64_t(chunk), "fill");
  }
  expect(fdatasync(fd), 0, "fdatasync after fill");
}

struct Run {
  double p50_us = 0, p99_us = 0, mb_per_s = 0, ops_per_s = 0, cpu_us_per_op = 0;
  size_t samples = 0;
};

// One way of doing one thing, run once in every round.
struct Case {
  std::string name;
  std::string state;
  std::string size;
  std::string reference;  // key() of the case it is compared with
  std::function<Run()> run;
  std::vector<Run> runs = {};
  std::string not_run = {};  // the reason, if it is left out

  std::string key() const { return name + "|" + state + "|" + size; }
};

inline Run summarize(std::vector<double>& latencies_us, size_t bytes, size_t ops, double seconds, double cpu) {
  Run run;
  run.samples = latencies_us.size();
  if (latencies_us.empty()) return run;
  std::sort(latencies_us.begin(), latencies_us.end());
  run.p50_us = latencies_us[latencies_us.size() / 2];
  run.p99_us = latencies_us[std::min(latencies_us.size() - 1, latencies_us.size() * 99 / 100)];
  run.mb_per_s = double(bytes) / seconds / 1e6;
  run.ops_per_s = double(ops) / seconds;
  run.cpu_us_per_op = cpu * 1e6 / double(ops);
  return run;
}

// Calls `op` until the time is over or it returns 0 bytes (file used up).
// One tenth of the time before it is warm-up.
inline Run measure(const std::function<size_t()>& op, size_t ops_per_call = 1) {
  auto warm = Clock::now();
  for (int i = 0; i < 4 || seconds_since(warm) < g_case_seconds / 10; ++i) {
    if (op() == 0) break;
  }
  std::vector<double> latencies_us;
  size_t bytes = 0;
  double cpu = cpu_seconds();
  auto begin = Clock::now();
  auto last = begin;
  while (!g_stop) {
    size_t done = op();
    if (done == 0) break;
    auto now = Clock::now();
    bytes += done;
    latencies_us.push_back(std::chrono::duration<double, std::micro>(now - last).count());
    last = now;
    if (std::chrono::duration<double>(now - begin).count() >= g_case_seconds && latencies_us.size() >= 3) break;
  }
  double seconds = std::chrono::duration<double>(last - begin).count();
  return summarize(latencies_us, bytes, latencies_us.size() * ops_per_call, seconds, cpu_seconds() - cpu);
}

struct Spread {
  double min, median, max;
};

inline Spread spread(const std::vector<Run>& runs, const std::function<double(const Run&)>& field) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(field(run));
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

inline std::string text(const Spread& s, int digits) {
  char out[96];
  std::snprintf(out, sizeof out, "%.*f (%.*f-%.*f)", digits, s.median, digits, s.min, digits, s.max);
  return out;
}

inline void run_section(const char* title, std::vector<Case>& cases, const char* unit = "write") {
  auto begin = Clock::now();
  double waiting = cpu_waiting_seconds();
  for (int round = 0; round < g_rounds && !g_stop; ++round) {
    for (Case& c : cases) {
      if (g_stop) break;
      if (c.not_run.empty()) c.runs.push_back(c.run());
    }
  }
  std::printf("\n### %s\n\n", title);
  std::printf("Some task of the machine waited for a processor in %.0f %% of this time.\n\n",
              100 * (cpu_waiting_seconds() - waiting) / seconds_since(begin));
  std::printf(
      "| method | file | group | p50 us | p99 us | MB/s | %ss/s | p50 / reference | CPU us per %s | samples |\n", unit,
      unit);
  std::printf("|---|---|---|---|---|---|---|---|---|---|\n");
  for (const Case& c : cases) {
    if (!c.not_run.empty() || c.runs.empty() || c.runs.back().samples == 0) {
      std::printf("| %s | %s | %s | NOT RUN: %s |\n", c.name.c_str(), c.state.c_str(), c.size.c_str(),
                  c.not_run.empty() ? "stopped or not supported" : c.not_run.c_str());
      continue;
    }
    std::string ratio = "-";
    for (const Case& r : cases) {
      if (r.key() != c.reference || r.runs.size() != c.runs.size()) continue;
      std::vector<Run> ratios;
      for (size_t i = 0; i < c.runs.size(); ++i) {
        ratios.push_back({.p50_us = c.runs[i].p50_us / r.runs[i].p50_us});
      }
      ratio = text(spread(ratios, [](const Run& x) { return x.p50_us; }), 2);
    }
    std::printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %zu |\n", c.name.c_str(), c.state.c_str(),
                c.size.c_str(), text(spread(c.runs, [](const Run& x) { return x.p50_us; }), 0).c_str(),
                text(spread(c.runs, [](const Run& x) { return x.p99_us; }), 0).c_str(),
                text(spread(c.runs, [](const Run& x) { return x.mb_per_s; }), 1).c_str(),
                text(spread(c.runs, [](const Run& x) { return x.ops_per_s; }), 0).c_str(), ratio.c_str(),
                text(spread(c.runs, [](const Run& x) { return x.cpu_us_per_op; }), 1).c_str(), c.runs[0].samples);
  }
  std::fflush(stdout);
}

}  // namespace walraft::bench
