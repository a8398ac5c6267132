#pragma once

// Whose data directory this is: the file `identity`, readable with cat. Two copies of 4 KiB, so that
// rot in one leaves the other. A copy is this text, zeros, and in its last 16 bytes the CRC line:
//
//   walraft data directory, format 1
//   cluster 0b0c…-… orders
//   node 1
//   disk 5e1f…-…
//   created 2026-11-23T17:00:00.000000Z
//   (zeros up to byte 4080)
//   crc32c 89abcdef
//
// A copy is valid if and only if its CRC line holds the CRC-32C of its first 4,080 bytes and these
// are exactly what encode_identity() makes of the values in them. A right CRC line under another
// format number in the first line is a newer release's.
//
// Functions on bytes: any thread. read and write: block.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"

namespace walraft::wal {

struct Identity {
  static constexpr std::uint32_t kFormat = 1;

  Uuid cluster;
  std::string cluster_name;  // 1..128 bytes without control characters
  NodeId node;
  Uuid disk;                     // of this data directory; a wiped one gets another
  std::int64_t created_us = 0;  // since 1970; 0..253402300799999999 (year 9999)
  bool operator==(const Identity&) const = default;
};

inline constexpr std::size_t kIdentityFileBytes = 2 * kBlockBytes;

// `invalid` names the value that cannot be written.
Result<void> check_identity(const Identity& identity);

// One copy. check_identity() passed.
std::vector<std::byte> encode_identity(const Identity& identity);

// nullopt: damaged. `invalid`: written by a newer release.
Result<std::optional<Identity>> decode_identity(ByteView copy);

struct IdentityReading {
  Identity identity;
  std::vector<std::string> damage;  // copies that are damaged; the other one is used
};

// `corrupt` if both copies are damaged or contradict each other; `invalid` from a newer release;
// not_found if there is no such file.
Result<IdentityReading> read_identity(Directory& directory, std::string_view name);

// Writes a damaged copy again, durably.
Result<void> repair_identity(Directory& directory, std::string_view name, const Identity& identity);

// Makes the file durable, but not its name. `exists` if there is one.
Result<void> create_identity(Directory& directory, std::string_view name, const Identity& identity);

// "2026-11-23T17:00:00.000000Z"
std::string format_time(std::int64_t us_since_1970);

}  // namespace walraft::wal
