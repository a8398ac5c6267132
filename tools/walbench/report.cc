#include "tools/walbench/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "tools/walbench/append_load.h"
#include "tools/walbench/text.h"
#include "tools/walbench/verdict.h"

namespace walraft::walbench {
namespace {

using Json = nlohmann::ordered_json;

double us(std::uint64_t ns) { return static_cast<double>(ns) / 1e3; }
double mb(double bytes) { return bytes / 1e6; }
double per_million(double cpu_seconds, std::uint64_t records) {
  return records == 0 ? 0 : cpu_seconds / static_cast<double>(records) * 1e6;
}

std::string size_text(std::uint64_t bytes) {
  if (bytes >= 1u << 20 && bytes % (1u << 20) == 0) return std::to_string(bytes >> 20) + "MiB";
  if (bytes >= 1u << 10 && bytes % (1u << 10) == 0) return std::to_string(bytes >> 10) + "KiB";
  return std::to_string(bytes) + "B";
}

Json latency_json(const Histogram& latency) {
  return {{"count", latency.count()},
          {"mean", latency.mean() / 1e3},
          {"p50", us(latency.percentile(50))},
          {"p90", us(latency.percentile(90))},
          {"p99", us(latency.percentile(99))},
          {"p99.9", us(latency.percentile(99.9))},
          {"p99.99", us(latency.percentile(99.99))},
          {"max", us(latency.max())}};
}

Json to_json(const Limits& limits) {
  return {{"direct", limits.direct},
          {"synced_write_us", latency_json(limits.write_one)},
          {"synced_write_three_us", latency_json(limits.write_three)},
          {"synced_bytes_per_s", limits.disk_bytes_one},
          {"synced_three_bytes_per_s", limits.disk_bytes_three},
          {"round_trip_us", latency_json(limits.round_trip)},
          {"tcp_bytes_per_s", limits.tcp_bytes}};
}

Json to_json(const Cell& cell) {
  const Work& work = cell.work;
  const Tally& tally = cell.tally;
  const Verdict verdict = judge(cell);
  Json json = {{"command", work.command},
               {"size", work.size},
               {"inflight", work.inflight == 0 ? 0 : inflight_within_bound(work)},
               {"rate", work.rate},
               {"connections", work.connections},
               {"batch_bytes", work.batch_bytes},
               {"records_per_append", work.records_per_append()},
               {"seconds", tally.seconds},
               {"operations", tally.operations},
               {"records", tally.records},
               {"records_per_s", tally.records_per_second()},
               {"bytes_per_s", tally.bytes_per_second()},
               {"latency_us", latency_json(tally.latency)},
               {"server_queue_us", latency_json(tally.queue)},
               {"server_sync_us", latency_json(tally.sync)},
               {"acknowledged", tally.acknowledged},
               {"tail_before", cell.tail_before},
               {"tail_after", cell.tail_after},
               {"durability", cell.durability},
               {"durable_on", tally.durable_on},
               {"client_cpu_s", cell.client_cpu_seconds},
               {"client_cpu_s_per_million", per_million(cell.client_cpu_seconds, tally.handled)},
               {"server_cpu_s", nullptr},
               {"server_cpu_s_per_million", nullptr},
               {"server_rss_peak_bytes", nullptr},
               {"cpu_waited", cell.cpu_waited},
               {"limits", to_json(cell.limits)},
               {"latency_ratio", verdict.latency_ratio},
               {"bandwidth_ratio", verdict.bandwidth_ratio},
               {"verdict", verdict.text}};
  if (cell.server) {
    json["server_cpu_s"] = cell.server->cpu_seconds;
    json["server_cpu_s_per_million"] = per_million(cell.server->cpu_seconds, tally.handled);
    json["server_rss_peak_bytes"] = cell.server->rss_peak;
  }
  if (cell.mixed) {
    json["mixed"] = {{"readers", work.readers},
                     {"alone_records_per_s", cell.mixed->alone},
                     {"beside_records_per_s", cell.mixed->beside},
                     {"cost", cell.mixed->cost()},
                     {"latency_alone_us", latency_json(cell.mixed->latency_alone)},
                     {"reader_records", cell.mixed->reader_records},
                     {"reader_bytes_per_s", cell.mixed->reader_bytes}};
  }
  return json;
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string work_text(const Work& work) {
  std::string text = work.command + " " + size_text(work.size);
  if (work.command == "read")
    return text + text_of(" reads of %s", size_text(work.batch_bytes == 0 ? 256u << 10 : work.batch_bytes).c_str());
  if (work.records_per_append() > 1) text += text_of(" x %u", work.records_per_append());
  text += work.rate > 0 ? text_of(", open loop %.0f records/s", work.rate)
                        : text_of(", %u in flight", inflight_within_bound(work));
  if (work.rate == 0 && inflight_within_bound(work) < work.inflight)
    text += text_of(" (not %u: 32 MiB at most)", work.inflight);
  if (work.connections > 1) text += text_of(", %u connections", work.connections);
  if (work.command == "mixed") text += text_of(", %u readers", work.readers);
  return text;
}

// What makes cells of two runs comparable.
Json key_of(const Json& cell) {
  Json key;
  for (const char* name : {"command", "size", "inflight", "rate", "connections", "batch_bytes"})
    key[name] = cell.at(name);
  return key;
}

Result<Json> parse_run(const std::string& name, const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object() || json.value("format", "") != "walbench-1" || !json.contains("cells")) {
    return error(Code::invalid, name + " is no result of walbench --json (\"format\": \"walbench-1\")");
  }
  return json;
}

}  // namespace

std::string limits_text(const Limits& limits) {
  const auto write = [](const char* who, const Histogram& h, double bytes) {
    return text_of("  %-13s 4 KiB synced: p50 %.0f us, p99 %.0f us; 1 MiB synced: %.0f MB/s\n", who,
                   us(h.percentile(50)), us(h.percentile(99)), mb(bytes));
  };
  return write("one writer", limits.write_one, limits.disk_bytes_one) +
         write("three writers", limits.write_three, limits.disk_bytes_three) +
         text_of("  loopback      round trip of 256 B through epoll: p50 %.0f us, p99 %.0f us; TCP %.0f MB/s\n",
                 us(limits.round_trip.percentile(50)), us(limits.round_trip.percentile(99)), mb(limits.tcp_bytes)) +
         (limits.direct ? "" : "  no O_DIRECT here: buffered synced writes were measured\n");
}

std::string cell_text(const Cell& cell) {
  const Tally& tally = cell.tally;
  const Verdict verdict = judge(cell);
  std::string text = work_text(cell.work) + "\n";
  text += text_of("  %.0f records/s, %.1f MB/s (%.2f of the limit); p50 %.0f us, p99 %.0f, p99.9 %.0f, max %.0f",
                  tally.records_per_second(), mb(tally.bytes_per_second()), verdict.bandwidth_ratio,
                  us(tally.latency.percentile(50)), us(tally.latency.percentile(99)),
                  us(tally.latency.percentile(99.9)), us(tally.latency.max()));
  if (verdict.latency_ratio > 0) text += text_of(" (%.2f of the limit)", verdict.latency_ratio);
  text += "\n";
  if (tally.sync.count() > 0) {
    text += text_of(
        "  in the server: waiting for the write p50 %.0f us, p99 %.0f; the synced write p50 %.0f us, p99 %.0f\n",
        us(tally.queue.percentile(50)), us(tally.queue.percentile(99)), us(tally.sync.percentile(50)),
        us(tally.sync.percentile(99)));
  }
  if (cell.mixed) {
    text += text_of("  readers: %.1f MB/s; appends in turns, alone/beside, records/s:", mb(cell.mixed->reader_bytes));
    for (std::size_t i = 0; i < cell.mixed->alone.size(); ++i)
      text += text_of(" %.0f/%.0f", cell.mixed->alone[i], cell.mixed->beside[i]);
    text += text_of("; p50 alone %.0f us\n", us(cell.mixed->latency_alone.percentile(50)));
  }
  text += text_of("  CPU s per million records: client %.2f", per_million(cell.client_cpu_seconds, tally.handled));
  if (cell.server) {
    text +=
        text_of(", server %.2f; server's memory %.0f MiB at most", per_million(cell.server->cpu_seconds, tally.handled),
                static_cast<double>(cell.server->rss_peak) / (1 << 20));
  }
  text += "\n  durability: " + cell.durability + "\n  limits meanwhile:\n";
  std::string limits = limits_text(cell.limits);
  for (std::size_t at = 0; at < limits.size(); at = limits.find('\n', at) + 1) {
    text += "  " + limits.substr(at, limits.find('\n', at) - at + 1);
  }
  return text + "  verdict: " + verdict.text + "\n";
}

std::string limits_json(const Limits& limits) { return to_json(limits).dump(); }

std::string run_json(const Run& run) {
  utsname name{};
  ::uname(&name);
  Json json = {
      {"format", "walbench-1"},
      {"version", run.version},
      {"time", now_text()},
      {"command", run.command},
      {"machine",
       {{"processors", ::sysconf(_SC_NPROCESSORS_ONLN)}, {"kernel", name.release}, {"directory", run.directory}}},
      {"server", run.server},
      {"log", run.log},
      {"cells", Json::array()}};
  for (const Cell& cell : run.cells) json["cells"].push_back(to_json(cell));
  return json.dump();
}

Result<std::string> comparison(const Run& run, const std::string& old) {
  const auto before = parse_run("the baseline", old);
  if (!before) return std::unexpected(before.error());
  std::string text;
  try {
    for (const Cell& cell : run.cells) {
      const Json now = to_json(cell);
      for (const Json& then : before->at("cells")) {
        if (key_of(then) != key_of(now)) continue;
        const auto ratio = [&](const char* at) {
          const Json::json_pointer pointer(at);
          const double was = then.at(pointer).get<double>();
          return was > 0 ? now.at(pointer).get<double>() / was : 0;
        };
        const double throughput = ratio("/records_per_s"), p50 = ratio("/latency_us/p50");
        const double disk = ratio("/limits/synced_write_us/p50");
        const bool slower = p50 > 1.25 && disk > 0 && p50 / disk > 1.25;
        text += work_text(cell.work) +
                text_of(": throughput %.2f x, p50 %.2f x of the baseline; the disk's p50 %.2f x: %s\n", throughput, p50,
                        disk, slower ? "SLOWER" : "not slower beyond 25 %");
      }
    }
  } catch (const Json::exception& wrong) {
    return error(Code::invalid, std::string("the baseline lacks what is compared: ") + wrong.what());
  }
  return text.empty() ? "no cell of the baseline is like one of this run\n" : text;
}

Result<std::string> report_text(const std::string& name, const std::string& text) {
  const auto run = parse_run(name, text);
  if (!run) return std::unexpected(run.error());
  std::string result = name + ":\n" +
                       text_of("%-8s %8s %9s %6s %9s %12s %9s %9s %9s %8s  %s\n", "command", "size", "in flight",
                               "conn", "batch", "records/s", "MB/s", "p50 us", "p99 us", "rss MiB", "verdict");
  try {
    for (const Json& cell : run->at("cells")) {
      const Json& rss = cell.at("server_rss_peak_bytes");
      const Json& latency = cell.at("latency_us");
      result += text_of("%-8s %8u %9s %6u %9u %12.0f %9.1f %9.0f %9.0f %8s  ",
                        cell.at("command").get<std::string>().c_str(), cell.at("size").get<unsigned>(),
                        cell.at("rate").get<double>() > 0 ? "open"
                                                          : std::to_string(cell.at("inflight").get<unsigned>()).c_str(),
                        cell.at("connections").get<unsigned>(), cell.at("batch_bytes").get<unsigned>(),
                        cell.at("records_per_s").get<double>(), mb(cell.at("bytes_per_s").get<double>()),
                        latency.at("p50").get<double>(), latency.at("p99").get<double>(),
                        rss.is_null() ? "-" : std::to_string(rss.get<std::uint64_t>() >> 20).c_str()) +
                cell.at("verdict").get<std::string>() + "\n";
    }
  } catch (const Json::exception& wrong) {
    return error(Code::invalid, name + ": " + wrong.what());
  }
  return result;
}

}  // namespace walraft::walbench
