#include "wal/group_writer.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "wal/base/check.h"
#include "wal/base/mutant.h"

namespace walraft::wal {

bool GroupWriter::joins_open_group(const LiveSegment& segment, std::uint64_t batch_bytes) const {
  if (!back_is_open_) return false;
  const Group& group = groups_.back();
  return group.segment.get() == &segment && group.used + frame_bytes(batch_bytes) <= kGroupBytesMax &&
         frame_bytes(batch_bytes) <= segment.room();
}

void GroupWriter::append(const std::shared_ptr<LiveSegment>& segment, const BatchHeader& header, ByteView batch) {
  const auto frame = static_cast<std::size_t>(frame_bytes(batch.size()));
  Group& group = joins_open_group(*segment, batch.size()) ? groups_.back() : open_group(segment, frame);
  reserve(group, frame);
  std::byte* at = group.chunk->data() + group.used;
  std::copy(batch.begin(), batch.end(), at);
  std::fill(at + batch.size(), at + frame, std::byte{0});
  segment->index.add(header.index, header.base_offset, header.term, header.timestamp_us, segment->end_position);
  cache_.add(header, group.chunk, at);
  group.used += frame;
  ++group.batches;
  segment->end = group.end = point_behind(header);
  segment->commit = std::max(segment->commit, header.commit);
  segment->end_position += frame;
  pending_bytes_ += frame;
}

void GroupWriter::append_empty(const std::shared_ptr<LiveSegment>& segment) {
  open_group(segment, 0);
  back_is_open_ = false;
}

GroupWriter::Group& GroupWriter::open_group(const std::shared_ptr<LiveSegment>& segment, std::size_t frame) {
  Group group;
  group.segment = segment;
  group.first = group.end = segment->end;
  if (!segment->header_placed) {
    segment->header_placed = true;
    group.opens_segment = true;
    group.chunk_position = 0;
    group.header_at = kFramesPosition;
    CHECK(segment->end_position == kFramesPosition, segment->end_position);
  } else {
    group.chunk_position = align_down(segment->end_position, kBlockBytes);
    group.header_at = static_cast<std::size_t>(segment->end_position - group.chunk_position);
  }
  group.used = group.header_at + kGroupHeaderBytes;
  segment->end_position += kGroupHeaderBytes;
  CHECK(segment->end_position + frame <= footer_position(segment->file->header.segment_bytes), frame);
  // Whole blocks are written, so the chunk has a block more than it needs; groups tend to be as
  // large as the last one.
  const std::size_t wanted = std::max(group.used + frame, std::min(last_group_bytes_, kGroupBytesMax));
  group.chunk = Chunk::make(static_cast<std::size_t>(align_up(wanted, kBlockBytes)));
  cache_.begin_group(group.chunk->size());
  groups_.push_back(std::move(group));
  back_is_open_ = true;
  return groups_.back();
}

void GroupWriter::reserve(Group& group, std::size_t frame) {
  if (group.used + frame <= group.chunk->size()) return;
  auto larger = Chunk::make(std::max(group.chunk->size() * 2, static_cast<std::size_t>(align_up(group.used + frame, kBlockBytes))));
  std::copy_n(group.chunk->data() + group.header_at, group.used - group.header_at, larger->data() + group.header_at);
  group.chunk = std::move(larger);
  cache_.move_group(group.chunk);
}

void GroupWriter::flush(Index durable) {
  if (!in_flight_ && !groups_.empty()) start(durable);
}

void GroupWriter::start(Index durable) {
  Group& group = groups_.front();
  if (groups_.size() == 1) back_is_open_ = false;
  LiveSegment& segment = *group.segment;
  std::byte* data = group.chunk->data();
  if (group.opens_segment) {
    encode_segment_header(group.chunk->bytes().first(kFramesPosition), segment.file->header);
  } else {
    std::copy_n(segment.tail_block.begin(), group.header_at, data);
  }
  GroupHeader header;
  header.incarnation = segment.file->header.incarnation;
  header.number = ++segment.group_number;
  header.durable_before = durable;
  header.first_index = group.first.index;
  header.bytes = static_cast<std::uint32_t>(group.used - group.header_at - kGroupHeaderBytes);
  header.batches = group.batches;
  encode_group_header(group.chunk->bytes().subspan(group.header_at), header);

  const auto write_bytes = static_cast<std::size_t>(align_up(group.used, kBlockBytes));
  std::fill(data + group.used, data + write_bytes, std::byte{0});
  const std::size_t last_block = static_cast<std::size_t>(align_down(group.used, kBlockBytes));
  std::copy_n(data + last_block, group.used - last_block, segment.tail_block.begin());
  last_group_bytes_ = group.used;

  write_->writer = this;
  write_->chunk = group.chunk;
  write_->segment = segment.file;
  write_->file = &segment.file->pinned();
  write_->position = group.chunk_position;
  write_->bytes = ByteView(data, write_bytes);
  write_->in_flight = in_flight_ = true;
  disk_.write(*write_);
  if (mutant(Mutant::h7_ack_before_sync)) {
    segment.on_disk = true;
    segment.durable_end = group.end;
    segment.durable_position = group.chunk_position + group.used;
    handler_(group.segment);
  }
}

void GroupWriter::Write::on_durable() {
  in_flight = false;
  chunk.reset();
  segment.reset();
  if (writer != nullptr) writer->finish();
}

GroupWriter::~GroupWriter() {
  write_->writer = nullptr;
  if (write_->in_flight) outlive(disk_, std::move(write_));
}

// The disk holds the write in a job that looks from time to time; what a failed disk does with its
// writes nobody knows, so that memory is never given back.
void GroupWriter::outlive(Disk& disk, std::shared_ptr<Write> write) {
  constexpr std::uint64_t kLookEveryUs = 10'000;
  if (disk.failed()) {
    static auto* kept = new std::vector<std::shared_ptr<Write>>;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    kept->push_back(std::move(write));
    return;
  }
  disk.background(
      kLookEveryUs, []() -> Result<void> { return {}; },
      [&disk, write = std::move(write)](Result<void>) {
        if (write->in_flight) outlive(disk, write);
      });
}

void GroupWriter::finish() {
  in_flight_ = false;
  Group group = std::move(groups_.front());
  groups_.pop_front();
  LiveSegment& segment = *group.segment;
  segment.on_disk = true;
  segment.durable_end = group.end;
  segment.durable_position = group.chunk_position + group.used;
  pending_bytes_ -= group.used - group.header_at - kGroupHeaderBytes;
  handler_(group.segment);
}

}  // namespace walraft::wal
