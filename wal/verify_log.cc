// One log for wal/verify.h: recovery's judgement, and a full reading of what recovery leaves unread.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "wal/chunk.h"
#include "wal/segment_scan.h"
#include "wal/verify.h"

namespace walraft::wal {
namespace {

// Reads through to `file`, and tells how far the verification is.
class CountedFile final : public File {
 public:
  CountedFile(File& file, const VerifyOptions& options, VerifyProgress& progress)
      : file_(file), options_(options), progress_(progress) {}

  Result<std::size_t> read(std::uint64_t position, MutableBytes into) override {
    auto got = file_.read(position, into);
    progress_.done_bytes += got.value_or(0);
    options_.progress(progress_);
    return got;
  }
  Result<void> write(std::uint64_t, ByteView) override { return error(Code::denied, "this file is only read"); }
  Result<void> sync() override { return error(Code::denied, "this file is only read"); }
  Result<void> allocate(std::uint64_t) override { return error(Code::denied, "this file is only read"); }
  Result<void> truncate(std::uint64_t) override { return error(Code::denied, "this file is only read"); }
  Result<std::uint64_t> size() override { return file_.size(); }
  void drop_cache() override {}
  int descriptor() const override { return -1; }

 private:
  File& file_;
  const VerifyOptions& options_;
  VerifyProgress& progress_;
};

// The next run behind run i that holds a batch; null if none does.
const IntactRun* next_with_batches(const SegmentScan& scan, std::size_t i) {
  for (std::size_t j = i + 1; j < scan.runs.size(); ++j) {
    if (scan.runs[j].to.index > scan.runs[j].from.index) return &scan.runs[j];
  }
  return nullptr;
}

class LogVerifier {
 public:
  LogVerifier(Directory& directory, const VerifyOptions& options)
      : shared_(std::shared_ptr<void>(), &directory), directory_(directory), options_(options) {}

  LogVerification run(const Uuid& cluster, const Uuid& log, const HardState* slot) {
    const HardState bounds = slot ? *slot : HardState{};
    result_.log = log;
    result_.bounds = bounds;
    const RecoveryInput input{cluster, log, LogId(), bounds, options_.durable_is_commit, Access::read, true, slot != nullptr};
    auto recovered = recover_log(shared_, input);
    if (!recovered) {
      result_.error = std::move(recovered.error());
      return std::move(result_);
    }
    recovered_ = std::move(*recovered);
    summarise();
    for (std::size_t i = 0; i < recovered_.segments.size(); ++i) verify_segment(i);
    verify_files_behind();
    for (const Finding& finding : recovered_.report.findings) take(finding);
    std::sort(result_.findings.begin(), result_.findings.end(), [](const VerifyFinding& a, const VerifyFinding& b) {
      return std::tie(a.file, a.position, a.what) < std::tie(b.file, b.position, b.what);
    });
    return std::move(result_);
  }

 private:
  void summarise() {
    const RecoveryReport& report = recovered_.report;
    result_.first_index = result_.bounds.trim_index;
    result_.first_offset = result_.bounds.trim_offset;
    result_.durable_bound = report.durable_bound;
    result_.commit = report.commit;
    result_.suspect = report.suspect || result_.bounds.suspect;
    result_.segments = recovered_.segments.size();
    result_.end.index = result_.first_index;
    result_.end.offset = result_.first_offset;
    for (const RecoveredSegment& segment : recovered_.segments) {
      result_.id = segment.file->header.log_id;
      result_.end = segment.end;
      result_.bytes += segment.file->header.segment_bytes;
      progress_.total_bytes += segment.end_position;
    }
    result_.end_index = result_.end.index;
    result_.end_offset = result_.end.offset;
  }

  VerifyFinding& add(std::uint64_t number, std::uint64_t position, std::uint64_t bytes, std::string what) {
    VerifyFinding finding;
    if (number != 0) finding.file = segment_name(number);
    finding.position = position;
    finding.bytes = bytes;
    finding.what = std::move(what);
    return result_.findings.emplace_back(std::move(finding));
  }

