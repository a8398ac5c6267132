#include "wal/log_view.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "wal/base/check.h"
#include "wal/segment_scan.h"

namespace walraft::wal {
namespace {

Offset position_of(const LogPoint& point, Offset) { return point.offset; }
Index position_of(const LogPoint& point, Index) { return point.index; }
Offset end_of(const BatchHeader& header, Offset) { return header.next_offset(); }
Index end_of(const BatchHeader& header, Index) { return header.next_index(); }

// Walks the batches of one segment, from a frame on. Stops at the end or at damage.
class BatchWalk {
 public:
  BatchWalk(const SegmentView& segment, File& file, std::uint64_t position, Index index, std::uint64_t end_position)
      : header_(segment.file->header),
        window_(file, end_position),
        position_(position),
        end_position_(end_position),
        expected_(index) {}

  // The header of the next batch; bytes() then gives all of it, step() goes behind it.
  // Nothing at the end, `corrupt` at damage.
  Result<std::optional<BatchHeader>> next() {
    for (;;) {
      if (position_ >= end_position_) return std::nullopt;
      auto head = window_.view(position_, kBatchHeaderBytes);
      if (!head) return damaged(head.error().message);
      if (const auto group = decode_group_header(*head); group && group->incarnation == header_.incarnation) {
        position_ += kGroupHeaderBytes;
        continue;
      }
      auto batch = decode_batch_header(*head);
      if (!batch) {
        // Perhaps only a group header is damaged; then the batch behind it is the one we expect. It may
        // stand behind another group header: that of a group without batches, or whose batches are void.
        head = window_.view(position_ + kGroupHeaderBytes, kBatchHeaderBytes);
        if (!head) return damaged(head.error().message);
        auto behind = decode_batch_header(*head);
        if (!behind || behind->index != expected_) return damaged(batch.error().message);
        position_ += kGroupHeaderBytes;
        batch = std::move(behind);
      }
      if (batch->index != expected_ || batch->log_id != header_.log_id) {
        return damaged("batch " + std::to_string(batch->index.value) + " stands where " +
                       std::to_string(expected_.value) + " belongs");
      }
      bytes_ = static_cast<std::size_t>(batch->total_bytes());
      return *batch;
    }
  }

  Result<ByteView> bytes() {
    auto whole = window_.view(position_, bytes_);
    if (!whole) return damaged(whole.error().message);
    if (auto batch = decode_batch(*whole); !batch) return damaged(batch.error().message);
    return whole->first(bytes_);
  }

  void step() {
    position_ += frame_bytes(bytes_);
    expected_ = expected_ + 1;
  }

  std::uint64_t position() const { return position_; }
  FileWindow& window() { return window_; }

 private:
  std::unexpected<Error> damaged(const std::string& what) const {
    return error(Code::corrupt, segment_name(header_.number) + ", byte " + std::to_string(position_) + ": " + what);
  }

