#pragma once

// The hard-state file as it lies on the medium: read and judged, and written again where damaged.
// Used by hard_state.cc only. All functions block.

#include <array>
#include <bitset>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "wal/hard_state_format.h"

namespace walraft::wal::hard_state {

// Zeroed memory for direct reads and writes.
struct AlignedFree {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<std::byte, AlignedFree>;
AlignedBytes aligned_bytes(std::size_t bytes);  // a multiple of kBlockBytes

struct Image {
  // [pair][twin]: what the regions hold, or are made to hold. A slot whose pair is unreadable keeps
  // its bytes in both, so that writing a neighbour never turns two copies that contradict each other
  // into one that is believed.
  std::array<std::array<AlignedBytes, 2>, 2> regions;
  std::vector<SlotReading> slots;                               // kLogsMax of them
  std::vector<std::vector<std::uint16_t>> duplicates;           // by slot: the others of the same log (@K)
  HardStateFile::Contents contents;

  // Blocks [pair][twin][block] that open() writes again, and headers.
  std::array<std::array<std::bitset<kBlocksPerRegion>, 2>, 2> damaged;
  std::array<bool, 2> header_damaged{};
  bool short_file = false;
};

// Reads and judges; changes nothing. Errors as HardStateFile::open().
Result<Image> read_image(File& file, const Uuid& disk_uuid);

// Writes what read_image() found damaged, durably, one half of the file after the other, so that an
// intact twin is never written at the same time as the one that is restored from it.
Result<void> repair_image(File& file, const Uuid& disk_uuid, const Image& image);

// Writes and syncs a file of free slots into a new, empty file.
Result<void> write_empty(File& file, const Uuid& disk_uuid);

}  // namespace walraft::wal::hard_state
