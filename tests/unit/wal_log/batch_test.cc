#include "wal/batch.h"

#include <gtest/gtest.h>

#include "wal/base/crc32c.h"

namespace walraft::wal {
namespace {

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    text.push_back("0123456789abcdef"[std::to_integer<int>(b) >> 4]);
    text.push_back("0123456789abcdef"[std::to_integer<int>(b) & 15]);
  }
  return text;
}

std::vector<std::byte> example() {
  BatchBuilder builder;
  EXPECT_TRUE(builder.add(bytes_of("first")));
  EXPECT_TRUE(builder.add(bytes_of("")));
  const MutableBytes batch =
      builder.finish({.log_id = LogId(7), .writer_epoch = Epoch(2), .producer_id = ProducerId(3), .sequence = 41});
  stamp_batch(batch, {Index(1), Offset(5), Term(6), Index(1), 1'700'000'000'000'000}, first_digest(Uuid{{9}}));
  return {batch.begin(), batch.end()};
}

// The format is frozen: these bytes are on disks.
TEST(Batch, its_bytes_are_these) {
  const auto batch = example();
  EXPECT_EQ(hex(ByteView(batch).subspan(0, 16)), "5742415401810000" "0d000000" "02000000");
  EXPECT_EQ(hex(ByteView(batch).subspan(24, 32)), "0700000000000000" "0200000000000000" "0300000000000000" "2900000000000000");
  EXPECT_EQ(hex(ByteView(batch).subspan(56, 40)),
            "0100000000000000" "0500000000000000" "0600000000000000" "0100000000000000" "00401e18240a0600");
  EXPECT_EQ(hex(ByteView(batch).subspan(kBatchHeaderBytes)), "05000000" "6669727374" "00000000");
  const ByteView header = ByteView(batch).first(kBatchHeaderBytes);
  std::uint32_t body_crc = crc32c(ByteView(batch).subspan(kBatchHeaderBytes));
  body_crc = crc32c_extend(body_crc, header.subspan(4, 12));
  body_crc = crc32c_extend(body_crc, header.subspan(20, 36));
  EXPECT_EQ(load_le<std::uint32_t>(batch.data() + 16), body_crc);
  EXPECT_EQ(load_le<std::uint32_t>(batch.data() + 124), crc32c(header.first(124)));
}

TEST(Batch, no_flipped_bit_passes) {
  const auto batch = example();
  ASSERT_TRUE(decode_batch(batch));
  for (std::size_t bit = 0; bit < batch.size() * 8; ++bit) {
    auto flipped = batch;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_batch(flipped)) << bit;
  }
}

TEST(Batch, the_stamp_is_outside_what_the_appender_signs_and_the_digest_covers_it) {
  auto batch = example();
  const Digest digest = decode_batch(batch)->digest;
  const auto crc = load_le<std::uint32_t>(batch.data() + 16);
  const Digest other = stamp_batch(batch, {Index(1), Offset(5), Term(7), Index(1), 1'700'000'000'000'000}, first_digest(Uuid{{9}}));
  EXPECT_EQ(load_le<std::uint32_t>(batch.data() + 16), crc);
  EXPECT_TRUE(decode_batch(batch));
  EXPECT_NE(digest, other);
  EXPECT_NE(first_digest(Uuid{{9}}), first_digest(Uuid{{8}}));
}

TEST(Batch, unstamped_ones_are_refused_with_the_code_that_fits) {
  BatchBuilder builder;
  ASSERT_TRUE(builder.add(bytes_of("x")));
  const MutableBytes batch = builder.finish({.log_id = LogId(7)});
  EXPECT_TRUE(decode_unstamped_batch(batch));
  EXPECT_EQ(decode_unstamped_batch(batch.first(batch.size() - 1)).error().code, Code::invalid);
  EXPECT_EQ(decode_unstamped_batch(batch.first(20)).error().code, Code::invalid);
  std::vector<std::byte> large(batch.begin(), batch.end());
  store_le(large.data() + 8, kBodyBytesMax + 1);
  EXPECT_EQ(decode_unstamped_batch(large).error().code, Code::too_large);
  store_le(large.data() + 8, std::uint32_t{5});
  store_le(large.data() + 12, kRecordsMax + 1);
  EXPECT_EQ(decode_unstamped_batch(large).error().code, Code::too_large);
}

// Version 1 knows none: what they change about the body, nobody here can tell.
TEST(Batch, attributes_are_a_newer_release_s) {
  std::vector<std::byte> batch = example();
  store_le(batch.data() + 6, std::uint16_t{1});
  EXPECT_EQ(decode_unstamped_batch(batch).error().code, Code::invalid);
  EXPECT_EQ(decode_batch_header(batch).error().code, Code::corrupt) << "the CRC is not that of these bytes";
  store_le(batch.data() + 124, crc32c(ByteView(batch).first(124)));
  EXPECT_EQ(decode_batch_header(batch).error().code, Code::invalid);
  EXPECT_EQ(decode_batch(batch).error().code, Code::invalid);
}

TEST(Batch, the_builder_stops_at_its_limits) {
  BatchBuilder builder;
  EXPECT_FALSE(builder.add(std::vector<std::byte>(kRecordBytesMax + 1)));
  EXPECT_TRUE(builder.empty());
  EXPECT_TRUE(builder.add(std::vector<std::byte>(kRecordBytesMax)));
  EXPECT_FALSE(builder.add(std::vector<std::byte>(kBodyBytesMax - kRecordBytesMax)));
  EXPECT_TRUE(decode_unstamped_batch(builder.finish({})));
  builder.clear();
  for (std::uint32_t i = 0; i < kRecordsMax; ++i) ASSERT_TRUE(builder.add({}));
  EXPECT_FALSE(builder.add({}));
  const MutableBytes batch = builder.finish({});
  const auto header = decode_unstamped_batch(batch);
  ASSERT_TRUE(header);
  RecordCursor records(*header, batch);
  std::uint32_t count = 0;
  while (records.next()) ++count;
  EXPECT_EQ(count, kRecordsMax);
}

}  // namespace
}  // namespace walraft::wal
