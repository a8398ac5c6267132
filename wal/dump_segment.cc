#include "wal/dump_segment.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "wal/batch.h"
#include "wal/chunk.h"
#include "wal/identity.h"
#include "wal/segment_scan.h"

namespace walraft::wal {
namespace {

constexpr std::size_t kShownBytes = 32;  // of a damaged place
constexpr std::uint32_t kUnknownBatches = UINT32_MAX;  // behind a damaged group header

std::string n(std::uint64_t value) { return std::to_string(value); }

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

// What this release's formats cannot say as a time is shown as a number.
std::string time_text(std::int64_t us) {
  constexpr std::int64_t kYear9999 = 253'402'300'799'999'999;
  return us >= 0 && us <= kYear9999 ? format_time(us) : std::to_string(us) + " us";
}

class SegmentDump {
 public:
  SegmentDump(File& file, std::uint64_t size, const DumpOptions& options, const LineSink& out)
      : size_(size), options_(options), out_(out), window_(file, size) {}

  Result<std::uint64_t> run() {
    if (auto read = headers(); !read) return std::unexpected(std::move(read.error()));
    frames();
    footer();
    return damages_;
  }

 private:
  void say(std::uint64_t position, const std::string& text) { out_("byte " + n(position) + "  " + text); }
  void damaged(std::uint64_t position, const std::string& text) {
    ++damages_;
    say(position, "DAMAGED " + text);
  }

