#include "wal/recovery.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/batch.h"
#include "wal/chunk.h"
#include "wal/segment_scan.h"

namespace walraft::wal {
namespace {

constexpr bool in_order_of_letters() {
  for (std::size_t i = 0; i < kRecoveryTable.size(); ++i) {
    if (static_cast<std::size_t>(kRecoveryTable[i].letter) != 'A' + i) return false;
  }
  return true;
}
static_assert(in_order_of_letters());

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::string range_text(Index from, Index to) {
  return "batches " + std::to_string(from.value) + " to " + std::to_string(to.value - 1);
}

// A file of the directory whose header could be read.
struct UsedSegment {
  std::shared_ptr<SegmentFile> file;
  std::optional<SegmentFooter> footer;
  std::optional<SegmentScan> scan;
};

class Recovery {
 public:
  Recovery(std::shared_ptr<Directory> directory, const RecoveryInput& input)
      : shared_(std::move(directory)),
        directory_(*shared_),
        input_(input),
        open_files_(input.open_files ? input.open_files : std::make_shared<OpenFiles>()) {}

  Result<RecoveredLog> run() {
    if (auto read = read_headers(); !read) return std::unexpected(std::move(read.error()));
    drop_superseded();
    drop_trimmed();
    if (auto read = read_contents(); !read) return std::unexpected(std::move(read.error()));
    settle();
    log_.report.segments = log_.segments.size();
    return std::move(log_);
  }

 private:
  Result<void> read_headers() {
    if (!input_.read_only) {
      if (auto synced = directory_.sync(); !synced) return synced;
    }
    auto entries = directory_.list();
    if (!entries) return std::unexpected(std::move(entries.error()));
    for (const DirectoryEntry& entry : *entries) {
      const auto number = segment_number(entry.name);
      if (!number || entry.is_directory) continue;
      log_.number_next = std::max(log_.number_next, *number + 1);
      if (auto read = read_header(*number, entry.name); !read) return read;
    }
    return {};
  }

  Result<void> read_header(std::uint64_t number, const std::string& name) {
    const Access access = input_.read_only ? Access::read : input_.access;
    auto file = directory_.open(name, access);
    if (!file) return std::unexpected(std::move(file.error()));
    const auto blocks = Chunk::make(kFramesPosition);
    const MutableBytes both = blocks->bytes().first(kFramesPosition);
    std::fill(both.begin(), both.end(), std::byte{0});
    bool readable = true;
    // Block by block: an unreadable copy must not hide the other.
    for (std::size_t at = 0; at < kFramesPosition; at += kBlockBytes) {
      readable = (*file)->read(at, both.subspan(at, kBlockBytes)).has_value() && readable;
    }
    if (readable && all_zero(both)) {
      prepared_.push_back(number);
      return {};
    }
    auto header = decode_segment_header(both.first(kBlockBytes));
    if (!header && header.error().code == Code::corrupt) {
      auto second = decode_segment_header(both.last(kBlockBytes));
      if (second || second.error().code != Code::corrupt) header = std::move(second);
    }
    if (!header && header.error().code == Code::corrupt) {
      headless_.push_back(number);
      return {};
    }
    if (!header) return std::unexpected(std::move(header.error()).at(name).at(directory_.path()));
    if (header->cluster != input_.cluster || header->log != input_.log) {
      return error(Code::denied, directory_.path() + "/" + name + " belongs to log " + to_string(header->log) +
                                     " of cluster " + to_string(header->cluster) + "; expected log " +
                                     to_string(input_.log) + " of cluster " + to_string(input_.cluster) +
                                     ". Move the file back to where it came from.");
    }
    const LogId id = input_.log_id != LogId() || used_.empty() ? input_.log_id : used_.front().file->header.log_id;
    if (id != LogId() && header->log_id != id) {
      return error(Code::denied, directory_.path() + "/" + name + " says that log " + to_string(header->log) +
                                     " has the id " + std::to_string(header->log_id.value) + "; expected " +
                                     std::to_string(id.value) + ". Move the file back to where it came from.");
    }
    if (header->number != number) {
      return error(Code::corrupt, directory_.path() + "/" + name + " holds segment " +
                                      std::to_string(header->number) + ". Give it back its name: " +
                                      segment_name(header->number));
    }
    used_.push_back({std::make_shared<SegmentFile>(*header, shared_, access, open_files_), {}, {}});
    return {};
  }

