// walbench: what Walraft does beside what this machine can do. This file is the command line and the order of a run.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "client/client.h"
#include "tools/units.h"
#include "tools/walbench/local_server.h"
#include "tools/walbench/process_use.h"
#include "tools/walbench/read_load.h"
#include "tools/walbench/report.h"
#include "tools/walbench/settings.h"
#include "wal/base/standard_descriptors.h"

namespace {

using namespace walraft;
using namespace walraft::walbench;

constexpr const char* kFooter = R"(
Each cell of a run (one size, one number in flight) is measured with the disk and the loopback interface before and after
it, so that its ratios are of the same minute. Sizes take KiB, MiB, GiB; durations ms, s, m, h, d.
An in-flight run is a closed loop: each answer starts the next append. --rate is an open loop: appends are due at a steady
rate, and latency counts from when an append was due, so that a stall is not hidden by the appends it kept waiting
(coordinated omission). --local 1 starts the wald beside walbench on a data directory of its own and removes both at the
end. With --endpoints the log stays; its name is printed.
Exit codes: as walctl's; 0 whatever the verdict says.)";

struct CommandLine {
  Arguments arguments;
  std::string endpoints = "127.0.0.1:7400", log, directory = ".", json, baseline, output = "table";
  int local = 0;
  bool version = false;
  std::vector<std::string> results;
};

int fail(const Error& error) {
  std::fprintf(stderr, "walbench: %s\n", error.message.c_str());
  return outcome_of(error.code).exit_code;
}

Result<std::string> contents_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return error(Code::failed, path + ": cannot be read");
  return text.str();
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

Result<void> write_file(const std::string& path, const std::string& text) {
  if (std::ofstream(path) << text << "\n") return {};
  return error(Code::failed, path + ": cannot be written");
}

sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  return signals;
}

// As long as the thread lives, SIGINT and SIGTERM end the run at once, and take the throw-away server and its data with
// them. The server must outlive the thread.
std::jthread end_on_signal(LocalServer* server) {
  return std::jthread([server](const std::stop_token& stop) {
    const sigset_t signals = ending_signals();
    constexpr timespec kStep{.tv_sec = 0, .tv_nsec = 50'000'000};
    int number = -1;
    while (number < 0) {
      if (stop.stop_requested()) return;
      number = ::sigtimedwait(&signals, nullptr, &kStep);
    }
    if (server != nullptr) server->destroy();
    ::_exit(128 + number);
  });
}

Result<std::uint64_t> tail_of(const Target& target) {
  Client client({.endpoints = target.endpoints, .software = target.software});
  auto log = client.open(target.log, {.create = true});
  if (!log) return std::unexpected(log.error());
  const auto tail = log->tail();
  if (!tail) return std::unexpected(tail.error());
  return tail->value;
}

Result<void> run_work(const Target& target, Cell& cell, Meter& meter) {
  const auto take = [&cell](Result<Tally>&& tally) -> Result<void> {
    if (!tally) return std::unexpected(tally.error());
    cell.tally = std::move(*tally);
    return {};
  };
  if (cell.work.command == "read") return take(run_read(target, cell.work, meter));
  if (cell.work.command == "tail") return take(run_tail(target, cell.work, meter));
  if (cell.work.command == "mixed") {
    auto result = run_mixed(target, cell.work, meter);
    if (!result) return std::unexpected(result.error());
    cell.tally = std::move(result->tally);
    cell.mixed = std::move(result->mixed);
    return {};
  }
  auto load = AppendLoad::open(target, cell.work);
  if (!load) return std::unexpected(load.error());
  meter.start();
  (*load)->begin(Window::after(cell.work.warmup, cell.work.duration));
  auto tally = (*load)->end();
  meter.stop();
  return take(std::move(tally));
}

std::string durability_of(const Cell& cell, const LocalServer* server) {
  const std::size_t nodes = cell.tally.durable_on.size();
  if (nodes == 0) return "nothing was appended";
  return "acknowledged when synced on " + std::to_string(nodes) + (nodes == 1 ? " node" : " nodes") +
         (server != nullptr ? " (" + server->method() + ")" : "");
}

