#include "wal/batch.h"

#include <xxhash.h>

#include <algorithm>
#include <array>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/base/mutant.h"

namespace walraft::wal {
namespace {

// Where the fields stand.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kKindAt = 5;
constexpr std::size_t kAttributesAt = 6;
constexpr std::size_t kBodyBytesAt = 8;
constexpr std::size_t kRecordCountAt = 12;
constexpr std::size_t kBodyCrcAt = 16;
constexpr std::size_t kZeroAt = 20;
constexpr std::size_t kLogIdAt = 24;
constexpr std::size_t kWriterEpochAt = 32;
constexpr std::size_t kProducerIdAt = 40;
constexpr std::size_t kSequenceAt = 48;
constexpr std::size_t kStampAt = 56;
constexpr std::size_t kIndexAt = 56;
constexpr std::size_t kBaseOffsetAt = 64;
constexpr std::size_t kTermAt = 72;
constexpr std::size_t kCommitAt = 80;
constexpr std::size_t kTimestampAt = 88;
constexpr std::size_t kDigestAt = kBatchDigestPosition;
constexpr std::size_t kHeaderCrcAt = 124;
static_assert(kHeaderCrcAt + sizeof(std::uint32_t) == kBatchHeaderBytes);

std::uint32_t body_crc_of(ByteView header, ByteView body) {
  std::uint32_t crc = crc32c(body);
  crc = crc32c_extend(crc, header.subspan(kVersionAt, kBodyCrcAt - kVersionAt));
  return crc32c_extend(crc, header.subspan(kZeroAt, kStampAt - kZeroAt));
}

BatchHeader read_fields(ByteView bytes) {
  const std::byte* at = bytes.data();
  BatchHeader header;
  header.kind = static_cast<BatchKind>(load_le<std::uint8_t>(at + kKindAt));
  header.attributes = load_le<std::uint16_t>(at + kAttributesAt);
  header.body_bytes = load_le<std::uint32_t>(at + kBodyBytesAt);
  header.record_count = load_le<std::uint32_t>(at + kRecordCountAt);
  header.body_crc = load_le<std::uint32_t>(at + kBodyCrcAt);
  header.log_id = LogId(load_le<std::uint64_t>(at + kLogIdAt));
  header.writer_epoch = Epoch(load_le<std::uint64_t>(at + kWriterEpochAt));
  header.producer_id = ProducerId(load_le<std::uint64_t>(at + kProducerIdAt));
  header.sequence = load_le<std::uint64_t>(at + kSequenceAt);
  header.index = Index(load_le<std::uint64_t>(at + kIndexAt));
  header.base_offset = Offset(load_le<std::uint64_t>(at + kBaseOffsetAt));
  header.term = Term(load_le<std::uint64_t>(at + kTermAt));
  header.commit = Index(load_le<std::uint64_t>(at + kCommitAt));
  header.timestamp_us = load_le<std::int64_t>(at + kTimestampAt);
  header.digest.low = load_le<std::uint64_t>(at + kDigestAt);
  header.digest.high = load_le<std::uint64_t>(at + kDigestAt + 8);
  return header;
}

// Empty if the counts fit the kind.
std::string_view wrong_counts(const BatchHeader& header) {
  if (header.body_bytes > kBodyBytesMax) return "the body is longer than any batch may be";
  if (header.record_count > kRecordsMax) return "it claims more records than a batch may hold";
  if (header.kind == BatchKind::data) {
    if (header.record_count == 0) return "a data batch without records";
    if (header.body_bytes < header.record_count * kRecordHeaderBytes) {
      return "the body is too short for its records";
    }
  } else if (header.record_count != 0) {
    return "a control batch with records";
  }
  return {};
}

// Empty if the records fill the body exactly.
std::string_view wrong_records(const BatchHeader& header, ByteView body) {
  if (header.kind != BatchKind::data) return {};
  for (std::uint32_t i = 0; i < header.record_count; ++i) {
    if (body.size() < kRecordHeaderBytes) return "the body ends before its last record";
    const auto bytes = load_le<std::uint32_t>(body.data());
    if (bytes > kRecordBytesMax) return "a record is longer than any record may be";
    if (bytes > body.size() - kRecordHeaderBytes) return "a record runs past the end of the body";
    body = body.subspan(kRecordHeaderBytes + bytes);
  }
  if (!body.empty()) return "bytes are left over behind the last record";
  return {};
}

}  // namespace

std::string describe(BatchKind kind) {
  switch (kind) {
    case BatchKind::data: return "data";
    case BatchKind::noop: return "noop";
    case BatchKind::config: return "config";
    case BatchKind::trim: return "trim";
    case BatchKind::fence: return "fence";
    case BatchKind::producer: return "producer";
    case BatchKind::cursor: return "cursor";
    case BatchKind::checkpoint: return "checkpoint";
    case BatchKind::catalogue: return "catalogue";
  }
  constexpr char kHexDigits[] = "0123456789abcdef";
  const auto value = static_cast<std::uint8_t>(kind);
  return std::string("kind 0x") + kHexDigits[value >> 4] + kHexDigits[value & 15];
}

Result<BatchHeader> decode_batch_header(ByteView bytes) {
  if (bytes.size() < kBatchHeaderBytes) return error(Code::corrupt, "the batch header is cut short");
  if (load_le<std::uint32_t>(bytes.data() + kMagicAt) != kBatchMagic) {
    return error(Code::corrupt, "no batch starts here");
  }
  if (crc32c(bytes.first(kHeaderCrcAt)) != load_le<std::uint32_t>(bytes.data() + kHeaderCrcAt)) {
    return error(Code::corrupt, "the CRC of the batch header is wrong");
  }
  const auto version = load_le<std::uint8_t>(bytes.data() + kVersionAt);
  if (version != kBatchVersion) {
    return error(Code::invalid, "the batch has version " + std::to_string(version) +
                                    "; this release reads version 1. Use the release that wrote it.");
  }
  BatchHeader header = read_fields(bytes);
  if (header.attributes != 0) {
    return error(Code::invalid, "the batch has attributes " + std::to_string(header.attributes) +
                                    "; this release knows none. Use the release that wrote it.");
  }
  if (const auto wrong = wrong_counts(header); !wrong.empty()) {
    return error(Code::corrupt, std::string(wrong));
  }
  // The last index and offset of a log leave room for the next one.
  if (header.index.value == UINT64_MAX || header.base_offset.value > UINT64_MAX - kRecordsMax) {
    return error(Code::corrupt, "the batch's index or offset is beyond all logs");
  }
  return header;
}

Result<BatchHeader> decode_batch(ByteView bytes) {
  auto header = decode_batch_header(bytes);
  if (!header) return header;
  if (bytes.size() < header->total_bytes()) return error(Code::corrupt, "the batch's body is cut short");
  const ByteView body = bytes.subspan(kBatchHeaderBytes, header->body_bytes);
  if (body_crc_of(bytes, body) != header->body_crc) {
    return error(Code::corrupt, "the CRC of the batch's body is wrong");
  }
  if (const auto wrong = wrong_records(*header, body); !wrong.empty()) {
    return error(Code::corrupt, std::string(wrong));
  }
  return header;
}

Result<BatchHeader> decode_unstamped_batch(ByteView bytes) {
  if (bytes.size() < kBatchHeaderBytes) return error(Code::invalid, "the batch header is cut short");
  if (load_le<std::uint32_t>(bytes.data() + kMagicAt) != kBatchMagic) {
    return error(Code::invalid, "this is not a batch");
  }
  if (load_le<std::uint8_t>(bytes.data() + kVersionAt) != kBatchVersion) {
    return error(Code::invalid, "the batch's version is not 1");
  }
  BatchHeader header = read_fields(bytes);
  if (header.body_bytes > kBodyBytesMax || header.record_count > kRecordsMax) {
    return error(Code::too_large, "the batch is larger than any batch may be");
  }
  if (const auto wrong = wrong_counts(header); !wrong.empty()) {
    return error(Code::invalid, std::string(wrong));
  }
  if (bytes.size() != header.total_bytes()) {
    return error(Code::invalid, "the batch's length is not the one that its header says");
  }
  if (header.attributes != 0) return error(Code::invalid, "the batch has attributes unknown to this release");
  const ByteView body = bytes.subspan(kBatchHeaderBytes);
  if (body_crc_of(bytes, body) != header.body_crc && !mutant(Mutant::c1_body_checksum_unchecked)) {
    return error(Code::invalid, "the CRC of the batch's body is wrong");
  }
  if (const auto wrong = wrong_records(header, body); !wrong.empty()) {
    return error(Code::invalid, std::string(wrong));
  }
  return header;
}

Digest stamp_batch(MutableBytes batch, const BatchStamp& stamp, const Digest& previous) {
  CHECK(batch.size() >= kBatchHeaderBytes, batch.size());
  std::byte* at = batch.data();
  store_le(at + kIndexAt, stamp.index.value);
  store_le(at + kBaseOffsetAt, stamp.base_offset.value);
  store_le(at + kTermAt, stamp.term.value);
  store_le(at + kCommitAt, stamp.commit.value);
  store_le(at + kTimestampAt, stamp.timestamp_us);
  store_le(at + kTimestampAt + 8, std::uint64_t{0});
  const Digest digest = next_digest(previous, batch);
  store_le(at + kDigestAt, digest.low);
  store_le(at + kDigestAt + 8, digest.high);
  store_le(at + kDigestAt + 16, std::uint32_t{0});
  store_le(at + kHeaderCrcAt, crc32c(batch.first(kHeaderCrcAt)));
  return digest;
}

Digest first_digest(const Uuid& log) {
  const XXH128_hash_t hash = XXH3_128bits(log.bytes.data(), log.bytes.size());
  return {hash.low64, hash.high64};
}

Digest next_digest(const Digest& previous, ByteView header_bytes) {
  std::array<std::byte, 16 + kDigestAt> input;
  store_le(input.data(), previous.low);
  store_le(input.data() + 8, previous.high);
  std::copy_n(header_bytes.begin(), kDigestAt, input.begin() + 16);
  const XXH128_hash_t hash = XXH3_128bits(input.data(), input.size());
  return {hash.low64, hash.high64};
}

bool BatchBuilder::add(ByteView record) {
  if (record.size() > kRecordBytesMax || record_count_ == kRecordsMax) return false;
  if (body_bytes() + kRecordHeaderBytes + record.size() > kBodyBytesMax) return false;
  const std::size_t at = bytes_.size();
  bytes_.resize(at + kRecordHeaderBytes);
  store_le(bytes_.data() + at, static_cast<std::uint32_t>(record.size()));
  bytes_.insert(bytes_.end(), record.begin(), record.end());  // not resized first: that would write all of it twice
  ++record_count_;
  return true;
}

MutableBytes BatchBuilder::finish(const Fields& fields) {
  CHECK(fields.kind != BatchKind::data || record_count_ > 0);
  std::byte* at = bytes_.data();
  std::fill_n(at, kBatchHeaderBytes, std::byte{0});
  store_le(at + kMagicAt, kBatchMagic);
  store_le(at + kVersionAt, kBatchVersion);
  store_le(at + kKindAt, static_cast<std::uint8_t>(fields.kind));
  store_le(at + kBodyBytesAt, static_cast<std::uint32_t>(body_bytes()));
  store_le(at + kRecordCountAt, record_count_);
  store_le(at + kLogIdAt, fields.log_id.value);
  store_le(at + kWriterEpochAt, fields.writer_epoch.value);
  store_le(at + kProducerIdAt, fields.producer_id.value);
  store_le(at + kSequenceAt, fields.sequence);
  store_le(at + kBodyCrcAt, body_crc_of(bytes_, ByteView(bytes_).subspan(kBatchHeaderBytes)));
  return bytes_;
}

void BatchBuilder::clear() {
  bytes_.resize(kBatchHeaderBytes);
  record_count_ = 0;
}

std::vector<std::byte> make_control_batch(LogId log_id, BatchKind kind, ByteView body) {
  CHECK(kind != BatchKind::data);
  CHECK(body.size() <= kBodyBytesMax, body.size());
  std::vector<std::byte> bytes(kBatchHeaderBytes + body.size());
  std::byte* at = bytes.data();
  std::copy(body.begin(), body.end(), bytes.begin() + kBatchHeaderBytes);
  store_le(at + kMagicAt, kBatchMagic);
  store_le(at + kVersionAt, kBatchVersion);
  store_le(at + kKindAt, static_cast<std::uint8_t>(kind));
  store_le(at + kBodyBytesAt, static_cast<std::uint32_t>(body.size()));
  store_le(at + kLogIdAt, log_id.value);
  store_le(at + kBodyCrcAt, body_crc_of(bytes, body));
  return bytes;
}

RecordCursor::RecordCursor(const BatchHeader& header, ByteView batch)
    : rest_(header.kind == BatchKind::data ? batch.subspan(kBatchHeaderBytes, header.body_bytes) : ByteView{}) {}

std::optional<ByteView> RecordCursor::next() {
  if (rest_.empty()) return std::nullopt;
  const auto bytes = load_le<std::uint32_t>(rest_.data());
  const ByteView record = rest_.subspan(kRecordHeaderBytes, bytes);
  rest_ = rest_.subspan(kRecordHeaderBytes + bytes);
  return record;
}

}  // namespace walraft::wal
