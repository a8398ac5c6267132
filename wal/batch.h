#pragma once

// The batch: the records of one append, encoded once by the appender, stamped once by the leader,
// and from then on the same bytes on every disk, stream and consumer.
//
//   header (128 bytes)
//     0  u32 magic "WBAT"        20  u32 zero               56  u64 index        104 Digest digest
//     4  u8  version = 1         24  u64 log_id             64  u64 base_offset  120 u32 zero
//     5  u8  kind                32  u64 writer_epoch       72  u64 term         124 u32 header_crc
//     6  u16 attributes          40  u64 producer_id        80  u64 commit
//     8  u32 body_bytes          48  u64 sequence           88  i64 timestamp_us
//     12 u32 record_count                                   96  u64 zero
//     16 u32 body_crc
//     |----- the appender's ----------------------------|   |--- the leader's stamp ----------|
//   body: a data batch holds record_count times { u32 bytes, the record }
//
// body_crc   = CRC-32C of the body, then header[4,16), then header[20,56): end to end, appender to consumer.
// digest     = XXH3-128 of the previous batch's digest, then header[0,104): equal digests at an index
//              mean equal logs up to it (proto: prefix digest). Seeded by the log's uuid.
// header_crc = CRC-32C of header[0,124).
// Little endian. wal/FORMAT.md explains; this file rules.
// All functions: any thread, no allocation unless said.

#include <cstdint>
#include <optional>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::wal {

inline constexpr std::uint32_t kBatchMagic = 0x54414257;  // "WBAT" on disk
inline constexpr std::uint8_t kBatchVersion = 1;
inline constexpr std::size_t kBatchHeaderBytes = 128;
inline constexpr std::size_t kBatchDigestPosition = 104;
inline constexpr std::size_t kRecordHeaderBytes = 4;
inline constexpr std::uint32_t kRecordsMax = 65'536;             // of one batch
inline constexpr std::uint32_t kRecordBytesMax = 8u << 20;       // hard limit; lower ones are configured
inline constexpr std::uint32_t kBodyBytesMax = kRecordBytesMax + kRecordHeaderBytes * kRecordsMax;

// What a batch says. The high bit marks a kind that a reader must understand: an unknown kind with
// it stops the log with a clear message, one without it is skipped.
enum class BatchKind : std::uint8_t {
  data = 0x81,    // records; the only kind that consumes offsets
  noop = 0x01,    // proto:2.3, the first batch of a term
  config = 0x82,  // membership
  trim = 0x83,
  fence = 0x84,
  producer = 0x85,
  cursor = 0x06,
  checkpoint = 0x07,
  catalogue = 0x88,  // _system only: logs made and deleted
};
constexpr bool is_critical(BatchKind kind) { return (static_cast<std::uint8_t>(kind) & 0x80) != 0; }
// "data", "noop", ...; "kind 0x42" for one that this release does not know.
std::string describe(BatchKind kind);

struct BatchHeader {
  // The appender's.
  BatchKind kind = BatchKind::data;
  std::uint16_t attributes = 0;  // 0 in version 1; room for compression by the appender
  std::uint32_t body_bytes = 0;
  std::uint32_t record_count = 0;  // 0 unless data
  std::uint32_t body_crc = 0;
  LogId log_id;
  Epoch writer_epoch;
  ProducerId producer_id;
  std::uint64_t sequence = 0;
  // The leader's stamp.
  Index index;
  Offset base_offset;  // of the first record; of the next one to come if there is none
  Term term;
  Index commit;  // as the leader knew it
  std::int64_t timestamp_us = 0;
  Digest digest;

  std::size_t total_bytes() const { return kBatchHeaderBytes + body_bytes; }
  Index next_index() const { return index + 1; }
  Offset next_offset() const { return base_offset + record_count; }
};

struct BatchStamp {
  Index index;
  Offset base_offset;
  Term term;
  Index commit;
  std::int64_t timestamp_us = 0;
};

// Decodes a stamped header. `corrupt` if it is shorter than 128 bytes, its magic, version or CRC is
// wrong, or a field contradicts another. Says nothing of the body. Another version, or attributes, with a
// good CRC is `invalid`: written by a newer release.
Result<BatchHeader> decode_batch_header(ByteView bytes);

// The whole batch, header and body_crc and record lengths verified; `bytes` may be longer. `corrupt`
// names what is wrong.
Result<BatchHeader> decode_batch(ByteView bytes);

// The same for a batch as it comes from an appender: the stamp is ignored, `bytes` is exactly one
// batch. `invalid` names what is wrong; `too_large` for more than kRecordsMax or kBodyBytesMax.
Result<BatchHeader> decode_unstamped_batch(ByteView bytes);

// Writes the stamp, digest and header CRC into a batch that decode_unstamped_batch accepted. Returns
// the batch's digest.
Digest stamp_batch(MutableBytes batch, const BatchStamp& stamp, const Digest& previous);

// The digest before the first batch of a log.
Digest first_digest(const Uuid& log);

// The digest that a batch with these 128 header bytes must carry after `previous`.
Digest next_digest(const Digest& previous, ByteView header_bytes);

// Collects records into an unstamped batch.
// Thread: one at a time. Keeps its buffer between batches, so steady use does not allocate.
class BatchBuilder {
 public:
  struct Fields {
    LogId log_id;
    BatchKind kind = BatchKind::data;
    Epoch writer_epoch = Epoch();
    ProducerId producer_id = ProducerId();
    std::uint64_t sequence = 0;
  };

  BatchBuilder() { clear(); }

  // False, and nothing added, if the record is longer than kRecordBytesMax or the batch is full.
  [[nodiscard]] bool add(ByteView record);
  std::uint32_t record_count() const { return record_count_; }
  std::size_t body_bytes() const { return bytes_.size() - kBatchHeaderBytes; }
  bool empty() const { return record_count_ == 0; }

  // Completes the header; the batch stays valid and changeable by stamp_batch() until clear() or
  // add(). A batch of data holds at least one record.
  MutableBytes finish(const Fields& fields);
  void clear();

 private:
  std::vector<std::byte> bytes_;
  std::uint32_t record_count_ = 0;
};

// A control batch with an opaque body, unstamped. Allocates.
std::vector<std::byte> make_control_batch(LogId log_id, BatchKind kind, ByteView body);

// Walks the records of a verified data batch: while (auto record = records.next()) …
class RecordCursor {
 public:
  // `batch` passed decode_batch().
  RecordCursor(const BatchHeader& header, ByteView batch);
  std::optional<ByteView> next();

 private:
  ByteView rest_;
};

}  // namespace walraft::wal
