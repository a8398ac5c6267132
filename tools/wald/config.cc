#include "tools/wald/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <iterator>

#include "tools/units.h"
#include "wal/batch.h"
#include "wal/segment_format.h"

namespace walraft::wald {
namespace {

constexpr std::uint64_t kKiB = 1u << 10, kMiB = 1u << 20, kGiB = 1u << 30;

// Reads one file: finds the first thing that is wrong, and where.
class Parser {
 public:
  Parser(std::string path, Config& config) : path_(std::move(path)), config_(config) {}

  bool read(const toml::table& root) {
    return check_keys(root, "", {"node", "cluster", "listen", "tls", "auth", "storage", "raft", "limits", "logging"}) &&
           read_node(root) && read_cluster(root) && read_listen(root) && read_security(root) && read_storage(root) &&
           read_raft(root) && read_limits(root) && read_logging(root) && check_whole(root);
  }
  const std::string& wrong() const { return wrong_; }

 private:
  bool fail(const toml::node& node, const std::string& key, const std::string& what) {
    wrong_ = path_ + ":" + std::to_string(node.source().begin.line) + ": " + key + ": " + what;
    return false;
  }
  bool fail(const std::string& key, const std::string& what) {
    wrong_ = path_ + ": " + key + ": " + what;
    return false;
  }

  bool check_keys(const toml::table& table, const std::string& section, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : table) {
      const std::string_view name = key.str();
      if (std::ranges::find(known, name) != known.end()) continue;
      std::string all;
      for (const auto& k : known) all += (all.empty() ? "" : ", ") + std::string(k);
      wrong_ = path_ + ":" + std::to_string(key.source().begin.line) + ": " +
               (section.empty() ? "" : section + ".") + std::string(name) + ": there is no such key; known are " + all;
      return false;
    }
    return true;
  }

  // The section, empty if it is not there. False if it is no table or has unknown keys.
  bool section(const toml::table& root, const char* name, std::initializer_list<std::string_view> keys,
               const toml::table*& out) {
    static const toml::table kEmpty;
    out = &kEmpty;
    const toml::node* node = root.get(name);
    if (node == nullptr) return true;
    if (!node->is_table()) return fail(*node, name, "must be a section, [" + std::string(name) + "]");
    out = node->as_table();
    return check_keys(*out, name, keys);
  }

  bool text(const toml::table& table, const std::string& key, const char* name, std::string& out) {
    const toml::node* node = table.get(name);
    if (node == nullptr) return true;
    if (!node->is_string()) return fail(*node, key, "must be text in quotes");
    out = **node->as_string();
    return true;
  }

  bool choice(const toml::table& table, const std::string& key, const char* name,
              std::initializer_list<std::string_view> allowed, std::string& out) {
    if (!text(table, key, name, out)) return false;
    if (std::ranges::find(allowed, out) != allowed.end()) return true;
    std::string all;
    for (const auto& a : allowed) all += (all.empty() ? "" : ", ") + std::string(a);
    return fail(*table.get(name), key, "is \"" + out + "\"; allowed are " + all);
  }

  bool flag(const toml::table& table, const std::string& key, const char* name, bool& out) {
    const toml::node* node = table.get(name);
    if (node == nullptr) return true;
    if (!node->is_boolean()) return fail(*node, key, "must be true or false");
    out = **node->as_boolean();
    return true;
  }

  bool number(const toml::table& table, const std::string& key, const char* name, std::uint64_t low, std::uint64_t high,
              std::uint64_t& out) {
    const toml::node* node = table.get(name);
    if (node == nullptr) return true;
    const std::string range = "must be a number from " + std::to_string(low) + " to " + std::to_string(high);
    if (!node->is_integer()) return fail(*node, key, range);
    const std::int64_t value = **node->as_integer();
    if (value < 0 || static_cast<std::uint64_t>(value) < low || static_cast<std::uint64_t>(value) > high) {
      return fail(*node, key, "is " + std::to_string(value) + "; it " + range);
    }
    out = static_cast<std::uint64_t>(value);
    return true;
  }

