#pragma once

// Group commit of one log: appends collect in memory that already has the layout of the file; one
// write at a time takes all that has come together. A group lies in one segment.
//
// The write covers whole blocks. Its first block may hold the end of the group before: those bytes
// are written again, identical, which no power cut can harm (the block is not in flight any more, and
// a sector is old or new). Its last block is filled up with zeros, which the next group replaces.
//
// Thread: shard.

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "wal/base/ids.h"
#include "wal/batch.h"
#include "wal/chunk.h"
#include "wal/disk.h"
#include "wal/segment.h"
#include "wal/tail_cache.h"

namespace walraft::wal {

// A segment that is written, or was: what is placed in it, and what of that is durable.
struct LiveSegment {
  std::shared_ptr<SegmentFile> file;
  SegmentIndex index;
  LogPoint end;                    // behind the last batch placed here
  std::uint64_t end_position = 0;  // behind the last frame placed here
  LogPoint durable_end;
  std::uint64_t durable_position = 0;
  Index commit;                    // highest stamped in it
  std::uint64_t group_number = 0;  // of the last group written
  bool header_placed = false;      // the group that carries the segment header exists
  bool on_disk = false;            // ... and is durable: the segment is in use
  bool sealed = false;             // the footer is durable; `frozen` is its index
  std::shared_ptr<const SegmentIndex> frozen;
  // The block in which the next group begins, as it stands on disk.
  alignas(8) std::array<std::byte, kBlockBytes> tail_block{};

  std::uint64_t room() const {
    const std::uint64_t limit = footer_position(file->header.segment_bytes);
    return end_position < limit ? limit - end_position : 0;
  }
};

class GroupWriter {
 public:
  // Called when a group is durable, before the next one starts.
  using GroupDurable = std::function<void(const std::shared_ptr<LiveSegment>&)>;

  GroupWriter(Disk& disk, TailCache& cache, GroupDurable handler)
      : disk_(disk), cache_(cache), handler_(std::move(handler)) {}
  // A write in flight keeps its memory and its file until the disk is done with them.
  ~GroupWriter();

  // Whether a batch of this size joins the group that is open in `segment`.
  bool joins_open_group(const LiveSegment& segment, std::uint64_t batch_bytes) const;

  // Places the batch behind `segment.end`, in the open group or a new one. The caller checked the
  // room: frame_bytes(batch), and kGroupHeaderBytes if it does not join.
  void append(const std::shared_ptr<LiveSegment>& segment, const BatchHeader& header, ByteView batch);

  // A group without batches: proves that what lies before it was durable, or opens a segment.
  void append_empty(const std::shared_ptr<LiveSegment>& segment);

  // Starts the oldest group if none is in flight. `durable` is the log's durable index.
  void flush(Index durable);

  bool idle() const { return !in_flight_ && groups_.empty(); }
  std::uint64_t pending_bytes() const { return pending_bytes_; }

  static constexpr std::size_t kGroupBytesMax = std::size_t{1} << 20;  // unless one batch is larger

 private:
  struct Group {
    std::shared_ptr<LiveSegment> segment;
    std::shared_ptr<Chunk> chunk;
    std::uint64_t chunk_position = 0;  // of the chunk's first byte in the file
    std::size_t header_at = 0;         // of the group header in the chunk
    std::size_t used = 0;              // of the chunk
    bool opens_segment = false;
    LogPoint first, end;
    std::uint32_t batches = 0;
  };

  struct Write final : DurableWrite {
    void on_durable() override;
    GroupWriter* writer = nullptr;  // null: gone
    std::shared_ptr<Chunk> chunk;
    std::shared_ptr<SegmentFile> segment;
    bool in_flight = false;
  };

  Group& open_group(const std::shared_ptr<LiveSegment>& segment, std::size_t frame);
  void reserve(Group& group, std::size_t frame);
  void start(Index durable);
  void finish();
  static void outlive(Disk& disk, std::shared_ptr<Write> write);

  Disk& disk_;
  TailCache& cache_;
  GroupDurable handler_;
  std::deque<Group> groups_;  // the front is in flight if in_flight_
  std::shared_ptr<Write> write_ = std::make_shared<Write>();
  bool in_flight_ = false;
  bool back_is_open_ = false;  // groups_.back() takes more batches
  std::size_t last_group_bytes_ = 0;
  std::uint64_t pending_bytes_ = 0;
};

}  // namespace walraft::wal
