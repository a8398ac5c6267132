#pragma once

// Administration as it travels: the payloads of REQUEST and RESPONSE frames (administration.capnp), as plain structs.
// Decoders return `invalid`, naming what is wrong, and check every count before they take memory for it.
// All functions: any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::rpc {

// What a log is made with. 0 or false: the default.
struct LogConfig {
  std::uint32_t replicas = 0;
  std::uint64_t segment_bytes = 0;
  std::uint32_t record_bytes_max = 0;
  std::uint64_t retention_bytes = 0;  // 0: for ever
  std::uint64_t retention_ms = 0;     // 0: for ever
  bool require_epoch = false;
  bool operator==(const LogConfig&) const = default;
};

struct LogMember {
  NodeId id{};
  std::string role{};  // "leader", "none"
  Offset durable{};
  std::uint64_t lag = 0;  // records that the leader has and this one has not on its disk
  std::string health{};  // "ok", "suspect" (it lost acknowledged records), "damaged", "no_space" (it has no files yet)
};

struct LogStatus {
  std::string name{};
  Uuid uuid{};
  LogId id{};
  std::optional<NodeId> leader{};
  Offset commit{};
  Offset durable{};
  Offset tail{};
  Offset trim{};
  Term term{};
  Epoch epoch{};
  LogConfig config{};  // in force: defaults filled in
  std::vector<LogMember> members{};
};

struct NodeStatus {
  NodeId id{};
  std::string zone{};
  std::string stream{}, control{}, http{};  // addresses
  std::string state{};  // "up", "draining"
  std::string version{};
  std::string health{};  // "ok", "no_space", "slow_disk"
  std::uint64_t free_bytes = 0, total_bytes = 0;  // of the disk; 0: not known yet
  std::optional<std::uint64_t> hours_until_full{};  // nothing: not to be foreseen
  std::uint64_t sync_us_mean = 0, sync_us_last = 0, sync_us_max = 0;  // of synced writes, since the start
};

struct ClusterStatus {
  std::string name{};
  Uuid uuid{};
  std::vector<NodeStatus> nodes{};
};

struct StatusRequest {};
struct ListLogs {
  std::string prefix{};
  std::string after{};  // names above this one only
  std::uint32_t limit = 0;  // 0: as many as the server gives at once
};
struct CreateLog {
  std::string name{};
  LogConfig config{};
};
struct DescribeLog {
  std::string name{};
};
struct DeleteLog {
  std::string name{};
  Uuid uuid{};  // only this one; none: whichever has the name
};
struct Request {
  std::uint64_t id = 0;
  std::uint32_t timeout_ms = 0;  // 0: until the connection ends
  std::variant<StatusRequest, ListLogs, CreateLog, DescribeLog, DeleteLog> what{};
};

struct LogPage {
  std::vector<LogStatus> logs{};
  bool more = false;
};
struct CreatedLog {
  LogStatus log{};
  bool is_new = false;  // false: it was there, with the same configuration
};
struct DeletedLog {};
struct Response {
  std::uint64_t id = 0;
  std::variant<ClusterStatus, LogPage, CreatedLog, LogStatus, DeletedLog> what{};
};

inline constexpr std::uint32_t kLogPageMax = 128;  // logs in one answer; with all their members they fit its frame
inline constexpr std::uint32_t kMembersMax = 16;  // of a log
inline constexpr std::uint32_t kNodesMax = 64;  // of a cluster

std::vector<std::byte> encode(const Request& message);
std::vector<std::byte> encode(const Response& message);
Result<Request> decode_request(ByteView payload);
Result<Response> decode_response(ByteView payload);

}  // namespace walraft::rpc