  // A truncation opened a segment where the log was cut: older ones that start there or later are void.
  void drop_superseded() {
    for (std::size_t i = used_.size(); i-- > 1;) {
      const Index start = used_[i].file->header.start.index;
      while (i > 0 && used_[i - 1].file->header.start.index >= start) {
        const SegmentHeader& header = used_[i - 1].file->header;
        note(RecoveryCase::superseded_suffix, header.number, 0, header.start.index, {},
             "the log was truncated before its start");
        log_.unused.push_back(header.number);
        used_.erase(used_.begin() + static_cast<std::ptrdiff_t>(--i));
      }
    }
  }

  // Trim went before unlink: what lies wholly below the trim point is left over from a crash.
  void drop_trimmed() {
    const Index trim = input_.bounds.trim_index;
    while (used_.size() > 1 && used_[1].file->header.start.index <= trim) {
      const std::uint64_t number = used_.front().file->header.number;
      note(RecoveryCase::leftover_of_trim, number, 0, {}, {}, "it lies wholly below the trim point");
      log_.unused.push_back(number);
      used_.erase(used_.begin());
    }
    if (used_.empty()) return;
    const std::uint64_t first = used_.front().file->header.number;
    const bool starts_at_trim = used_.front().file->header.start.index <= trim;
    std::erase_if(headless_, [&](std::uint64_t number) {
      if (number > first || !starts_at_trim) return false;
      note(RecoveryCase::leftover_of_trim, number, 0, {}, {}, "its header is gone and it lies below the trim point");
      log_.unused.push_back(number);
      return true;
    });
  }

  // Footers of all but the last segment; frames of the last one and of those without a good footer.
  Result<void> read_contents() {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      UsedSegment& segment = used_[i];
      const bool last = i + 1 == used_.size();
      const Index next = last ? Index() : used_[i + 1].file->header.start.index;
      auto file = segment.file->open();
      if (!file) return std::unexpected(std::move(file.error()));
      read_footer(segment, **file, last ? std::nullopt : std::optional(next));
      if (!segment.footer) {
        if (!input_.read_only) {
          if (auto synced = (*file)->sync(); !synced) return synced;
          (*file)->drop_cache();
        }
        segment.scan = scan_segment(**file, segment.file->header, last ? std::nullopt : std::optional(next));
        ++log_.report.segments_scanned;
        if (!segment.scan->newer_version.empty()) {
          return error(Code::invalid, "segment " + segment_name(segment.file->header.number) + " of " +
                                          directory_.path() + ": " + segment.scan->newer_version);
        }
      }
      commit_ = std::max(commit_, segment.footer ? segment.footer->commit : segment.scan->commit);
      durable_ = std::max({durable_, segment.file->header.start.index,
                           segment.scan ? segment.scan->durable_before : Index()});
    }
    durable_ = std::max({durable_, input_.bounds.durable_bound, input_.bounds.trim_index});
    commit_ = std::max(commit_, input_.bounds.commit_bound);
    if (input_.durable_is_commit) commit_ = std::max(commit_, durable_);
    log_.report.commit = commit_;
    log_.report.durable_bound = durable_;
    return {};
  }

  // `next` is where the next segment starts. The last one should have no footer: it is written when the
  // next segment is in use.
  void read_footer(UsedSegment& segment, File& file, std::optional<Index> next) {
    const SegmentHeader& header = segment.file->header;
    const std::uint64_t at = footer_position(header.segment_bytes);
    const auto bytes = static_cast<std::size_t>(header.segment_bytes - at);
    const auto chunk = Chunk::make(bytes);
    auto got = file.read(at, chunk->bytes().first(bytes));
    std::string why;
    if (!got) {
      why = got.error().message;
    } else if (auto footer = decode_footer(chunk->bytes().first(*got), header.segment_bytes); !footer) {
      why = footer.error().message;
    } else if (footer->incarnation != header.incarnation) {
      why = "the footer is of an earlier use of the file";
    } else if (next && footer->end.index > *next) {
      why = "the footer reaches behind the start of the next segment";
    } else {
      segment.footer = std::move(*footer);
      // Nobody writes it any more: from now on it is read through the page cache.
      segment.file->seal();
      return;
    }
    if (next) note(RecoveryCase::footer_damaged, header.number, at, {}, {}, why);
  }

