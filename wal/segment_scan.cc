#include "wal/segment_scan.h"

#include <algorithm>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/batch.h"

namespace walraft::wal {

Result<ByteView> FileWindow::view(std::uint64_t position, std::size_t bytes) {
  if (position >= end_) return ByteView{};
  bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, end_ - position));
  if (!chunk_ || position < start_ || position + bytes > start_ + filled_) {
    if (auto filled = fill(position, std::max(bytes, read_ahead_)); !filled) {
      // A bad block inside the read-ahead must not hide what lies before it.
      if (auto exact = fill(position, bytes); !exact) return std::unexpected(std::move(exact.error()));
    }
  }
  const std::size_t skip = static_cast<std::size_t>(position - start_);
  if (skip >= filled_) return ByteView{};
  return ByteView(chunk_->bytes()).subspan(skip, std::min(bytes, filled_ - skip));
}

Result<void> FileWindow::fill(std::uint64_t position, std::size_t bytes) {
  const std::uint64_t start = align_down(position, kBlockBytes);
  const std::uint64_t stop = align_up(std::min<std::uint64_t>(position + bytes, end_), kBlockBytes);
  const auto wanted = static_cast<std::size_t>(stop - start);
  if (!chunk_ || chunk_->size() < wanted || chunk_.use_count() > 1) chunk_ = Chunk::make(wanted);
  filled_ = 0;
  start_ = start;
  auto got = file_.read(start, chunk_->bytes().first(wanted));
  if (!got) return std::unexpected(std::move(got.error()));
  filled_ = *got;
  return {};
}

void FileWindow::renew(std::size_t bytes) {
  chunk_.reset();
  filled_ = 0;
  read_ahead_ = bytes;
}

namespace {

class Scanner {
 public:
  Scanner(File& file, const SegmentHeader& header, std::optional<Index> stop)
      : header_(header), stop_(stop), end_(footer_position(header.segment_bytes)), window_(file, end_) {}

  SegmentScan run() {
    position_ = kFramesPosition;
    begin_run(header_.start, true);
    for (;;) {
      if (!at_stop() && read_frame()) continue;
      if (at_stop()) {
        stop("the next segment starts");
        end_run();
        scan_.goes_on = goes_on();
        break;
      }
      end_run();
      if (!resume()) break;
    }
    note_durable_before_behind();
    return std::move(scan_);
  }

 private:
  void begin_run(const LogPoint& at, bool chained) {
    run_ = {at, at, position_, position_, chained};
  }

  void end_run() {
    run_.to_position = position_;
    scan_.runs.push_back(run_);
    const bool inside_group = batches_missing_ > 0 && batches_missing_ != kUnknownBatches;
    scan_.damages.push_back({position_, what_, inside_group, {}});
  }

  // Takes the frame at position_ into the run. False, with what_ set, if there is none.
  bool read_frame() {
    auto head = window_.view(position_, kBatchHeaderBytes);
    if (!head) return stop(head.error().message);
    if (head->size() < kGroupHeaderBytes) return stop("the file or the segment ends");
    if (auto group = decode_group_header(*head)) return take_group(*group);
    if (batches_missing_ == 0) {
      // A group header stands here, or the end. If only the header is damaged, the batches behind it
      // prove themselves by the digest that continues ours.
      const LostGroupHeader lost{position_, run_.to.index};
      if (take_batch(position_ + kGroupHeaderBytes)) {
        scan_.lost_group_headers.push_back(lost);
        batches_missing_ = kUnknownBatches;
        return true;
      }
      return stop("no group starts here");
    }
    return take_batch(position_);
  }

  bool take_group(const GroupHeader& group) {
    if (mutant(Mutant::m16_recycled_tail_accepted)) {
      accept_group(group);
      return true;
    }
    if (group.incarnation != header_.incarnation) return stop("a group of an earlier use of the file");
    if (scan_.groups > 0 && group.number <= scan_.group_number) return stop("a group that was written before");
    if (group.first_index != run_.to.index) return stop("the group does not continue the log");
    accept_group(group);
    return true;
  }

  void accept_group(const GroupHeader& group) {
    scan_.group_number = group.number;
    scan_.durable_before = std::max(scan_.durable_before, group.durable_before);
    groups_.push_back({position_, group.durable_before});
    ++scan_.groups;
    batches_missing_ = group.batches;
    position_ += kGroupHeaderBytes;
  }

  // Takes the batch at `at`, which must continue the run; moves position_ behind it.
  bool take_batch(std::uint64_t at) {
    auto head = window_.view(at, kBatchHeaderBytes);
    if (!head) return stop(head.error().message);
    auto header = decode_batch_header(*head);
    if (!header) {
      if (header.error().code == Code::invalid && continues_digest(*head)) {
        scan_.newer_version = "byte " + std::to_string(at) + ": " + header.error().message;
      }
      return stop(header.error().message);
    }
    if (header->log_id != header_.log_id) return stop("a batch of another log");
    if (mutant(Mutant::m16_recycled_tail_accepted)) run_.to.index = header->index, run_.to.offset = header->base_offset;
    if (header->index != run_.to.index) return stop("the batch does not continue the log");
    if (!run_is_chained()) run_.from.offset = run_.to.offset = header->base_offset;
    if (header->base_offset != run_.to.offset) return stop("the batch does not continue the log");
    if (run_is_chained() && !continues_digest(*head) && !mutant(Mutant::m16_recycled_tail_accepted)) return stop("the batch's digest does not continue the log");
    const std::uint64_t bytes = header->total_bytes();
    auto whole = window_.view(at, static_cast<std::size_t>(bytes));
    if (!whole) return stop_inside(*header, at, whole.error().message);
    if (auto batch = decode_batch(*whole); !batch) return stop_inside(*header, at, batch.error().message);
    scan_.index.add(header->index, header->base_offset, header->term, header->timestamp_us, at);
    scan_.commit = std::max(scan_.commit, header->commit);
    ++scan_.batches;
    run_.to = point_behind(*header);
    position_ = at + frame_bytes(bytes);
    if (batches_missing_ > 0 && batches_missing_ != kUnknownBatches) --batches_missing_;
    return true;
  }