Result<Cell> run_cell(const Target& target, const Work& work, Gauge& gauge, std::chrono::microseconds limit_time,
                      const LocalServer* server) {
  Cell cell;
  cell.work = work;
  auto before = gauge.measure(limit_time);
  if (!before) return std::unexpected(before.error());
  const auto tail_before = tail_of(target);
  if (!tail_before) return std::unexpected(tail_before.error());
  Meter meter(server != nullptr ? server->pid() : 0);
  if (auto worked = run_work(target, cell, meter); !worked) return std::unexpected(worked.error());
  const auto tail_after = tail_of(target);
  if (!tail_after) return std::unexpected(tail_after.error());
  auto after = gauge.measure(limit_time);
  if (!after) return std::unexpected(after.error());
  cell.limits = std::move(*before);
  cell.limits.merge(*after);
  cell.tail_before = *tail_before;
  cell.tail_after = *tail_after;
  cell.client_cpu_seconds = meter.client_cpu_seconds();
  cell.cpu_waited = meter.cpu_waited();
  if (meter.server_cpu_seconds()) {
    cell.server = ServerUse{*meter.server_cpu_seconds(), meter.server_rss_peak().value_or(0)};
  }
  cell.durability = durability_of(cell, server);
  if (cell.tail_after - cell.tail_before != cell.tally.acknowledged) {
    return error(Code::failed, "log \"" + target.log + "\" grew by " +
                                   std::to_string(cell.tail_after - cell.tail_before) + " records, but " +
                                   std::to_string(cell.tally.acknowledged) +
                                   " were acknowledged. Does something else append to it? Else this is a bug.");
  }
  return cell;
}

int measure_limits(const CommandLine& line) {
  const auto duration = parse_duration(line.arguments.duration);
  if (!duration) return fail(Error(duration.error()).at("--duration"));
  auto gauge = Gauge::make(line.directory);
  if (!gauge) return fail(gauge.error());
  const auto limits = gauge->measure(*duration);
  if (!limits) return fail(limits.error());
  const std::string json = limits_json(*limits);
  if (!line.json.empty()) {
    if (auto written = write_file(line.json, json); !written) return fail(written.error());
  }
  if (line.output == "json") {
    std::printf("%s\n", json.c_str());
  } else {
    std::printf("limits of %s and of the loopback interface:\n%s", line.directory.c_str(),
                limits_text(*limits).c_str());
  }
  return 0;
}

int report(const CommandLine& line) {
  for (const std::string& name : line.results) {
    const auto text = contents_of(name);
    if (!text) return fail(text.error());
    const auto table = report_text(name, *text);
    if (!table) return fail(table.error());
    std::fputs(table->c_str(), stdout);
  }
  return 0;
}

