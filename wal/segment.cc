#include "wal/segment.h"

#include <algorithm>

namespace walraft::wal {
namespace {

template <class Less>
const IndexEntry* last_not_behind(const std::vector<IndexEntry>& entries, Less behind) {
  // The first entry for which `behind` holds; everything before it does not.
  const auto it = std::partition_point(entries.begin(), entries.end(), [&](const IndexEntry& e) { return !behind(e); });
  return it == entries.begin() ? nullptr : &*(it - 1);
}

}  // namespace

LogPoint point_behind(const BatchHeader& header) {
  return {header.next_index(), header.next_offset(), header.term, header.timestamp_us, header.digest};
}

void SegmentIndex::add(Index index, Offset offset, Term term, std::int64_t timestamp_us, std::uint64_t position) {
  if (entries_.empty() || position >= entries_.back().position + kIndexStepBytes) {
    entries_.push_back({index, offset, timestamp_us, position});
  }
  if (runs_.empty() || runs_.back().term != term) runs_.push_back({term, index});
}

void SegmentIndex::cut(Index index) {
  while (!entries_.empty() && entries_.back().index >= index) entries_.pop_back();
  while (!runs_.empty() && runs_.back().first_index >= index) runs_.pop_back();
}

const IndexEntry* SegmentIndex::find(Index index) const {
  return last_not_behind(entries_, [&](const IndexEntry& e) { return e.index > index; });
}

const IndexEntry* SegmentIndex::find(Offset offset) const {
  return last_not_behind(entries_, [&](const IndexEntry& e) { return e.offset > offset; });
}

const IndexEntry* SegmentIndex::find_time(std::int64_t timestamp_us) const {
  return last_not_behind(entries_, [&](const IndexEntry& e) { return e.timestamp_us >= timestamp_us; });
}

bool SegmentIndex::has_room_for(Term term) const {
  return runs_.size() < kTermRunsMax || runs_.back().term == term;
}

void SegmentIndex::assign(std::vector<IndexEntry> entries, std::vector<TermRun> runs) {
  entries_ = std::move(entries);
  runs_ = std::move(runs);
}

}  // namespace walraft::wal
