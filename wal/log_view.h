#pragma once

// Reading a log's files, off the shard thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"
#include "wal/chunk.h"
#include "wal/filesystem.h"
#include "wal/segment.h"

namespace walraft::wal {

// A range of a log that is damaged on this disk: never returned, to be fetched from a peer.
struct Hole {
  Index from, to;
  Offset from_offset, to_offset;
};

struct LogView {
  std::vector<SegmentView> segments;  // oldest first, without gaps but for holes
  std::vector<Hole> holes;            // found so far; reads find others
  Offset first_offset;                // the trim point
  Offset end_offset;                  // durable; whoever hands it on may lower both, and nothing behind is read
  Index end_index;
};

// Where a batch stands.
struct BatchPlace {
  BatchHeader header;
  std::uint64_t segment = 0;   // its number
  std::uint64_t position = 0;  // of the frame
};

// Thread: any, one at a time. Files are open during a call only.
class LogReader {
 public:
  explicit LogReader(LogView view) : view_(std::move(view)) {}

  // Batches from the one that holds `from` on (an offset or an index; control batches are there too,
  // but none before the batch that holds the offset), about `bytes_max` bytes of them but at least
  // one, every byte verified; appended to `out`. Nothing is added at the view's end.
  // Errors: `trimmed` {first kept}; `data_loss` {offset} if the batch that holds `from` is damaged
  // here (the message names segment, position, extent; Hole::to is where reading can go on);
  // `failed` for I/O errors that are not of the medium; `invalid` if `from` lies past the view's end;
  // `not_found` if the segment was removed since the view was taken: take a new one; `over_limit` for
  // want of descriptors.
  Result<void> read(Offset from, std::size_t bytes_max, std::vector<BatchRef>& out);
  Result<void> read(Index from, std::size_t bytes_max, std::vector<BatchRef>& out);

  // The offset of the first record whose batch is stamped at or after `timestamp_us`; the view's end
  // if there is none. Stamps never decrease, so this is a binary search.
  Result<Offset> find_time(std::int64_t timestamp_us);

  // The batch at `index`, without its body (proto: WELCOME needs digests at any index). `data_loss`,
  // `trimmed`, `invalid` as read().
  Result<BatchPlace> find(Index index);

  // Where the log stands before batch `at`: at every index from the first batch in the files to the view's
  // end. At first_index() too, though what lies before was trimmed: the segment's header tells, or the batch
  // before, which is still in it. Reads nothing where a segment starts or ends, else the headers of about
  // 64 KiB of batches. Blocks. `trimmed`: nothing that is kept tells; `data_loss`: the batch before it is
  // damaged here; `invalid`: past the view's end, or the view is of a log that has no segment yet (its only
  // point is Log::tail()); the others as read().
  Result<LogPoint> point(Index at);

  Offset end_offset() const { return view_.end_offset; }
  // That the view takes, about.
  std::size_t memory_bytes() const { return view_.segments.size() * sizeof(SegmentView); }
  // After a read() that failed with data_loss: what is unreadable.
  const Hole& hole() const { return hole_; }

 private:
  template <class Position>
  Result<void> read_from(Position from, std::size_t bytes_max, std::vector<BatchRef>& out);
  template <class Position>
  const SegmentView* segment_holding(Position from) const;
  std::unexpected<Error> lost_before(const SegmentView& segment);

  LogView view_;
  Hole hole_;
};

}  // namespace walraft::wal
