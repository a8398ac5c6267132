#include "tests/sim/many_runs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <limits>
#include <sstream>
#include <thread>

#include "wal/base/check.h"
#include "wal/base/probe.h"

namespace walraft::sim {
namespace {

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

void tell(int pipe, const std::string& line) {
  const std::string whole = line + '\n';
  CHECK(::write(pipe, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size()));
}

// A worker: the seeds that are its turn. One line a run, "seed" before it and "done" behind.
[[noreturn]] void work(int pipe, std::uint64_t base, std::uint64_t runs, unsigned turn, unsigned workers, Mode mode,
                       std::optional<Mutant> mutant, std::atomic<std::uint64_t>& found) {
  if (mutant) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(nowhere >= 0 && ::dup2(nowhere, STDERR_FILENO) == STDERR_FILENO);
  }
  set_mutant(mutant);
  for (Probe* probe : probes()) probe->reset();
  for (std::uint64_t i = turn; i < runs && found.load() > base + i; i += workers) {
    tell(pipe, "seed " + std::to_string(base + i));
    const ClusterRun run = run_cluster(base + i, mode);
    tell(pipe, "done " + std::to_string(run.events) + ' ' + std::to_string(run.virtual_us) + ' ' +
                   std::to_string(run.committed) + ' ' + std::to_string(run.acknowledged) + ' ' +
                   run.violation.substr(0, std::min<std::size_t>(run.violation.find('\n'), 400)));
    if (!run.violation.empty() && mutant) {
      std::uint64_t known = found.load();
      while (base + i < known && !found.compare_exchange_weak(known, base + i)) {
      }
    }
  }
  for (const Probe* probe : probes()) tell(pipe, "probe " + std::to_string(probe->passed()) + ' ' + probe->name());
  ::_exit(0);
}

void read_all(int pipe, ManyRuns& all) {
  std::uint64_t seed = kNone;
  FILE* lines = ::fdopen(pipe, "r");
  CHECK(lines != nullptr);
  char line[1'000];
  while (std::fgets(line, sizeof line, lines) != nullptr) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "seed") {
      words >> seed;
    } else if (kind == "done") {
      std::uint64_t events = 0, virtual_us = 0, committed = 0, acknowledged = 0;
      words >> events >> virtual_us >> committed >> acknowledged;
      std::string what;
      std::getline(words >> std::ws, what);
      if (!what.empty()) all.findings.push_back({seed, what});
      seed = kNone;
      ++all.runs;
      all.events += events;
      all.virtual_us += virtual_us;
      all.committed += committed;
      all.acknowledged += acknowledged;
    } else if (kind == "probe") {
      std::uint64_t passed = 0;
      std::string name;
      words >> passed;
      std::getline(words >> std::ws, name);
      all.probes[name] += passed;
    }
  }
  std::fclose(lines);
  if (seed != kNone) all.findings.push_back({seed, "CHECK: the process ended within the run"});
}

}  // namespace

ManyRuns run_many(std::uint64_t base, std::uint64_t runs, Mode mode, std::optional<Mutant> mutant) {
  const auto begun = std::chrono::steady_clock::now();
  const unsigned workers = static_cast<unsigned>(
      std::clamp<std::uint64_t>(std::thread::hardware_concurrency(), 1, std::min<std::uint64_t>(runs, 64)));
  void* shared =
      ::mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  auto& found = *new (shared) std::atomic<std::uint64_t>(kNone);
  std::cout.flush();
  std::vector<int> pipes;
  std::vector<pid_t> children;
  for (unsigned turn = 0; turn < workers; ++turn) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    CHECK(child >= 0);
    if (child == 0) work(ends[1], base, runs, turn, workers, mode, mutant, found);
    ::close(ends[1]);
    pipes.push_back(ends[0]);
    children.push_back(child);
  }
  ManyRuns all;
  {
    std::vector<ManyRuns> parts(workers);
    std::vector<std::thread> readers;
    for (unsigned i = 0; i < workers; ++i) {
      readers.emplace_back([&, i] {
        read_all(pipes[i], parts[i]);
        // A worker that ended within a run has found something too.
        for (const auto& finding : parts[i].findings) {
          std::uint64_t known = found.load();
          while (mutant && finding.seed < known && !found.compare_exchange_weak(known, finding.seed)) {
          }
        }
      });
    }
    for (std::thread& reader : readers) reader.join();
    for (const ManyRuns& part : parts) {
      all.findings.insert(all.findings.end(), part.findings.begin(), part.findings.end());
      all.runs += part.runs;
      all.events += part.events;
      all.virtual_us += part.virtual_us;
      all.committed += part.committed;
      all.acknowledged += part.acknowledged;
      for (const auto& [name, passed] : part.probes) all.probes[name] += passed;
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
  }
  ::munmap(shared, sizeof(std::atomic<std::uint64_t>));
  std::ranges::sort(all.findings, {}, &ManyRuns::Finding::seed);
  all.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return all;
}

std::string to_string(Mode mode) {
  return mode == Mode::safety ? "safety" : mode == Mode::liveness ? "liveness" : "calm";
}

std::optional<Mode> mode_named(const std::string& name) {
  for (const Mode mode : {Mode::safety, Mode::liveness, Mode::calm}) {
    if (to_string(mode) == name) return mode;
  }
  return std::nullopt;
}

std::string replay_line(std::uint64_t seed, Mode mode, std::optional<Mutant> mutant) {
  return "replay: simulate --seed " + std::to_string(seed) + " --mode " + to_string(mode) +
         (mutant ? " --mutant " + std::string(walraft::to_string(*mutant)) : "");
}

}  // namespace walraft::sim
