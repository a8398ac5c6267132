#pragma once

// The payloads of frames. The frequent ones are fixed structs, little endian, written out below; the handshakes are
// Cap'n Proto (stream.capnp) and appear here as plain structs, so that no other layer includes its headers.
// Decoders return `invalid`, naming what is wrong, and allocate nothing beyond the strings they return.
// All functions: any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "rpc/wire/frame.h"
#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::rpc {

// --- Handshakes (Cap'n Proto) -----------------------------------------------------------------------------------------

inline constexpr std::uint16_t kProtocolVersion = 1;

enum class PeerKind : std::uint8_t { client, node };

struct Hello {
  std::uint16_t version_min = kProtocolVersion;
  std::uint16_t version_max = kProtocolVersion;
  PeerKind kind = PeerKind::client;
  std::string cluster_name{};  // empty: any
  Uuid cluster_uuid{};         // none: not known yet
  NodeId node{};
  std::string software{};
  std::uint64_t features = 0;
  std::optional<std::string> token{};
};

struct Welcome {
  std::uint16_t version = kProtocolVersion;
  std::string cluster_name{};
  Uuid cluster_uuid{};
  NodeId node{};
  std::string software{};
  std::uint64_t features = 0;
  std::uint32_t record_bytes_max = 0;
  std::uint32_t batch_bytes_max = 0;
  std::uint64_t inflight_bytes_max = 0;
};

// Where a read or a subscription starts.
struct From {
  enum class Kind : std::uint8_t { offset, earliest, latest, last, timestamp };
  Kind kind = Kind::earliest;
  std::uint64_t value = 0;  // an offset, a number of records, or microseconds since 1970 UTC (as two's complement)
};

enum class SessionKind : std::uint8_t { appender, reader, subscriber };

struct Open {
  std::string log_name{};
  SessionKind kind = SessionKind::reader;
  bool create = false;
  From from{};                 // subscriber
  std::uint64_t credit = 0;  // subscriber, bytes
  Epoch writer_epoch{};        // appender
  bool stop_on_refusal = false;  // appender: once one is refused, all that follow are
};

struct Opened {
  LogId log_id{};
  Uuid log_uuid{};
  Offset trim{};
  Offset commit{};
  Offset start{};
  std::uint32_t record_bytes_max = 0;
  std::uint32_t batch_bytes_max = 0;
};

std::vector<std::byte> encode(const Hello& message);
std::vector<std::byte> encode(const Welcome& message);
std::vector<std::byte> encode(const Open& message);
std::vector<std::byte> encode(const Opened& message);
Result<Hello> decode_hello(ByteView payload);
Result<Welcome> decode_welcome(ByteView payload);
Result<Open> decode_open(ByteView payload);
Result<Opened> decode_opened(ByteView payload);

// --- Fixed structs ----------------------------------------------------------------------------------------------------

// APPEND: { u64 request, u32 flags, u32 zero, u64 expect_offset } then one unstamped batch.
// Requests are numbered by the client, growing by one, from 1; answers come in that order.
struct Append {
  static constexpr std::size_t kBytes = 24;
  std::uint64_t request = 0;
  std::optional<Offset> expect_offset{};  // flag 1
};

// APPENDED: { u64 request, u64 first, u64 last, u64 term, u32 queue_us, u32 own_sync_us, u32 network_us,
//             u32 follower_sync_us, u32 quorum_us, u16 durable_nodes, u16 flags }
struct Appended {
  static constexpr std::size_t kBytes = 56;
  std::uint64_t request = 0;
  Offset first{};
  Offset last{};  // of the last record, inclusive
  Term term{};
  std::uint32_t queue_us = 0;          // from arrival to the start of the write
  std::uint32_t own_sync_us = 0;       // of the write that made it durable here
  std::uint32_t network_us = 0;        // 0 with one node
  std::uint32_t follower_sync_us = 0;  // 0 with one node
  std::uint32_t quorum_us = 0;         // from arrival to commit
  NodeId durable_on{};                   // the node that answers; a list follows with replication
  bool duplicate = false;              // flag 1
};

// READ: { u64 request, u64 from, u64 until, u64 count, u32 bytes, u8 from_kind, u8[3] zero }
// Bounded: the answer ends at `until`, after `count` records or `bytes` of batches, or at the committed end.
struct Read {
  static constexpr std::size_t kBytes = 40;
  std::uint64_t request = 0;
  From from{};
  Offset until{UINT64_MAX};         // first offset that is not wanted
  std::uint64_t count = UINT64_MAX;  // records
  std::uint32_t bytes = 0;           // of batches; at least one batch is sent
};

// RECORDS: { u64 request, u64 from, u64 next, u64 commit, u32 flags, u32 bytes } then whole stamped batches of `bytes`.
// The batches cover [from, next); the first and the last may reach beyond on either side: the receiver cuts.
struct Records {
  static constexpr std::size_t kBytes = 40;
  std::uint64_t request = 0;  // 0 on subscriptions
  Offset from{};
  Offset next{};
  Offset commit{};      // committed end of the log, as the server knew it
  bool last = false;  // flag 1: the request is answered
  std::uint32_t bytes = 0;
};

struct Credit {  // CREDIT: { u64 bytes }, added to what the server may still send
  static constexpr std::size_t kBytes = 8;
  static constexpr std::int64_t kMax = 1 << 30;  // that is remembered, and that one CREDIT may give
  std::uint64_t bytes = 0;
};

struct Ping {  // PING and PONG: { u64 token }
  static constexpr std::size_t kBytes = 8;
  std::uint64_t token = 0;
};

// ERROR: { u64 request, u64 detail, u8 code, u8 name_bytes, u16 message_bytes, u32 zero } name, message.
// Request 0 on a channel ends its session; channel 0 ends the connection. The name is the code's word in the outcome
// table (wal/base/outcome.h), for codes that the receiver does not know.
struct ErrorMessage {
  static constexpr std::size_t kBytes = 24;
  std::uint64_t request = 0;
  Error error{};
};

std::array<std::byte, Append::kBytes> encode(const Append& message);
std::array<std::byte, Appended::kBytes> encode(const Appended& message);
std::array<std::byte, Read::kBytes> encode(const Read& message);
std::array<std::byte, Records::kBytes> encode(const Records& message);
std::array<std::byte, Credit::kBytes> encode(const Credit& message);
std::array<std::byte, Ping::kBytes> encode(const Ping& message);
std::vector<std::byte> encode(const ErrorMessage& message);  // long messages are cut to fit kErrorBytesMax

// The batch or batches are the payload behind the first kBytes.
Result<Append> decode_append(ByteView payload);
Result<Appended> decode_appended(ByteView payload);
Result<Read> decode_read(ByteView payload);
Result<Records> decode_records(ByteView payload);
Result<Credit> decode_credit(ByteView payload);
Result<Ping> decode_ping(ByteView payload);
Result<ErrorMessage> decode_error(ByteView payload);

// "[A-Za-z0-9][A-Za-z0-9._-]{0,127}": `invalid`, saying so, if it is not. Names starting with "_" are the system's and
// fail too.
Result<void> check_log_name(std::string_view name);

}  // namespace walraft::rpc
