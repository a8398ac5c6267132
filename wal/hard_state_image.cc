#include "wal/hard_state_image.h"

#include <algorithm>
#include <map>

#include "wal/base/check.h"

namespace walraft::wal::hard_state {
namespace {

// Reads `into` as far as the medium gives it; what it does not give stays zero, which decodes as
// damage.
void read_what_can_be_read(File& file, std::uint64_t position, MutableBytes into) {
  if (const auto n = file.read(position, into); n && *n == into.size()) return;
  for (std::size_t at = 0; at < into.size(); at += kBlockBytes) {
    const MutableBytes block = into.subspan(at, kBlockBytes);
    const auto n = file.read(position + at, block);
    const std::size_t good = n ? *n : 0;
    std::fill(block.begin() + good, block.end(), std::byte{0});
  }
}

std::string slot_place(std::uint16_t slot) { return "hard_state slot " + std::to_string(slot); }

Result<void> read_headers(File& file, const Uuid& disk_uuid, Image& image) {
  const AlignedBytes block = aligned_bytes(kBlockBytes);
  std::optional<Uuid> foreign;
  for (const int copy : {0, 1}) {
    const MutableBytes bytes(block.get(), kBlockBytes);
    read_what_can_be_read(file, header_position(copy), bytes);
    auto header = decode_header(bytes);
    if (!header) return std::unexpected(std::move(header.error()).at("hard_state"));
    if (*header && **header != disk_uuid) foreign = **header;
    image.header_damaged[copy] = !*header || **header != disk_uuid;
  }
  if (image.header_damaged[0] && image.header_damaged[1]) {
    if (foreign) {
      return error(Code::denied, "hard_state belongs to disk " + to_string(*foreign) + ", not to this one (" +
                                     to_string(disk_uuid) + "); was it copied from another node?");
    }
    return error(Code::corrupt,
                 "hard_state: both copies of its header are damaged, so the votes of this node are not known. "
                 "Let the node join as a new one, with an empty data directory");
  }
  for (const int copy : {0, 1}) {
    if (image.header_damaged[copy]) {
      image.contents.damage.push_back("hard_state header copy " + std::to_string(copy) +
                                      ": damaged; the other copy is used");
    }
  }
  return {};
}

void report(Image& image, std::uint16_t number, const SlotReading& reading, const PairReading& pair_0,
            const PairReading& pair_1) {
  auto& damage = image.contents.damage;
  const std::array pairs{&pair_0, &pair_1};
  for (const int pair : {0, 1}) {
    const PairCase& kind = kPairCases[static_cast<std::size_t>(pairs[pair]->kind)];
    if (pairs[pair]->kind == Pair::same) continue;
    damage.push_back(slot_place(number) + " pair " + std::to_string(pair) + " " + std::string(kind.letter) + ": " +
                     std::string(kind.twins) + "; " + std::string(kind.decision));
  }
  if (reading.verdict == Verdict::lost) {
    damage.push_back(slot_place(number) + " " + std::string(reading.letter) + ": log " + to_string(reading.slot.log) +
                     " is SUSPECT: its last term and vote may be the unreadable ones");
  } else if (reading.verdict == Verdict::nameless) {
    damage.push_back(slot_place(number) + " " + std::string(reading.letter) +
                     ": nobody can tell which log it belongs to; it is not used again");
  }
}

// Two slots of one log: the higher term rules, but which one is the last nobody knows (@K).
void find_duplicates(Image& image) {
  std::map<Uuid, std::uint16_t> first;
  for (std::uint16_t number = 0; number < HardStateFile::kLogsMax; ++number) {
    SlotReading& reading = image.slots[number];
    if (reading.verdict != Verdict::log && reading.verdict != Verdict::lost) continue;
    const auto [at, is_first] = first.emplace(reading.slot.log, number);
    if (is_first) continue;
    std::uint16_t winner = at->second;
    std::uint16_t loser = number;
    if (reading.slot.state.term > image.slots[winner].slot.state.term) std::swap(winner, loser);
    image.contents.damage.push_back(slot_place(loser) + " @K: log " + to_string(reading.slot.log) + " has " +
                                    slot_place(winner) + " too; SUSPECT, with the higher term of the two");
    image.slots[winner].letter = "@K";
    image.slots[winner].verdict = Verdict::lost;
    image.slots[loser].letter = "@K";
    image.slots[loser].verdict = Verdict::nameless;
    auto& others = image.duplicates[winner];
    others.push_back(loser);
    others.insert(others.end(), image.duplicates[loser].begin(), image.duplicates[loser].end());
    image.duplicates[loser].clear();
    at->second = winner;
  }
}

}  // namespace

AlignedBytes aligned_bytes(std::size_t bytes) {
  CHECK(bytes % kBlockBytes == 0, bytes);
  AlignedBytes memory(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes)));
  CHECK(memory != nullptr, bytes);
  std::memset(memory.get(), 0, bytes);
  return memory;
}

