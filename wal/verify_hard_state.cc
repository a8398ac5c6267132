// The hard-state file for wal/verify.h: each copy of each slot, with its place.

#include <algorithm>
#include <array>
#include <map>

#include "wal/hard_state_format.h"
#include "wal/verify.h"

namespace walraft::wal {
namespace {

using namespace hard_state;

constexpr std::string_view kFile = "hard_state";

// As much as the medium gives; what it does not give is zero, which is no valid copy.
std::vector<std::byte> read_all(File& file) {
  std::vector<std::byte> bytes(kFileBytes);
  for (std::size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const MutableBytes block = MutableBytes(bytes).subspan(at, kBlockBytes);
    const auto got = file.read(at, block);
    std::fill(block.begin() + static_cast<std::ptrdiff_t>(got.value_or(0)), block.end(), std::byte{0});
  }
  return bytes;
}

class HardStateVerifier {
 public:
  HardStateVerifier(File& file, const Uuid& disk_uuid, std::vector<VerifyFinding>& findings)
      : bytes_(read_all(file)), disk_uuid_(disk_uuid), findings_(findings) {}

  void run() {
    for (const int copy : {0, 1}) verify_header(copy);
    for (std::size_t number = 0; number < HardStateFile::kLogsMax; ++number) {
      verify_slot(static_cast<std::uint16_t>(number));
    }
  }

 private:
  void add(bool is_damage, std::uint64_t position, std::uint64_t bytes, std::string_view letter, bool acknowledged,
           std::string what) {
    VerifyFinding finding;
    finding.is_damage = is_damage;
    finding.file = kFile;
    finding.position = position;
    finding.bytes = bytes;
    finding.letter = letter;
    finding.acknowledged = acknowledged;
    finding.what = std::move(what);
    findings_.push_back(std::move(finding));
  }

  void verify_header(int copy) {
    const auto uuid = decode_header(ByteView(bytes_).subspan(header_position(copy), kBlockBytes));
    const std::string name = "copy " + std::to_string(copy) + " of the header";
    if (!uuid) {
      add(true, header_position(copy), kBlockBytes, "", false, name + ": " + uuid.error().message);
    } else if (!*uuid) {
      add(true, header_position(copy), kBlockBytes, "", false, name + " is damaged");
    } else if (**uuid != disk_uuid_) {
      add(true, header_position(copy), kBlockBytes, "", false, name + " is that of disk " + to_string(**uuid));
    }
  }

  void verify_slot(std::uint16_t number) {
    std::array<PairReading, 2> pairs;
    const std::string slot = "slot " + std::to_string(number);
    for (const int pair : {0, 1}) {
      std::array<std::optional<Slot>, 2> twins;
      for (const int twin : {0, 1}) {
        auto decoded = decode_slot(ByteView(bytes_).subspan(place(pair, twin, number), kSlotBytes), number, pair, disk_uuid_);
        if (decoded) {
          twins[twin] = *decoded;
        } else {
          add(true, place(pair, twin, number), kSlotBytes, "", false, decoded.error().message);
        }
      }
      pairs[pair] = judge_pair(twins[0], twins[1]);
      report_pair(slot, pair, number, twins, pairs[pair]);
    }
    report_slot(slot, number, judge_slot(pairs[0], pairs[1]));
  }

  static std::uint64_t place(int pair, int twin, std::uint16_t number) {
    return region_position(pair, twin) + number * kSlotBytes;
  }

  void report_pair(const std::string& slot, int pair, std::uint16_t number, const std::array<std::optional<Slot>, 2>& twins,
                   const PairReading& reading) {
    if (reading.kind == Pair::same) return;
    const PairCase& rule = kPairCases[static_cast<std::size_t>(reading.kind)];
    for (const int twin : {0, 1}) {
      if (reading.kind == Pair::differ && twins[twin] == reading.slot) continue;
      if (reading.kind == Pair::one && twins[twin]) continue;
      // Each twin lies in one sector, so a torn write leaves both valid: only @B is a crash's.
      add(reading.kind != Pair::differ, place(pair, twin, number), kSlotBytes, rule.letter, false,
          slot + ", pair " + std::to_string(pair) + ", twin " + std::to_string(twin) + ": " + std::string(rule.twins) +
              "; " + std::string(rule.decision));
    }
  }

  void report_slot(const std::string& slot, std::uint16_t number, const SlotReading& reading) {
    if (reading.verdict == hard_state::Verdict::lost) {
      add(true, place(0, 0, number), kSlotBytes, reading.letter, true,
          slot + ": the last term and vote of log " + to_string(reading.slot.log) + " may be the unreadable ones: SUSPECT");
    } else if (reading.verdict == hard_state::Verdict::nameless) {
      add(true, place(0, 0, number), kSlotBytes, reading.letter, true,
          slot + ": nobody can tell which log it belongs to");
    }
    if (!reading.slot.used()) return;
    const auto [first, is_first] = owners_.emplace(reading.slot.log, number);
    if (!is_first) {
      add(true, place(0, 0, number), kSlotBytes, "@K", true,
          slot + ": log " + to_string(reading.slot.log) + " has slot " + std::to_string(first->second) + " too: SUSPECT");
    }
  }

  const std::vector<std::byte> bytes_;
  const Uuid& disk_uuid_;
  std::vector<VerifyFinding>& findings_;
  std::map<Uuid, std::uint16_t> owners_;
};

}  // namespace

void verify_hard_state(File& file, const Uuid& disk_uuid, std::vector<VerifyFinding>& findings) {
  HardStateVerifier(file, disk_uuid, findings).run();
}

}  // namespace walraft::wal
