#include "wal/dump.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "wal/dump_segment.h"
#include "wal/hard_state_format.h"
#include "wal/identity.h"
#include "wal/verify.h"

namespace walraft::wal {
namespace {

using namespace hard_state;

std::vector<std::byte> read_at(File& file, std::uint64_t position, std::size_t bytes) {
  std::vector<std::byte> block(bytes);
  block.resize(file.read(position, block).value_or(0));
  return block;
}

std::uint64_t dump_identity(File& file, const LineSink& out) {
  std::uint64_t damages = 0;
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kBlockBytes}}) {
    const auto copy = read_at(file, at, kBlockBytes);
    const auto identity = decode_identity(copy);
    out("identity, copy at byte " + std::to_string(at));
    if (!identity || !*identity) {
      ++damages;
      out("  DAMAGED" + (identity ? std::string() : ": " + identity.error().message));
      continue;
    }
    const Identity& found = **identity;
    out("  cluster " + escape_bytes(bytes_of(found.cluster_name)) + " (" + to_string(found.cluster) + "), node " +
        std::to_string(found.node.value) + ", disk " + to_string(found.disk) + ", created " + format_time(found.created_us));
  }
  return damages;
}

std::string slot_text(const Slot& slot) {
  if (!slot.used()) return "free, seq " + std::to_string(slot.seq);
  const HardState& state = slot.state;
  return "log " + to_string(slot.log) + ", seq " + std::to_string(slot.seq) + ", term " + std::to_string(state.term.value) +
         ", voted for " + (state.voted_for.value == 0 ? "nobody" : std::to_string(state.voted_for.value)) +
         ", durable " + std::to_string(state.durable_bound.value) + ", commit " + std::to_string(state.commit_bound.value) +
         ", trim " + std::to_string(state.trim_index.value) + " (offset " + std::to_string(state.trim_offset.value) + ")" +
         (state.suspect ? ", SUSPECT" : "");
}

// The copies of slots that hold a log; damage as verify finds it.
std::uint64_t dump_hard_state(File& file, const Uuid& disk, const LineSink& out) {
  out("hard state of disk " + to_string(disk));
  for (std::size_t number = 0; number < HardStateFile::kLogsMax; ++number) {
    for (const int pair : {0, 1}) {
      for (const int twin : {0, 1}) {
        const std::uint64_t at = region_position(pair, twin) + number * kSlotBytes;
        const auto bytes = read_at(file, at, kSlotBytes);
        if (bytes.size() < kSlotBytes) continue;
        const auto slot = decode_slot(bytes, static_cast<std::uint16_t>(number), pair, disk);
        if (!slot || !*slot || !(*slot)->used()) continue;
        out("byte " + std::to_string(at) + "  slot " + std::to_string(number) + ", pair " + std::to_string(pair) + ", twin " +
            std::to_string(twin) + ": " + slot_text(**slot));
      }
    }
  }
  std::vector<VerifyFinding> findings;
  verify_hard_state(file, disk, findings);
  std::uint64_t damages = 0;
  for (const VerifyFinding& finding : findings) {
    damages += finding.is_damage ? 1 : 0;
    out((finding.is_damage ? "DAMAGED " : "note ") + describe(finding));
  }
  return damages;
}

}  // namespace

std::string escape_bytes(ByteView bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    const auto c = std::to_integer<unsigned char>(byte);
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\\') {
      text += "\\\\";
    } else if (c >= 0x20 && c < 0x7f) {
      text.push_back(static_cast<char>(c));
    } else {
      char hex[5];
      std::snprintf(hex, sizeof(hex), "\\x%02x", c);
      text += hex;
    }
  }
  return text;
}

Result<std::uint64_t> dump_file(File& file, const DumpOptions& options, const LineSink& out) {
  const auto size = file.size();
  if (!size) return std::unexpected(std::move(size.error()));
  const auto first = read_at(file, 0, kBlockBytes);
  const auto second = read_at(file, kBlockBytes, kBlockBytes);
  const auto is_identity = [](ByteView copy) { return text_of(copy).starts_with("walraft data directory"); };
  if (*size <= kIdentityFileBytes && (is_identity(first) || is_identity(second))) return dump_identity(file, out);
  for (const int copy : {0, 1}) {
    const auto block = read_at(file, header_position(copy), kBlockBytes);
    if (block.size() < kBlockBytes) continue;
    const auto disk = decode_header(block);
    if (!disk) return std::unexpected(disk.error());
    if (*disk) return dump_hard_state(file, **disk, out);
  }
  return dump_segment(file, *size, options, out);
}

}  // namespace walraft::wal
