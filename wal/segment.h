#pragma once

// One segment file in use, and what is known of its inside.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wal/base/ids.h"
#include "wal/batch.h"
#include "wal/segment_file.h"
#include "wal/segment_format.h"

namespace walraft::wal {

// Where a log stands behind this batch.
LogPoint point_behind(const BatchHeader& header);

// Sparse: finds a frame from which to scan. Grows with the segment, is written as its footer.
class SegmentIndex {
 public:
  // A batch's frame stands at `position`. In order.
  void add(Index index, Offset offset, Term term, std::int64_t timestamp_us, std::uint64_t position);
  // Forgets what is at or behind `index`.
  void cut(Index index);

  // The last entry at or before it; nothing if the first entry lies behind it.
  const IndexEntry* find(Index index) const;
  const IndexEntry* find(Offset offset) const;
  // The last entry stamped before `timestamp_us`.
  const IndexEntry* find_time(std::int64_t timestamp_us) const;

  // False: one more term would not fit the footer.
  bool has_room_for(Term term) const;

  const std::vector<IndexEntry>& entries() const { return entries_; }
  const std::vector<TermRun>& runs() const { return runs_; }
  void assign(std::vector<IndexEntry> entries, std::vector<TermRun> runs);

 private:
  std::vector<IndexEntry> entries_;
  std::vector<TermRun> runs_;
};

// A segment as a reader sees it: all below `end` is durable.
struct SegmentView {
  std::shared_ptr<SegmentFile> file;
  std::shared_ptr<const SegmentIndex> index;
  LogPoint end;
  std::uint64_t end_position = 0;

  const LogPoint& start() const { return file->header.start; }
};

}  // namespace walraft::wal
