// wal/FORMAT.md is run: its hexdump is what a real log writes, and decodes to what the text says; its
// recovery table is the one of the code.

#include <gtest/gtest.h>

#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/wal_format/example_segment.h"
#include "wal/batch.h"
#include "wal/hard_state_format.h"
#include "wal/recovery.h"
#include "wal/segment_format.h"
#include "wal/segment_scan.h"

namespace walraft::wal {
namespace {

std::vector<std::string> document_lines() {
  std::ifstream in(std::string(WALRAFT_SOURCE_DIR) + "/wal/FORMAT.md");
  EXPECT_TRUE(in) << "wal/FORMAT.md is missing";
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

using Row = std::array<std::byte, 16>;
using Rows = std::map<std::uint64_t, Row>;

// "00002000  57 47 52 50 … |WGRP…|  comment" in the blocks fenced as hexdump.
Rows document_rows() {
  Rows rows;
  bool inside = false;
  for (const std::string& line : document_lines()) {
    if (line.starts_with("```")) {
      inside = line == "```hexdump";
      continue;
    }
    if (!inside || line == "*") continue;
    std::istringstream words(line);
    std::uint64_t position = 0;
    words >> std::hex >> position;
    Row row;
    for (std::byte& byte : row) {
      unsigned value = 256;
      words >> value;
      EXPECT_LT(value, 256u) << line;
      byte = static_cast<std::byte>(value);
    }
    EXPECT_FALSE(words.fail()) << line;
    EXPECT_EQ(position % row.size(), 0u) << line;
    EXPECT_TRUE(rows.emplace(position, row).second) << "twice: " << line;
  }
  return rows;
}

Rows rows_of(ByteView bytes) {
  Rows rows;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Row)) {
    Row row;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), row.size(), row.begin());
    if (row != Row{}) rows.emplace(at, row);
  }
  return rows;
}

std::string hexdump_line(std::uint64_t position, const Row& row) {
  char text[16];
  std::snprintf(text, sizeof(text), "%08lx ", static_cast<unsigned long>(position));
  std::string line = text;
  std::string ascii;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto value = std::to_integer<unsigned>(row[i]);
    std::snprintf(text, sizeof(text), i == 8 ? "  %02x" : " %02x", value);
    line += text;
    ascii.push_back(value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.');
  }
  return line + "  |" + ascii + "|";
}

// The file that the document shows: what it leaves out is zero.
std::vector<std::byte> document_segment() {
  const Rows rows = document_rows();
  if (rows.empty()) return {};
  std::vector<std::byte> bytes(kSegmentBytesMin);
  for (const auto& [position, row] : rows) {
    if (position + row.size() > bytes.size()) {
      ADD_FAILURE() << "position " << position << " lies behind the segment's end";
      continue;
    }
    std::copy(row.begin(), row.end(), bytes.begin() + static_cast<std::ptrdiff_t>(position));
  }
  return bytes;
}

TEST(FormatDoc, the_hexdump_is_what_a_real_log_writes) {
  const Rows written = rows_of(make_example_segment());
  const Rows shown = document_rows();
  EXPECT_EQ(shown.size(), written.size());
  for (const auto& [position, row] : written) {
    const auto at = shown.find(position);
    EXPECT_TRUE(at != shown.end() && at->second == row) << "the file has\n" << hexdump_line(position, row);
  }
  for (const auto& [position, row] : shown) {
    EXPECT_TRUE(written.contains(position)) << "the file has only zeros here:\n" << hexdump_line(position, row);
  }
}