  bool bytes(const toml::table& table, const std::string& key, const char* name, std::uint64_t low, std::uint64_t high,
             const char* range, std::uint64_t& out) {
    const toml::node* node = table.get(name);
    if (node == nullptr) return true;
    const std::string must = std::string("must be a size from ") + range + ", like \"1MiB\" (B, KiB, MiB, GiB)";
    if (!node->is_string()) return fail(*node, key, must);
    const auto value = parse_bytes(**node->as_string());
    if (!value || *value < low || *value > high) return fail(*node, key, "is \"" + **node->as_string() + "\"; it " + must);
    out = *value;
    return true;
  }

  bool address(const toml::table& table, const std::string& key, const char* name, std::string& out) {
    if (table.get(name) == nullptr) return true;
    if (!text(table, key, name, out)) return false;
    const auto colon = out.rfind(':');
    std::uint64_t port = 0;
    if (colon != std::string::npos && colon > 0) {
      const auto [end, failed] = std::from_chars(out.data() + colon + 1, out.data() + out.size(), port);
      if (failed == std::errc() && end == out.data() + out.size() && port >= 1 && port <= 65'535) return true;
    }
    return fail(*table.get(name), key, "is \"" + out + "\"; it must be an address with a port, like \"127.0.0.1:7400\"");
  }

  bool read_node(const toml::table& root) {
    const toml::table* node;
    std::uint64_t id = 0;
    if (!section(root, "node", {"id", "data_dir", "zone"}, node) ||
        !number(*node, "node.id", "id", 1, 65'535, id) || !text(*node, "node.data_dir", "data_dir", config_.data_dir) ||
        !text(*node, "node.zone", "zone", config_.zone)) {
      return false;
    }
    const auto is_label = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
    if (config_.zone.size() > 64 || !std::ranges::all_of(config_.zone, is_label)) {
      return fail(*node->get("zone"), "node.zone",
                  "must have at most 64 letters, digits, dots, underscores and dashes");
    }
    if (id == 0) return fail("node.id", "is missing; it must be a number from 1 to 65535, unique in the cluster");
    if (const std::string& dir = config_.data_dir; dir.empty() || dir.find('\0') != std::string::npos) {
      const toml::node* data_dir = node->get("data_dir");
      return data_dir == nullptr ? fail("node.data_dir", "is missing; it must be the path of a directory")
                                 : fail(*data_dir, "node.data_dir", "must be the path of a directory");
    }
    config_.node_id = static_cast<std::uint16_t>(id);
    return true;
  }

  bool read_cluster(const toml::table& root) {
    const toml::table* cluster;
    if (!section(root, "cluster", {"name", "members"}, cluster) ||
        !text(*cluster, "cluster.name", "name", config_.cluster_name)) {
      return false;
    }
    if (!cluster->contains("name")) return fail("cluster.name", "is missing; it must be the cluster's name");
    if (config_.cluster_name.empty() || config_.cluster_name.size() > 128 ||
        std::ranges::any_of(config_.cluster_name, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
      return fail(*cluster->get("name"), "cluster.name", "must have 1 to 128 bytes and no control characters");
    }
    const toml::node* members = cluster->get("members");
    if (members == nullptr) return fail("cluster.members", "is missing; it must list the members, this node at least");
    if (!members->is_array()) return fail(*members, "cluster.members", "must be a list like [{ id = 1, host = \"wal-1\" }]");
    for (const toml::node& element : *members->as_array()) {
      if (!element.is_table()) return fail(element, "cluster.members", "must hold entries like { id = 1, host = \"wal-1\" }");
      const toml::table& table = *element.as_table();
      Member member;
      std::string host;
      std::uint64_t id = 0;
      if (!check_keys(table, "cluster.members", {"id", "host", "stream", "control", "http"}) ||
          !number(table, "cluster.members.id", "id", 1, 65'535, id) ||
          !text(table, "cluster.members.host", "host", host) ||
          !address(table, "cluster.members.stream", "stream", member.stream = host + ":7400") ||
          !address(table, "cluster.members.control", "control", member.control = host + ":7401") ||
          !address(table, "cluster.members.http", "http", member.http = host + ":7402")) {
        return false;
      }
      if (id == 0) return fail(element, "cluster.members.id", "is missing");
      const bool all_ports = table.contains("stream") && table.contains("control") && table.contains("http");
      if (host.empty() && !all_ports) {
        return fail(element, "cluster.members", "member " + std::to_string(id) + " needs a host, or stream, control and http");
      }
      member.id = static_cast<std::uint16_t>(id);
      if (std::ranges::any_of(config_.members, [&](const Member& m) { return m.id == member.id; })) {
        return fail(element, "cluster.members", "id " + std::to_string(id) + " is there twice");
      }
      config_.members.push_back(std::move(member));
    }
    if (config_.members.size() > 1) {
      return fail(*members, "cluster.members",
                  "has several members: not supported by this release, which runs one durable node");
    }
    if (config_.members.empty() || config_.members[0].id != config_.node_id) {
      return fail(*members, "cluster.members", "does not list this node (node.id = " + std::to_string(config_.node_id) + ")");
    }
    return true;
  }

  bool read_listen(const toml::table& root) {
    const toml::table* listen;
    if (!section(root, "listen", {"stream", "control", "http", "http_hosts", "insecure"}, listen) ||
        !address(*listen, "listen.stream", "stream", config_.listen_stream) ||
        !address(*listen, "listen.control", "control", config_.listen_control) ||
        !address(*listen, "listen.http", "http", config_.listen_http) ||
        !flag(*listen, "listen.insecure", "insecure", config_.insecure)) {
      return false;
    }
    if (const toml::node* hosts = listen->get("http_hosts")) {
      if (!hosts->is_array()) return fail(*hosts, "listen.http_hosts", "must be a list of host names");
      if (!hosts->as_array()->empty()) {
        return fail(*hosts, "listen.http_hosts", "not supported by this release, which has no HTTP port yet");
      }
    }
    const std::string& stream = config_.listen_stream;
    const bool loopback = stream.starts_with("127.") || stream.starts_with("[::1]:") || stream.starts_with("localhost:");
    if (!loopback && !config_.insecure) {
      const std::string what = "is \"" + stream + "\", an address off the loopback interface, without TLS; set "
                               "listen.insecure = true to accept that anyone who reaches it may read and write";
      const toml::node* node = listen->get("stream");
      return node != nullptr ? fail(*node, "listen.stream", what) : fail("listen.stream", what);
    }
    return true;
  }

  bool read_security(const toml::table& root) {
    if (const toml::node* tls = root.get("tls")) return fail(*tls, "tls", "not supported by this release");
    const toml::table* auth;
    std::string mode = "none";
    if (!section(root, "auth", {"mode"}, auth) || !choice(*auth, "auth.mode", "mode", {"none", "token"}, mode)) return false;
    if (mode == "token") return fail(*auth->get("mode"), "auth.mode", "\"token\" is not supported by this release");
    return true;
  }

  bool read_storage(const toml::table& root) {
    const toml::table* storage;
    if (!section(root, "storage", {"segment_bytes", "reserve_bytes", "sync"}, storage) ||
        !bytes(*storage, "storage.segment_bytes", "segment_bytes", wal::kSegmentBytesMin, wal::kSegmentBytesMax,
               "64KiB to 1GiB", config_.segment_bytes) ||
        !choice(*storage, "storage.sync", "sync", {"auto", "direct", "buffered"}, config_.sync)) {
      return false;
    }
    if (!wal::is_segment_size(config_.segment_bytes)) {
      return fail(*storage->get("segment_bytes"), "storage.segment_bytes", "must be a power of two, like \"64MiB\"");
    }
    config_.first_segment_bytes = std::min(config_.first_segment_bytes, config_.segment_bytes);
    const toml::node* reserve = storage->get("reserve_bytes");
    if (reserve != nullptr && reserve->is_string() && **reserve->as_string() == "auto") return true;
    return bytes(*storage, "storage.reserve_bytes", "reserve_bytes", kMiB, 64 * kGiB, "1MiB to 64GiB or \"auto\"",
                 config_.reserve_bytes);
  }

  bool read_raft(const toml::table& root) {
    const toml::table* raft;
    std::string timeout = "auto";
    if (!section(root, "raft", {"election_timeout"}, raft) || !text(*raft, "raft.election_timeout", "election_timeout", timeout)) {
      return false;
    }
    if (timeout == "auto") return true;
    return fail(*raft->get("election_timeout"), "raft.election_timeout",
                "is \"" + timeout + "\"; only \"auto\" is supported by this release, whose one node holds no elections");
  }

  bool read_limits(const toml::table& root) {
    const toml::table* limits;
    return section(root, "limits", {"record_bytes_max", "batch_bytes_max", "inflight_bytes_max", "connections_max"},
                   limits) &&
           bytes(*limits, "limits.record_bytes_max", "record_bytes_max", 1, wal::kRecordBytesMax, "1B to 8MiB",
                 config_.record_bytes_max) &&
           bytes(*limits, "limits.batch_bytes_max", "batch_bytes_max", 1, 8 * kMiB, "1B to 8MiB",
                 config_.batch_bytes_max) &&
           bytes(*limits, "limits.inflight_bytes_max", "inflight_bytes_max", 16 * kMiB, 64 * kGiB, "16MiB to 64GiB",
                 config_.inflight_bytes_max) &&
           number(*limits, "limits.connections_max", "connections_max", 1, 1'000'000, config_.connections_max);
  }

  bool read_logging(const toml::table& root) {
    const toml::table* logging;
    return section(root, "logging", {"level", "format"}, logging) &&
           choice(*logging, "logging.level", "level", {"debug", "info", "warn", "error"}, config_.log_level) &&
           choice(*logging, "logging.format", "format", {"text", "json"}, config_.log_format);
  }

  bool check_whole(const toml::table& root) {
    if (config_.record_bytes_max <= config_.batch_bytes_max) return true;
    const toml::table& limits = *root.get("limits")->as_table();  // the defaults agree
    const toml::node* record = limits.get("record_bytes_max");
    return fail(record != nullptr ? *record : *limits.get("batch_bytes_max"), "limits.record_bytes_max",
                "is above limits.batch_bytes_max: no batch could hold such a record");
  }

  std::string path_;
  Config& config_;
  std::string wrong_;
};

// A key of the file, and when another value of it is taken.
enum class When { running, restart };
struct Key {
  const char* name;
  When when;
  bool (*same)(const Config&, const Config&);
  void (*take)(Config& to, const Config& from);
};

template <auto kField>
constexpr Key key(const char* name, When when) {
  return {name, when, [](const Config& a, const Config& b) { return a.*kField == b.*kField; },
          [](Config& to, const Config& from) { to.*kField = from.*kField; }};
}

// Those that may have several values in this release.
constexpr Key kKeys[] = {
    key<&Config::node_id>("node.id", When::restart),
    key<&Config::data_dir>("node.data_dir", When::restart),
    key<&Config::zone>("node.zone", When::restart),
    key<&Config::cluster_name>("cluster.name", When::restart),
    key<&Config::members>("cluster.members", When::restart),
    key<&Config::listen_stream>("listen.stream", When::restart),
    key<&Config::listen_control>("listen.control", When::restart),
    key<&Config::listen_http>("listen.http", When::restart),
    key<&Config::insecure>("listen.insecure", When::restart),
    key<&Config::segment_bytes>("storage.segment_bytes", When::restart),
    key<&Config::reserve_bytes>("storage.reserve_bytes", When::restart),
    key<&Config::sync>("storage.sync", When::restart),
    key<&Config::record_bytes_max>("limits.record_bytes_max", When::running),
    key<&Config::batch_bytes_max>("limits.batch_bytes_max", When::running),
    key<&Config::inflight_bytes_max>("limits.inflight_bytes_max", When::running),
    key<&Config::connections_max>("limits.connections_max", When::running),
    key<&Config::log_level>("logging.level", When::running),
    key<&Config::log_format>("logging.format", When::restart),
};

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& path) {
  try {
    const toml::table root = toml::parse(text, path);
    Config config;
    config.path = path;
    Parser parser(path, config);
    if (!parser.read(root)) return error(Code::invalid, parser.wrong());
    return config;
  } catch (const toml::parse_error& wrong) {
    return error(Code::invalid, path + ":" + std::to_string(wrong.source().begin.line) + ": " +
                                    std::string(wrong.description()));
  }
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error(Code::not_found, path + ": cannot be read");
  try {
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return parse_config(text, path);
  } catch (const std::ios_base::failure& failed) {  // a directory opens, but does not read
    return error(Code::invalid, path + ": cannot be read: " + failed.code().message());
  }
}

Result<Config> dev_config(const std::string& data_dir, int port_base) {
  if (port_base < 1 || port_base > 65'533) {
    return error(Code::invalid, "--port-base: is " + std::to_string(port_base) + "; it must be from 1 to 65533");
  }
  if (data_dir.empty()) return error(Code::invalid, "--data-dir: is empty; it must be the path of a directory");
  const auto address = [&](int add) { return "127.0.0.1:" + std::to_string(port_base + add); };
  Config config;
  config.data_dir = data_dir;
  config.cluster_name = "dev";
  config.listen_stream = address(0);
  config.listen_control = address(1);
  config.listen_http = address(2);
  config.members = {{.id = 1, .stream = address(0), .control = address(1), .http = address(2)}};
  config.segment_bytes = 4 * kMiB;
  config.first_segment_bytes = 256 * kKiB;
  config.reserve_bytes = kMiB;
  return config;
}

void take_over(Config& running, const Config& wanted, std::vector<std::string>& ignored) {
  for (const Key& key : kKeys) {
    if (key.same(running, wanted)) continue;
    if (key.when == When::running) {
      key.take(running, wanted);
    } else {
      ignored.emplace_back(key.name);
    }
  }
}

std::string_view default_config() {
  return R"([node]
id = 1                              # 1..65535, unique in the cluster; required
data_dir = "/var/lib/walraft"       # required
zone = ""                           # optional label for placement: up to 64 of A-Z a-z 0-9 . _ -

[cluster]
name = "walraft"                    # peers of another cluster are refused; required
members = [                         # this release runs one node
  { id = 1, host = "127.0.0.1" },   # or stream = "host:port", control = "host:port", http = "host:port"
]

[listen]                            # "[::]:7400" listens on both families
stream = "127.0.0.1:7400"
control = "127.0.0.1:7401"          # not served by this release
http = "127.0.0.1:7402"             # not served by this release
http_hosts = []
insecure = false                    # without TLS, a non-loopback address is refused unless this is true

# [tls] is not supported by this release

[auth]
mode = "none"                       # none (token is not supported by this release)

[storage]
segment_bytes = "64MiB"             # 64KiB..1GiB, a power of two; logs start with small segments that grow up to it
reserve_bytes = "auto"              # space kept back so that a full disk can be mended: min(256MiB, max(1MiB, 2 % of the disk))
sync = "auto"                       # auto | direct | buffered

[raft]
election_timeout = "auto"           # only auto in this release

[limits]
record_bytes_max = "1MiB"           # up to 8MiB
batch_bytes_max = "4MiB"            # up to 8MiB; the sum of its records
inflight_bytes_max = "64MiB"        # appended but not committed, over all logs; 16MiB or more
connections_max = 4096

[logging]
level = "info"                      # debug | info | warn | error
format = "text"                     # text | json
)";
}

}  // namespace walraft::wald