  void settle() {
    if (used_.empty()) {
      settle_nothing();
      return;
    }
    end_ = used_.front().file->header.start;
    settle_beginning();
    for (std::size_t i = 0; i < used_.size() && !log_.report.suspect; ++i) {
      const bool last = i + 1 == used_.size();
      const LogPoint* next = last ? nullptr : &used_[i + 1].file->header.start;
      settle_segment(used_[i], next);
      if (!last && !log_.report.suspect) join(used_[i].file->header.number, *next);
    }
    settle_end();
    settle_headless_end();
    settle_prepared();
  }

  void settle_nothing() {
    if (durable_ > Index() || (input_.has_slot && prepared_.empty() && headless_.empty())) {
      suspect(RecoveryCase::all_lost, 0, 0, Index(), durable_, "no segment is left");
    } else {
      end_.digest = first_digest(input_.log);
    }
    settle_headless_end();
    settle_prepared();
  }

  // What the last segment in use cannot show by itself.
  void settle_end() {
    if (log_.report.suspect || mutant(Mutant::m15_truncate_on_checksum_error)) return;
    const RecoveredSegment& last = log_.segments.back();
    const std::uint64_t number = last.file->header.number;
    if (last.sealed) {
      suspect(RecoveryCase::rot_at_the_end, number, last.end_position, end_.index, durable_,
              "its footer says that another segment follows, which is missing");
    } else if (durable_ > end_.index) {
      suspect(RecoveryCase::rot_at_the_end, number, last.end_position, end_.index, durable_, "the rest is missing");
    }
  }

  void settle_beginning() {
    const HardState& bounds = input_.bounds;
    const LogPoint& start = used_.front().file->header.start;
    if (start.index <= bounds.trim_index) return;
    keep_prepared(0, used_.front().file->header.number);
    lose(RecoveryCase::first_segment_missing, used_.front().file->header.number, 0,
         {bounds.trim_index, start.index, bounds.trim_offset, start.offset}, "the segments before it are missing");
  }

  void settle_segment(UsedSegment& segment, const LogPoint* next) {
    RecoveredSegment recovered;
    recovered.file = segment.file;
    if (segment.footer) {
      recovered.index.assign(std::move(segment.footer->entries), std::move(segment.footer->runs));
      recovered.sealed = true;
      recovered.end_position = segment.footer->end_position;
      recovered.commit = segment.footer->commit;
      end_ = segment.footer->end;
    } else {
      recovered.commit = segment.scan->commit;
      settle_scan(*segment.scan, segment.file->header, next, recovered);
    }
    recovered.end = end_;
    log_.segments.push_back(std::move(recovered));
  }

