// Logs on a real disk for the benchmarks of wal::Log, and how their figures are printed: three or
// more interleaved rounds of ours and of the bare thing that limits it; the ratio of each round.
#pragma once

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::bench {

struct Arguments {
  std::string dir = ".";
  bool quick = false;
};

inline Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--dir" && i + 1 < argc) {
      arguments.dir = argv[++i];
    } else if (flag == "--quick") {
      arguments.quick = true;
    } else {
      std::fprintf(stderr, "usage: %s [--dir DIR] [--quick]\n", argv[0]);
      std::exit(2);
    }
  }
  return arguments;
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// A directory that goes with this object.
class Scratch {
 public:
  Scratch(const std::string& dir, std::uint64_t bytes_needed) : path_(dir + "/walraft-bench-" + std::to_string(getpid())) {
    struct statvfs space{};
    if (statvfs(dir.c_str(), &space) != 0 || std::uint64_t{space.f_bavail} * space.f_frsize < bytes_needed) {
      std::printf("NOT RUN: %s has less than %.1f GiB free\n", dir.c_str(), double(bytes_needed) / (1u << 30));
      std::exit(0);
    }
    std::filesystem::create_directory(path_);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A node's disk with some logs.
class Node {
 public:
  Node(const std::string& path, std::size_t logs, const wal::LogOptions& options)
      : disk_(wal::make_disk(wal::DiskMethod::automatic, system_clock())) {
    disk_->on_failure([](const Error& error) {
      std::fprintf(stderr, "the disk failed: %s\n", error.message.c_str());
      std::exit(1);
    });
    root_ = must(wal::open_directory(path, true));
    if (auto file = root_->open("hard_state", wal::Access::read); !file) {
      must(wal::HardStateFile::create(*root_, "hard_state", kDisk));
    }
    hard_state_ = must(wal::HardStateFile::open(*root_, "hard_state", kDisk, wal::Access::direct, *disk_));
    for (std::size_t i = 0; i < logs; ++i) {
      wal::LogIdentity identity{kDisk, Uuid{{1, std::uint8_t(i), std::uint8_t(i >> 8)}}, LogId(i + 1)};
      logs_.push_back(must(wal::Log::open(must(root_->subdirectory(std::to_string(i), true)), identity, options,
                                          *hard_state_, *disk_, system_clock(), system_rng())));
    }
  }
  ~Node() {
    while (!hard_state_->idle()) turn();
  }

  wal::Log& log(std::size_t i = 0) { return *logs_[i]; }
  std::size_t logs() const { return logs_.size(); }
  wal::Disk& disk() { return *disk_; }

  // Stamps `builder`'s batch for the log and appends it; turns the loop while no segment is ready.
  void append(wal::BatchBuilder& builder, std::size_t i = 0) {
    wal::Log& log = *logs_[i];
    const MutableBytes batch = builder.finish({.log_id = LogId(i + 1)});
    const wal::LogPoint tail = log.tail();
    wal::stamp_batch(batch, {tail.index, tail.offset, Term(1), log.durable(), system_clock().wall_us()}, tail.digest);
    for (;;) {
      auto appended = log.append(batch);
      if (appended) return;
      if (appended.error().code != Code::over_limit) must(std::move(appended));
      log.flush();
      log.tick();
      turn();
    }
  }

  void turn() {
    disk_->submit();
    disk_->wait(100'000);
    disk_->poll();
  }
  void wait_durable(std::size_t i = 0) {
    while (logs_[i]->durable() < logs_[i]->tail().index) turn();
  }
  // Lets the pool make and write its segments.
  void idle_for(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < until) {
      for (auto& log : logs_) log->tick();
      hard_state_->flush();
      disk_->submit();
      disk_->wait(10'000);
      disk_->poll();
    }
  }

 private:
  static constexpr Uuid kDisk{{9, 9, 9}};
  std::unique_ptr<wal::Disk> disk_;
  std::unique_ptr<wal::Directory> root_;
  std::unique_ptr<wal::HardStateFile> hard_state_;
  std::vector<std::unique_ptr<wal::Log>> logs_;
};

// The bare limit: synced writes, one after another, into a file that was written before.
class BareFile {
 public:
  BareFile(const std::string& path, std::size_t bytes) : path_(path), bytes_(bytes) {
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd_ < 0) std::perror(path.c_str()), std::exit(1);
    const auto zeros = wal::Chunk::make(1u << 20);
    std::memset(zeros->data(), 1, zeros->size());
    for (std::size_t at = 0; at < bytes; at += zeros->size()) write(zeros->data(), zeros->size(), at);
    fsync(fd_);
  }
  ~BareFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  BareFile(const BareFile&) = delete;
  BareFile& operator=(const BareFile&) = delete;

  void write(const std::byte* data, std::size_t bytes, std::size_t at) {
    if (pwrite(fd_, data, bytes, off_t(at)) != ssize_t(bytes)) std::perror("pwrite"), std::exit(1);
  }
  int fd() const { return fd_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::string path_;
  std::size_t bytes_;
  int fd_ = -1;
};

inline double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, std::size_t(p * double(values.size())))];
}

// "median (min-max)"
inline std::string spread(const std::vector<double>& values, int digits = 2) {
  char text[100];
  std::snprintf(text, sizeof text, "%.*f (%.*f-%.*f)", digits, percentile(values, 0.5), digits,
                *std::min_element(values.begin(), values.end()), digits,
                *std::max_element(values.begin(), values.end()));
  return text;
}

// Share of the time in which some task of the machine waited for a processor: how noisy the run was.
class Noise {
 public:
  Noise() : waited_us_(read()), start_us_(now_us()) {}
  double percent() const { return 100 * (read() - waited_us_) / (now_us() - start_us_); }

 private:
  static double read() {
    std::ifstream pressure("/proc/pressure/cpu");
    std::string line;
    std::getline(pressure, line);
    const std::size_t at = line.find("total=");
    return at == std::string::npos ? 0 : std::strtod(line.c_str() + at + 6, nullptr);
  }
  double waited_us_, start_us_;
};

inline void print_noise(const Noise& noise) {
  std::printf("noise of this run: some task waited for a processor %.0f %% of the time\n", noise.percent());
}

}  // namespace walraft::bench
