#pragma once

// The bytes of a segment file. wal/FORMAT.md explains them with an example; this file rules.
//
//   0       segment header, copy A   (one block)
//   4096    segment header, copy B   (one block)
//   8192    frames: GROUP, BATCH, BATCH, … GROUP, BATCH, …   each starts at a multiple of 8
//   …       unused
//   footer_position(segment_bytes)    footer, once sealed; ends at segment_bytes
//
// Any thread; nothing here allocates but the footer.

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"

namespace walraft::wal {

inline constexpr std::uint64_t kSegmentMagic = 0x4d474553'4c4157'57;  // "WWALSEGM" on disk
inline constexpr std::uint32_t kSegmentVersion = 1;
inline constexpr std::uint32_t kGroupMagic = 0x50524757;  // "WGRP"
inline constexpr std::uint32_t kFooterMagic = 0x544f4f46;  // "FOOT"

inline constexpr std::uint64_t kSegmentBytesMin = 64u << 10;
inline constexpr std::uint64_t kSegmentBytesMax = 1u << 30;
constexpr bool is_segment_size(std::uint64_t bytes) {
  return bytes >= kSegmentBytesMin && bytes <= kSegmentBytesMax && std::has_single_bit(bytes);
}
inline constexpr std::uint64_t kSegmentHeaderBytes = 192;     // used in each copy; the rest of the block is zero
inline constexpr std::uint64_t kFramesPosition = 2 * kBlockBytes;
inline constexpr std::uint64_t kFrameAlignment = 8;
inline constexpr std::uint64_t kGroupHeaderBytes = 64;
inline constexpr std::uint64_t kIndexStepBytes = 64u << 10;   // a footer entry for each
inline constexpr std::size_t kTermRunsMax = 128;              // of one segment; the next term opens a new one

// Where a log stands between two batches: what the next one gets and what the last one left.
struct LogPoint {
  Index index;
  Offset offset;
  Term term;
  std::int64_t timestamp_us = 0;
  Digest digest;
  bool operator==(const LogPoint&) const = default;
};

struct SegmentHeader {
  Uuid cluster;
  Uuid log;
  LogId log_id;
  std::uint64_t number = 0;       // names the file; only grows
  std::uint64_t incarnation = 0;  // random for each use of the file: frames of an earlier use do not count
  std::uint64_t segment_bytes = 0;
  LogPoint start;                 // the log before this segment's first batch
  std::int64_t created_us = 0;
};

// Opens each write of a log: what the disk was told at once, and how far the log was durable then.
// Node-local: no digest covers it, and no peer sees it.
struct GroupHeader {
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;   // grows within a segment
  Index durable_before;       // every batch below was durable when this write was issued
  Index first_index;          // of the first batch in the group; of the next one to come if it is empty
  std::uint32_t bytes = 0;    // of the frames that follow, padding included
  std::uint32_t batches = 0;
};

struct IndexEntry {
  Index index;
  Offset offset;
  std::int64_t timestamp_us = 0;
  std::uint64_t position = 0;  // of the batch's frame
  bool operator==(const IndexEntry&) const = default;
};

struct TermRun {
  Term term;
  Index first_index;
  bool operator==(const TermRun&) const = default;
};

// What a sealed segment says of itself, so that opening a log need not read it.
struct SegmentFooter {
  std::uint64_t incarnation = 0;
  std::uint64_t end_position = 0;  // behind the last frame that counts
  LogPoint end;                    // the log behind the segment's last batch
  Index commit;                    // the highest commit stamped in it
  std::vector<IndexEntry> entries;
  std::vector<TermRun> runs;
};

constexpr std::uint64_t frame_bytes(std::uint64_t batch_bytes) { return align_up(batch_bytes, kFrameAlignment); }

// Where the footer of a segment of this size begins; frames end below.
std::uint64_t footer_position(std::uint64_t segment_bytes);

// The smallest legal segment that holds one group with `batch_bytes` of one batch.
std::uint64_t segment_bytes_for(std::uint64_t batch_bytes);

std::string segment_name(std::uint64_t number);                      // "0000000000000001.segment"
std::optional<std::uint64_t> segment_number(std::string_view name);  // nothing for other names

// Writes both copies: kFramesPosition bytes.
void encode_segment_header(MutableBytes out, const SegmentHeader& header);
// One copy, from a block. `corrupt` for damage and for a block that was never written, `invalid` for
// a newer version.
Result<SegmentHeader> decode_segment_header(ByteView block);

void encode_group_header(MutableBytes out, const GroupHeader& header);
// Nothing unless all of it is intact; the caller compares incarnation and number.
std::optional<GroupHeader> decode_group_header(ByteView bytes);

// The footer region of a segment: segment_bytes - footer_position(segment_bytes) bytes, allocates.
std::vector<std::byte> encode_footer(const SegmentFooter& footer, std::uint64_t segment_bytes);
Result<SegmentFooter> decode_footer(ByteView region, std::uint64_t segment_bytes);

}  // namespace walraft::wal
