// walctl log create, list, describe and delete.
#include <cstdio>

#include "tools/walctl/commands.h"
#include "tools/walctl/objects.h"
#include "tools/walctl/table.h"

namespace walraft::walctl {
namespace {

std::string health(const LogStatus& log) {
  std::string worst = "ok";
  for (const LogMember& member : log.members) {
    if (member.health != "ok") worst = member.health;
  }
  return worst;
}

void print_whole(const LogStatus& log) {
  const LogConfig& config = log.config;
  const auto line = [](const char* what, const std::string& value) {
    std::printf("%-18s%s\n", what, printable(value).c_str());
  };
  const auto number = [&](const char* what, std::uint64_t value) { line(what, std::to_string(value)); };
  line("name", log.name);
  line("uuid", to_string(log.uuid));
  number("id", log.id.value);
  line("leader", log.leader ? "node " + std::to_string(log.leader->value) : "none");
  number("term", log.term.value);
  number("trim", log.trim.value);
  number("commit", log.commit.value);
  number("durable", log.durable.value);
  number("tail", log.tail.value);
  number("replicas", config.replicas);
  line("segment bytes", human_bytes(config.segment_bytes));
  line("max record bytes", human_bytes(config.record_bytes_max));
  line("retention", config.retention_bytes == 0 && config.retention_ms == 0 ? "for ever" : "limited");
  std::printf("\n");
  Table members({"NODE", "ROLE", "DURABLE", "LAG", "HEALTH"});
  for (const LogMember& member : log.members) {
    members.add({std::to_string(member.id.value), member.role, std::to_string(member.durable.value),
                 std::to_string(member.lag), member.health});
  }
  std::fputs(members.text().c_str(), stdout);
}

}  // namespace

int log_create(const Global& global, const std::string& name, const LogConfig& config) {
  Client client(global.client());
  const auto created = client.create_log(name, config);
  if (!created) return fail(created.error());
  if (global.output == Output::json) {
    std::printf("%s\n", to_json(created->log).c_str());
  } else {
    std::printf("log \"%s\": %s, uuid %s\n", name.c_str(),
                created->is_new ? "made" : "is there already, as you want it", to_string(created->log.uuid).c_str());
  }
  return 0;
}

int log_list(const Global& global, const std::string& prefix) {
  Client client(global.client());
  const auto logs = client.list_logs(prefix);
  if (!logs) return fail(logs.error());
  Table table({"LOG", "LEADER", "TERM", "TRIM", "TAIL", "REPLICAS", "HEALTH"});
  for (const LogStatus& log : *logs) {
    if (global.output == Output::json) {
      std::printf("%s\n", to_json(log).c_str());
      continue;
    }
    table.add({log.name, log.leader ? std::to_string(log.leader->value) : "none", std::to_string(log.term.value),
               std::to_string(log.trim.value), std::to_string(log.tail.value), std::to_string(log.config.replicas),
               health(log)});
  }
  if (global.output == Output::table) std::fputs(table.text().c_str(), stdout);
  return 0;
}

int log_describe(const Global& global, const std::string& name) {
  Client client(global.client());
  const auto log = client.describe_log(name);
  if (!log) return fail(log.error());
  if (global.output == Output::json) {
    std::printf("%s\n", to_json(*log).c_str());
  } else {
    print_whole(*log);
  }
  return 0;
}

int log_delete(const Global& global, const std::string& name, bool yes) {
  if (!yes) {
    return fail(
        {Code::usage, "log \"" + name + "\": deleting it destroys all its records for ever; say --yes to do it", 0});
  }
  Client client(global.client());
  if (const auto deleted = client.delete_log(name); !deleted) return fail(deleted.error());
  if (global.output == Output::json) {
    std::printf("{\"name\":\"%s\"}\n", json_escape(name).c_str());
  } else {
    std::printf("log \"%s\": deleted\n", name.c_str());
  }
  return 0;
}

}  // namespace walraft::walctl
