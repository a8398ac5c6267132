#pragma once

// Reads a whole log as a reader would, and says what is in it (wal_writer.cc lists the lines).

#include <optional>
#include <string>
#include <vector>

#include "tests/power/content.h"
#include "tests/power/report.h"
#include "wal/base/check.h"
#include "wal/log.h"

namespace walraft::power {

// How many durable batches a reader gets from the first on, before the end or the first one that it does not get.
inline std::uint64_t readable_batches(wal::Log& log) {
  wal::LogReader reader(log.view());
  std::vector<wal::BatchRef> batches;
  std::uint64_t count = 0;
  for (Offset offset = log.first_offset(); offset < reader.end_offset();) {
    batches.clear();
    if (!reader.read(offset, 256u << 10, batches) || batches.empty()) {
      break;
    }
    count += batches.size();
    offset = batches.back().next_offset();
  }
  return count;
}

// Every batch verified: bytes, index, offset, term, stamp, digest. Returns the exit code: 0, or kExitDamaged if
// something is not readable. Ends the process if what was read is wrong. Blocks.
inline int check_log(wal::Log& log, std::uint64_t seed) {
  using namespace wal;
  const LogView view = log.view();
  const Offset end = view.end_offset;
  LogReader reader(view);
  BatchBuilder scratch;
  std::optional<BatchHeader> last;
  std::optional<BatchName> range;
  std::uint64_t range_end = 0;
  bool damaged = log.suspect() || !log.recovery().holes.empty();
  const auto close_range = [&] {
    if (range) {
      say("range " + std::to_string(range->generation) + " " + std::to_string(range->index) + " " +
          std::to_string(range_end));
      range.reset();
    }
  };
  std::vector<BatchRef> batches;
  for (Offset offset = log.first_offset(); offset < end;) {
    batches.clear();
    const auto outcome = reader.read(offset, 256u << 10, batches);
    if (!outcome) {
      close_range();
      last.reset();
      damaged = true;
      say("unreadable " + std::to_string(offset.value) + " " + std::string(outcome_of(outcome.error().code).name) +
          " " + outcome.error().message);
      // Goes on behind the damage: the next hole's end, else the next offset.
      Offset next = offset + 1;
      for (const Hole& hole : view.holes) {
        if (hole.from_offset <= offset && offset < hole.to_offset) {
          next = hole.to_offset;
        }
      }
      offset = next;
      continue;
    }
    CHECK(!batches.empty(), offset, end);
    for (const BatchRef& batch : batches) {
      const auto header = decode_batch_header(batch.bytes);
      const auto name = judge_batch(scratch, batch.bytes);
      if (!header || !name) {
        leave(kExitDamaged, !header ? header.error() : name.error());
      }
      if (name->seed != seed) {
        leave(kExitDamaged, {Code::corrupt, "a batch of another test: seed " + std::to_string(name->seed)});
      }
      const bool follows =
          !last || (header->index == last->next_index() && header->base_offset == last->next_offset() &&
                    header->term >= last->term && header->timestamp_us >= last->timestamp_us &&
                    header->digest == next_digest(last->digest, batch.bytes.first(kBatchHeaderBytes)));
      if (!follows) {
        leave(kExitDamaged, {Code::corrupt, "batch " + text(header->index) + " does not continue batch " +
                                                text(last->index) + " (index, offset, term, stamp or digest)"});
      }
      if (!range || range->generation != name->generation || range_end != name->index) {
        close_range();
        range = *name;
      }
      range_end = name->index + 1;
      last = *header;
      offset = header->next_offset();
    }
  }
  close_range();
  const auto tail = log.tail();
  if (last && (last->next_index() != tail.index || last->digest != tail.digest)) {
    leave(kExitDamaged, {Code::corrupt, "the log ends at " + text(tail.index) + ", its batches at " +
                                            text(last->next_index()) + ", or their digests differ"});
  }
  say("checked first=" + text(log.first_index()) + " tail=" + text(tail.index) +
      " first_offset=" + std::to_string(log.first_offset().value) + " end_offset=" + std::to_string(end.value) +
      " digest=" + to_string(tail.digest));
  return damaged ? kExitDamaged : 0;
}

}  // namespace walraft::power