TEST(FormatDoc, the_hexdump_decodes_and_encodes_to_the_same_bytes) {
  const std::vector<std::byte> segment = document_segment();
  ASSERT_FALSE(segment.empty());
  const ByteView bytes(segment);

  const auto header = decode_segment_header(bytes.first(kBlockBytes));
  ASSERT_TRUE(header) << header.error().message;
  ASSERT_TRUE(decode_segment_header(bytes.subspan(kBlockBytes, kBlockBytes)));
  EXPECT_EQ(header->cluster, kExampleCluster);
  EXPECT_EQ(header->log, kExampleLog);
  EXPECT_EQ(header->log_id, LogId(7));
  EXPECT_EQ(header->number, 1u);
  EXPECT_EQ(header->segment_bytes, segment.size());
  EXPECT_EQ(header->start.index, Index(0));
  EXPECT_EQ(header->start.digest, first_digest(kExampleLog));

  std::size_t at = kFramesPosition;
  const auto group = decode_group_header(bytes.subspan(at));
  ASSERT_TRUE(group);
  EXPECT_EQ(group->incarnation, header->incarnation);
  EXPECT_EQ(group->number, 1u);
  EXPECT_EQ(group->durable_before, Index(0));
  EXPECT_EQ(group->batches, 2u);
  at += kGroupHeaderBytes;

  const auto noop = decode_batch(bytes.subspan(at));
  ASSERT_TRUE(noop) << noop.error().message;
  EXPECT_EQ(noop->kind, BatchKind::noop);
  EXPECT_EQ(noop->index, Index(0));
  EXPECT_EQ(noop->digest, next_digest(header->start.digest, bytes.subspan(at, kBatchHeaderBytes)));
  const std::size_t noop_at = at;
  at += frame_bytes(noop->total_bytes());

  const auto data = decode_batch(bytes.subspan(at));
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(data->index, Index(1));
  EXPECT_EQ(data->base_offset, Offset(0));
  EXPECT_EQ(data->digest, next_digest(noop->digest, bytes.subspan(at, kBatchHeaderBytes)));
  RecordCursor records(*data, bytes.subspan(at));
  EXPECT_EQ(text_of(records.next().value()), "first");
  EXPECT_EQ(text_of(records.next().value()), "second record");
  EXPECT_FALSE(records.next());
  const std::size_t data_at = at;
  at += frame_bytes(data->total_bytes());
  EXPECT_EQ(at, kFramesPosition + kGroupHeaderBytes + group->bytes);

  const std::size_t footer_at = footer_position(segment.size());
  const auto footer = decode_footer(bytes.subspan(footer_at), segment.size());
  ASSERT_TRUE(footer) << footer.error().message;
  EXPECT_EQ(footer->incarnation, header->incarnation);
  EXPECT_EQ(footer->end_position, at);
  EXPECT_EQ(footer->end.index, Index(2));
  EXPECT_EQ(footer->end.offset, Offset(2));
  EXPECT_EQ(footer->end.digest, data->digest);

  std::vector<std::byte> again(segment.size());
  const MutableBytes out(again);
  encode_segment_header(out.first(kFramesPosition), *header);
  encode_group_header(out.subspan(kFramesPosition), *group);
  const auto stamp_of = [](const BatchHeader& batch) {
    return BatchStamp{batch.index, batch.base_offset, batch.term, batch.commit, batch.timestamp_us};
  };
  const auto noop_again = make_control_batch(noop->log_id, noop->kind, {});
  std::copy(noop_again.begin(), noop_again.end(), out.begin() + static_cast<std::ptrdiff_t>(noop_at));
  stamp_batch(out.subspan(noop_at, noop->total_bytes()), stamp_of(*noop), header->start.digest);
  BatchBuilder builder;
  RecordCursor cursor(*data, bytes.subspan(data_at));
  while (const auto record = cursor.next()) ASSERT_TRUE(builder.add(*record));
  const MutableBytes data_again = builder.finish(
      {data->log_id, data->kind, data->writer_epoch, data->producer_id, data->sequence});
  std::copy(data_again.begin(), data_again.end(), out.begin() + static_cast<std::ptrdiff_t>(data_at));
  stamp_batch(out.subspan(data_at, data->total_bytes()), stamp_of(*data), noop->digest);
  const auto footer_again = encode_footer(*footer, segment.size());
  std::copy(footer_again.begin(), footer_again.end(), out.begin() + static_cast<std::ptrdiff_t>(footer_at));
  for (const auto& [position, row] : rows_of(segment)) {
    EXPECT_EQ(hexdump_line(position, rows_of(again)[position]), hexdump_line(position, row));
  }
  EXPECT_EQ(again, segment);
}

TEST(FormatDoc, a_flipped_bit_in_the_hexdump_is_noticed) {
  std::vector<std::byte> segment = document_segment();
  ASSERT_FALSE(segment.empty());
  // Every bit that is shown, but those of the padding behind a frame, is under a CRC.
  std::size_t unnoticed = 0;
  for (const auto& [position, row] : document_rows()) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i] == std::byte{0}) continue;
      segment[position + i] ^= std::byte{1};
      const ByteView bytes(segment);
      const bool intact = decode_segment_header(bytes.first(kBlockBytes)) &&
                          decode_segment_header(bytes.subspan(kBlockBytes, kBlockBytes)) &&
                          decode_group_header(bytes.subspan(kFramesPosition)) &&
                          decode_batch(bytes.subspan(kFramesPosition + kGroupHeaderBytes)) &&
                          decode_batch(bytes.subspan(kFramesPosition + kGroupHeaderBytes + kBatchHeaderBytes)) &&
                          decode_footer(bytes.subspan(footer_position(segment.size())), segment.size());
      if (intact) ++unnoticed;
      segment[position + i] ^= std::byte{1};
    }
  }
  EXPECT_EQ(unnoticed, 0u);
}

std::string_view verdict_word(Verdict verdict) {
  switch (verdict) {
    case Verdict::keep: return "keep";
    case Verdict::cut: return "cut";
    case Verdict::hole: return "hole";
    case Verdict::suspect: return "suspect";
    case Verdict::rebuild: return "rebuild";
    case Verdict::remove: return "remove";
  }
  return "";
}

TEST(FormatDoc, the_recovery_table_is_that_of_the_code) {
  std::vector<std::string> shown;
  bool inside = false;
  for (const std::string& line : document_lines()) {
    if (inside && line.starts_with("| ")) shown.push_back(line);
    if (line == "| | found | verdict | then |") inside = true;
    if (line.empty()) inside = false;
  }
  std::vector<std::string> ruled;
  for (const RecoveryRule& rule : kRecoveryTable) {
    ruled.push_back(std::string("| ") + static_cast<char>(rule.letter) + " | " + std::string(rule.found) + " | " +
                    std::string(verdict_word(rule.verdict)) + " | " + std::string(rule.then) + " |");
  }
  EXPECT_EQ(shown, ruled);
}

TEST(FormatDoc, the_hard_state_tables_name_the_cases_of_the_code) {
  std::vector<std::string> shown;
  for (const std::string& line : document_lines()) {
    if (line.size() > 7 && line.starts_with("| @")) shown.push_back(line);
  }
  std::vector<std::string> ruled;
  for (const auto& rule : hard_state::kPairCases) {
    ruled.push_back("| " + std::string(rule.letter) + " | " + std::string(rule.twins) + " | " + std::string(rule.decision) + " |");
  }
  for (const auto& rule : hard_state::kSlotCases) {
    ruled.push_back("| " + std::string(rule.letter) + " | " + std::string(rule.pairs) + " | " + std::string(rule.decision) + " |");
  }
  EXPECT_EQ(shown, ruled);
}

}  // namespace
}  // namespace walraft::wal
