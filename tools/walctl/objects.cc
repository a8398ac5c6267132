#include "tools/walctl/objects.h"

#include <cstdio>

#include "tools/walctl/options.h"

namespace walraft::walctl {
namespace {

std::string text(std::string_view value) { return "\"" + json_escape(value) + "\""; }
std::string number(std::uint64_t value) { return std::to_string(value); }
std::string number_or_null(std::uint64_t value) { return value == 0 ? "null" : number(value); }

std::string list(const auto& elements, auto object) {
  std::string all;
  for (const auto& element : elements) all += (all.empty() ? "" : ",") + object(element);
  return "[" + all + "]";
}

std::string days(const NodeStatus& node) {
  if (!node.hours_until_full) return "null";
  char days[32];
  std::snprintf(days, sizeof days, "%.1f", static_cast<double>(*node.hours_until_full) / 24);
  return days;
}

std::string member_object(const LogMember& member) {
  return "{\"id\":" + number(member.id.value) + ",\"role\":" + text(member.role) +
         ",\"durable\":" + number(member.durable.value) + ",\"lag\":" + number(member.lag) +
         ",\"health\":" + text(member.health) + "}";
}

std::string config_object(const LogConfig& config) {
  return "{\"replicas\":" + number(config.replicas) + ",\"retention_bytes\":" + number_or_null(config.retention_bytes) +
         ",\"retention_time\":" + (config.retention_ms == 0 ? "null" : text(number(config.retention_ms) + "ms")) +
         ",\"segment_bytes\":" + number(config.segment_bytes) +
         ",\"max_record_bytes\":" + number(config.record_bytes_max) +
         ",\"require_epoch\":" + (config.require_epoch ? "true" : "false") + "}";
}

std::string node_object(const NodeStatus& node) {
  return "{\"id\":" + number(node.id.value) + ",\"zone\":" + text(node.zone) + ",\"stream\":" + text(node.stream) +
         ",\"control\":" + text(node.control) + ",\"http\":" + text(node.http) + ",\"state\":" + text(node.state) +
         ",\"version\":" + text(node.version) + ",\"health\":" + text(node.health) +
         ",\"disk\":{\"free_bytes\":" + number(node.free_bytes) + ",\"total_bytes\":" + number(node.total_bytes) +
         ",\"days_until_full\":" + days(node) + ",\"sync_us\":{\"mean\":" + number(node.sync_us_mean) +
         ",\"last\":" + number(node.sync_us_last) + ",\"max\":" + number(node.sync_us_max) + "}}}";
}

}  // namespace

std::string to_json(const LogStatus& log) {
  return "{\"name\":" + text(log.name) + ",\"uuid\":" + text(to_string(log.uuid)) + ",\"id\":" + number(log.id.value) +
         ",\"leader\":" + (log.leader ? number(log.leader->value) : "null") +
         ",\"frontier\":{\"commit\":" + number(log.commit.value) + ",\"durable\":" + number(log.durable.value) +
         ",\"tail\":" + number(log.tail.value) + ",\"trim\":" + number(log.trim.value) +
         ",\"term\":" + number(log.term.value) + ",\"epoch\":" + number(log.epoch.value) +
         "},\"members\":" + list(log.members, member_object) + ",\"config\":" + config_object(log.config) + "}";
}

std::string to_json(const ClusterStatus& cluster) {
  return "{\"name\":" + text(cluster.name) + ",\"uuid\":" + text(to_string(cluster.uuid)) +
         ",\"nodes\":" + list(cluster.nodes, node_object) + "}";
}

}  // namespace walraft::walctl
