#pragma once

// Reads a segment file frame by frame and says what is intact. Decides nothing: recovery.h does.
// Blocks; any thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/chunk.h"
#include "wal/filesystem.h"
#include "wal/segment.h"
#include "wal/segment_format.h"

namespace walraft::wal {

// A window that moves over a file, in whole aligned blocks as direct files demand.
class FileWindow {
 public:
  FileWindow(File& file, std::uint64_t end) : file_(file), end_(end) {}

  // The bytes [position, position + bytes), valid until the next call; fewer at the end of the file
  // or of the window. `failed` if the medium cannot give them.
  Result<ByteView> view(std::uint64_t position, std::size_t bytes);

  // Whether view() of these bytes would read nothing.
  bool holds(std::uint64_t position, std::size_t bytes) const {
    return chunk_ && position >= start_ && position + bytes <= start_ + filled_;
  }

  // Hands the window's memory over, for whoever keeps views of it.
  std::shared_ptr<const Chunk> share() const { return chunk_; }
  // The next view() reads into memory of its own, at least this much of the file at once.
  void renew(std::size_t bytes);

 private:
  Result<void> fill(std::uint64_t position, std::size_t bytes);

  File& file_;
  std::uint64_t end_;
  std::shared_ptr<Chunk> chunk_;
  std::uint64_t start_ = 0;  // of the chunk in the file
  std::size_t filled_ = 0;
  std::size_t read_ahead_ = std::size_t{1} << 20;
};

// Batches that follow one another without damage.
struct IntactRun {
  LogPoint from, to;
  std::uint64_t from_position = 0, to_position = 0;
  // False: what lies before is lost, so `from` has only an index until the first batch is read.
  bool chained = true;
};

// A place where the frames stop making sense.
struct Damage {
  std::uint64_t position = 0;
  std::string what;
  // The last group header that was read promised more than was found: a write was cut short here.
  bool inside_group = false;
  // Highest durable_before of the valid groups behind the damage; 0 if there are none.
  Index durable_before_behind;
};

// A damaged group header whose batches prove themselves by the digest: it cost nothing.
struct LostGroupHeader {
  std::uint64_t position = 0;
  Index first_index;  // of the batches behind it
};

struct SegmentScan {
  std::vector<IntactRun> runs;     // at least one, perhaps empty: from == to == the header's start
  std::vector<Damage> damages;     // damages[i] lies behind runs[i]; the last one is where the segment ends
  std::vector<LostGroupHeader> lost_group_headers;
  SegmentIndex index;
  Index commit;                    // highest commit stamped in an intact batch
  Index durable_before;            // highest of all valid groups
  std::uint64_t group_number = 0;  // highest seen
  std::uint64_t groups = 0, batches = 0;
  std::string newer_version;       // said of a batch of a newer release, if there is one
  bool goes_on = false;            // there is a batch behind the stop index
};

// Scans [kFramesPosition, footer), every byte verified. Where frames are damaged it goes on behind
// them: at the next batch if the damaged one's header is intact, else at the next group header of
// this incarnation with a higher number. (Not at a batch that is found by searching: a record may
// hold anything, but no record knows the incarnation.)
// Ends at `stop`, where the next segment starts, if there is one.
SegmentScan scan_segment(File& file, const SegmentHeader& header, std::optional<Index> stop = std::nullopt);

}  // namespace walraft::wal
