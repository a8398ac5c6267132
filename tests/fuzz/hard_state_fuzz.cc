// Arbitrary bytes as hard-state slots. Bit 0 of the first byte gives them the CRC that they need to be looked at. Then
// come pieces of {u8 place, 128 bytes}: the place's bits are pair, twin, slot (0..7).
// No damage may crash it, and an older state must never be taken for the last one. Whole files, which take a thousand
// times as long: hard_state_file_fuzz.cc. Corpus: tests/data/fuzz/hard_state.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/hard_state_format.h"

namespace {

using namespace walraft;
using namespace walraft::wal;
using namespace walraft::wal::hard_state;

const Uuid kDisk{{0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1}};

// What any reading of four copies must keep to, said again without the tables.
void check_slot(const std::array<std::array<std::optional<Slot>, 2>, 2>& copies) {
  const SlotReading reading =
      judge_slot(judge_pair(copies[0][0], copies[0][1]), judge_pair(copies[1][0], copies[1][1]));
  bool all_pairs_have_one = true;
  std::uint64_t highest = 0;
  for (const auto& pair : copies) {
    bool has_one = false;
    for (const auto& copy : pair) {
      if (!copy) continue;
      has_one = true;
      highest = std::max(highest, copy->seq);
    }
    all_pairs_have_one = all_pairs_have_one && has_one;
  }
  if (reading.verdict == Verdict::log || reading.verdict == Verdict::free) {
    CHECK(all_pairs_have_one && reading.slot.seq == highest, highest, reading.slot.seq);
    CHECK((reading.verdict == Verdict::log) == reading.slot.used());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool fixes_crc = (data[0] & 1) != 0;
  std::array<std::array<std::array<std::optional<Slot>, 2>, 2>, 8> slots;
  for (std::size_t at = 1; at + 1 + kSlotBytes <= size; at += 1 + kSlotBytes) {
    const int pair = data[at] & 1;
    const int twin = data[at] >> 1 & 1;
    const std::uint16_t number = data[at] >> 2 & 7;
    std::array<std::byte, kSlotBytes> bytes;
    std::memcpy(bytes.data(), data + at + 1, kSlotBytes);
    if (fixes_crc) {
      const auto seed = crc32c(std::as_bytes(std::span(kDisk.bytes)));
      store_le(bytes.data() + kSlotBytes - 4, crc32c_extend(seed, ByteView(bytes).first(kSlotBytes - 4)));
    }
    const auto slot = decode_slot(bytes, number, pair, kDisk);
    if (!slot) continue;
    slots[number][pair][twin] = *slot;
    if (!*slot) continue;
    std::array<std::byte, kSlotBytes> copy;
    encode_slot(**slot, number, kDisk, copy);
    CHECK(copy == bytes);
  }
  for (const auto& copies : slots) check_slot(copies);

  std::vector<std::byte> block(kBlockBytes);
  std::memcpy(block.data(), data, std::min(size, block.size()));
  (void)decode_header(block);
  return 0;
}