  static void judge(VerifyFinding& finding, RecoveryCase letter, Verdict verdict) {
    finding.letter = std::string(1, static_cast<char>(letter));
    finding.verdict = verdict;
    finding.acknowledged = verdict == Verdict::hole || verdict == Verdict::suspect;
  }

  void verify_segment(std::size_t i) {
    const RecoveredSegment& segment = recovered_.segments[i];
    const bool last = i + 1 == recovered_.segments.size();
    const auto file = segment.file->open();
    if (!file) {
      result_.error = file.error();
      return;
    }
    verify_file(**file, segment.file->header);
    std::optional<Index> stop;
    if (segment.sealed) {
      stop = segment.end.index;
    } else if (!last) {
      stop = recovered_.segments[i + 1].file->header.start.index;
    }
    SegmentScan scan = scan_file(**file, segment.file->header, stop);
    for (const IntactRun& run : scan.runs) {
      if (run.from.index >= segment.end.index || run.to.index == run.from.index) continue;
      result_.batches += run.to.index - run.from.index;
      result_.records += run.to.offset - run.from.offset;
    }
    if (segment.sealed) {
      judge_sealed(segment, **file, scan);
    } else {
      judge_gaps_without_loss(segment, scan);
    }
    scans_.emplace(segment.file->header.number, std::move(scan));
  }

  SegmentScan scan_file(File& file, const SegmentHeader& header, std::optional<Index> stop) {
    progress_.file = segment_name(header.number);
    CountedFile counted(file, options_, progress_);
    return scan_segment(counted, header, stop);
  }

