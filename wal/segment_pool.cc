#include "wal/segment_pool.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/chunk.h"
#include "wal/segment_format.h"

namespace walraft::wal {
namespace {

constexpr std::uint64_t kRetryUs = 1'000'000;  // after a full disk, or a want of descriptors
constexpr std::uint64_t kFirstBytesMax = 1u << 20;        // written at once when a log begins
constexpr std::size_t kPieceBytes = std::size_t{128} << 10;  // larger ones hurt the p99 of appends (DISK_FIGURES.md)
constexpr std::size_t kReadyMax = 4;      // recycled ones included

std::shared_ptr<Chunk> zeros(std::size_t bytes) {
  auto chunk = Chunk::make(bytes);
  std::fill_n(chunk->data(), bytes, std::byte{0});
  return chunk;
}

Result<void> write_zeros(File& file, std::uint64_t position, std::uint64_t bytes) {
  const auto chunk = zeros(static_cast<std::size_t>(bytes));
  return file.write(position, chunk->bytes().first(static_cast<std::size_t>(bytes)));
}

// Makes a segment file and its blocks durable; halves `bytes` down to `bytes_min` where the disk has less. Blocks.
Result<PreparedSegment> make_segment(Directory& directory, Access access, std::uint64_t number, std::uint64_t bytes,
                                     std::uint64_t bytes_min) {
  const std::string name = segment_name(number);
  auto file = directory.create(name, access);
  if (!file) return std::unexpected(std::move(file.error()));
  auto allocated = (*file)->allocate(bytes);
  while (!allocated && allocated.error().code == Code::no_space && bytes / 2 >= bytes_min) {
    bytes /= 2;
    if (auto cut = (*file)->truncate(0); !cut) return std::unexpected(std::move(cut.error()));
    allocated = (*file)->allocate(bytes);
  }
  if (allocated) allocated = (*file)->sync();
  if (!allocated) {
    file->reset();
    if (auto gone = directory.remove(name); !gone) return std::unexpected(std::move(gone.error()));
    return std::unexpected(std::move(allocated.error()));
  }
  if (!mutant(Mutant::m14_no_directory_sync)) {
    if (auto synced = directory.sync(); !synced) return std::unexpected(std::move(synced.error()));
  }
  return PreparedSegment{.number = number, .segment_bytes = bytes, .file = std::move(*file)};
}

}  // namespace

SegmentPool::SegmentPool(std::shared_ptr<Directory> directory, Disk& disk, Clock& clock, const Options& options)
    : directory_(std::move(directory)),
      disk_(disk),
      clock_(clock),
      access_(options.access),
      segment_bytes_(options.segment_bytes),
      next_segment_bytes_(options.next_segment_bytes),
      next_number_(options.next_number) {}

SegmentPool::~SegmentPool() { *alive_ = false; }

void SegmentPool::background(std::uint64_t delay_us, Disk::Work work, Disk::Done done) {
  disk_.background(delay_us, std::move(work), [alive = alive_, done = std::move(done)](Result<void> result) {
    if (*alive) done(std::move(result));
  });
}

Result<void> SegmentPool::adopt(const std::vector<std::uint64_t>& unused, std::uint64_t last_used) {
  bool removed = false;
  for (const std::uint64_t number : unused) {
    next_number_ = std::max(next_number_, number + 1);
    if (number > last_used && ready_.size() < wanted()) {
      auto file = directory_->open(segment_name(number), access_);
      if (!file) return std::unexpected(std::move(file.error()));
      auto size = (*file)->size();
      if (!size) return std::unexpected(std::move(size.error()));
      // A crash may have come before its blocks were durable, so they are asked for again. A log
      // without a segment keeps any that it has: a directory without files means that they are lost.
      const bool only_one = last_used == 0 && ready_.empty() && is_segment_size(*size);
      if ((*size == next_segment_bytes_ || only_one) && (*file)->allocate(*size)) {
        auto ready = write_zeros(**file, 0, kFramesPosition);
        if (ready) ready = (*file)->sync();
        if (!ready) return ready;
        ready_.push_back({.number = number, .segment_bytes = *size, .file = std::move(*file), .written_bytes = *size});
        next_segment_bytes_ = std::min(segment_bytes_, *size * 4);
        continue;
      }
    }
    if (auto gone = directory_->remove(segment_name(number)); !gone) return gone;
    removed = true;
  }
  if (removed) return directory_->sync();
  return {};
}

Result<void> SegmentPool::prepare_first() {
  if (!ready_.empty()) return {};
  auto segment = make_segment(*directory_, access_, next_number_++, next_segment_bytes_, kSegmentBytesMin);
  if (!segment) return std::unexpected(std::move(segment.error()));
  if (segment->segment_bytes <= kFirstBytesMax) {
    if (auto written = write_zeros(*segment->file, 0, segment->segment_bytes); !written) return written;
    if (auto synced = segment->file->sync(); !synced) return synced;
    segment->written_bytes = segment->segment_bytes;
  }
  next_segment_bytes_ = std::min(segment_bytes_, segment->segment_bytes * 4);
  ready_.push_back(std::move(*segment));
  return {};
}

std::size_t SegmentPool::wanted() const { return next_segment_bytes_ == segment_bytes_ ? 2 : 1; }

std::deque<PreparedSegment>::const_iterator SegmentPool::first_of(std::uint64_t segment_bytes_min) const {
  return std::find_if(ready_.begin(), ready_.end(),
                      [&](const PreparedSegment& r) { return r.segment_bytes >= segment_bytes_min; });
}

const PreparedSegment* SegmentPool::front(std::uint64_t segment_bytes_min) {
  const auto found = first_of(segment_bytes_min);
  if (found == ready_.end()) {
    start_making(std::max(segment_bytes_min, kSegmentBytesMin));
    return nullptr;
  }
  PoolUse use = PoolUse::none;
  if (!found->use->compare_exchange_strong(use, PoolUse::taken) && use == PoolUse::writing) return nullptr;
  return &*found;
}

std::size_t SegmentPool::ready_behind(std::uint64_t segment_bytes_min) const {
  const auto found = first_of(segment_bytes_min);
  return found == ready_.end() ? 0 : static_cast<std::size_t>(ready_.end() - found) - 1;
}

PreparedSegment SegmentPool::take(std::uint64_t segment_bytes_min) {
  CHECK(front(segment_bytes_min) != nullptr, segment_bytes_min);
  while (ready_.front().segment_bytes < segment_bytes_min) {
    remove_in_order({ready_.front().number}, [] {});
    ready_.pop_front();
  }
  PreparedSegment segment = std::move(ready_.front());
  ready_.pop_front();
  last_taken_ = segment.number;
  if (ready_.empty()) start_making(kSegmentBytesMin);
  return segment;
}

void SegmentPool::make_another() { start_making(kSegmentBytesMin); }

void SegmentPool::start_making(std::uint64_t bytes_min) {
  wanted_bytes_min_ = std::max(wanted_bytes_min_, bytes_min);
  if (making_ || (out_of_space_ && clock_.monotonic_us() < retry_at_us_)) return;
  making_ = true;
  out_of_space_ = false;  // not known until this try ends: it may be long ago that the disk was full
  const std::uint64_t number = next_number_++;
  const std::uint64_t least = std::exchange(wanted_bytes_min_, 0);
  const std::uint64_t bytes = std::max(next_segment_bytes_, least);
  auto made = std::make_shared<PreparedSegment>();
  background(
      0,
      [directory = directory_, access = access_, number, bytes, least, made]() -> Result<void> {
        auto segment = make_segment(*directory, access, number, bytes, least);
        if (!segment) return std::unexpected(std::move(segment.error()));
        *made = std::move(*segment);
        return {};
      },
      [this, made](Result<void> result) {
        making_ = false;
        if (!result) {
          judge(result.error());
          return;
        }
        out_of_space_ = false;
        next_segment_bytes_ = std::max(next_segment_bytes_, std::min(segment_bytes_, made->segment_bytes * 4));
        add_ready(std::move(*made));
        tick();
      });
}

void SegmentPool::add_ready(PreparedSegment segment) {
  if (segment.number < last_taken_) {  // overtaken by a recycled one
    remove_in_order({segment.number}, [] {});
    return;
  }
  const auto at = std::partition_point(ready_.begin(), ready_.end(),
                                       [&](const PreparedSegment& r) { return r.number < segment.number; });
  ready_.insert(at, std::move(segment));
}

// A full disk is waited for; so is a lack of descriptors. Anything else is a disk that fails.
void SegmentPool::judge(const Error& error) {
  if (error.code != Code::no_space && error.code != Code::over_limit) {
    disk_.fail(error);
    return;
  }
  out_of_space_ = true;
  retry_at_us_ = clock_.monotonic_us() + kRetryUs;
}

void SegmentPool::tick() {
  if (ready_.size() < wanted()) start_making(kSegmentBytesMin);
  start_writing();
}

void SegmentPool::start_writing() {
  if (writing_ || disk_.failed()) return;
  const auto next = std::find_if(ready_.begin(), ready_.end(), [](const PreparedSegment& r) {
    return r.written_bytes < r.segment_bytes && *r.use == PoolUse::none;
  });
  if (next == ready_.end()) return;
  writing_ = true;
  const std::uint64_t number = next->number;
  const std::uint64_t from = next->written_bytes;
  const std::uint64_t bytes = std::min<std::uint64_t>(kPieceBytes, next->segment_bytes - from);
  const bool sync = access_ != Access::direct || from + bytes == next->segment_bytes;
  disk_.background_slowly(
      [file = next->file, use = next->use, from, bytes, sync]() -> Result<void> {
        PoolUse before = PoolUse::none;
        if (!use->compare_exchange_strong(before, PoolUse::writing)) return {};  // a log has it: never a zero more
        auto written = write_zeros(*file, from, bytes);
        if (written && sync) written = file->sync();
        *use = PoolUse::none;
        return written;
      },
      [this, alive = alive_, number, bytes](Result<void> written) {
        if (!*alive) return;
        writing_ = false;
        if (!written) {
          judge(written.error());
          return;
        }
        for (PreparedSegment& segment : ready_) {
          if (segment.number == number && *segment.use == PoolUse::none) segment.written_bytes += bytes;
        }
        start_writing();
      });
}

void SegmentPool::retire(std::vector<Retired> segments, std::function<void()> done) {
  auto job = std::make_shared<RetireJob>();
  job->segments = std::move(segments);
  job->done = std::move(done);
  std::size_t free_places = kReadyMax - std::min(kReadyMax, ready_.size() + (making_ ? 1 : 0));
  for (const Retired& segment : job->segments) {
    const bool recycle = !segment.being_read && free_places > 0 && segment.segment_bytes == segment_bytes_;
    job->numbers.push_back(recycle ? next_number_++ : 0);
    if (recycle) --free_places;
  }
  start_retiring(job, 0);
}

void SegmentPool::start_retiring(const std::shared_ptr<RetireJob>& job, std::uint64_t delay_us) {
  background(
      delay_us,
      [directory = directory_, access = access_, job]() -> Result<void> {
        for (; job->next < job->segments.size(); ++job->next) {
          const std::string name = segment_name(job->segments[job->next].number);
          const std::uint64_t number = job->numbers[job->next];
          if (number == 0) {
            if (auto gone = directory->remove(name); !gone) return gone;
            continue;
          }
          // The header goes first: under either name the file then holds nothing.
          auto file = directory->open(name, access);
          if (!file) return std::unexpected(std::move(file.error()));
          auto cleared = write_zeros(**file, 0, kFramesPosition);
          if (cleared) cleared = (*file)->sync();
          if (cleared) cleared = directory->rename(name, segment_name(number));
          if (!cleared) return cleared;
          const std::uint64_t bytes = job->segments[job->next].segment_bytes;
          job->recycled.push_back(
              {.number = number, .segment_bytes = bytes, .file = std::move(*file), .written_bytes = bytes});
        }
        return directory->sync();
      },
      [this, job](Result<void> retired) {
        if (!retired && retired.error().code == Code::over_limit) {  // opening one failed: that one is tried again
          start_retiring(job, kRetryUs);
          return;
        }
        if (!retired) {
          disk_.fail(retired.error());
          return;
        }
        for (PreparedSegment& segment : job->recycled) add_ready(std::move(segment));
        out_of_space_ = false;  // what was removed may be enough
        job->done();
      });
}

void SegmentPool::remove_in_order(std::vector<std::uint64_t> numbers, std::function<void()> done) {
  background(
      0,
      [directory = directory_, numbers = std::move(numbers)]() -> Result<void> {
        for (const std::uint64_t number : numbers) {
          if (auto gone = directory->remove(segment_name(number)); !gone) return gone;
          if (auto synced = directory->sync(); !synced) return synced;
        }
        return {};
      },
      [this, done = std::move(done)](Result<void> removed) {
        if (!removed) {
          disk_.fail(removed.error());
          return;
        }
        done();
      });
}

std::uint64_t SegmentPool::disk_bytes() const {
  std::uint64_t bytes = 0;
  for (const PreparedSegment& segment : ready_) bytes += segment.segment_bytes;
  return bytes;
}

}  // namespace walraft::wal