  const SegmentHeader& header_;
  FileWindow window_;
  std::uint64_t position_;
  const std::uint64_t end_position_;
  Index expected_;
  std::size_t bytes_ = 0;
};

struct WalkStart {
  std::uint64_t position;
  Index index;
  std::uint64_t end_position;
};

template <class Position>
WalkStart start_of(const SegmentView& segment, Position from) {
  const IndexEntry* entry = segment.index->find(from);
  if (entry == nullptr) return {kFramesPosition, segment.start().index, segment.end_position};
  return {entry->position, entry->index, segment.end_position};
}

// Where the batch that holds `from` can be read in spite of damage before it; or the extent of the
// damage that it lies in.
template <class Position>
std::optional<WalkStart> start_behind_damage(const SegmentView& segment, File& file, Position from, Hole& hole) {
  const SegmentScan scan = scan_segment(file, segment.file->header, segment.end.index);
  hole = {segment.start().index, segment.end.index, segment.start().offset, segment.end.offset};
  for (const IntactRun& run : scan.runs) {
    if (run.from.index == run.to.index) continue;
    if (from < position_of(run.from, from)) {
      hole.to = run.from.index;
      hole.to_offset = run.from.offset;
      break;
    }
    if (from < position_of(run.to, from)) {
      const IndexEntry* entry = scan.index.find(from);
      if (entry != nullptr && entry->index > run.from.index) return WalkStart{entry->position, entry->index, run.to_position};
      return WalkStart{run.from_position, run.from.index, run.to_position};
    }
    hole.from = run.to.index;
    hole.from_offset = run.to.offset;
  }
  return std::nullopt;
}

constexpr std::size_t kFirstWindowBytes = 64u << 10;
constexpr std::size_t kWindowBytesMax = 4u << 20;

}  // namespace

template <class Position>
const SegmentView* LogReader::segment_holding(Position from) const {
  const auto it = std::partition_point(view_.segments.begin(), view_.segments.end(),
                                       [&](const SegmentView& s) { return position_of(s.end, from) <= from; });
  return it == view_.segments.end() ? nullptr : &*it;
}

std::unexpected<Error> LogReader::lost_before(const SegmentView& segment) {
  const LogPoint before = &segment == view_.segments.data() ? LogPoint{} : (&segment - 1)->end;
  hole_ = {before.index, segment.start().index, before.offset, segment.start().offset};
  return error(Code::data_loss,
               "the segments before " + segment_name(segment.file->header.number) + " are lost; offsets " +
                   std::to_string(hole_.from_offset.value) + " to " + std::to_string(hole_.to_offset.value - 1) +
                   " are unreadable on this disk",
               hole_.from_offset.value);
}

template <class Position>
Result<void> LogReader::read_from(Position from, std::size_t bytes_max, std::vector<BatchRef>& out) {
  const SegmentView* segment = segment_holding(from);
  if (segment == nullptr) return {};
  if (from < position_of(segment->start(), from)) return lost_before(*segment);
  const auto file = segment->file->open();
  if (!file) return std::unexpected(file.error());
  WalkStart start = start_of(*segment, from);
  const std::size_t first = out.size();
  std::size_t bytes = 0;
  for (int attempt = 0;; ++attempt) {
    BatchWalk walk(*segment, **file, start.position, start.index, start.end_position);
    walk.window().renew(std::clamp(bytes_max, kFirstWindowBytes, kWindowBytesMax));
    std::string damage;
    while (bytes < bytes_max) {
      // One window a call: what lies across its end is read from its start the next time.
      if (bytes > 0 && !walk.window().holds(walk.position(), kGroupHeaderBytes + kBatchHeaderBytes)) return {};
      auto header = walk.next();
      if (!header) {
        damage = std::move(header.error().message);
        break;
      }
      if (!*header || (*header)->index >= view_.end_index) return {};
      if (from < end_of(**header, from)) {
        if (bytes > 0 && !walk.window().holds(walk.position(), static_cast<std::size_t>((*header)->total_bytes()))) return {};
        auto whole = walk.bytes();
        if (!whole) {
          damage = std::move(whole.error().message);
          break;
        }
        if (bytes > 0 && bytes + whole->size() > bytes_max) return {};
        bytes += whole->size();
        out.push_back({walk.window().share(), *whole, (*header)->index, (*header)->base_offset, (*header)->record_count});
      }
      walk.step();
    }
    if (damage.empty() || out.size() > first) return {};  // damage behind good batches is told at the next read
    auto behind = attempt == 0 ? start_behind_damage(*segment, **file, from, hole_) : std::nullopt;
    if (!behind) {
      return error(Code::data_loss,
                   damage + "; offsets " + std::to_string(hole_.from_offset.value) + " to " +
                       std::to_string(hole_.to_offset.value - 1) + " are unreadable on this disk",
                   hole_.from_offset.value);
    }
    start = *behind;
  }
}

Result<void> LogReader::read(Offset from, std::size_t bytes_max, std::vector<BatchRef>& out) {
  if (from < view_.first_offset) {
    return error(Code::trimmed,
                 "offset " + std::to_string(from.value) + " was trimmed; the first kept is " +
                     std::to_string(view_.first_offset.value),
                 view_.first_offset.value);
  }
  if (from > view_.end_offset) {
    return error(Code::invalid, "offset " + std::to_string(from.value) + " lies past the end, " +
                                    std::to_string(view_.end_offset.value));
  }
  return read_from(from, bytes_max, out);
}

Result<void> LogReader::read(Index from, std::size_t bytes_max, std::vector<BatchRef>& out) {
  if (from > view_.end_index) {
    return error(Code::invalid, "batch " + std::to_string(from.value) + " lies past the end, " +
                                    std::to_string(view_.end_index.value));
  }
  return read_from(from, bytes_max, out);
}

Result<Offset> LogReader::find_time(std::int64_t timestamp_us) {
  const auto segment = std::partition_point(view_.segments.begin(), view_.segments.end(), [&](const SegmentView& s) {
    return s.end.timestamp_us < timestamp_us;
  });
  if (segment == view_.segments.end()) return view_.end_offset;
  const auto file = segment->file->open();
  if (!file) return std::unexpected(file.error());
  const IndexEntry* entry = segment->index->find_time(timestamp_us);
  const WalkStart start = entry == nullptr ? WalkStart{kFramesPosition, segment->start().index, segment->end_position}
                                           : WalkStart{entry->position, entry->index, segment->end_position};
  BatchWalk walk(*segment, **file, start.position, start.index, start.end_position);
  for (;;) {
    auto header = walk.next();
    if (!header) {
      return error(Code::data_loss, std::move(header.error().message), segment->start().offset.value);
    }
    if (!*header) return std::max(segment->end.offset, view_.first_offset);
    if ((*header)->timestamp_us >= timestamp_us) return std::max((*header)->base_offset, view_.first_offset);
    walk.step();
  }
}

Result<BatchPlace> LogReader::find(Index index) {
  const SegmentView* segment = segment_holding(index);
  if (segment == nullptr) return error(Code::invalid, "batch " + std::to_string(index.value) + " lies past the end");
  if (index < segment->start().index) {
    const bool is_trimmed = segment == view_.segments.data() && segment->start().offset <= view_.first_offset;
    if (!is_trimmed) return lost_before(*segment);
    return error(Code::trimmed, "batch " + std::to_string(index.value) + " is no longer kept",
                 view_.first_offset.value);
  }
  const auto file = segment->file->open();
  if (!file) return std::unexpected(file.error());
  WalkStart start = start_of(*segment, index);
  for (int attempt = 0;; ++attempt) {
    BatchWalk walk(*segment, **file, start.position, start.index, start.end_position);
    walk.window().renew(kFirstWindowBytes);
    std::string damage;
    for (;;) {
      auto header = walk.next();
      if (!header) {
        damage = std::move(header.error().message);
        break;
      }
      if (!*header) break;
      if ((*header)->index == index) return BatchPlace{**header, segment->file->header.number, walk.position()};
      walk.step();
    }
    auto behind = attempt == 0 ? start_behind_damage(*segment, **file, index, hole_) : std::nullopt;
    if (!behind) return error(Code::data_loss, std::move(damage), hole_.from_offset.value);
    start = *behind;
  }
}

Result<LogPoint> LogReader::point(Index at) {
  for (const SegmentView& segment : view_.segments) {
    if (segment.start().index == at) return segment.start();
    if (segment.end.index == at) return segment.end;
    if (segment.end.index > at) break;
  }
  if (at > view_.end_index || view_.segments.empty()) {
    return error(Code::invalid,
                 "batch " + std::to_string(at.value) + " lies past the end, " + std::to_string(view_.end_index.value));
  }
  auto before = find(Index(at.value - (at > Index() ? 1 : 0)));
  if (!before) return std::unexpected(std::move(before.error()));
  return point_behind(before->header);
}

}  // namespace walraft::wal