Result<Image> read_image(File& file, const Uuid& disk_uuid) {
  Image image;
  image.slots.resize(HardStateFile::kLogsMax);
  image.duplicates.resize(HardStateFile::kLogsMax);
  auto size = file.size();
  if (!size) return std::unexpected(std::move(size.error()).at("hard_state"));
  if (auto headers = read_headers(file, disk_uuid, image); !headers) return std::unexpected(headers.error());
  if (*size < kFileBytes) {
    image.short_file = true;
    image.contents.damage.push_back("hard_state is " + std::to_string(*size) + " bytes long, not " +
                                    std::to_string(kFileBytes) + "; what is missing counts as damaged");
  }

  for (const int pair : {0, 1}) {
    for (const int twin : {0, 1}) {
      image.regions[pair][twin] = aligned_bytes(kRegionBytes);
      read_what_can_be_read(file, region_position(pair, twin), {image.regions[pair][twin].get(), kRegionBytes});
    }
  }

  std::vector<bool> repaired(HardStateFile::kLogsMax);
  for (std::uint16_t number = 0; number < HardStateFile::kLogsMax; ++number) {
    std::array<PairReading, 2> readings;
    for (const int pair : {0, 1}) {
      std::array<std::optional<Slot>, 2> twins;
      for (const int twin : {0, 1}) {
        const ByteView bytes(image.regions[pair][twin].get() + number * kSlotBytes, kSlotBytes);
        if (twin == 1 &&
            std::memcmp(bytes.data(), image.regions[pair][0].get() + number * kSlotBytes, kSlotBytes) == 0) {
          twins[1] = twins[0];
          continue;
        }
        auto slot = decode_slot(bytes, number, pair, disk_uuid);
        if (!slot) return std::unexpected(std::move(slot.error()).at("hard_state"));
        twins[twin] = *slot;
      }
      readings[pair] = judge_pair(twins[0], twins[1]);
      if (!readings[pair].slot) continue;
      for (const int twin : {0, 1}) {
        if (twins[twin] == readings[pair].slot) continue;
        std::byte* at = image.regions[pair][twin].get() + number * kSlotBytes;
        encode_slot(*readings[pair].slot, number, disk_uuid, {at, kSlotBytes});
        image.damaged[pair][twin].set(number / kSlotsPerBlock);
        repaired[number] = true;
      }
    }
    image.slots[number] = judge_slot(readings[0], readings[1]);
    report(image, number, image.slots[number], readings[0], readings[1]);
  }
  find_duplicates(image);

  for (std::uint16_t number = 0; number < HardStateFile::kLogsMax; ++number) {
    const SlotReading& reading = image.slots[number];
    if (reading.verdict == Verdict::log || reading.verdict == Verdict::lost) {
      image.contents.logs.push_back({.log = reading.slot.log,
                                     .state = reading.slot.state,
                                     .lost = reading.verdict == Verdict::lost,
                                     .repaired = repaired[number]});
    } else if (reading.verdict == Verdict::nameless && reading.letter != "@K") {
      ++image.contents.nameless;
    }
  }
  return image;
}

Result<void> repair_image(File& file, const Uuid& disk_uuid, const Image& image) {
  if (image.short_file) {
    if (auto done = file.allocate(kFileBytes); !done) return done;
    if (auto done = file.sync(); !done) return done;
  }
  const AlignedBytes header = aligned_bytes(kBlockBytes);
  encode_header(disk_uuid, {header.get(), kBlockBytes});
  for (const int half : {0, 1}) {
    bool wrote = image.header_damaged[half];
    if (wrote) {
      if (auto done = file.write(header_position(half), ByteView(header.get(), kBlockBytes)); !done) return done;
    }
    for (const int pair : {0, 1}) {
      for (std::size_t block = 0; block < kBlocksPerRegion; ++block) {
        if (!image.damaged[pair][half].test(block)) continue;
        const ByteView bytes(image.regions[pair][half].get() + block * kBlockBytes, kBlockBytes);
        if (auto done = file.write(region_position(pair, half) + block * kBlockBytes, bytes); !done) return done;
        wrote = true;
      }
    }
    if (!wrote) continue;
    if (auto done = file.sync(); !done) return done;
  }
  return {};
}

Result<void> write_empty(File& file, const Uuid& disk_uuid) {
  if (auto done = file.allocate(kFileBytes); !done) return done;
  const AlignedBytes half = aligned_bytes(kHalfBytes);
  encode_header(disk_uuid, {half.get(), kBlockBytes});
  for (const int pair : {0, 1}) {
    for (std::uint16_t number = 0; number < HardStateFile::kLogsMax; ++number) {
      std::byte* at = half.get() + region_position(pair, 0) + number * kSlotBytes;
      Slot slot;
      slot.seq = pair == 1 ? 1 : 2;
      encode_slot(slot, number, disk_uuid, {at, kSlotBytes});
    }
  }
  for (const int copy : {0, 1}) {
    if (auto done = file.write(header_position(copy), ByteView(half.get(), kHalfBytes)); !done) return done;
  }
  return file.sync();
}

}  // namespace walraft::wal::hard_state
