// A hard-state file with damage, in the pieces of hard_state_fuzz.cc: it is read, repaired, read again, and settled.
// No damage may crash it, repairing must not change what is read, and writing every log must settle all of it.
// Corpus: tests/data/fuzz/hard_state_file.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>

#include "tests/unit/wal_state/crash_filesystem.h"
#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/hard_state_format.h"

namespace {

using namespace walraft;
using namespace walraft::wal;
using namespace walraft::wal::hard_state;

const Uuid kDisk{{0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1}};

void check_file(const std::map<std::uint64_t, std::array<std::byte, kSlotBytes>>& patches) {
  static crash::Medium medium;
  static crash::MemoryDirectory directory(medium);
  static const std::vector<std::byte> empty = [] {
    CHECK(HardStateFile::create(directory, "hard_state", kDisk).has_value());
    return medium.root->names.at("hard_state")->now;
  }();
  auto& bytes = medium.root->names.at("hard_state")->now;
  bytes = empty;
  for (const auto& [position, patch] : patches) std::copy(patch.begin(), patch.end(), bytes.begin() + position);
  const auto seen = HardStateFile::read(directory, "hard_state", kDisk);
  crash::MemoryDisk disk;
  const auto file = HardStateFile::open(directory, "hard_state", kDisk, Access::write, disk);
  CHECK(seen.has_value() == file.has_value());
  if (!seen) return;
  const auto again = HardStateFile::read(directory, "hard_state", kDisk);
  CHECK(again.has_value() && again->logs.size() == seen->logs.size() && again->nameless == seen->nameless);
  for (std::size_t i = 0; i < seen->logs.size(); ++i) {
    CHECK(again->logs[i].log == seen->logs[i].log && again->logs[i].state == seen->logs[i].state);
    CHECK(again->logs[i].lost == seen->logs[i].lost && !again->logs[i].repaired);
    // What is lost is settled by writing it.
    HardState settled = seen->logs[i].state;
    settled.suspect = true;
    CHECK((*file)->write(seen->logs[i].log, settled, nullptr).has_value());
  }
  (*file)->flush();
  while (!(*file)->idle()) disk.poll();
  const auto settled = HardStateFile::read(directory, "hard_state", kDisk);
  CHECK(settled.has_value() && settled->logs.size() == seen->logs.size());
  for (const auto& log : settled->logs) CHECK(!log.lost && log.state.suspect);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool fixes_crc = (data[0] & 1) != 0;
  std::map<std::uint64_t, std::array<std::byte, kSlotBytes>> patches;
  for (std::size_t at = 1; at + 1 + kSlotBytes <= size; at += 1 + kSlotBytes) {
    const std::uint16_t number = data[at] >> 2 & 7;
    auto& bytes = patches[region_position(data[at] & 1, data[at] >> 1 & 1) + number * kSlotBytes];
    std::memcpy(bytes.data(), data + at + 1, kSlotBytes);
    if (!fixes_crc) continue;
    const auto seed = crc32c(std::as_bytes(std::span(kDisk.bytes)));
    store_le(bytes.data() + kSlotBytes - 4, crc32c_extend(seed, ByteView(bytes).first(kSlotBytes - 4)));
  }
  check_file(patches);
  return 0;
}
