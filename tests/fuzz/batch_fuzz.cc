// Arbitrary bytes as a batch, stamped and not; with its CRCs made right where the first byte is odd, so that
// the checks behind them are reached. What decodes has right CRCs and records that fill its body.
// Corpus: tests/data/fuzz/batch.
#include <cstdint>
#include <vector>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/batch.h"

namespace {

using namespace walraft;
using namespace walraft::wal;

void make_crcs_right(std::vector<std::byte>& bytes) {
  if (bytes.size() < kBatchHeaderBytes) return;
  store_le(bytes.data(), kBatchMagic);
  const ByteView header = ByteView(bytes).first(kBatchHeaderBytes);
  std::size_t body = load_le<std::uint32_t>(bytes.data() + 8);
  body = std::min(body, bytes.size() - kBatchHeaderBytes);
  std::uint32_t crc = crc32c(ByteView(bytes).subspan(kBatchHeaderBytes, body));
  crc = crc32c_extend(crc, header.subspan(4, 12));
  crc = crc32c_extend(crc, header.subspan(20, 36));
  store_le(bytes.data() + 16, crc);
  store_le(bytes.data() + 124, crc32c(header.first(124)));
}

void check_records(const BatchHeader& header, ByteView batch) {
  CHECK(header.total_bytes() <= batch.size(), header.total_bytes(), batch.size());
  RecordCursor records(header, batch);
  std::uint64_t count = 0, bytes = 0;
  while (const auto record = records.next()) {
    ++count;
    bytes += kRecordHeaderBytes + record->size();
  }
  CHECK(count == header.record_count, count, header.record_count);
  CHECK(count == 0 || bytes == header.body_bytes, bytes, header.body_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data) + 1, reinterpret_cast<const std::byte*>(data) + size);
  if (data[0] % 2 == 1) make_crcs_right(bytes);
  (void)decode_batch_header(bytes);
  if (const auto header = decode_batch(bytes)) {
    CHECK(crc32c(ByteView(bytes).first(124)) == load_le<std::uint32_t>(bytes.data() + 124));
    check_records(*header, bytes);
  }
  if (const auto header = decode_unstamped_batch(bytes)) {
    check_records(*header, bytes);
    // What was accepted from an appender is a batch of the log once it is stamped.
    const Digest before = first_digest(Uuid{});
    const Digest digest = stamp_batch(bytes, {Index(3), Offset(5), Term(7), Index(2), 11}, before);
    const auto stamped = decode_batch(bytes);
    CHECK(stamped.has_value());
    CHECK(stamped->digest == digest && next_digest(before, bytes) == digest);
    CHECK(stamped->index == Index(3) && stamped->base_offset == Offset(5) && stamped->record_count == header->record_count);
  }
  return 0;
}
