#pragma once

// The batches that wal_writer writes and checks. What a batch holds follows from (seed, generation, index) alone, and
// its first record names all three, so that any batch can be judged by itself, and one of an older generation at a
// right place is told from the right one.
//
// Any thread.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/check.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"

namespace walraft::power {

struct BatchName {
  std::uint64_t seed = 0;
  std::uint64_t generation = 0;  // of the writer: one for each start and each truncation
  std::uint64_t index = 0;
};

inline wal::BatchBuilder::Fields fields_of(LogId log) {
  wal::BatchBuilder::Fields fields;
  fields.log_id = log;
  return fields;
}

// Mostly small batches of small records, some of 64 KiB, few of 512 KiB. All of it fits into `bytes_max`, at least 4
// KiB. Fills `batch` anew.
inline void fill_batch(wal::BatchBuilder& batch, const BatchName& name, std::size_t bytes_max) {
  std::uint64_t state = name.seed * 0x9e3779b97f4a7c15ull + name.generation * 0xbf58476d1ce4e5b9ull + name.index;
  const auto random = [&state] {  // splitmix64
    std::uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  };
  batch.clear();
  std::array<std::byte, 32> first{};
  store_le(first.data(), name.seed);
  store_le(first.data() + 8, name.generation);
  store_le(first.data() + 16, name.index);
  store_le(first.data() + 24, static_cast<std::uint64_t>(bytes_max));
  CHECK(batch.add(first));

  const std::uint64_t kind = random() % 256;
  const std::size_t record_bytes_max = kind == 0 ? 512u << 10 : kind < 8 ? 64u << 10 : 400;
  const std::uint64_t records = kind < 8 ? 1 : random() % 8;
  std::vector<std::byte> record;
  for (std::uint64_t i = 0; i < records; ++i) {
    record.resize(random() % (record_bytes_max + 1));
    if (batch.body_bytes() + wal::kRecordHeaderBytes + record.size() > bytes_max) {
      break;
    }
    for (std::size_t at = 0; at < record.size(); at += 8) {
      const std::uint64_t word = random();
      std::memcpy(record.data() + at, &word, std::min<std::size_t>(8, record.size() - at));
    }
    CHECK(batch.add(record));
  }
}

// Who wrote a batch, if it holds what it then must hold. `corrupt` names the difference.
inline Result<BatchName> judge_batch(wal::BatchBuilder& scratch, ByteView batch) {
  const auto header = wal::decode_batch(batch);
  if (!header) {
    return std::unexpected(header.error());
  }
  wal::RecordCursor records(*header, batch);
  const auto first = records.next();
  if (!first || first->size() != 32) {
    return error(Code::corrupt, "the first record is not that of wal_writer");
  }
  const BatchName name{load_le<std::uint64_t>(first->data()), load_le<std::uint64_t>(first->data() + 8),
                       load_le<std::uint64_t>(first->data() + 16)};
  if (name.index != header->index.value) {
    return error(Code::corrupt, "batch " + std::to_string(header->index.value) + " was written as batch " +
                                    std::to_string(name.index));
  }
  fill_batch(scratch, name, load_le<std::uint64_t>(first->data() + 24));
  const ByteView expected = scratch.finish(fields_of(header->log_id));
  if (header->record_count != scratch.record_count() || header->body_bytes != scratch.body_bytes() ||
      std::memcmp(expected.data() + wal::kBatchHeaderBytes, batch.data() + wal::kBatchHeaderBytes,
                  header->body_bytes) != 0) {
    return error(Code::corrupt, "batch " + std::to_string(name.index) + " holds other bytes than were written");
  }
  return name;
}

}  // namespace walraft::power
