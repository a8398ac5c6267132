// walctl status: every node and every log, once or again and again.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "tools/walctl/commands.h"
#include "tools/walctl/objects.h"
#include "tools/walctl/table.h"

namespace walraft::walctl {
namespace {

constexpr int kHealthy = 0, kDegraded = 1;
constexpr auto kWatchEvery = std::chrono::seconds(2);

int verdict(const ClusterStatus& cluster, const std::vector<LogStatus>& logs) {
  if (std::ranges::any_of(logs, [](const LogStatus& log) { return !log.leader; })) {
    return outcome_of(Code::unavailable).exit_code;
  }
  const bool nodes = std::ranges::all_of(
      cluster.nodes, [](const NodeStatus& node) { return node.state == "up" && node.health == "ok"; });
  const bool members = std::ranges::all_of(logs, [](const LogStatus& log) {
    return std::ranges::all_of(log.members, [](const LogMember& member) { return member.health == "ok"; });
  });
  return nodes && members ? kHealthy : kDegraded;
}

std::string as_tables(const ClusterStatus& cluster, const std::vector<LogStatus>& logs) {
  Table nodes({"NODE", "STATE", "VERSION", "STREAM", "FREE", "DAYS UNTIL FULL", "SYNC MEAN", "SYNC MAX", "HEALTH"});
  for (const NodeStatus& node : cluster.nodes) {
    nodes.add({std::to_string(node.id.value), node.state, node.version, node.stream,
               node.total_bytes == 0 ? "-" : human_bytes(node.free_bytes),
               node.hours_until_full ? std::to_string(*node.hours_until_full / 24) : "-", human_us(node.sync_us_mean),
               human_us(node.sync_us_max), node.health});
  }
  Table all({"LOG", "NODE", "ROLE", "TERM", "COMMIT", "DURABLE", "LAG", "HEALTH"});
  for (const LogStatus& log : logs) {
    for (const LogMember& member : log.members) {
      all.add({log.name, std::to_string(member.id.value), member.role, std::to_string(log.term.value),
               std::to_string(log.commit.value), std::to_string(member.durable.value), std::to_string(member.lag),
               member.health});
    }
  }
  return "cluster \"" + printable(cluster.name) + "\" " + to_string(cluster.uuid) + "\n\n" + nodes.text() + "\n" +
         all.text();
}

std::string as_objects(const ClusterStatus& cluster, const std::vector<LogStatus>& logs) {
  std::string lines = to_json(cluster) + "\n";
  for (const LogStatus& log : logs) lines += to_json(log) + "\n";
  return lines;
}

// The exit code of one look; prints it.
int look(const Global& global, Client& client, bool clear) {
  const auto cluster = client.status();
  if (!cluster) return fail(cluster.error());
  const auto logs = client.list_logs();
  if (!logs) return fail(logs.error());
  const std::string text = global.output == Output::json ? as_objects(*cluster, *logs) : as_tables(*cluster, *logs);
  std::printf("%s%s", clear ? "\x1b[H\x1b[2J" : "", text.c_str());
  std::fflush(stdout);
  return verdict(*cluster, *logs);
}

}  // namespace

int status(const Global& global, bool watch) {
  Client client(global.client());
  if (!watch) return look(global, client, false);
  const bool clear = global.output == Output::table && ::isatty(STDOUT_FILENO) == 1;
  for (;;) {  // until it is interrupted; a server that is away comes back
    (void)look(global, client, clear);
    std::this_thread::sleep_for(kWatchEvery);
  }
}

}  // namespace walraft::walctl