int measure(CommandLine& line, const std::string& program) {
  const auto cells = cells_of(line.arguments);
  if (!cells) return fail(cells.error());
  const auto limit_time = parse_duration(line.arguments.limit_time);
  if (!limit_time) return fail(Error(limit_time.error()).at("--limit-time"));
  std::string baseline;
  if (!line.baseline.empty()) {
    auto text = contents_of(line.baseline);
    if (!text) return fail(text.error());
    baseline = std::move(*text);
    if (auto readable = comparison({}, baseline); !readable) return fail(readable.error());
  }
  auto gauge = Gauge::make(line.directory);
  if (!gauge) return fail(gauge.error());
  std::unique_ptr<LocalServer> server;
  Target target{.endpoints = split(line.endpoints), .log = line.log, .software = "walbench " WALRAFT_VERSION};
  if (target.log.empty())
    target.log = "walbench-" + std::to_string(std::time(nullptr)) + "-" + std::to_string(::getpid());
  if (line.local == 1) {
    auto started = LocalServer::start(std::filesystem::path(program).parent_path() / "wald", line.directory);
    if (!started) return fail(started.error());
    server = std::move(*started);
    target.endpoints = {server->endpoint()};
  }
  const std::jthread ends = end_on_signal(server.get());  // its end comes before the server's
  Run run{.version = WALRAFT_VERSION,
          .command = line.arguments.command,
          .directory = line.directory,
          .server = server ? "--local 1" : line.endpoints,
          .log = target.log + (server ? " (removed with its server)" : " (kept)"),
          .cells = {}};
  const bool table = line.output == "table";
  if (table) std::printf("log %s, server %s, disk of %s\n", run.log.c_str(), run.server.c_str(), run.directory.c_str());
  for (const Work& work : *cells) {
    auto cell = run_cell(target, work, *gauge, *limit_time, server.get());
    if (!cell) {
      std::fprintf(stderr, "%s", server ? server->last_words().c_str() : "");
      return fail(cell.error());
    }
    if (table) std::printf("%s", cell_text(*cell).c_str());
    std::fflush(stdout);
    run.cells.push_back(std::move(*cell));
  }
  const std::string json = run_json(run);
  if (!table) std::printf("%s\n", json.c_str());
  if (!line.json.empty()) {
    if (auto written = write_file(line.json, json); !written) return fail(written.error());
  }
  if (!baseline.empty()) {
    const auto compared = comparison(run, baseline);
    if (!compared) return fail(compared.error());
    std::fputs(compared->c_str(), table ? stdout : stderr);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_descriptors();
  CommandLine line;
  CLI::App app("walbench, measures Walraft beside the limits of the machine it runs on.", "walbench");
  app.add_flag("--version", line.version, "Print the release");
  app.require_subcommand(0, 1);
  app.footer(kFooter);

  const auto shared = [&](CLI::App* command) {
    command->add_option("--data-dir", line.directory, "Whose disk is measured; with --local the data goes there too")
        ->type_name("DIR")
        ->check(CLI::ExistingDirectory)
        ->capture_default_str();
    command->add_option("--duration", line.arguments.duration, "Of the measurement of each cell")
        ->type_name("D")
        ->capture_default_str();
    command->add_option("--json", line.json, "Write the result there too")->type_name("FILE");
    command->add_option("-o,--output", line.output, "table or json")
        ->check(CLI::IsMember({"table", "json"}))
        ->capture_default_str();
  };
  CLI::App* limit =
      app.add_subcommand("limit", "This disk's synced writes, one and three writers, and the loopback interface");
  shared(limit);
  std::vector<CLI::App*> works;
  for (const auto& [name, what] : {std::pair{"append", "Appends: latency, throughput"},
                                   {"read", "Bounded reads over a filled log"},
                                   {"tail", "End to end: from the append until a subscriber has the record"},
                                   {"mixed", "Appends alone and beside readers that catch up, in turns"}}) {
    CLI::App* command = app.add_subcommand(name, what);
    works.push_back(command);
    shared(command);
    command->add_option("--endpoints", line.endpoints, "Stream addresses of servers (WALRAFT_ENDPOINTS)")
        ->type_name("HOST:PORT[,...]")
        ->envname("WALRAFT_ENDPOINTS")
        ->capture_default_str();
    command->add_option("--local", line.local, "Start a throw-away wald: 1 (one node is what this release runs)")
        ->type_name("N")
        ->check(CLI::Range(1, 1));
    command->add_option("--log", line.log, "The log (default: a new name); made if it is missing")->type_name("NAME");
    command->add_option("--size", line.arguments.size, "Of a record, a cell each: 32,256,1KiB,16KiB")
        ->type_name("LIST")
        ->capture_default_str();
    command
        ->add_option("--inflight", line.arguments.inflight,
                     "Appends under way on each connection, a cell each: 1,64,1024")
        ->type_name("LIST")
        ->capture_default_str();
    command->add_option("--rate", line.arguments.rate, "Open loop: records a second over all connections")
        ->type_name("N");
    command->add_option("--connections", line.arguments.connections, "That append (of read: that read)")
        ->type_name("N")
        ->capture_default_str();
    command
        ->add_option("--batch-bytes", line.arguments.batch_bytes,
                     "Of records in an append (default: one record); of read: of a read (default 256KiB)")
        ->type_name("B");
    command->add_option("--readers", line.arguments.readers, "Of mixed")->type_name("N")->capture_default_str();
    command->add_option("--fill", line.arguments.fill, "Of read and mixed: appended before it starts")
        ->type_name("B")
        ->capture_default_str();
    command->add_option("--warmup", line.arguments.warmup, "Not measured, before each cell; 0 for none")
        ->type_name("D")
        ->capture_default_str();
    command
        ->add_option("--limit-time", line.arguments.limit_time,
                     "Of each of the twelve measurements of limits around a cell")
        ->type_name("D")
        ->capture_default_str();
    command->add_option("--baseline", line.baseline, "Compare with an older result of --json")->type_name("FILE");
  }
  CLI::App* report_command = app.add_subcommand("report", "A table of results written by --json");
  report_command->add_option("RESULT", line.results, "Files")->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    return fail({Code::usage, std::string(wrong.what()) + ". See walbench --help.", 0});
  }
  if (line.version) {
    std::printf("walbench %s\n", WALRAFT_VERSION);
    return 0;
  }
  if (app.get_subcommands().empty()) return fail({Code::usage, "say what to do. See walbench --help.", 0});
  if (report_command->parsed()) return report(line);
  if (limit->parsed()) return measure_limits(line);
  line.arguments.command = app.get_subcommands().front()->get_name();
  char program[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", program, sizeof program - 1);
  // Before there are threads: they all inherit it, and only the one that waits for the signals gets them.
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return measure(line, std::string(program, length > 0 ? static_cast<std::size_t>(length) : 0));
}