  // Walks the intact runs of a segment; at each damage the table decides.
  void settle_scan(SegmentScan& scan, const SegmentHeader& header, const LogPoint* next, RecoveredSegment& out) {
    for (const LostGroupHeader& lost : scan.lost_group_headers) {
      note(RecoveryCase::group_header_rot, header.number, lost.position, lost.first_index, {},
           "a group header is damaged; its batches are intact");
    }
    out.group_number = scan.group_number;
    for (std::size_t i = 0; i < scan.runs.size(); ++i) {
      end_ = scan.runs[i].to;
      out.end_position = scan.runs[i].to_position;
      if (next && end_.index == next->index) break;
      const Damage& damage = scan.damages[i];
      const IntactRun* resumed = next_run(scan, i);
      if (next && resumed && resumed->from.index >= next->index) resumed = nullptr;  // truncated once
      const Index durable = std::max({damage.durable_before_behind, input_.bounds.durable_bound,
                                      next ? next->index : Index()});
      if (durable <= end_.index || mutant(Mutant::m15_truncate_on_checksum_error)) {
        cut(header, damage, scan);
        break;
      }
      if (!resumed) {
        if (!next) suspect(RecoveryCase::rot_at_the_end, header.number, damage.position, end_.index, durable, damage.what);
        break;  // before another segment: join() finds the missing part
      }
      if (resumed->from.index > end_.index) {
        const bool committed = resumed->from.index <= commit_;
        lose(committed ? RecoveryCase::rot_below_commit : RecoveryCase::rot_at_the_end, header.number, damage.position,
             {end_.index, resumed->from.index, end_.offset, resumed->from.offset}, damage.what);
        if (log_.report.suspect) break;
      }
      i = static_cast<std::size_t>(resumed - scan.runs.data()) - 1;
    }
    scan.index.cut(end_.index);
    if (next && scan.goes_on && end_.index == next->index) {
      note(RecoveryCase::superseded_suffix, header.number, out.end_position, end_.index, {},
           "batches behind the start of the next segment were truncated");
    }
    out.index = std::move(scan.index);
  }

  // The next run behind damage i that holds a batch.
  static const IntactRun* next_run(const SegmentScan& scan, std::size_t i) {
    for (std::size_t j = i + 1; j < scan.runs.size(); ++j) {
      if (scan.runs[j].to.index > scan.runs[j].from.index) return &scan.runs[j];
    }
    return nullptr;
  }

  void cut(const SegmentHeader& header, const Damage& damage, const SegmentScan& scan) {
    if (!damage.inside_group) return;
    std::uint64_t until = damage.position;
    for (const IntactRun& run : scan.runs) until = std::max(until, run.to_position);
    log_.report.cut_bytes += until - damage.position;
    note(RecoveryCase::torn_group, header.number, damage.position, end_.index, {}, damage.what);
  }

  // `end_` is where the segment before ended; `next` is where the one behind starts.
  void join(std::uint64_t number, const LogPoint& next) {
    if (end_.index == next.index) {
      if (end_ != next) {
        suspect(RecoveryCase::broken_chain, number, 0, end_.index, {}, "its end is not what the next segment continues");
      }
      return;
    }
    const bool was_prepared = keep_prepared(number, number_behind(number));
    const bool header_lost = was_prepared || std::any_of(headless_.begin(), headless_.end(), [&](std::uint64_t h) {
      return h > number && h < number_behind(number);
    });
    const bool missing = !header_lost && log_.segments.back().sealed;
    const auto letter = header_lost ? RecoveryCase::header_lost_in_the_middle
                        : missing   ? RecoveryCase::segment_missing
                                    : RecoveryCase::short_segment;
    lose(letter, number, log_.segments.back().end_position, {end_.index, next.index, end_.offset, next.offset},
         header_lost ? "the segment behind it has lost its header"
         : missing   ? "the segment behind it is missing"
                     : "it ends before the next segment starts");
    if (!log_.report.suspect) end_ = next;
  }

  std::uint64_t number_behind(std::uint64_t number) const {
    for (const UsedSegment& segment : used_) {
      if (segment.file->header.number > number) return segment.file->header.number;
    }
    return UINT64_MAX;
  }

  // A file between two segments where batches are missing was not prepared: its header is gone, or all
  // of it. It is left as it is. Whether there was one.
  bool keep_prepared(std::uint64_t above, std::uint64_t below) {
    return std::erase_if(prepared_, [&](std::uint64_t number) { return number > above && number < below; }) > 0;
  }