  // In every version the digest stands where it stands in ours. Nobody can write this into a record in
  // advance, so what an earlier use left in the file is never taken for a batch, of whatever release.
  bool continues_digest(ByteView head) const {
    const Digest digest = next_digest(run_.to.digest, head);
    return load_le<std::uint64_t>(head.data() + kBatchDigestPosition) == digest.low &&
           load_le<std::uint64_t>(head.data() + kBatchDigestPosition + 8) == digest.high;
  }

  bool at_stop() const { return stop_ && run_.to.index >= *stop_; }

  // Looks one batch further, behind a group header or not, and takes nothing.
  bool goes_on() {
    for (const std::uint64_t at : {position_, position_ + kGroupHeaderBytes}) {
      auto head = window_.view(at, kBatchHeaderBytes);
      if (!head) continue;
      if (auto header = decode_batch_header(*head); header && header->index == run_.to.index) return true;
    }
    return false;
  }

  // The digest of the run's end is known: from the segment header, or from a batch of the run.
  bool run_is_chained() const { return run_.chained || run_.to.index != run_.from.index; }

  bool stop(std::string why) {
    what_ = std::move(why);
    skip_to_ = 0;
    return false;
  }

  // The header is good, the body is not: what follows is still in its place.
  bool stop_inside(const BatchHeader& header, std::uint64_t at, std::string why) {
    what_ = "batch " + std::to_string(header.index.value) + ": " + why;
    skip_to_ = at + frame_bytes(header.total_bytes());
    skipped_ = point_behind(header);
    return false;
  }

  // Finds the next frame to be believed behind the damage.
  bool resume() {
    if (skip_to_ != 0 && skip_to_ < end_) {
      const std::uint64_t damaged_at = position_;
      const std::uint32_t missing = batches_missing_;
      position_ = skip_to_;
      begin_run(skipped_, true);
      if (batches_missing_ > 0 && batches_missing_ != kUnknownBatches) --batches_missing_;
      if (read_frame()) return true;
      position_ = damaged_at;
      batches_missing_ = missing;
    }
    return resume_at_group();
  }

  bool resume_at_group() {
    std::uint64_t at = align_down(position_, kFrameAlignment) + kFrameAlignment;
    while (at + kGroupHeaderBytes <= end_) {
      const std::uint64_t block_end = align_down(at, kBlockBytes) + kBlockBytes;
      // An unreadable block is passed over; of the last one only what the file still has is looked at.
      auto block = window_.view(at, static_cast<std::size_t>(block_end - at) + kGroupHeaderBytes);
      if (!block) block = window_.view(at, static_cast<std::size_t>(block_end - at));  // it may be the next one
      if (block) {
        for (std::size_t i = 0; i + kGroupHeaderBytes <= block->size() && at + i < block_end; i += kFrameAlignment) {
          if (load_le<std::uint32_t>(block->data() + i) != kGroupMagic) continue;
          if (const auto group = decode_group_header(block->subspan(i)); group && is_later(*group)) {
            resume_with(*group, at + i);
            return true;
          }
        }
      }
      at = block_end;
    }
    return false;
  }

  // Groups at or behind the stop were truncated.
  bool is_later(const GroupHeader& group) const {
    return group.incarnation == header_.incarnation && (scan_.groups == 0 || group.number > scan_.group_number) &&
           group.first_index >= run_.to.index && (!stop_ || group.first_index < *stop_);
  }

  void resume_with(const GroupHeader& group, std::uint64_t at) {
    position_ = at;
    // Offset and digest of the new run come from its first batch; only where no index was lost is
    // the end of the last run still the place to go on from.
    const LogPoint last = run_.to;
    if (group.first_index == last.index) {
      begin_run(last, run_is_chained());
    } else {
      LogPoint start;
      start.index = group.first_index;
      begin_run(start, false);
    }
    accept_group(group);
  }

  void note_durable_before_behind() {
    for (Damage& damage : scan_.damages) {
      for (const GroupPlace& group : groups_) {
        if (group.position >= damage.position) {
          damage.durable_before_behind = std::max(damage.durable_before_behind, group.durable_before);
        }
      }
    }
  }

  struct GroupPlace {
    std::uint64_t position;
    Index durable_before;
  };
  static constexpr std::uint32_t kUnknownBatches = UINT32_MAX;  // behind a damaged group header

  const SegmentHeader& header_;
  const std::optional<Index> stop_;
  const std::uint64_t end_;
  FileWindow window_;
  SegmentScan scan_;
  std::vector<GroupPlace> groups_;
  IntactRun run_;
  std::uint64_t position_ = 0;
  std::uint32_t batches_missing_ = 0;  // that the last group header promised and are not read yet
  std::uint64_t skip_to_ = 0;
  LogPoint skipped_;
  std::string what_;
};

}  // namespace

SegmentScan scan_segment(File& file, const SegmentHeader& header, std::optional<Index> stop) {
  return Scanner(file, header, stop).run();
}

}  // namespace walraft::wal
