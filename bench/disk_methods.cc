// Which way should a log write its synced groups?
//
// Compares io_uring, pwritev2 and fdatasync on a thread over the states a
// segment file can be in, over group sizes, and over many logs with one dirty
// record each. wal/DISK_FIGURES.md holds a run of it and what was concluded.
//
// A shared machine is noisy, so every case runs several times, interleaved
// with the others of its section, and is compared with the reference case of
// its section in the same round. Read the ratios, not the microseconds.
//
// Usage: bench_disk_methods [--dir DIR] [--quick] [--realtime] [--busy N]
//                           [--section limit|groups|packing|logs|prewrite]
//   --realtime  run in SCHED_FIFO (needs CAP_SYS_NICE), as a disk thread might
//   --busy N    with N processes that only compute, to see what a full machine
//               does to the wake-up after each write

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/disk_cases.h"
#include "bench/synced_writers.h"

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80  // Linux 6.17; older headers lack it.
#endif

namespace walraft::bench {
namespace {

constexpr size_t kOverwriteFileBytes = 32 * kMiB;
constexpr size_t kFreshFileBytes = 64 * kMiB;
constexpr size_t kSmallFileBytes = 16 * kKiB;
constexpr uint64_t kFreeSpaceNeeded = 4096 * uint64_t{kMiB};

// One log, one group in flight, every method over every state of the file.
void section_groups(bool quick) {
  Buffer data;
  std::vector<Case> cases;
  std::vector<std::unique_ptr<File>> overwritten;
  const std::string missing = uring_missing();
  struct Prepared {
    const char* state;
    bool zero;
  };
  for (Prepared p : {Prepared{"pre-written", true}, Prepared{"recycled", false}}) {
    for (bool direct : {true, false}) {
      overwritten.push_back(std::make_unique<File>(std::string(p.state) + (direct ? "-d" : "-b"), 0));
      fill(overwritten.back()->fd(), kOverwriteFileBytes, p.zero);
      if (direct) {
        posix_fadvise(overwritten.back()->fd(), 0, 0, POSIX_FADV_DONTNEED);
        expect(fcntl(overwritten.back()->fd(), F_SETFL, O_DIRECT), 0, "set O_DIRECT");
      }
    }
  }
  settle();
  std::vector<size_t> sizes = {512, 4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB, kMiB};
  if (quick) sizes = {4 * kKiB, 256 * kKiB};
  for (size_t size : sizes) {
    for (const char* state : {"pre-written", "recycled", "fallocated", "growing"}) {
      for (const Method& method : methods()) {
        Case c{.name = method.name, .state = state, .size = size_name(size), .reference = "", .run = nullptr};
        c.reference = std::string("pwritev2 direct+DSYNC|pre-written|") + size_name(size);
        if (std::strstr(method.name, "io_uring")) c.not_run = missing;
        const bool recycled = std::strcmp(state, "recycled") == 0;
        const bool growing = std::strcmp(state, "growing") == 0;
        const bool overwrite = recycled || std::strcmp(state, "pre-written") == 0;
        const size_t step = method.direct ? round_up(size, kBlock) : size;
        c.run = [&, method, size, step, recycled, growing, overwrite] {
          auto writer = method.make();
          std::unique_ptr<File> fresh;
          int fd = -1;
          size_t limit = kOverwriteFileBytes;
          if (overwrite) {
            fd = overwritten[(recycled ? 2 : 0) + (method.direct ? 0 : 1)]->fd();
          } else {
            settle();
            fresh = std::make_unique<File>("fresh", O_TRUNC | (method.direct ? O_DIRECT : 0));
            fd = fresh->fd();
            limit = kFreshFileBytes;
            if (!growing) expect(fallocate(fd, 0, 0, off_t(limit)), 0, "fallocate");
            settle();
          }
          size_t at = 0;
          return measure([&]() -> size_t {
            if (at + step > limit) {
              if (!overwrite) return 0;
              at = 0;
            }
            std::memcpy(data.data(), &at, sizeof at);
            writer->write(fd, data.data(), step, at);
            at += step;
            return size;
          });
        };
        cases.push_back(std::move(c));
      }
    }
  }
  run_section(
      "One log, one group in flight (direct writes of 512 B are padded to 4 KiB; reference: bare synced direct write "
      "of that size to a pre-written file)",
      cases);
}

// Small groups: pad each to a block, or rewrite the partial tail block.
void section_packing(bool quick) {
  Buffer data;
  File direct("packing-d", 0), buffered("packing-b", 0);
  fill(direct.fd(), kOverwriteFileBytes, true);
  fill(buffered.fd(), kOverwriteFileBytes, true);
  posix_fadvise(direct.fd(), 0, 0, POSIX_FADV_DONTNEED);
  expect(fcntl(direct.fd(), F_SETFL, O_DIRECT), 0, "set O_DIRECT");
  std::vector<Case> cases;
  struct Line {
    std::string name;
    size_t size;
    double written, kept;
  };
  std::vector<Line> amplification;
  const std::string missing = uring_missing();
  std::vector<size_t> sizes = {320, 512, 2048, 5000, 20000, 70000};
  if (quick) sizes = {320, 5000};
  sizes.insert(sizes.begin(), kBlock);
  enum class Layout { padded, packed, sectors, page_cache };
  for (size_t size : sizes) {
    for (Layout layout : {Layout::padded, Layout::packed, Layout::sectors, Layout::page_cache}) {
      if (size == kBlock && layout != Layout::padded) continue;
      static const char* names[] = {"io_uring, padded to 4 KiB", "io_uring, tail block rewritten",
                                    "io_uring, tail sector (512 B) rewritten", "pwritev2 buffered+DSYNC, packed"};
      Case c{
          .name = names[int(layout)], .state = "pre-written", .size = size_name(size), .reference = "", .run = nullptr};
      c.reference = std::string(names[0]) + "|pre-written|4 KiB";
      if (layout != Layout::page_cache) c.not_run = missing;
      const size_t unit = layout == Layout::sectors ? 512 : layout == Layout::page_cache ? 1 : kBlock;
      c.run = [&, layout, size, unit] {
        std::unique_ptr<SyncedWriter> writer;
        if (layout == Layout::page_cache)
          writer = std::make_unique<PwriteWriter>();
        else
          writer = std::make_unique<UringWriter>();
        int fd = layout == Layout::page_cache ? buffered.fd() : direct.fd();
        size_t at = 0;
        return measure([&]() -> size_t {
          if (at + size + kBlock > kOverwriteFileBytes) at = 0;
          size_t from = round_down(at, unit), to = round_up(at + size, unit);
          std::memcpy(data.data() + (at - from), &at, sizeof at);
          writer->write(fd, data.data(), to - from, from);
          at = layout == Layout::padded ? to : at + size;
          return size;
        });
      };
      cases.push_back(std::move(c));
      // What goes to the device, and what stays occupied, per byte of group.
      size_t at = 0, written = 0;
      const size_t count = 4096;
      for (size_t i = 0; i < count; ++i) {
        size_t device_unit = layout == Layout::page_cache ? kBlock : unit;
        size_t from = round_down(at, device_unit), to = round_up(at + size, device_unit);
        written += to - from;
        at = layout == Layout::padded ? to : at + size;
      }
      amplification.push_back(
          {names[int(layout)], size, double(written) / double(count * size), double(at) / double(count * size)});
    }
  }
  run_section("Groups that are no multiple of 4 KiB (reference: 4 KiB)", cases);
  std::printf("\n| layout | group | written to device / group bytes | space kept / group bytes |\n|---|---|---|---|\n");
  for (const Line& l : amplification) {
    std::printf("| %s | %s | %.2f | %.2f |\n", l.name.c_str(), size_name(l.size).c_str(), l.written, l.kept);
  }
}

// Many logs, one dirty 4 KiB block in each, all made durable once per round.
void section_many_logs(bool quick) {
  const size_t most = quick ? 100 : 1000;
  Buffer data;
  std::vector<std::unique_ptr<File>> direct, buffered;
  for (size_t i = 0; i < most; ++i) {
    direct.push_back(std::make_unique<File>("log-d" + std::to_string(i), 0));
    buffered.push_back(std::make_unique<File>("log-b" + std::to_string(i), 0));
    for (File* file : {direct.back().get(), buffered.back().get()}) {
      expect(pwrite(file->fd(), data.data(), kSmallFileBytes, 0), kSmallFileBytes, "fill small file");
    }
  }
  settle();
  for (auto& file : direct) {
    posix_fadvise(file->fd(), 0, 0, POSIX_FADV_DONTNEED);
    expect(fcntl(file->fd(), F_SETFL, O_DIRECT), 0, "set O_DIRECT");
  }
  const std::string missing = uring_missing();
  const int dir_fd = open(g_dir.c_str(), O_RDONLY | O_DIRECTORY);
  std::vector<Case> cases;
  size_t turn = 0;
  auto offset = [&turn] { return turn % (kSmallFileBytes / kBlock) * kBlock; };
  auto add = [&](std::string name, size_t logs, bool uses_uring, std::function<std::function<void()>()> make_round) {
    Case c{.name = std::move(name),
           .state = std::to_string(logs) + " logs",
           .size = "4 KiB each",
           .reference = "",
           .run = nullptr};
    c.reference =
        std::string("io_uring direct+DSYNC depth ") + (logs == 1 ? "1" : "64") + "|" + c.state + "|4 KiB each";
    if (uses_uring) c.not_run = missing;
    c.run = [make_round, logs, &turn] {
      auto round = make_round();
      return measure(
          [&]() -> size_t {
            ++turn;
            round();
            return logs * kBlock;
          },
          logs);
    };
    cases.push_back(std::move(c));
  };
  auto uring_round = [&](Uring& uring, unsigned depth, size_t logs, Sync sync) {
    size_t queued = 0, done = 0;
    while (done < logs) {
      for (; queued < logs && queued - done < depth; ++queued) {
        uring.queue(direct[queued]->fd(), data.data(), kBlock, offset(), sync);
      }
      done += uring.submit_and_reap();
    }
  };
  for (size_t logs : {1, 100, 1000}) {
    if (logs > direct.size()) continue;
    for (unsigned depth : {1u, 16u, 32u, 64u, 128u, 256u}) {
      if (depth > 1 && depth / 2 >= logs) continue;
      add("io_uring direct+DSYNC depth " + std::to_string(depth), logs, true, [&, depth, logs] {
        auto uring = std::make_shared<Uring>(depth, Wait::enter);
        return [&, uring, depth, logs] { uring_round(*uring, depth, logs, Sync::dsync); };
      });
    }
    for (unsigned workers : {16u, 64u}) {
      if (logs == 1) continue;
      add("io_uring direct+DSYNC on " + std::to_string(workers) + " workers (IOSQE_ASYNC)", logs, true,
          [&, workers, logs] {
            auto uring = std::make_shared<Uring>(workers, Wait::enter);
            uring->set_workers(workers);
            return [&, uring, workers, logs] { uring_round(*uring, workers, logs, Sync::dsync_worker); };
          });
    }
    add("io_uring direct linked to fdatasync, depth 64", logs, true, [&, logs] {
      auto uring = std::make_shared<Uring>(128, Wait::enter);
      uring->set_workers(64);
      return [&, uring, logs] { uring_round(*uring, 64, logs, Sync::linked_fdatasync); };
    });
    add("io_uring direct depth 64, then one syncfs", logs, true, [&, logs] {
      auto uring = std::make_shared<Uring>(64, Wait::enter);
      return [&, uring, logs] {
        uring_round(*uring, 64, logs, Sync::none);
        expect(syncfs(dir_fd), 0, "syncfs");
      };
    });
    add("pwrite each, then fdatasync each", logs, false, [&, logs] {
      return [&, logs] {
        for (size_t i = 0; i < logs; ++i)
          expect(pwrite(buffered[i]->fd(), data.data(), kBlock, off_t(offset())), kBlock, "pwrite");
        for (size_t i = 0; i < logs; ++i) expect(fdatasync(buffered[i]->fd()), 0, "fdatasync");
      };
    });
    add("pwritev2 buffered+DSYNC each", logs, false, [&, logs] {
      return [&, logs] {
        PwriteWriter writer;
        for (size_t i = 0; i < logs; ++i) writer.write(buffered[i]->fd(), data.data(), kBlock, offset());
      };
    });
    add("pwrite each, then one syncfs", logs, false, [&, logs] {
      return [&, logs] {
        for (size_t i = 0; i < logs; ++i)
          expect(pwrite(buffered[i]->fd(), data.data(), kBlock, off_t(offset())), kBlock, "pwrite");
        expect(syncfs(dir_fd), 0, "syncfs");
      };
    });
    if (logs == 1) continue;
    for (int threads : {16, 64, -16}) {
      const bool is_direct = threads > 0;
      add(std::string("pwritev2 ") + (is_direct ? "direct" : "buffered") + "+DSYNC on " +
              std::to_string(std::abs(threads)) + " threads",
          logs, false, [&, threads, is_direct, logs] {
            auto pool = std::make_shared<Pool>(std::abs(threads));
            return [&, pool, is_direct, logs] {
              pool->round(logs, [&](size_t i) {
                PwriteWriter writer;
                writer.write((is_direct ? direct : buffered)[i]->fd(), data.data(), kBlock, offset());
              });
            };
          });
    }
  }
  run_section(
      "Many logs, one dirty 4 KiB record each; p50 and p99 are of the whole round (reference: io_uring depth 64)",
      cases);
  close(dir_fd);
}

// What hearing of a completion costs, with one 4 KiB write in flight.
void section_completion() {
  Buffer data;
  File file("completion", 0);
  fill(file.fd(), kOverwriteFileBytes, true);
  posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  expect(fcntl(file.fd(), F_SETFL, O_DIRECT), 0, "set O_DIRECT");
  std::vector<Case> cases;
  auto add = [&](const char* name, std::function<std::unique_ptr<SyncedWriter>()> make, std::string not_run) {
    cases.push_back({.name = name,
                     .state = "pre-written",
                     .size = "4 KiB",
                     .reference = "pwritev2 direct+DSYNC|pre-written|4 KiB",
                     .run =
                         [&file, &data, make] {
                           auto writer = make();
                           size_t at = 0;
                           return measure([&]() -> size_t {
                             writer->write(file.fd(), data.data(), kBlock, at);
                             at = (at + kBlock) % kOverwriteFileBytes;
                             return kBlock;
                           });
                         },
                     .not_run = std::move(not_run)});
  };
  auto add_uring = [&](const char* name, Wait wait) {
    Uring probe(8, wait);
    add(
        name, [wait] { return std::make_unique<UringWriter>(wait); },
        probe.error() == 0 ? "" : std::strerror(probe.error()));
  };
  add("pwritev2 direct+DSYNC", [] { return std::make_unique<PwriteWriter>(); }, "");
  add_uring("io_uring, submit and wait", Wait::enter);
  add_uring("io_uring, DEFER_TASKRUN", Wait::deferred);
  add_uring("io_uring, eventfd in epoll", Wait::eventfd);
  add_uring("io_uring, SQPOLL", Wait::sqpoll);
  add(
      "io_uring, DSYNC on a worker (IOSQE_ASYNC)",
      [] { return std::make_unique<UringWriter>(Wait::enter, Sync::dsync_worker); }, uring_missing());
  add(
      "io_uring, write linked to fdatasync",
      [] { return std::make_unique<UringWriter>(Wait::enter, Sync::linked_fdatasync); }, uring_missing());
  add(
      "pwritev2 direct+DSYNC on a thread",
      [] { return std::make_unique<ThreadWriter>(ThreadWriter::Work::pwritev2_dsync); }, "");
  add(
      "hop to a thread and back, no write", [] { return std::make_unique<ThreadWriter>(ThreadWriter::Work::none); },
      "");
  run_section("Hearing of the completion (reference: pwritev2)", cases);
}

// What it costs to make a 64 MiB segment ready before it is written.
double section_prewrite() {
  Buffer zeros(kMiB, true);
  std::vector<Case> cases;
  auto add = [&](const char* name, int flags, std::function<bool(int)> body) {
    cases.push_back({.name = name,
                     .state = "new",
                     .size = "64 MiB",
                     .reference = "direct writes of 1 MiB, fdatasync|new|64 MiB",
                     .run = [flags, body] {
                       settle();
                       File file("segment", O_TRUNC | flags);
                       double cpu = cpu_seconds();
                       auto begin = Clock::now();
                       bool done = body(file.fd());
                       if (done) expect(fdatasync(file.fd()), 0, "fdatasync");
                       double seconds = seconds_since(begin);
                       std::vector<double> one;
                       if (done) one.push_back(seconds * 1e6);
                       return summarize(one, kFreshFileBytes, 1, seconds, cpu_seconds() - cpu);
                     }});
  };
  auto allocate = [](int fd, int mode) { return fallocate(fd, mode, 0, off_t(kFreshFileBytes)) == 0; };
  auto write_all = [&zeros](int fd, size_t chunk) {
    for (size_t at = 0; at < kFreshFileBytes; at += chunk) {
      expect(pwrite(fd, zeros.data(), chunk, off_t(at)), int64_t(chunk), "pre-write");
    }
    return true;
  };
  add("direct writes of 1 MiB, fdatasync", O_DIRECT, [=](int fd) { return allocate(fd, 0) && write_all(fd, kMiB); });
  add("direct writes of 128 KiB, fdatasync", O_DIRECT,
      [=](int fd) { return allocate(fd, 0) && write_all(fd, 128 * kKiB); });
  add("io_uring direct, 4 of 1 MiB in flight", O_DIRECT, [&](int fd) {
    Uring uring(4, Wait::enter);
    if (uring.error() != 0 || !allocate(fd, 0)) return false;
    size_t queued = 0, done = 0;
    while (done < kFreshFileBytes / kMiB) {
      for (; queued < kFreshFileBytes / kMiB && queued - done < 4; ++queued)
        uring.queue(fd, zeros.data(), kMiB, queued * kMiB, Sync::none);
      done += uring.submit_and_reap();
    }
    return true;
  });
  add("buffered writes of 1 MiB, fdatasync", 0, [=](int fd) { return allocate(fd, 0) && write_all(fd, kMiB); });
  add("fallocate only", 0, [=](int fd) { return allocate(fd, 0); });
  add("fallocate(WRITE_ZEROES)", 0, [=](int fd) { return allocate(fd, FALLOC_FL_WRITE_ZEROES); });
  run_section("Making a 64 MiB segment ready", cases, "segment");
  return cases[0].runs.empty() ? 0 : spread(cases[0].runs, [](const Run& r) { return r.mb_per_s; }).median;
}

// Does pre-writing in the background disturb the writes that are waited for?
void section_background(double prewrite_mb_per_s) {
  Buffer data, zeros(kMiB, true);
  File log("foreground", 0), segment("background", O_DIRECT);
  fill(log.fd(), kOverwriteFileBytes, true);
  posix_fadvise(log.fd(), 0, 0, POSIX_FADV_DONTNEED);
  expect(fcntl(log.fd(), F_SETFL, O_DIRECT), 0, "set O_DIRECT");
  expect(fallocate(segment.fd(), 0, 0, off_t(kFreshFileBytes)), 0, "fallocate");
  settle();
  std::vector<Case> cases;
  struct Load {
    const char* name;
    size_t chunk;
    double share;
  };
  for (Load load : {Load{"quiet", 0, 0}, Load{"pre-writing 1 MiB chunks at 10 %", kMiB, 0.1},
                    Load{"pre-writing 128 KiB chunks at 10 %", 128 * kKiB, 0.1},
                    Load{"pre-writing 128 KiB chunks, unthrottled", 128 * kKiB, 1}}) {
    cases.push_back({.name = load.name,
                     .state = "pre-written",
                     .size = "4 KiB",
                     .reference = "quiet|pre-written|4 KiB",
                     .run = [&, load] {
                       std::atomic<bool> done{false};
                       std::thread background;
                       if (load.chunk > 0) {
                         background = std::thread([&] {
                           size_t at = 0;
                           double pause = double(load.chunk) / (prewrite_mb_per_s * 1e6) * (1 / load.share - 1);
                           while (!done) {
                             expect(pwrite(segment.fd(), zeros.data(), load.chunk, off_t(at)), int64_t(load.chunk),
                                    "background write");
                             at = (at + load.chunk) % kFreshFileBytes;
                             if (pause > 0) std::this_thread::sleep_for(std::chrono::duration<double>(pause));
                           }
                         });
                       }
                       PwriteWriter writer;
                       size_t at = 0;
                       Run run = measure([&]() -> size_t {
                         writer.write(log.fd(), data.data(), kBlock, at);
                         at = (at + kBlock) % kOverwriteFileBytes;
                         return kBlock;
                       });
                       done = true;
                       if (background.joinable()) background.join();
                       return run;
                     }});
  }
  run_section("4 KiB synced direct writes while a segment is made ready behind them", cases);
}

// Children that only compute, in the ordinary class, until this process ends.
std::vector<pid_t> start_busy(int count) {
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    pid_t child = fork();
    if (child < 0) die("fork", errno);
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (std::atomic<uint64_t> n{0};; n.fetch_add(1, std::memory_order_relaxed)) {
      }
    }
    children.push_back(child);
  }
  return children;
}