  // How far the groups in a file without a header say that the log was durable; 0 if it holds none of
  // this log's end. The first group of a segment stands at a known place and knows where the log was
  // then, which no earlier use of the file can; the others know its incarnation, which no record can.
  Index durable_claimed(std::uint64_t number) {
    auto file = directory_.open(segment_name(number), input_.read_only ? Access::read : input_.access);
    if (!file) return {};
    auto size = (*file)->size();
    if (!size) return {};
    FileWindow window(**file, *size);
    auto frames = window.view(kFramesPosition, kBlockBytes);
    if (!frames) return {};
    const auto first = decode_group_header(*frames);
    if (!first || first->first_index < end_.index) return {};
    Index claimed;
    for (std::uint64_t at = kFramesPosition; at < *size; at += kBlockBytes) {
      auto block = window.view(at, kBlockBytes + kGroupHeaderBytes);
      if (!block) continue;
      for (std::size_t i = 0; i + kGroupHeaderBytes <= block->size() && i < kBlockBytes; i += kFrameAlignment) {
        const auto group = decode_group_header(block->subspan(i));
        if (group && group->incarnation == first->incarnation) claimed = std::max(claimed, group->durable_before);
      }
    }
    return claimed;
  }

  // Files without a good header behind the last segment in use.
  void settle_headless_end() {
    const std::uint64_t last = used_.empty() ? 0 : used_.back().file->header.number;
    for (const std::uint64_t number : headless_) {
      if (number < last) continue;
      const Index durable = std::max(durable_, durable_claimed(number));
      if (log_.report.suspect || durable > end_.index) {
        suspect(RecoveryCase::header_lost_at_the_end, number, 0, end_.index, durable, "both copies of its header are damaged");
      } else {
        note(RecoveryCase::header_never_written, number, 0, {}, {}, "its first write was torn");
        log_.unused.push_back(number);
      }
    }
  }

  void settle_prepared() {
    const std::uint64_t last = used_.empty() ? 0 : used_.back().file->header.number;
    for (const std::uint64_t number : prepared_) {
      const Index durable = number > last ? durable_claimed(number) : Index();
      if (durable > end_.index) {
        suspect(RecoveryCase::header_lost_at_the_end, number, 0, end_.index, durable, "its header is gone");
      } else {
        log_.unused.push_back(number);
      }
    }
    std::sort(log_.unused.begin(), log_.unused.end());
  }

  // A range that was acknowledged is not there: a hole if all of it is known to be committed.
  void lose(RecoveryCase letter, std::uint64_t number, std::uint64_t position, const Hole& range, const std::string& why) {
    if (range.to > commit_) {
      suspect(letter, number, position, range.from, range.to, why);
      return;
    }
    log_.report.holes.push_back(range);
    add({letter, Verdict::hole, number, position, range.from, range.to,
         why + "; " + range_text(range.from, range.to) + " are unreadable here"});
  }

  void suspect(RecoveryCase letter, std::uint64_t number, std::uint64_t position, Index from, Index to,
               const std::string& why) {
    log_.report.suspect = true;
    add({letter, Verdict::suspect, number, position, from, to,
         why + "; the log ends at batch " + std::to_string(from.value) +
             (to > from ? " but was acknowledged up to " + std::to_string(to.value) : "")});
  }

  void note(RecoveryCase letter, std::uint64_t number, std::uint64_t position, Index from, Index to,
            const std::string& why) {
    add({letter, recovery_rule(letter).verdict, number, position, from, to, why});
  }

  void add(Finding finding) {
    if (finding.segment != 0) {
      finding.text = segment_name(finding.segment) + ", byte " + std::to_string(finding.position) + ": " + finding.text;
    }
    log_.report.findings.push_back(std::move(finding));
  }

  const std::shared_ptr<Directory> shared_;
  Directory& directory_;
  const RecoveryInput& input_;
  const std::shared_ptr<OpenFiles> open_files_;
  std::vector<UsedSegment> used_;
  std::vector<std::uint64_t> prepared_, headless_;
  LogPoint end_;
  Index commit_, durable_;
  RecoveredLog log_;
};

}  // namespace

const RecoveryRule& recovery_rule(RecoveryCase letter) {
  const auto i = static_cast<std::size_t>(letter) - 'A';
  CHECK(i < kRecoveryTable.size(), static_cast<int>(letter));
  return kRecoveryTable[i];
}

Result<RecoveredLog> recover_log(std::shared_ptr<Directory> directory, const RecoveryInput& input) {
  return Recovery(std::move(directory), input).run();
}

}  // namespace walraft::wal
