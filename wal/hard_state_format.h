#pragma once

// The bytes of the hard-state file. wal/FORMAT.md explains; this file and its .cc rule.
//
//   header copy 0 (4 KiB) | pair 0 twin 0 (1 MiB) | pair 1 twin 0 (1 MiB)
//   header copy 1 (4 KiB) | pair 0 twin 1 (1 MiB) | pair 1 twin 1 (1 MiB)
//
// A region holds 8,192 slots of 128 bytes; slot n of a log is slot n of all four regions. Twins lie
// 2 MiB + 4 KiB apart. A slot is never blank: create() writes every one as free, so what does not
// decode is damage, never "not yet".
//
//   slot (128 bytes)                     header (4 KiB)
//     0  u32 magic "WHSS"                  0  u32 magic "WHSF"
//     4  u8  version = 1                   4  u8  version = 1, three zero bytes
//     5  u8  flags: 1 used, 2 suspect      8  u32 slots of a region = 8192
//     6  u16 slot                         12  u32 bytes of a slot = 128
//     8  u64 seq; pair = seq & 1          16  16 bytes disk uuid
//     16 16 bytes log uuid                32  zero
//     32 u64 term                       4092  u32 crc
//     40 u16 voted_for, 6 zero bytes
//     48 u64 durable_bound      crc of a slot   = CRC-32C of the disk uuid, then slot[0,124)
//     56 u64 commit_bound       crc of a header = CRC-32C of header[0,4092)
//     64 u64 trim_index
//     72 u64 trim_offset        Little endian.
//     80 44 zero bytes
//     124 u32 crc

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "wal/base/bytes.h"
#include "wal/hard_state.h"

namespace walraft::wal::hard_state {

inline constexpr std::size_t kSlotBytes = 128;
inline constexpr std::size_t kRegionBytes = HardStateFile::kLogsMax * kSlotBytes;
inline constexpr std::size_t kBlocksPerRegion = kRegionBytes / kBlockBytes;
inline constexpr std::size_t kSlotsPerBlock = kBlockBytes / kSlotBytes;
inline constexpr std::size_t kHalfBytes = kBlockBytes + 2 * kRegionBytes;
inline constexpr std::uint64_t kFileBytes = 2 * kHalfBytes;
static_assert(kRegionBytes == 1u << 20 && kHalfBytes - kBlockBytes >= kRegionBytes);

constexpr std::uint64_t header_position(int copy) { return copy * kHalfBytes; }
constexpr std::uint64_t region_position(int pair, int twin) {
  return twin * kHalfBytes + kBlockBytes + pair * kRegionBytes;
}

struct Slot {
  std::uint64_t seq = 0;  // of the slot, over all logs that it ever held
  Uuid log;               // none: the slot is free
  HardState state;
  bool used() const { return !log.is_none(); }
  bool operator==(const Slot&) const = default;
};

// `into` is kSlotBytes long.
void encode_slot(const Slot& slot, std::uint16_t number, const Uuid& disk_uuid, MutableBytes into);

// nullopt: damage. `invalid`: a good CRC, but written by a newer release.
Result<std::optional<Slot>> decode_slot(ByteView bytes, std::uint16_t number, int pair, const Uuid& disk_uuid);

// `into` is kBlockBytes long.
void encode_header(const Uuid& disk_uuid, MutableBytes into);

// nullopt: damage. `invalid`: a newer format.
Result<std::optional<Uuid>> decode_header(ByteView bytes);

// What is made of the two twins of a pair, and of the two pairs of a slot. Every row is reached by
// a test, by its letter.
enum class Pair : std::uint8_t { same, differ, one, conflict, none };  // @A..@E
enum class Verdict : std::uint8_t { log, free, lost, nameless };

struct PairCase {
  std::string_view letter;
  Pair pair;
  std::string_view twins;
  std::string_view decision;
};
inline constexpr std::array kPairCases{
    PairCase{"@A", Pair::same, "both decode to the same", "take it"},
    PairCase{"@B", Pair::differ, "both decode, different seq", "torn or lost write: take the higher, write it to both"},
    PairCase{"@C", Pair::one, "one decodes", "rot: take it, write it to both"},
    PairCase{"@D", Pair::conflict, "both decode, same seq, different content", "the pair is unreadable"},
    PairCase{"@E", Pair::none, "none decodes", "the pair is unreadable"},
};

struct SlotCase {
  std::string_view letter;
  Verdict verdict;
  std::string_view pairs;
  std::string_view decision;
};
inline constexpr std::array kSlotCases{
    SlotCase{"@F", Verdict::log, "both readable, the higher seq is a log's", "this is its state"},
    SlotCase{"@G", Verdict::free, "both readable, the higher seq is free", "the slot is free"},
    SlotCase{"@H", Verdict::lost, "one readable, a log's", "the log is lost (SUSPECT): the other may be newer"},
    SlotCase{"@I", Verdict::nameless, "one readable, free", "a log that nobody can name may be in the other"},
    SlotCase{"@J", Verdict::nameless, "none readable", "a log that nobody can name may be in it"},
    SlotCase{"@K", Verdict::lost, "as @F or @H, but another slot has the same log",
             "lost (SUSPECT), with the higher term of the two; the other slot is not used again"},
};

struct PairReading {
  Pair kind = Pair::none;
  std::optional<Slot> slot;
};
PairReading judge_pair(const std::optional<Slot>& twin_0, const std::optional<Slot>& twin_1);

struct SlotReading {
  std::string_view letter;
  Verdict verdict = Verdict::nameless;
  Slot slot;          // the higher of the readable ones
  bool half = false;  // one of the pairs is unreadable
};
SlotReading judge_slot(const PairReading& pair_0, const PairReading& pair_1);

}  // namespace walraft::wal::hard_state