  Result<void> headers() {
    bool all_zero = true;
    std::optional<Error> newer;
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kBlockBytes}}) {
      const auto block = window_.view(at, kBlockBytes);
      auto header = block ? decode_segment_header(*block) : std::unexpected(block.error());
      all_zero = all_zero && block && std::all_of(block->begin(), block->end(), [](std::byte b) { return b == std::byte{0}; });
      if (header) {
        say(at, "segment header, copy " + std::string(at == 0 ? "A" : "B"));
        if (!header_) header_ = std::move(*header);
      } else if (header.error().code == Code::invalid) {
        newer = std::move(header.error());
      } else {
        bad_headers_.push_back({at, header.error().message});
      }
    }
    if (!header_ && newer) return std::unexpected(std::move(*newer));
    if (!header_ && all_zero && size_ >= kSegmentBytesMin) {
      out_("prepared segment: no header yet");
      bad_headers_.clear();
    } else if (!header_ && !first_group(kFramesPosition)) {
      return error(Code::invalid, "this is no file of Walraft's: neither identity, nor hard state, nor segment");
    }
    for (const auto& [at, why] : bad_headers_) damaged(at, "segment header: " + why);
    if (header_) describe_header(*header_);
    end_ = header_ ? std::min(size_, footer_position(header_->segment_bytes)) : size_;
    return {};
  }

  void describe_header(const SegmentHeader& header) {
    out_("  segment " + n(header.number) + " of log " + to_string(header.log) + " (id " + n(header.log_id.value) +
         "), cluster " + to_string(header.cluster));
    out_("  " + n(header.segment_bytes) + " bytes, incarnation " + hex(header.incarnation) + ", created " + time_text(header.created_us));
    out_("  starts at index " + n(header.start.index.value) + ", offset " + n(header.start.offset.value) + ", term " +
         n(header.start.term.value) + ", digest " + to_string(header.start.digest));
    if (size_ < header.segment_bytes) damaged(size_, "the file is shorter than its header says");
    next_ = header.start;
    incarnation_ = header.incarnation;
  }

  void frames() {
    std::uint64_t position = kFramesPosition;
    while (position < end_) {
      if (const std::uint64_t bytes = frame(position); bytes > 0) {
        position += bytes;
        continue;
      }
      const auto next = first_group(position + kFrameAlignment);
      const std::uint64_t until = next.value_or(end_);
      gap(position, until, next.has_value());
      batches_left_ = 0;
      next_.reset();
      position = until;
    }
  }

  // Prints what stands here; 0 if it is no frame.
  std::uint64_t frame(std::uint64_t position) {
    const auto head = window_.view(position, kBatchHeaderBytes);
    if (!head) return 0;
    if (const auto group = decode_group_header(*head); group && is_ours(*group)) {
      incarnation_ = group->incarnation;
      batches_left_ = group->batches;
      say(position, "group " + n(group->number) + ": " + n(group->batches) + " batches from index " + n(group->first_index.value) +
                        ", " + n(group->bytes) + " bytes; durable before it " + n(group->durable_before.value));
      return kGroupHeaderBytes;
    }
    if (batches_left_ == 0) return behind_lost_group(position);
    const auto header = decode_batch_header(*head);
    if (!header) return 0;
    if (batches_left_ != kUnknownBatches) --batches_left_;
    return batch(position, *header);
  }

  // A damaged group header, if the batch behind it continues the log.
  std::uint64_t behind_lost_group(std::uint64_t position) {
    const auto head = window_.view(position + kGroupHeaderBytes, kBatchHeaderBytes);
    if (!head || !next_) return 0;
    const auto header = decode_batch_header(*head);
    if (!header || header->index != next_->index || next_digest(next_->digest, *head) != header->digest) return 0;
    damaged(position, "group header; the batch behind it continues the log");
    batches_left_ = kUnknownBatches;
    return kGroupHeaderBytes;
  }

  std::uint64_t batch(std::uint64_t position, const BatchHeader& header) {
    const std::uint64_t bytes = frame_bytes(header.total_bytes());
    const auto whole = window_.view(position, static_cast<std::size_t>(header.total_bytes()));
    const auto decoded = whole ? decode_batch(*whole) : std::unexpected(whole.error());
    std::string text = "batch " + n(header.index.value) + ": " + describe(header.kind) + ", offset " + n(header.base_offset.value) +
                       ", " + n(header.record_count) + " records, " + n(header.body_bytes) + " bytes, term " + n(header.term.value) +
                       ", commit " + n(header.commit.value) + ", " + time_text(header.timestamp_us);
    if (header.producer_id.value != 0) text += ", producer " + n(header.producer_id.value) + " #" + n(header.sequence);
    if (header.writer_epoch.value != 0) text += ", epoch " + n(header.writer_epoch.value);
    say(position, text + ", digest " + to_string(header.digest));
    if (!decoded) damaged(position, decoded.error().message);
    if (decoded && next_ && (header.index != next_->index || next_digest(next_->digest, *whole) != header.digest)) {
      damaged(position, "it does not continue batch " + n(next_->index.value - 1) + " before it");
    }
    if (decoded && options_.records) records(header, *whole);
    next_ = LogPoint{header.next_index(), header.next_offset(), header.term, header.timestamp_us, header.digest};
    return bytes;
  }

  void records(const BatchHeader& header, ByteView batch) {
    RecordCursor cursor(header, batch);
    Offset offset = header.base_offset;
    while (const auto record = cursor.next()) {
      out_("    " + n(offset.value) + " (" + n(record->size()) + " bytes): " + escape_bytes(*record));
      offset = offset + 1;
    }
    if (header.kind != BatchKind::data && header.body_bytes > 0) {
      out_("    body: " + escape_bytes(batch.subspan(kBatchHeaderBytes, header.body_bytes)));
    }
  }

  bool is_ours(const GroupHeader& group) const { return !incarnation_ || group.incarnation == *incarnation_; }

  // The first intact group of this use of the file at or behind `from`.
  std::optional<std::uint64_t> first_group(std::uint64_t from) {
    const std::uint64_t end = header_ ? end_ : size_;
    for (std::uint64_t at = align_up(from, kFrameAlignment); at + kGroupHeaderBytes <= end;) {
      const std::uint64_t block_end = align_down(at, kBlockBytes) + kBlockBytes;
      const auto block = window_.view(at, static_cast<std::size_t>(block_end - at) + kGroupHeaderBytes);
      for (std::size_t i = 0; block && i + kGroupHeaderBytes <= block->size() && at + i < block_end; i += kFrameAlignment) {
        const auto group = decode_group_header(block->subspan(i));
        if (group && is_ours(*group)) return at + i;
      }
      at = block_end;
    }
    return std::nullopt;
  }

  void gap(std::uint64_t from, std::uint64_t until, bool goes_on) {
    std::uint64_t content = 0;
    for (std::uint64_t at = from; at < until && content == 0;) {
      const auto bytes = window_.view(at, static_cast<std::size_t>(std::min<std::uint64_t>(until - at, 1u << 20)));
      if (!bytes || bytes->empty()) {
        content = at;
        break;
      }
      const auto found = std::find_if(bytes->begin(), bytes->end(), [](std::byte b) { return b != std::byte{0}; });
      if (found != bytes->end()) content = at + static_cast<std::uint64_t>(found - bytes->begin());
      at += bytes->size();
    }
    const std::string extent = n(until - from) + " bytes";
    if (goes_on || (batches_left_ > 0 && batches_left_ != kUnknownBatches)) {
      damaged(from, extent + ", no frame of this segment: " + excerpt(from));
    } else if (content == 0) {
      say(from, "unused: " + extent + " of zeros");
    } else {
      say(from, "no frame of this segment from here on: " + extent + ", of an earlier use of the file or torn; not zero at " + n(content));
    }
  }

  std::string excerpt(std::uint64_t position) {
    const auto bytes = window_.view(position, kShownBytes);
    if (!bytes) return bytes.error().message;
    std::string text;
    for (const std::byte byte : *bytes) {
      char digits[4];
      std::snprintf(digits, sizeof(digits), "%02x ", std::to_integer<unsigned>(byte));
      text += digits;
    }
    return text + "...";
  }

  void footer() {
    if (!header_) return;
    const std::uint64_t at = footer_position(header_->segment_bytes);
    const auto bytes = static_cast<std::size_t>(header_->segment_bytes - at);
    const auto region = window_.view(at, bytes);
    auto found = region ? decode_footer(*region, header_->segment_bytes) : std::unexpected(region.error());
    if (found && found->incarnation != header_->incarnation) found = error(Code::corrupt, "it is of an earlier use of the file");
    if (!found) {
      // One with the mark of this use was written, or was torn while it was.
      const bool was_written = region && region->size() >= 16 && load_le<std::uint32_t>(region->data()) == kFooterMagic &&
                               load_le<std::uint64_t>(region->data() + 8) == header_->incarnation;
      if (was_written) {
        damaged(at, "footer: " + found.error().message);
      } else {
        say(at, "no footer: " + found.error().message + " (the segment may be in use)");
      }
      return;
    }
    say(at, "footer: frames end at " + n(found->end_position) + "; index " + n(found->end.index.value) + ", offset " +
                n(found->end.offset.value) + ", term " + n(found->end.term.value) + ", commit " + n(found->commit.value) +
                ", digest " + to_string(found->end.digest));
    for (const IndexEntry& entry : found->entries) {
      out_("  index " + n(entry.index.value) + ", offset " + n(entry.offset.value) + " at byte " + n(entry.position));
    }
    for (const TermRun& run : found->runs) out_("  term " + n(run.term.value) + " from index " + n(run.first_index.value));
  }

  struct BadHeader {
    std::uint64_t at;
    std::string why;
  };

  const std::uint64_t size_;
  const DumpOptions& options_;
  const LineSink& out_;
  FileWindow window_;
  std::optional<SegmentHeader> header_;
  std::vector<BadHeader> bad_headers_;
  std::optional<std::uint64_t> incarnation_;  // from the header, or from the first group
  std::uint64_t end_ = 0;
  std::uint32_t batches_left_ = 0;  // that the last group header promised
  std::optional<LogPoint> next_;    // what continues the last batch; nothing behind damage
  std::uint64_t damages_ = 0;
};

}  // namespace

Result<std::uint64_t> dump_segment(File& file, std::uint64_t size, const DumpOptions& options, const LineSink& out) {
  return SegmentDump(file, size, options, out).run();
}

}  // namespace walraft::wal
