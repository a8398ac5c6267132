// Segment files for recovery and reading. An even first byte: the rest is one segment's frames, as they are.
// An odd one: the rest is a list of things to put into two segments, all with right CRCs, whose fields
// contradict each other. Recovery must not crash, must say the same twice, and reading must return nothing
// but batches whose CRCs are right, each at its index. Corpus: tests/data/fuzz/segment.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/sim/sim_filesystem.h"
#include "wal/base/check.h"
#include "wal/batch.h"
#include "wal/recovery.h"
#include "wal/segment_format.h"

namespace {

using namespace walraft;
using namespace walraft::wal;

const Uuid kCluster{{1}};
const Uuid kLog{{2}};
constexpr LogId kLogId(7);

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *at_++;
  }
  ByteView rest() const { return {reinterpret_cast<const std::byte*>(at_), left_}; }

 private:
  const std::uint8_t* at_;
  std::size_t left_;
};

struct Segment {
  SegmentHeader header;
  std::vector<std::byte> bytes = std::vector<std::byte>(kSegmentBytesMin);
  std::size_t at = kFramesPosition;
  LogPoint point;
  std::uint64_t group = 0;

  Segment(std::uint64_t number, const LogPoint& start) : point(start) {
    header = {kCluster, kLog, kLogId, number, 0x5eed + number, kSegmentBytesMin, start, 1};
  }
  bool has_room(std::size_t n) const { return at + n <= footer_position(kSegmentBytesMin); }