bool is_section(const std::string& name) {
  return name == "limit" || name == "groups" || name == "packing" || name == "logs" || name == "prewrite";
}

}  // namespace
}  // namespace walraft::bench

int main(int argc, char** argv) {
  using namespace walraft::bench;
  std::filesystem::path parent = ".";
  std::string only;
  bool quick = false, realtime = false;
  int busy = 0;
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    if (arg == "--quick") {
      quick = true;
    } else if (arg == "--dir" && i + 1 < argc) {
      parent = argv[++i];
    } else if (arg == "--realtime") {
      realtime = true;
    } else if (arg == "--busy" && i + 1 < argc) {
      busy = std::atoi(argv[++i]);
    } else if (arg == "--section" && i + 1 < argc && is_section(argv[i + 1])) {
      only = argv[++i];
    } else {
      std::fprintf(
          stderr,
          "usage: %s [--dir DIR] [--quick] [--realtime] [--busy N] [--section limit|groups|packing|logs|prewrite]\n",
          argv[0]);
      return 2;
    }
  }
  if (quick) g_case_seconds = 0.05;
  for (int number : {SIGINT, SIGTERM}) signal(number, [](int) { g_stop = true; });

  struct statvfs space{};
  if (statvfs(parent.c_str(), &space) != 0) die("statvfs " + parent.string(), errno);
  if (uint64_t(space.f_bavail) * space.f_frsize < kFreeSpaceNeeded) {
    std::printf("NOT RUN: %s has less than 4 GiB free\n", parent.c_str());
    return 0;
  }
  g_dir = parent / ("disk_methods." + std::to_string(getpid()));
  std::filesystem::create_directories(g_dir);
  auto wanted = [&](const char* name) { return !g_stop && (only.empty() || only == name); };
  auto begin = Clock::now();
  std::vector<pid_t> children = start_busy(busy);
  if (realtime) {
    sched_param priority{.sched_priority = 1};
    expect(sched_setscheduler(0, SCHED_FIFO, &priority), 0, "SCHED_FIFO");
  }
  std::printf("Scheduling class: %s. Computing beside it: %d processes.\n", realtime ? "SCHED_FIFO" : "as started",
              busy);
  std::printf("CPU is what this process used; work of kernel threads is not in it.\n");
  std::printf("Figures: median (min-max) of %d interleaved runs.\n", g_rounds);
  if (wanted("limit")) section_completion();
  if (wanted("groups")) section_groups(quick);
  if (wanted("packing")) section_packing(quick);
  if (wanted("logs")) section_many_logs(quick);
  if (wanted("prewrite")) {
    double bandwidth = section_prewrite();
    if (bandwidth > 0 && !g_stop) section_background(bandwidth);
  }
  for (pid_t child : children) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(g_dir, ignored);
  std::printf("\nTook %.0f s.\n", seconds_since(begin));
  return g_stop ? 1 : 0;
}
