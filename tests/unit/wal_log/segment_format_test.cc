#include "wal/segment_format.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_rng.h"
#include "wal/base/crc32c.h"
#include "wal/batch.h"

namespace walraft::wal {
namespace {

SegmentHeader example_header() {
  SegmentHeader header;
  header.cluster = Uuid{{1, 2}};
  header.log = Uuid{{3, 4}};
  header.log_id = LogId(5);
  header.number = 6;
  header.incarnation = 7;
  header.segment_bytes = kSegmentBytesMin;
  header.start = {Index(8), Offset(9), Term(10), -11, {12, 13}};
  header.created_us = 14;
  return header;
}

TEST(SegmentFormat, names_are_numbers_in_hex_and_nothing_else_is_one) {
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0xabcdef}, UINT64_MAX}) {
    EXPECT_EQ(segment_number(segment_name(number)), number);
  }
  for (const char* name : {"", "1.segment", "0000000000000001.segmen", "0000000000000001_segment", "000000000000000G.segment",
                           "000000000000000A.segment", "+000000000000001.segment", "0000000000000001.segment2"}) {
    EXPECT_EQ(segment_number(name), std::nullopt) << name;
  }
}

TEST(SegmentFormat, the_footer_has_room_for_its_index_at_every_size) {
  for (std::uint64_t bytes = kSegmentBytesMin; bytes <= kSegmentBytesMax; bytes *= 2) {
    const std::uint64_t at = footer_position(bytes);
    EXPECT_EQ(at % kBlockBytes, 0u);
    SegmentFooter footer;
    footer.end_position = at;
    for (std::uint64_t position = kFramesPosition; position < at; position += kIndexStepBytes) {
      footer.entries.push_back({Index(1), Offset(1), 0, position});
    }
    footer.runs.resize(kTermRunsMax);
    const auto region = encode_footer(footer, bytes);
    const auto decoded = decode_footer(region, bytes);
    ASSERT_TRUE(decoded) << bytes;
    EXPECT_EQ(decoded->entries, footer.entries);
    EXPECT_EQ(decoded->runs, footer.runs);
  }
}

TEST(SegmentFormat, the_smallest_segment_for_a_batch_holds_it) {
  for (const std::uint64_t batch : {std::uint64_t{1}, std::uint64_t{53'184}, std::uint64_t{53'185}, std::uint64_t{1} << 20,
                                    kBatchHeaderBytes + std::uint64_t{kBodyBytesMax}}) {
    const std::uint64_t bytes = segment_bytes_for(batch);
    const auto holds = [&](std::uint64_t b) {
      return kFramesPosition + kGroupHeaderBytes + frame_bytes(batch) <= footer_position(b);
    };
    EXPECT_TRUE(holds(bytes)) << batch;
    EXPECT_TRUE(bytes == kSegmentBytesMin || !holds(bytes / 2)) << batch;
    EXPECT_LE(bytes, kSegmentBytesMax);
  }
}

TEST(SegmentFormat, header_copies_decode_to_what_was_encoded) {
  std::vector<std::byte> bytes(kFramesPosition);
  encode_segment_header(bytes, example_header());
  for (const std::size_t at : {std::size_t{0}, kBlockBytes}) {
    const auto header = decode_segment_header(ByteView(bytes).subspan(at, kBlockBytes));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->cluster, example_header().cluster);
    EXPECT_EQ(header->log, example_header().log);
    EXPECT_EQ(header->log_id, example_header().log_id);
    EXPECT_EQ(header->number, 6u);
    EXPECT_EQ(header->incarnation, 7u);
    EXPECT_EQ(header->segment_bytes, kSegmentBytesMin);
    EXPECT_EQ(header->start, example_header().start);
    EXPECT_EQ(header->created_us, 14);
  }
}

// One bit anywhere in what is used: never taken for intact.
TEST(SegmentFormat, no_flipped_bit_passes) {
  std::vector<std::byte> header(kFramesPosition), group(kGroupHeaderBytes);
  encode_segment_header(header, example_header());
  for (std::size_t bit = 0; bit < kSegmentHeaderBytes * 8; ++bit) {
    auto flipped = header;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto decoded = decode_segment_header(ByteView(flipped).first(kBlockBytes));
    ASSERT_FALSE(decoded) << bit;
    EXPECT_EQ(decoded.error().code, Code::corrupt);
  }
  encode_group_header(group, {1, 2, Index(3), Index(4), 5, 6});
  for (std::size_t bit = 0; bit < kGroupHeaderBytes * 8; ++bit) {
    auto flipped = group;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_group_header(flipped)) << bit;
  }
  SegmentFooter footer;
  footer.end_position = kFramesPosition + 64;
  footer.entries = {{Index(1), Offset(2), 3, kFramesPosition}};
  footer.runs = {{Term(4), Index(1)}};
  const auto region = encode_footer(footer, kSegmentBytesMin);
  for (std::size_t bit = 0; bit < region.size() * 8; bit += 7) {
    auto flipped = region;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_footer(flipped, kSegmentBytesMin)) << bit;
  }
}

TEST(SegmentFormat, a_newer_version_is_told_from_damage) {
  std::vector<std::byte> bytes(kFramesPosition);
  encode_segment_header(bytes, example_header());
  for (const auto& [at, value] : {std::pair{8u, 2u}, {12u, 1u}}) {  // version, flags
    auto newer = bytes;
    store_le(newer.data() + at, value);
    store_le(newer.data() + kSegmentHeaderBytes - 4, crc32c(ByteView(newer).first(kSegmentHeaderBytes - 4)));
    EXPECT_EQ(decode_segment_header(newer).error().code, Code::invalid);
  }
}

TEST(SegmentFormat, a_segment_size_is_a_power_of_two_from_64_KiB_to_1_GiB) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    EXPECT_EQ(is_segment_size(std::uint64_t{1} << shift), shift >= 16 && shift <= 30) << shift;
  }
  for (const std::uint64_t bytes : {0u, 65'535u, 65'537u, 96u << 10, 3u << 20, (1u << 30) - 1, (1u << 30) + 1}) {
    EXPECT_FALSE(is_segment_size(bytes)) << bytes;
  }
}

TEST(SegmentFormat, arbitrary_bytes_decode_to_nothing) {
  sim::SimRng rng(1);
  std::vector<std::byte> bytes(kBlockBytes);
  for (int i = 0; i < 2'000; ++i) {
    for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
    if (i % 2 == 0) store_le(bytes.data(), kSegmentMagic);
    EXPECT_FALSE(decode_segment_header(bytes));
    store_le(bytes.data(), kGroupMagic);
    EXPECT_FALSE(decode_group_header(bytes));
    store_le(bytes.data(), kFooterMagic);
    EXPECT_FALSE(decode_footer(bytes, kSegmentBytesMin));
  }
}

}  // namespace
}  // namespace walraft::wal
