// Cutting a log at either end: truncate_suffix() and drop_prefix() of log.h.

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/log_on_disk.h"

namespace walraft::wal {

void LogOnDisk::drop_prefix(Index to, Offset offset, Done done) {
  CHECK(to <= durable_.index, to, durable_.index);
  first_index_ = std::max(to, first_index_);
  first_offset_ = std::max(offset, first_offset_);
  HardState state = hard_state_.find(identity_.log).value_or(HardState{});
  state.trim_index = first_index_;
  state.trim_offset = first_offset_;
  // The mark is durable before a file goes: a crash in between leaves files below it, which recovery
  // removes (case R), and never a hole above it.
  auto written = hard_state_.write(identity_.log, state, [this, alive = alive_, trim = first_index_, done = std::move(done)] {
    if (!*alive) return;
    durable_trim_ = std::max(durable_trim_, trim);
    retire_trimmed();
    done();
  });
  if (!written) {
    disk_.fail(written.error());
    return;
  }
  hard_state_.flush();
}

// Oldest first; the segment that takes appends stays.
void LogOnDisk::retire_trimmed() {
  std::vector<SegmentPool::Retired> retired;
  while (segments_.size() > 1 && segments_.front()->sealed && segments_.front()->durable_end.index <= durable_trim_) {
    const LiveSegment& segment = *segments_.front();
    const bool being_read = segment.file->retire() && !mutant(Mutant::m21_trim_races_reader);
    retired.push_back({segment.file->header.number, segment.file->header.segment_bytes, being_read});
    segments_.pop_front();
  }
  if (!retired.empty()) pool_.retire(std::move(retired), [] {});
}

// Truncation, in this order, so that a crash anywhere leaves the old log or the new one:
//   drain         what is in flight is finished
//   lower_bound   the hard state no longer claims what will be cut
//   find_point    where the log stands at `to`
//   open_segment  a segment that starts at `to` becomes durable: what older ones hold at or behind `to` is
//                 void from here on (recovery case G), and no power cut brings it back
//   remove_newer  older segments that start at or behind `to` go
// Removing first would bring back what an earlier truncation cut: the segment that held it would be the
// last one again, with nothing behind it to say where it ends.
void LogOnDisk::truncate_suffix(Index to, Done done) {
  CHECK(!truncation_);
  CHECK(to >= first_index_ && to <= tail_.index, to, first_index_, tail_.index);
  mark_before_writing();
  truncation_ = Truncation{};  // emplace() finds no constructor under clang, as the struct is nested
  truncation_->to = to;
  truncation_->done = std::move(done);
  flush();
  advance_truncation();
}

void LogOnDisk::advance_truncation() {
  using Step = Truncation::Step;
  switch (truncation_->step) {
    case Step::drain:
      if (!writer_.idle()) return;  // group_durable() comes back here
      if (truncation_->to == tail_.index) {
        finish_truncation();
        return;
      }
      truncation_->step = Step::lower_bound;
      write_bound(std::min(bound_written_, truncation_->to), [this, alive = alive_] {
        if (*alive) find_truncation_point();
      });
      hard_state_.flush();
      return;
    case Step::open_segment:
      open_segment_at_truncation();
      return;
    case Step::remove_newer:
      if (writer_.idle()) remove_newer_segments();
      return;
    case Step::lower_bound:
    case Step::find_point:
      return;  // their completions go on
  }
}

void LogOnDisk::find_truncation_point(std::uint64_t delay_us) {
  truncation_->step = Truncation::Step::find_point;
  const Index to = truncation_->to;
  for (const auto& segment : segments_) {
    if (segment->file->header.start.index != to) continue;
    truncation_->point = segment->file->header.start;
    cut_segments();
    return;
  }
  auto place = std::make_shared<BatchPlace>();
  disk_.background(
      delay_us,
      [place, to, reader = std::make_shared<LogReader>(view())]() -> Result<void> {
        auto found = reader->find(Index(to.value - 1));
        if (!found) return std::unexpected(std::move(found.error()));
        *place = std::move(*found);
        return {};
      },
      [this, alive = alive_, place](Result<void> found) {
        if (!*alive) return;
        if (!found && found.error().code == Code::over_limit) {
          find_truncation_point(kRetryUs);
          return;
        }
        if (!found) {
          disk_.fail(found.error());
          return;
        }
        truncation_->point = point_behind(place->header);
        truncation_->end_position = place->position + frame_bytes(place->header.total_bytes());
        cut_segments();
      });
}

// In memory: from here on the log ends at `to`.
void LogOnDisk::cut_segments() {
  while (!segments_.empty() && segments_.back()->file->header.start.index >= truncation_->to) {
    truncation_->newer.push_back(segments_.back()->file->header.number);
    segments_.pop_back();
  }
  if (!segments_.empty() && truncation_->to < segments_.back()->end.index) {
    LiveSegment& last = *segments_.back();
    if (last.frozen) last.index = *last.frozen;
    last.index.cut(truncation_->to);
    last.frozen.reset();  // its footer is written again when the new segment is durable
    last.sealed = false;
    last.end = last.durable_end = truncation_->point;
    last.durable_position = truncation_->end_position;
  }
  cache_.cut(truncation_->to);
  tail_ = durable_ = truncation_->point;
  if (mutant(Mutant::h13_truncate_oldest_first)) {
    std::reverse(truncation_->newer.begin(), truncation_->newer.end());
    pool_.remove_in_order(std::exchange(truncation_->newer, {}), [this] { open_segment_at_truncation(); });
    return;
  }
  open_segment_at_truncation();
}

void LogOnDisk::open_segment_at_truncation() {
  truncation_->step = Truncation::Step::open_segment;
  if (pool_.front(kSegmentBytesMin) == nullptr) return;  // it is waited for: tick() comes back here
  truncation_->step = Truncation::Step::remove_newer;
  writer_.append_empty(open_next_segment(kSegmentBytesMin));
  flush();
  disk_.submit();
}

void LogOnDisk::remove_newer_segments() {
  pool_.remove_in_order(std::exchange(truncation_->newer, {}), [this] { finish_truncation(); });
}

void LogOnDisk::finish_truncation() {
  const Done done = std::move(truncation_->done);
  truncation_.reset();
  advance_settling();
  done();
}

}  // namespace walraft::wal
