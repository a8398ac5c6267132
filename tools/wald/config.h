#pragma once

// What a node is told at its start. The keys, their units and defaults are in default_config(); wald --print-default-config
// prints it, and a test checks that it says what this struct has.

#include <cstdint>
#include <string>
#include <vector>

#include "wal/base/result.h"

namespace walraft::wald {

struct Member {
  std::uint16_t id = 0;
  std::string stream, control, http;  // host:port
  bool operator==(const Member&) const = default;
};

struct Config {
  std::string path;  // of the file; empty: none (--dev), so there is nothing to read again
  // [node]
  std::uint16_t node_id = 1;
  std::string data_dir;
  std::string zone;  // at most 64 letters, digits, dots, underscores and dashes
  // [cluster]
  std::string cluster_name;
  std::vector<Member> members;  // this node is among them
  // [listen]
  std::string listen_stream = "127.0.0.1:7400";
  std::string listen_control = "127.0.0.1:7401";
  std::string listen_http = "127.0.0.1:7402";
  bool insecure = false;
  // [storage]
  std::uint64_t segment_bytes = 64u << 20;
  std::uint64_t first_segment_bytes = 1u << 20;  // no key: logs start small and grow
  std::uint64_t reserve_bytes = 0;               // 0 is "auto"
  std::string sync = "auto";
  // [limits]
  std::uint64_t record_bytes_max = 1u << 20;
  std::uint64_t batch_bytes_max = 4u << 20;
  std::uint64_t inflight_bytes_max = 64u << 20;
  std::uint64_t connections_max = 4096;
  // [logging]
  std::string log_level = "info";
  std::string log_format = "text";
};

// `invalid` with file, line, key and what is allowed, for the first thing that is wrong. What this release does not
// have (TLS, tokens, several members) is refused, never ignored.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view text, const std::string& path);

// One node on the loopback interface: stream = base, control = base + 1, http = base + 2; small segments and reserve.
Result<Config> dev_config(const std::string& data_dir, int port_base);

// What a running node takes over from `wanted`: logging.level and all of limits. The rest of `running` stays; `ignored`
// gets the keys that differ and want a restart.
void take_over(Config& running, const Config& wanted, std::vector<std::string>& ignored);

std::string_view default_config();

}  // namespace walraft::wald
