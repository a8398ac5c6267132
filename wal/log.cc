#include "wal/log.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/log_on_disk.h"

namespace walraft::wal {
namespace {

constexpr std::uint64_t kControlReserveBytes = 16u << 10;
constexpr std::uint64_t kBoundEveryUs = 1'000'000;

std::uint64_t next_segment_bytes(const LogOptions& options, const RecoveredLog& recovered) {
  if (recovered.segments.empty()) return std::min(options.first_segment_bytes, options.segment_bytes);
  return std::min(options.segment_bytes, recovered.segments.back().file->header.segment_bytes * 4);
}

// The slot is unreadable, or one that is may have been this log's: what it claimed is not known.
bool slot_is_lost(const HardStateFile& hard_state, const Uuid& log) {
  const HardStateFile::Contents& contents = hard_state.contents();
  for (const LogHardState& slot : contents.logs) {
    if (slot.log == log) return slot.lost;
  }
  return contents.nameless > 0 && !hard_state.find(log);
}

}  // namespace

LogOnDisk::LogOnDisk(std::shared_ptr<Directory> directory, std::shared_ptr<OpenFiles> open_files,
                     const LogIdentity& identity, const LogOptions& options, HardStateFile& hard_state, Disk& disk,
                     Clock& clock, Rng& rng, RecoveredLog recovered, Access access)
    : directory_(directory),
      open_files_(std::move(open_files)),
      identity_(identity),
      options_(options),
      access_(access),
      hard_state_(hard_state),
      disk_(disk),
      clock_(clock),
      rng_(rng),
      report_(std::move(recovered.report)),
      cache_(static_cast<std::size_t>(options.tail_cache_bytes), options.tail_memory),
      writer_(disk, cache_, [this](const std::shared_ptr<LiveSegment>& segment) { group_durable(segment); }),
      pool_(std::move(directory), disk, clock,
            {access, options.segment_bytes, next_segment_bytes(options, recovered), recovered.number_next}) {
  const HardState bounds = hard_state.find(identity.log).value_or(HardState{});
  first_index_ = durable_trim_ = bounds.trim_index;
  first_offset_ = bounds.trim_offset;
  bound_written_ = bounds.durable_bound;
  tail_.index = first_index_;
  tail_.offset = first_offset_;
  tail_.digest = first_digest(identity.log);
  for (RecoveredSegment& recovered_segment : recovered.segments) {
    auto segment = std::make_shared<LiveSegment>();
    segment->file = std::move(recovered_segment.file);
    segment->index = std::move(recovered_segment.index);
    segment->end = segment->durable_end = tail_ = recovered_segment.end;
    segment->end_position = segment->durable_position = align_up(recovered_segment.end_position, kFrameAlignment);
    segment->group_number = recovered_segment.group_number + 1;  // the torn group may have had the next one
    segment->commit = recovered_segment.commit;
    segment->header_placed = segment->on_disk = true;
    segment->sealed = recovered_segment.sealed;
    if (segment->sealed) segment->frozen = std::make_shared<const SegmentIndex>(std::move(segment->index));
    segments_.push_back(std::move(segment));
  }
  durable_ = tail_;
  damage_shows_ = report_.suspect;
  suspect_ = report_.suspect || bounds.suspect;
  if (bounds.suspect && bound_written_ <= durable_.index) mark_ = Mark::durable;
  // Whoever writes the slot next, for a vote or a trim, must not make a sound one of it.
  if (!options.is_new && slot_is_lost(hard_state, identity.log)) write_mark([] {});
}

// What open() still has to do on the disk. Blocks.
Result<void> LogOnDisk::begin(const std::vector<std::uint64_t>& unused) {
  if (!segments_.empty()) {
    LiveSegment& last = *segments_.back();
    if (auto pinned = last.file->pin(); !pinned) return pinned;
    File& file = last.file->pinned();
    auto size = file.size();
    if (!size) return std::unexpected(std::move(size.error()));
    if (*size < last.file->header.segment_bytes || last.sealed || damage_shows_) {
      last.end_position = last.file->header.segment_bytes;  // no room: the next append opens a segment
    } else if (last.end_position % kBlockBytes != 0 && last.room() > 0) {
      const auto block = Chunk::make(kBlockBytes);
      auto got = file.read(align_down(last.end_position, kBlockBytes), block->bytes().first(kBlockBytes));
      if (!got) return std::unexpected(std::move(got.error()));
      std::copy_n(block->data(), last.end_position % kBlockBytes, last.tail_block.begin());
    }
  }
  if (damage_shows_) return {};  // its files are left as they are
  const std::uint64_t last_used = segments_.empty() ? 0 : segments_.back()->file->header.number;
  if (auto adopted = pool_.adopt(unused, last_used); !adopted) return adopted;
  if (segments_.empty()) return pool_.prepare_first();
  return {};
}

std::vector<TermRun> LogOnDisk::history() const {
  std::vector<TermRun> runs;
  for (const auto& segment : segments_) {
    for (const TermRun& run : (segment->frozen ? *segment->frozen : segment->index).runs()) {
      if (runs.empty() || runs.back().term != run.term) runs.push_back(run);
    }
  }
  return runs;
}

Result<void> LogOnDisk::append(ByteView batch, Use use) {
  CHECK(!truncation_);
  auto header = decode_batch_header(batch);
  if (!header) return std::unexpected(std::move(header.error()));
  if (batch.size() != header->total_bytes()) return error(Code::invalid, "the batch's length is not its header's");
  if (header->log_id != identity_.id || header->index != tail_.index || header->base_offset != tail_.offset ||
      header->term < tail_.term || header->timestamp_us < tail_.timestamp_us ||
      next_digest(tail_.digest, batch) != header->digest) {
    return error(Code::invalid, "batch " + std::to_string(header->index.value) + " does not continue the log at " +
                                    std::to_string(tail_.index.value));
  }
  const std::uint64_t frame = frame_bytes(batch.size());
  const auto place = find_place(frame, header->term, use);
  if (!place && place.error().code == Code::no_space && mutant(Mutant::m27_no_space_acknowledged)) {
    tail_ = {header->next_index(), header->next_offset(), header->term, header->timestamp_us, header->digest};
    durable_ = tail_;
    return {};
  }
  if (!place) return std::unexpected(place.error());
  const auto segment = *place == Place::last_segment ? segments_.back() : open_next_segment(segment_bytes_for(frame));
  writer_.append(segment, *header, batch);
  tail_ = segment->end;
  last_group_proven_ = false;
  return {};
}

Result<void> LogOnDisk::room(std::uint64_t batch_bytes, Term term, Use use) {
  const auto place = find_place(frame_bytes(batch_bytes), term, use);
  if (!place) return std::unexpected(place.error());
  return {};
}

void LogOnDisk::flush() {
  if (mark_ != Mark::asked) writer_.flush(durable_.index);  // else when the mark is durable
}

std::optional<LogPoint> LogOnDisk::point_in_memory(Index at) const {
  if (at < first_index_ || at > tail_.index) return std::nullopt;
  if (at == tail_.index) return tail_;
  const auto behind = std::partition_point(segments_.begin(), segments_.end(), [at](const auto& segment) {
    return segment->file->header.start.index <= at;
  });
  if (behind != segments_.begin() && (*std::prev(behind))->file->header.start.index == at) {
    return (*std::prev(behind))->file->header.start;
  }
  std::vector<BatchRef> before;
  if (at == Index() || !cache_.read(Index(at.value - 1), at, 1, before) || before.empty()) return std::nullopt;
  const auto header = decode_batch_header(before.front().bytes);
  CHECK(header.has_value(), at);
  return point_behind(*header);
}

// Where the next batch goes; nothing has changed if there is no place.
Result<LogOnDisk::Place> LogOnDisk::find_place(std::uint64_t frame, Term term, Use use) {
  mark_before_writing();
  if (damage_shows_ && mark_ != Mark::durable) {
    return error(Code::over_limit, "the log is being marked as one that lost something; nothing was written");
  }
  const std::uint64_t reserve = use == Use::control ? 0 : kControlReserveBytes;
  if (!segments_.empty()) {
    const auto& segment = segments_.back();
    const std::uint64_t needed = frame + (writer_.joins_open_group(*segment, frame) ? 0 : kGroupHeaderBytes);
    const std::uint64_t left_over = pool_.ready() > 0 ? 0 : reserve;
    if (needed + left_over <= segment->room() && segment->index.has_room_for(term)) return Place::last_segment;
  }
  const std::uint64_t bytes_min = segment_bytes_for(frame);
  const PreparedSegment* next = pool_.front(bytes_min);
  const std::uint64_t left_over = pool_.ready_behind(bytes_min) > 0 ? 0 : reserve;
  if (next != nullptr && kFramesPosition + kGroupHeaderBytes + frame + left_over <= footer_position(next->segment_bytes)) {
    return Place::next_segment;
  }
  if (next != nullptr) pool_.make_another();  // it would fit but for the reserve, which then lies in the other one
  if (pool_.out_of_space()) {
    return error(Code::no_space, "the disk of " + directory_->path() +
                                     " is full; nothing was written. Trim logs or free space: appends then go on by themselves.");
  }
  return error(Code::over_limit, "the next segment is still being prepared; nothing was written");
}

std::shared_ptr<LiveSegment> LogOnDisk::open_next_segment(std::uint64_t segment_bytes_min) {
  PreparedSegment prepared = pool_.take(segment_bytes_min);
  SegmentHeader header;
  header.cluster = identity_.cluster;
  header.log = identity_.log;
  header.log_id = identity_.id;
  header.number = prepared.number;
  header.incarnation = rng_.next();
  header.segment_bytes = prepared.segment_bytes;
  header.start = tail_;
  header.created_us = clock_.wall_us();
  auto segment = std::make_shared<LiveSegment>();
  segment->file = std::make_shared<SegmentFile>(header, directory_, access_, open_files_, std::move(prepared.file));
  segment->end = segment->durable_end = tail_;
  segment->end_position = segment->durable_position = kFramesPosition;
  segments_.push_back(segment);
  return segment;
}

void LogOnDisk::group_durable(const std::shared_ptr<LiveSegment>& segment) {
  // A new segment in use proves that those before it are complete.
  auto at = std::find(segments_.rbegin(), segments_.rend(), segment);
  CHECK(at != segments_.rend());
  while (++at != segments_.rend() && !(*at)->frozen) seal(*at);
  durable_ = segment->durable_end;
  damage_shows_ = false;  // it stands in a segment that recovery did not know: older ones are void from its start on
  last_durable_us_ = clock_.monotonic_us();
  cache_.evict(durable_.index);
  flush();
  advance_settling();
  if (truncation_) {
    advance_truncation();
  } else if (handler_) {
    handler_(durable_.index);
  }
}

// Writes the footer, in the background; from then on the segment is read through the page cache.
void LogOnDisk::seal(const std::shared_ptr<LiveSegment>& segment) {
  segment->frozen = std::make_shared<const SegmentIndex>(std::move(segment->index));
  SegmentFooter footer;
  footer.incarnation = segment->file->header.incarnation;
  footer.end_position = segment->durable_position;
  footer.end = segment->durable_end;
  footer.commit = segment->commit;
  footer.entries = segment->frozen->entries();
  footer.runs = segment->frozen->runs();
  write_footer(segment, footer, 0);
}

void LogOnDisk::write_footer(const std::shared_ptr<LiveSegment>& segment, const SegmentFooter& footer,
                             std::uint64_t delay_us) {
  disk_.background(
      delay_us,
      [directory = directory_, access = access_, file = segment->file, footer]() -> Result<void> {
        const SegmentHeader& header = file->header;
        const auto region = encode_footer(footer, header.segment_bytes);
        const auto chunk = Chunk::make(region.size());
        std::copy(region.begin(), region.end(), chunk->data());
        auto writable = directory->open(segment_name(header.number), access);
        if (!writable) return std::unexpected(std::move(writable.error()));
        auto written = (*writable)->write(footer_position(header.segment_bytes), chunk->bytes().first(region.size()));
        if (written) written = (*writable)->sync();
        if (written) file->seal();
        return written;
      },
      [this, alive = alive_, segment, footer](Result<void> sealed) {
        if (!*alive) return;
        if (!sealed && sealed.error().code == Code::over_limit) {  // a want of descriptors passes
          write_footer(segment, footer, kRetryUs);
          return;
        }
        if (!sealed) {
          disk_.fail(sealed.error());
          return;
        }
        segment->sealed = true;
        retire_trimmed();
      });
}

void LogOnDisk::tick() {
  if (disk_.failed() || (damage_shows_ && mark_ != Mark::durable)) return;
  pool_.tick();
  advance_settling();
  if (damage_shows_ && !truncation_) return;
  if (std::exchange(seal_recovered_, false) && !segments_.empty()) {
    for (auto segment = segments_.begin(); segment + 1 != segments_.end(); ++segment) {
      // One that opens just now is no proof yet; when it is durable, it seals the one before it.
      if (!(*segment)->frozen && (*(segment + 1))->on_disk) seal(*segment);
    }
  }
  if (truncation_ && truncation_->step == Truncation::Step::open_segment) advance_truncation();
  const std::uint64_t now = clock_.monotonic_us();
  if (!last_group_proven_ && !truncation_ && writer_.idle() && !segments_.empty() && rested(now) &&
      segments_.back()->room() >= kGroupHeaderBytes) {
    last_group_proven_ = true;
    writer_.append_empty(segments_.back());
    flush();
  }
  if (writer_.idle() && rested(now)) cache_.rest(durable_.index);
  if (!truncation_ && durable_.index > bound_written_ && (bound_written_us_ == 0 || now >= bound_written_us_ + kBoundEveryUs)) {
    write_bound(durable_.index, [] {});
    hard_state_.flush();
  }
}

void LogOnDisk::prove_tail() {
  last_durable_us_ = bound_written_us_ = 0;
  tick();
}

void LogOnDisk::write_bound(Index bound, Done done) {
  HardState state = hard_state_.find(identity_.log).value_or(HardState{});
  state.durable_bound = bound;
  if (options_.durable_is_commit) state.commit_bound = std::min(bound, std::max(state.commit_bound, durable_.index));
  bound_written_ = bound;
  bound_written_us_ = clock_.monotonic_us();
  if (auto written = hard_state_.write(identity_.log, state, std::move(done)); !written) disk_.fail(written.error());
}

bool LogOnDisk::read_tail(Offset from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const {
  if (from < first_offset_) return false;
  return from >= tail_.offset || cache_.read(from, limit, bytes_max, out);
}

bool LogOnDisk::read_tail(Index from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const {
  if (from < first_index_) return false;
  return from >= tail_.index || cache_.read(from, limit, bytes_max, out);
}

LogView LogOnDisk::view() const {
  LogView view;
  for (const auto& segment : segments_) {
    if (!segment->on_disk) break;
    view.segments.push_back({segment->file,
                             segment->frozen ? segment->frozen : std::make_shared<const SegmentIndex>(segment->index),
                             segment->durable_end, segment->durable_position});
  }
  view.holes = report_.holes;
  view.first_offset = first_offset_;
  view.end_offset = durable_.offset;
  view.end_index = durable_.index;
  return view;
}

std::uint64_t LogOnDisk::disk_bytes() const {
  std::uint64_t bytes = pool_.disk_bytes();
  for (const auto& segment : segments_) bytes += segment->file->header.segment_bytes;
  return bytes;
}

Result<std::unique_ptr<Log>> Log::open(std::unique_ptr<Directory> directory, const LogIdentity& identity,
                                       const LogOptions& options, HardStateFile& hard_state, Disk& disk,
                                       Clock& clock, Rng& rng) {
  const Access access = options.direct ? Access::direct : Access::write;
  RecoveryInput input{identity.cluster, identity.log, identity.id,
                      hard_state.find(identity.log).value_or(HardState{}), options.durable_is_commit, access, false};
  input.has_slot = hard_state.find(identity.log).has_value();
  input.open_files = options.open_files ? options.open_files : std::make_shared<OpenFiles>();
  const std::shared_ptr<Directory> shared = std::move(directory);
  auto recovered = recover_log(shared, input);
  if (!recovered) return std::unexpected(std::move(recovered.error()));
  const std::vector<std::uint64_t> unused = std::exchange(recovered->unused, {});
  auto log = std::make_unique<LogOnDisk>(shared, input.open_files, identity, options, hard_state, disk, clock, rng,
                                         std::move(*recovered), access);
  if (auto begun = log->begin(unused); !begun) return std::unexpected(std::move(begun.error()));
  return log;
}

}  // namespace walraft::wal