  void put_group(Input& in) {
    if (!has_room(kGroupHeaderBytes)) return;
    const std::uint8_t what = in.byte();
    GroupHeader group_header;
    group_header.incarnation = header.incarnation + (what & 1 ? in.byte() : 0);
    group_header.number = what & 2 ? in.byte() : ++group;
    group_header.durable_before = what & 4 ? Index(in.byte()) : point.index;
    group_header.first_index = what & 8 ? Index(in.byte()) : point.index;
    group_header.batches = in.byte() % 8;
    encode_group_header(MutableBytes(bytes).subspan(at), group_header);
    at += kGroupHeaderBytes;
  }
  void put_batch(Input& in) {
    const std::uint8_t what = in.byte();
    const std::size_t body = what & 1 ? std::size_t{in.byte()} * 16 : in.byte() % 32;
    std::vector<std::byte> batch = make_control_batch(kLogId, BatchKind::noop, std::vector<std::byte>(body, std::byte{what}));
    if (!has_room(frame_bytes(batch.size()))) return;
    BatchStamp stamp{point.index, point.offset, point.term, Index(in.byte()), point.timestamp_us};
    if (what & 2) stamp.index = Index(in.byte());
    if (what & 4) stamp.base_offset = Offset(in.byte());
    if (what & 8) stamp.term = Term(in.byte());
    Digest before = point.digest;
    if (what & 16) before.low ^= in.byte();
    const Digest digest = stamp_batch(batch, stamp, before);
    if (what & 32) batch[batch.size() - 1] ^= std::byte{1};
    std::copy(batch.begin(), batch.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    at += frame_bytes(batch.size());
    if ((what & 64) == 0) point = {stamp.index + 1, stamp.base_offset, stamp.term, stamp.timestamp_us, digest};
  }
  void put_footer(Input& in) {
    const std::uint8_t what = in.byte();
    SegmentFooter footer;
    footer.incarnation = header.incarnation + (what & 1 ? 1 : 0);
    footer.end_position = what & 2 ? kFramesPosition + std::uint64_t{in.byte()} * 64 : at;
    footer.end = point;
    if (what & 4) footer.end.index = Index(in.byte());
    footer.commit = Index(in.byte());
    for (int i = what >> 5; i > 0; --i) {
      footer.entries.push_back({Index(in.byte()), Offset(in.byte()), 0, kFramesPosition + std::uint64_t{in.byte()} * 8});
      if (footer.entries.size() == 3) break;
    }
    footer.runs.push_back({Term(in.byte()), Index(in.byte())});
    const auto region = encode_footer(footer, kSegmentBytesMin);
    std::copy(region.begin(), region.end(), bytes.begin() + static_cast<std::ptrdiff_t>(footer_position(kSegmentBytesMin)));
  }
  void damage(Input& in) {
    const std::size_t position = (std::size_t{in.byte()} << 8 | in.byte()) % bytes.size();
    bytes[position] ^= std::byte{1};
  }
};

void add_file(sim::SimFilesystem& filesystem, Directory& directory, std::uint64_t number, ByteView bytes) {
  CHECK(directory.create(segment_name(number), Access::write).has_value());
  sim::Image image;
  image.write(0, bytes);
  filesystem.restore("log/" + segment_name(number), image);
}

std::vector<Segment> segments_of(Input& in) {
  LogPoint start;
  start.digest = first_digest(kLog);
  std::vector<Segment> segments;
  if (in.byte() % 2 == 0) {
    segments.emplace_back(1, start);
    const ByteView rest = in.rest().first(std::min<std::size_t>(in.rest().size(), kSegmentBytesMin - kFramesPosition));
    std::copy(rest.begin(), rest.end(), segments[0].bytes.begin() + kFramesPosition);
  } else {
    segments.emplace_back(1, start);
    while (!in.empty()) {
      Segment& segment = segments.back();
      switch (in.byte() % 8) {
        case 0:
        case 1: segment.put_group(in); break;
        case 2:
        case 3:
        case 4: segment.put_batch(in); break;
        case 5: segment.put_footer(in); break;
        case 6: segment.damage(in); break;
        case 7:
          if (segments.size() < 3) {
            LogPoint next = segment.point;
            if (const std::uint8_t other = in.byte(); other != 0) next.index = Index(other);
            segments.emplace_back(segments.size() + 1, next);
          }
          break;
      }
    }
  }
  for (Segment& segment : segments) encode_segment_header(MutableBytes(segment.bytes).first(kFramesPosition), segment.header);
  return segments;
}

void read_all(const RecoveredLog& recovered, Index first) {
  LogView view;
  view.first_offset = Offset();
  for (const RecoveredSegment& segment : recovered.segments) {
    view.segments.push_back({segment.file, std::make_shared<SegmentIndex>(segment.index), segment.end, segment.end_position});
    view.end_index = segment.end.index;
    view.end_offset = segment.end.offset;
  }
  LogReader reader(view);
  Index at = first;
  for (int steps = 0; at < view.end_index && steps < 2'000; ++steps) {
    std::vector<BatchRef> batches;
    if (!reader.read(at, 8'192, batches)) {
      at = std::max(at + 1, reader.hole().to);
      continue;
    }
    for (const BatchRef& ref : batches) {
      const auto header = decode_batch(ref.bytes);
      CHECK(header.has_value() && header->index == ref.index);
    }
    at = batches.empty() ? at + 1 : batches.back().index + 1;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Input in(data, size);
  sim::SimFilesystem filesystem;
  auto root = filesystem.root();
  auto directory = root->subdirectory("log", true);
  CHECK(directory.has_value());
  for (const Segment& segment : segments_of(in)) add_file(filesystem, **directory, segment.header.number, segment.bytes);
  RecoveryInput input{kCluster, kLog, kLogId, {}, data[0] % 4 < 2, Access::direct, true};
  const std::shared_ptr<Directory> shared = std::move(*directory);
  const auto recovered = recover_log(shared, input);
  if (!recovered) return 0;
  const auto again = recover_log(shared, input);
  CHECK(again.has_value() && again->segments.size() == recovered->segments.size());
  for (std::size_t i = 0; i < recovered->segments.size(); ++i) {
    CHECK(recovered->segments[i].end == again->segments[i].end);
    CHECK(recovered->segments[i].end_position <= footer_position(kSegmentBytesMin));
  }
  read_all(*recovered, Index());
  return 0;
}