  // Length, and both copies of the header.
  void verify_file(File& file, const SegmentHeader& header) {
    if (const auto size = file.size(); size && *size < header.segment_bytes) {
      add(header.number, *size, header.segment_bytes - *size,
          "the file is " + std::to_string(*size) + " bytes long; its header says " + std::to_string(header.segment_bytes));
    }
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kBlockBytes}}) {
      const auto block = Chunk::make(kBlockBytes);
      const auto got = file.read(at, block->bytes().first(kBlockBytes));
      const auto copy = got ? decode_segment_header(block->bytes().first(*got)) : std::unexpected(got.error());
      if (copy) continue;
      VerifyFinding& finding = add(header.number, at, kSegmentHeaderBytes,
                                   std::string("copy ") + (at == 0 ? "A" : "B") + " of the segment header: " +
                                       copy.error().message + "; the other one is used");
      // The header goes out with the first group: until that was durable, either copy may be missing.
      finding.is_damage = result_.durable_bound > header.start.index;
    }
  }

  // Frames of a segment that recovery knows by its footer alone.
  void judge_sealed(const RecoveredSegment& segment, File& file, const SegmentScan& scan) {
    const std::uint64_t number = segment.file->header.number;
    for (const LostGroupHeader& lost : scan.lost_group_headers) group_header_rot(number, lost.position, lost.first_index);
    bool whole = true;
    for (std::size_t i = 0; i < scan.runs.size(); ++i) {
      const IntactRun& run = scan.runs[i];
      if (run.to.index >= segment.end.index) break;
      const IntactRun* behind = next_with_batches(scan, i);
      const LogPoint& to = behind ? behind->from : segment.end;
      const std::uint64_t until = behind ? behind->from_position : segment.end_position;
      if (to.index > run.to.index) {
        whole = false;
        lose(number, scan.damages[i], until, run.to, to, behind != nullptr);
      } else {
        group_header_rot(number, scan.damages[i].position, run.to.index);
      }
      if (!behind) break;
      i = static_cast<std::size_t>(behind - scan.runs.data()) - 1;
    }
    if (whole) compare_footer(segment, file, scan);
  }

  void lose(std::uint64_t number, const Damage& damage, std::uint64_t until, const LogPoint& from, const LogPoint& to,
            bool goes_on) {
    const bool committed = to.index <= recovered_.report.commit;
    VerifyFinding& finding = add(number, damage.position, until - damage.position, damage.what);
    finding.from = from.index;
    finding.to = to.index;
    finding.from_offset = from.offset;
    finding.to_offset = to.offset;
    judge(finding,
          !goes_on    ? RecoveryCase::short_segment
          : committed ? RecoveryCase::rot_below_commit
                      : RecoveryCase::rot_at_the_end,
          committed ? Verdict::hole : Verdict::suspect);
  }

  void group_header_rot(std::uint64_t number, std::uint64_t position, Index first_index) {
    VerifyFinding& finding = add(number, position, kGroupHeaderBytes, "a group header is damaged; no batch is lost by it");
    finding.from = finding.to = first_index;
    judge(finding, RecoveryCase::group_header_rot, Verdict::keep);
  }

  // Groups without batches that stand between intact ones: recovery has nothing to say about them.
  void judge_gaps_without_loss(const RecoveredSegment& segment, const SegmentScan& scan) {
    for (std::size_t i = 0; i + 1 < scan.runs.size(); ++i) {
      const IntactRun& run = scan.runs[i];
      const bool costs_nothing = scan.runs[i + 1].from.index == run.to.index && run.to.index < segment.end.index;
      if (costs_nothing) group_header_rot(segment.file->header.number, scan.damages[i].position, run.to.index);
    }
  }

  void compare_footer(const RecoveredSegment& segment, File& file, const SegmentScan& scan) {
    const SegmentHeader& header = segment.file->header;
    const IntactRun& run = scan.runs.back();
    std::string wrong;
    if (run.to != segment.end) {
      wrong = "where the log stands behind the segment";
    } else if (run.to_position > segment.end_position) {
      wrong = "where its frames end";
    } else if (scan.commit > segment.commit) {
      wrong = "the highest commit stamped in it";
    } else if (scan.index.entries() != segment.index.entries()) {
      wrong = "the places of its batches";
    } else if (scan.index.runs() != segment.index.runs()) {
      wrong = "the terms in it";
    }
    if (wrong.empty()) {
      verify_last_groups(segment, file, run.to_position);
      return;
    }
    VerifyFinding& finding = add(header.number, footer_position(header.segment_bytes), 0,
                                 "the footer has a good CRC, but contradicts the frames about " + wrong);
    judge(finding, RecoveryCase::footer_damaged, Verdict::rebuild);
  }

  // Groups without batches behind the last batch.
  void verify_last_groups(const RecoveredSegment& segment, File& file, std::uint64_t position) {
    FileWindow window(file, segment.end_position);
    for (; position + kGroupHeaderBytes <= segment.end_position; position += kGroupHeaderBytes) {
      const auto bytes = window.view(position, kGroupHeaderBytes);
      const auto group = bytes ? decode_group_header(*bytes) : std::nullopt;
      if (group && group->incarnation == segment.file->header.incarnation) continue;
      group_header_rot(segment.file->header.number, position, segment.end.index);
    }
  }

  // Segments that recovery passed over because the log before them is SUSPECT: read nevertheless.
  void verify_files_behind() {
    std::set<std::uint64_t> known(recovered_.unused.begin(), recovered_.unused.end());
    for (const RecoveredSegment& segment : recovered_.segments) known.insert(segment.file->header.number);
    const auto entries = directory_.list();
    if (!entries) return;
    for (const DirectoryEntry& entry : *entries) {
      const auto number = segment_number(entry.name);
      if (!number || entry.is_directory || known.contains(*number)) continue;
      auto file = directory_.open(entry.name, Access::read);
      if (file) verify_file_behind(*number, std::move(*file));
    }
  }

  void verify_file_behind(std::uint64_t number, std::unique_ptr<File> file) {
    const auto blocks = Chunk::make(kFramesPosition);
    const auto got = file->read(0, blocks->bytes().first(kFramesPosition));
    auto header = decode_segment_header(blocks->bytes().first(std::min(got.value_or(0), kBlockBytes)));
    if (!header && got.value_or(0) == kFramesPosition) header = decode_segment_header(blocks->bytes().subspan(kBlockBytes, kBlockBytes));
    if (!header) return;  // recovery has named it (I, J, K)
    verify_file(*file, *header);
    const SegmentScan scan = scan_file(*file, *header, std::nullopt);
    for (std::size_t i = 0; i < scan.runs.size(); ++i) {
      const IntactRun* behind = next_with_batches(scan, i);
      if (!behind) break;
      VerifyFinding& finding = add(number, scan.damages[i].position, behind->from_position - scan.damages[i].position,
                                   scan.damages[i].what);
      finding.from = scan.runs[i].to.index;
      finding.to = behind->from.index;
      finding.acknowledged = finding.to > finding.from;
      i = static_cast<std::size_t>(behind - scan.runs.data()) - 1;
    }
    VerifyFinding& finding = add(number, 0, 0,
                                 "not read by the log, which is SUSPECT before it: " + std::to_string(scan.batches) +
                                     " intact batches from " + std::to_string(header->start.index.value) + " on");
    finding.is_damage = false;
  }

  void take(const Finding& found) {
    VerifyFinding& finding = add(found.segment, found.position, 0, found.text);
    judge(finding, found.letter, found.verdict);
    if (finding.what.starts_with(finding.file + ", byte ")) finding.what.erase(0, finding.what.find(": ") + 2);
    if (const std::size_t extent_text = finding.what.rfind("; batches "); extent_text != std::string::npos) {
      finding.what.erase(extent_text);  // it is in `from` and `to`
    }
    finding.from = found.from;
    finding.to = found.to;
    for (const Hole& hole : recovered_.report.holes) {
      if (hole.from != found.from || hole.to != found.to) continue;
      finding.from_offset = hole.from_offset;
      finding.to_offset = hole.to_offset;
    }
    finding.is_damage = is_damage(found);
    finding.bytes = extent(found);
  }

  bool is_damage(const Finding& found) const {
    switch (found.letter) {
      case RecoveryCase::clean_end:
      case RecoveryCase::torn_group:
      case RecoveryCase::segment_continues:
      case RecoveryCase::superseded_suffix:
      case RecoveryCase::header_never_written:
      case RecoveryCase::prepared_segment:
      case RecoveryCase::leftover_of_trim:
        return false;
      case RecoveryCase::group_header_rot:
        // Above D its group may have been torn, and have left its batches but not its header.
        return found.from < recovered_.report.durable_bound;
      case RecoveryCase::footer_damaged:
        return footer_was_durable(found.segment);
      default:
        return true;
    }
  }

  // Footers are written one after another, so a good one further on proves that this one was whole; but
  // one that reaches too far was so before the log was cut there.
  bool footer_was_durable(std::uint64_t number) const {
    bool later_is_good = false;
    SegmentFile* segment = nullptr;
    for (const RecoveredSegment& other : recovered_.segments) {
      if (other.file->header.number == number) segment = other.file.get();
      if (other.file->header.number > number && other.sealed) later_is_good = true;
    }
    if (!later_is_good || !segment) return false;
    const std::uint64_t at = footer_position(segment->header.segment_bytes);
    const auto bytes = static_cast<std::size_t>(segment->header.segment_bytes - at);
    const auto chunk = Chunk::make(bytes);
    const auto file = segment->open();
    if (!file) return false;
    const auto got = (*file)->read(at, chunk->bytes().first(bytes));
    return !got || !decode_footer(chunk->bytes().first(*got), segment->header.segment_bytes);
  }

  // How far the damage at this place reaches, where something intact stands behind it.
  std::uint64_t extent(const Finding& found) const {
    if (found.letter == RecoveryCase::group_header_rot) return kGroupHeaderBytes;
    const auto scan = scans_.find(found.segment);
    if (scan == scans_.end()) return 0;
    for (std::size_t i = 0; i < scan->second.runs.size(); ++i) {
      if (scan->second.damages[i].position != found.position) continue;
      const IntactRun* behind = next_with_batches(scan->second, i);
      return behind ? behind->from_position - found.position : 0;
    }
    return 0;
  }

  const std::shared_ptr<Directory> shared_;  // the same, and it is not ours: the caller keeps it
  Directory& directory_;
  const VerifyOptions& options_;
  VerifyProgress progress_;
  RecoveredLog recovered_;
  std::map<std::uint64_t, SegmentScan> scans_;  // by number
  LogVerification result_;
};

}  // namespace

LogVerification verify_log(Directory& directory, const Uuid& cluster, const Uuid& log, const HardState* slot,
                           const VerifyOptions& options) {
  return LogVerifier(directory, options).run(cluster, log, slot);
}

}  // namespace walraft::wal
