#include "wal/hard_state_format.h"

#include <algorithm>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"

namespace walraft::wal::hard_state {
namespace {

constexpr std::uint32_t kSlotMagic = 0x53534857;    // "WHSS" on disk
constexpr std::uint32_t kHeaderMagic = 0x46534857;  // "WHSF" on disk
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kUsed = 1;
constexpr std::uint8_t kSuspect = 2;
constexpr std::uint64_t kSeqMax = std::uint64_t{1} << 62;  // no writer gets there; seq + 3 must not wrap
constexpr std::size_t kSlotCrc = kSlotBytes - 4;
constexpr std::size_t kHeaderCrc = kBlockBytes - 4;

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

void store_uuid(std::byte* to, const Uuid& uuid) { std::memcpy(to, uuid.bytes.data(), uuid.bytes.size()); }

Uuid load_uuid(const std::byte* from) {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), from, uuid.bytes.size());
  return uuid;
}

// Seeded with the disk's uuid: a block of another node's file, or of an earlier file that lay here,
// is not taken for ours.
std::uint32_t slot_crc(const Uuid& disk_uuid, ByteView slot) {
  return crc32c_extend(crc32c(std::as_bytes(std::span(disk_uuid.bytes))), slot.first(kSlotCrc));
}

}  // namespace

void encode_slot(const Slot& slot, std::uint16_t number, const Uuid& disk_uuid, MutableBytes into) {
  CHECK(into.size() == kSlotBytes && slot.seq > 0, into.size(), slot.seq);
  CHECK(slot.used() || slot.state == HardState{}, number);
  std::fill(into.begin(), into.end(), std::byte{0});
  std::byte* to = into.data();
  store_le(to, kSlotMagic);
  store_le(to + 4, kVersion);
  store_le(to + 5, static_cast<std::uint8_t>((slot.used() ? kUsed : 0) | (slot.state.suspect ? kSuspect : 0)));
  store_le(to + 6, number);
  store_le(to + 8, slot.seq);
  store_uuid(to + 16, slot.log);
  store_le(to + 32, slot.state.term.value);
  store_le(to + 40, slot.state.voted_for.value);
  store_le(to + 48, slot.state.durable_bound.value);
  store_le(to + 56, slot.state.commit_bound.value);
  store_le(to + 64, slot.state.trim_index.value);
  store_le(to + 72, slot.state.trim_offset.value);
  store_le(to + kSlotCrc, slot_crc(disk_uuid, into));
}

Result<std::optional<Slot>> decode_slot(ByteView bytes, std::uint16_t number, int pair, const Uuid& disk_uuid) {
  CHECK(bytes.size() == kSlotBytes, bytes.size());
  const std::byte* from = bytes.data();
  if (load_le<std::uint32_t>(from) != kSlotMagic) return std::nullopt;
  if (load_le<std::uint32_t>(from + kSlotCrc) != slot_crc(disk_uuid, bytes)) return std::nullopt;
  const auto flags = load_le<std::uint8_t>(from + 5);
  if (load_le<std::uint8_t>(from + 4) > kVersion || (flags & ~(kUsed | kSuspect)) != 0) {
    return error(Code::invalid, "slot " + std::to_string(number) +
                                    " was written by a newer release; this one reads slot version 1 only");
  }
  Slot slot;
  slot.seq = load_le<std::uint64_t>(from + 8);
  slot.log = load_uuid(from + 16);
  slot.state.term = Term(load_le<std::uint64_t>(from + 32));
  slot.state.voted_for = NodeId{load_le<std::uint16_t>(from + 40)};
  slot.state.durable_bound = Index(load_le<std::uint64_t>(from + 48));
  slot.state.commit_bound = Index(load_le<std::uint64_t>(from + 56));
  slot.state.trim_index = Index(load_le<std::uint64_t>(from + 64));
  slot.state.trim_offset = Offset(load_le<std::uint64_t>(from + 72));
  slot.state.suspect = (flags & kSuspect) != 0;
  // The CRC is right, so these tell a block that was written to the wrong place, and a bug.
  const bool in_place = load_le<std::uint16_t>(from + 6) == number && static_cast<int>(slot.seq & 1) == pair;
  const bool sound = load_le<std::uint8_t>(from + 4) == kVersion && slot.seq > 0 && slot.seq <= kSeqMax &&
                     slot.used() == ((flags & kUsed) != 0) && (slot.used() || slot.state == HardState{}) &&
                     all_zero(bytes.subspan(42, 6)) && all_zero(bytes.subspan(80, kSlotCrc - 80));
  if (!in_place || !sound) return std::nullopt;
  return slot;
}

void encode_header(const Uuid& disk_uuid, MutableBytes into) {
  CHECK(into.size() == kBlockBytes, into.size());
  std::fill(into.begin(), into.end(), std::byte{0});
  std::byte* to = into.data();
  store_le(to, kHeaderMagic);
  store_le(to + 4, kVersion);
  store_le(to + 8, static_cast<std::uint32_t>(HardStateFile::kLogsMax));
  store_le(to + 12, static_cast<std::uint32_t>(kSlotBytes));
  store_uuid(to + 16, disk_uuid);
  store_le(to + kHeaderCrc, crc32c(into.first(kHeaderCrc)));
}

Result<std::optional<Uuid>> decode_header(ByteView bytes) {
  CHECK(bytes.size() == kBlockBytes, bytes.size());
  const std::byte* from = bytes.data();
  if (load_le<std::uint32_t>(from) != kHeaderMagic) return std::nullopt;
  if (load_le<std::uint32_t>(from + kHeaderCrc) != crc32c(bytes.first(kHeaderCrc))) return std::nullopt;
  const auto version = load_le<std::uint8_t>(from + 4);
  if (version > kVersion) {
    return error(Code::invalid, "format version " + std::to_string(version) +
                                    " was written by a newer release; this one reads version 1 only");
  }
  if (version != kVersion || load_le<std::uint32_t>(from + 8) != HardStateFile::kLogsMax ||
      load_le<std::uint32_t>(from + 12) != kSlotBytes || !all_zero(bytes.subspan(5, 3)) ||
      !all_zero(bytes.subspan(32, kHeaderCrc - 32))) {
    return std::nullopt;
  }
  return load_uuid(from + 16);
}

PairReading judge_pair(const std::optional<Slot>& twin_0, const std::optional<Slot>& twin_1) {
  if (!twin_0 && !twin_1) return {Pair::none, std::nullopt};
  if (!twin_0 || !twin_1) return {Pair::one, twin_0 ? twin_0 : twin_1};
  if (*twin_0 == *twin_1) return {Pair::same, twin_0};
  if (twin_0->seq == twin_1->seq) return {Pair::conflict, std::nullopt};
  return {Pair::differ, twin_0->seq > twin_1->seq ? twin_0 : twin_1};
}

SlotReading judge_slot(const PairReading& pair_0, const PairReading& pair_1) {
  if (!pair_0.slot && !pair_1.slot) return {"@J", Verdict::nameless, {}, true};
  if (!pair_0.slot || !pair_1.slot) {
    const Slot& slot = pair_0.slot ? *pair_0.slot : *pair_1.slot;
    if (slot.used()) return {"@H", Verdict::lost, slot, true};
    return {"@I", Verdict::nameless, slot, true};
  }
  const Slot& slot = pair_0.slot->seq > pair_1.slot->seq ? *pair_0.slot : *pair_1.slot;  // never equal: pair = seq & 1
  if (slot.used()) return {"@F", Verdict::log, slot, false};
  return {"@G", Verdict::free, slot, false};
}

}  // namespace walraft::wal::hard_state
