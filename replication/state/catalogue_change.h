#pragma once

// What a batch of kind `catalogue` in the log `_system` says: a log was made, or deleted.
//
// Its body, little endian:
//   u16 version = 1 | u16 operation | u16 name_bytes | u16 option_count | u64 log_id | uuid | name |
//   option_count times { u16 key, u64 value }
// Operation 1 makes a log, 2 deletes it (without options). Option keys with the high bit must be understood, others may
// be skipped, so a later release can add options of either kind.
// All functions: any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::replication {

// What a log was made with. 0: what the node's configuration says, now and later.
struct LogConfig {
  std::uint32_t replicas = 1;          // option 3
  std::uint64_t segment_bytes = 0;     // option 1
  std::uint32_t record_bytes_max = 0;  // option 2
  bool operator==(const LogConfig&) const = default;
};

struct CatalogueEntry {
  std::string name;
  LogId id{};
  Uuid uuid{};
  LogConfig config{};
};

struct CatalogueChange {
  enum class Operation : std::uint16_t { create = 1, remove = 2 };
  Operation operation = Operation::create;
  CatalogueEntry entry{};  // of a removed log: name, id and uuid only
};

std::vector<std::byte> encode(const CatalogueChange& change);
// `corrupt` if it is no such body; `invalid` if a newer release wrote what must be understood.
Result<CatalogueChange> decode_catalogue_change(ByteView body);

}  // namespace walraft::replication
