// One node, one thing damaged, in the manner of CORDS (FAST'17): every field of every structure, every
// block, every sector, every file of a log of four segments that was stopped in order. Then either all
// that was acknowledged reads right, or the damage is said (finding, hole, SUSPECT) and reads give
// data_loss for the damaged range and right bytes elsewhere. Never wrong bytes; never a log that is
// silently shorter (fault:S11-S16; inv:D4, D5). What one node alone cannot notice has its test as well.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tests/crash/log_machine.h"
#include "wal/segment_format.h"

namespace walraft::wal::crash_test {
namespace {

std::string path(std::uint64_t number) { return "log/" + segment_name(number); }

// A frame of a segment file.
struct Frame {
  std::uint64_t segment = 0, position = 0, bytes = 0;
  bool is_group = false;
  Index index;  // of a batch
};

// The log, and where everything in it stands.
class DamagedLog {
 public:
  // `fault` strikes while it is written, and is not noticed.
  void build(bool proven = true, std::optional<sim::Fault> fault = std::nullopt) {
    Settings setup = small_log();
    setup.durable_is_commit = true;
    process_ = std::make_unique<Process>(filesystem_, clock_, setup);
    ASSERT_NE(process_->log(), nullptr) << process_->error();
    if (fault) filesystem_.inject(*fault);
    sim::SimRng rng(3);
    while (process_->log()->view().segments.size() < 4 || process_->log()->view().segments.back().end_position < 25'000) {
      group(rng, rng.between(1, 4));
    }
    if (proven) {
      idle(2'500'000);
    } else {
      process_->disk().settle();
    }
    for (const SegmentView& segment : process_->log()->view().segments) find_frames(segment);
    process_.reset();
    filesystem_.clear_faults();
    filesystem_.crash(sim::CrashChoice::kill_process());
  }
  void idle(std::uint64_t us) {
    for (std::uint64_t gone = 0; gone < us; gone += 100'000) {
      process_->disk().run_for_us(100'000);
      process_->log()->tick();
      process_->hard_state().flush();
    }
    process_->disk().settle();
  }
  void group(sim::SimRng& rng, std::uint64_t count) {
    Log& log = *process_->log();
    for (std::uint64_t i = 0; i < count; ++i) {
      BatchBuilder builder;
      std::string record(rng.between(1, 3'000), 'x');
      for (char& c : record) c = static_cast<char>(rng.next());
      ASSERT_TRUE(builder.add(bytes_of(record)));
      const MutableBytes batch = builder.finish({.log_id = kLog.id});
      const LogPoint tail = log.tail();
      stamp_batch(batch, {tail.index, tail.offset, Term(1), log.durable(), clock_.wall_us()}, tail.digest);
      while (!log.append(batch)) idle(100'000);
      promise_.batches.push_back(std::make_shared<Promise::Batch>(std::vector(batch.begin(), batch.end()), *decode_batch(batch)));
    }
    log.flush();
    process_->disk().settle();
    promise_.durable = log.durable();
    clock_.advance_us(1'000);
  }

  void find_frames(const SegmentView& segment) {
    const std::uint64_t number = segment.file->header.number;
    segments_.push_back(number);
    const sim::Image image = filesystem_.image(path(number));
    std::vector<std::byte> bytes(image.size());
    image.read(0, bytes);
    std::uint64_t at = kFramesPosition;
    while (at + kGroupHeaderBytes <= bytes.size()) {
      const ByteView rest = ByteView(bytes).subspan(at);
      if (const auto found = decode_group_header(rest); found && found->incarnation == segment.file->header.incarnation) {
        frames_.push_back({number, at, kGroupHeaderBytes, true, {}});
        at += kGroupHeaderBytes;
      } else if (const auto batch = decode_batch_header(rest)) {
        frames_.push_back({number, at, batch->total_bytes(), false, batch->index});
        at += frame_bytes(batch->total_bytes());
      } else {
        break;
      }
    }
  }

  // What may be lost when these bytes are damaged: the batches that lie in them, and those of groups whose
  // header does, up to the next group.
  std::set<std::uint64_t> touched(std::uint64_t segment, std::uint64_t from, std::uint64_t bytes) const {
    std::set<std::uint64_t> lost;
    bool rest_of_group = false;
    for (const Frame& frame : frames_) {
      if (frame.segment != segment) continue;
      const bool hit = frame.position < from + bytes && from < frame.position + frame.bytes;
      if (frame.is_group) {
        rest_of_group = hit;
      } else if (hit) {
        lost.insert(frame.index.value);
        rest_of_group = true;
      } else if (rest_of_group) {
        lost.insert(frame.index.value);
      }
    }
    return lost;
  }

  struct Result {
    bool opened = false, suspect = false, said = false;
    std::set<std::uint64_t> unreadable;
    Index end;
  };

  // Opens a copy after `damage`, reads all of it, and holds it against what was appended.
  Result open(const std::function<void(sim::SimFilesystem&)>& damage) {
    auto copy = filesystem_.fork();
    copy->crash(sim::CrashChoice::lose_unsynced());
    damage(*copy);
    Settings setup = small_log();
    setup.durable_is_commit = true;
    sim::SimClock clock = clock_;
    Result result;
    Process process(*copy, clock, setup);
    if (process.log() == nullptr) {
      result.said = true;
      return result;
    }
    Log& log = *process.log();
    result.opened = true;
    result.suspect = log.suspect();
    result.said = log.suspect() || !log.recovery().findings.empty();
    result.end = log.durable();
    EXPECT_LE(result.end, promise_.end());
    LogReader reader(log.view());
    for (std::uint64_t at = 0; Index(at) < result.end;) {
      std::vector<BatchRef> batches;
      if (auto read = reader.read(Index(at), 30'000, batches); !read) {
        EXPECT_EQ(read.error().code, Code::data_loss) << read.error().message;
        EXPECT_LE(reader.hole().from.value, at);
        EXPECT_GT(reader.hole().to.value, at) << read.error().message;
        if (reader.hole().to.value <= at) break;
        for (; at < std::min(reader.hole().to.value, result.end.value); ++at) result.unreadable.insert(at);
        continue;
      }
      if (batches.empty()) {
        ADD_FAILURE() << "nothing is read at " << at;
        break;
      }
      for (const BatchRef& ref : batches) {
        EXPECT_EQ(ref.index, Index(at));
        EXPECT_TRUE(std::ranges::equal(ref.bytes, promise_.batches.at(at)->bytes)) << "wrong bytes of batch " << at;
        ++at;
      }
    }
    // Each batch by itself too: what was read around damage must not depend on where one began.
    for (std::uint64_t at = 0; Index(at) < result.end; at += 5) {
      std::vector<BatchRef> batches;
      const bool is_read = reader.read(Index(at), 1, batches).has_value();
      EXPECT_EQ(is_read, !result.unreadable.contains(at)) << "batch " << at;
      EXPECT_TRUE(!is_read || std::ranges::equal(batches.at(0).bytes, promise_.batches[at]->bytes));
    }
    for (const Hole& hole : log.recovery().holes) {
      for (std::uint64_t i = hole.from.value; i < hole.to.value; ++i) EXPECT_TRUE(result.unreadable.contains(i)) << i;
    }
    return result;
  }

  // The rule of the sweep, for damage that touches only `may_be_lost`.
  void expect_honest(const Result& result, const std::set<std::uint64_t>& may_be_lost) {
    ++damages_;
    if (!result.opened) {
      ++refused_;
      return;
    }
    if (result.end < promise_.durable) {
      EXPECT_TRUE(result.suspect) << "the log is silently shorter: " << result.end.value << " of " << promise_.durable.value;
    }
    for (const std::uint64_t index : result.unreadable) {
      EXPECT_TRUE(may_be_lost.contains(index)) << "batch " << index << " is intact and not read";
    }
    if (result.suspect) ++suspect_;
    if (!result.unreadable.empty()) ++holed_;
    if (!result.suspect && result.unreadable.empty()) ++whole_;
  }
  void print(const char* what) const {
    std::printf("%s: %d damages: %d read whole, %d with data_loss, %d suspect, %d refused\n", what, damages_, whole_, holed_,
                suspect_, refused_);
  }

  sim::SimFilesystem filesystem_{17};
  sim::SimClock clock_;
  std::unique_ptr<Process> process_;
  Promise promise_;
  std::vector<std::uint64_t> segments_;
  std::vector<Frame> frames_;
  int damages_ = 0, whole_ = 0, holed_ = 0, suspect_ = 0, refused_ = 0;
};

class Sweep : public ::testing::Test, protected DamagedLog {};

// Disk writes that were acknowledged and are nowhere, or in another block (fault:S16).
TEST_F(Sweep, every_write_lost_or_misdirected) {
  int struck = 0;
  for (const std::int64_t by : {0, 1}) {  // blocks; the footer's lie behind every frame
    for (std::uint64_t skip = 0;; ++skip) {
      SCOPED_TRACE("write " + std::to_string(skip) + " misdirected by " + std::to_string(by) + " blocks");
      DamagedLog log;
      sim::Fault fault{.kind = by == 0 ? sim::FaultKind::write_is_lost : sim::FaultKind::write_is_misdirected, .path = "log/", .skip = skip};
      fault.misdirected_by = by * static_cast<std::int64_t>(kBlockBytes);
      log.build(true, fault);
      if (log.filesystem_.faults_struck() == 0) break;
      ++struck;
      const DamagedLog::Result result = log.open([](sim::SimFilesystem&) {});
      EXPECT_TRUE(!result.opened || result.suspect || result.end == log.promise_.end()) << result.end.value;
      if (HasFailure()) return;
      if (skip > 60) skip += 3;
    }
  }
  std::printf("%d writes lost or misdirected\n", struck);
}

TEST_F(Sweep, one_bit_in_every_field_of_every_structure) {
  build();
  const auto flip = [&](std::uint64_t segment, std::uint64_t position, unsigned bit, const char* what) {
    SCOPED_TRACE(std::string(what) + " of segment " + std::to_string(segment) + ", byte " + std::to_string(position));
    const Result result = open([&](sim::SimFilesystem& copy) { copy.flip_bit(path(segment), position, bit); });
    EXPECT_TRUE(result.opened);
    expect_honest(result, touched(segment, position, 1));
    return result;
  };
  for (const std::uint64_t segment : segments_) {
    for (std::uint64_t at = 0; at < kSegmentHeaderBytes; at += 4) {
      EXPECT_FALSE(flip(segment, at, 3, "header copy A").suspect);
      EXPECT_FALSE(flip(segment, kBlockBytes + at, 3, "header copy B").suspect);
    }
    for (std::uint64_t at = footer_position(kSegmentBytesMin); at < footer_position(kSegmentBytesMin) + 320; at += 8) {
      EXPECT_FALSE(flip(segment, at, 1, "footer").suspect);
    }
  }
  int n = 0;
  for (const Frame& frame : frames_) {
    const std::uint64_t step = frame.is_group ? 8 : 12;
    ++n;
    for (std::uint64_t at = static_cast<std::uint64_t>(n) % 8; at < std::min<std::uint64_t>(frame.bytes, kBatchHeaderBytes); at += step) {
      flip(frame.segment, frame.position + at, 4, frame.is_group ? "group" : "batch header");
    }
    if (!frame.is_group) flip(frame.segment, frame.position + frame.bytes - 1, 0, "batch body");
    if (HasFailure()) return;
  }
  print("bits");
}

TEST_F(Sweep, every_block_zeroed_overwritten_unreadable_or_put_elsewhere) {
  build();
  sim::SimRng rng(9);
  for (const std::uint64_t segment : segments_) {
    const sim::Image image = filesystem_.image(path(segment));
    for (std::uint64_t at = 0; at < image.size(); at += kBlockBytes) {
      for (int kind = 0; kind < 4; ++kind) {
        SCOPED_TRACE("kind " + std::to_string(kind) + ", segment " + std::to_string(segment) + ", byte " + std::to_string(at));
        const Result result = open([&](sim::SimFilesystem& copy) {
          std::vector<std::byte> block(kBlockBytes);
          if (kind == 2) {
            copy.make_unreadable(path(segment), at, kBlockBytes);
            return;
          }
          if (kind == 1) {
            for (std::byte& b : block) b = static_cast<std::byte>(rng.next());
          }
          // Misdirected: another block of the same file lies here.
          if (kind == 3) image.read(rng.below(image.size() / kBlockBytes) * kBlockBytes, block);
          sim::Image changed = image;
          changed.write(at, block);
          copy.restore(path(segment), changed);
        });
        EXPECT_TRUE(result.opened);
        // A misplaced block holds groups that are valid but for their place, and numbers above those of the
        // groups that follow it: these are then not believed, up to the end of the segment.
        expect_honest(result, touched(segment, at, kind == 3 ? kSegmentBytesMin : kBlockBytes));
        if (HasFailure()) return;
      }
    }
  }
  print("blocks");
}

TEST_F(Sweep, every_sector_lost) {
  build();
  for (const std::uint64_t segment : segments_) {
    const sim::Image image = filesystem_.image(path(segment));
    for (std::uint64_t at = 0; at < image.size(); at += sim::kSectorBytes) {
      SCOPED_TRACE("segment " + std::to_string(segment) + ", byte " + std::to_string(at));
      const Result result = open([&](sim::SimFilesystem& copy) {
        sim::Image changed = image;
        changed.write(at, std::vector<std::byte>(sim::kSectorBytes));
        copy.restore(path(segment), changed);
      });
      EXPECT_TRUE(result.opened);
      expect_honest(result, touched(segment, at, sim::kSectorBytes));
      if (HasFailure()) return;
    }
  }
  print("sectors");
}

TEST_F(Sweep, every_file_shortened_deleted_or_swapped) {
  build();
  for (const std::uint64_t segment : segments_) {
    std::set<std::uint64_t> all;
    for (const Frame& frame : frames_) {
      if (frame.segment == segment && !frame.is_group) all.insert(frame.index.value);
    }
    std::vector<std::uint64_t> sizes = {0, 512, kBlockBytes, kFramesPosition, footer_position(kSegmentBytesMin)};
    for (const Frame& frame : frames_) {
      if (frame.segment == segment && frame.index.value % 7 == 0) sizes.insert(sizes.end(), {frame.position, frame.position + 70});
    }
    for (const std::uint64_t bytes : sizes) {
      SCOPED_TRACE("segment " + std::to_string(segment) + " cut to " + std::to_string(bytes));
      const Result result = open([&](sim::SimFilesystem& copy) { copy.truncate_on_medium(path(segment), bytes); });
      EXPECT_TRUE(result.said || touched(segment, bytes, kSegmentBytesMin).empty());
      expect_honest(result, touched(segment, bytes, kSegmentBytesMin).empty() ? touched(segment, bytes, 1) : all);
    }
    SCOPED_TRACE("segment " + std::to_string(segment) + " deleted");
    const Result result = open([&](sim::SimFilesystem& copy) { copy.delete_on_medium(path(segment)); });
    EXPECT_TRUE(result.said);
    expect_honest(result, all);
    for (const std::uint64_t other : segments_) {
      if (other == segment) continue;
      SCOPED_TRACE("replaced by " + std::to_string(other));
      const Result swapped = open([&](sim::SimFilesystem& copy) { copy.restore(path(segment), filesystem_.image(path(other))); });
      EXPECT_FALSE(swapped.opened);
      expect_honest(swapped, all);
    }
    if (HasFailure()) return;
  }
  print("files");
}

// A hole is no end: the log goes on behind it, is sealed, crashes and is read with it, always the same.
TEST_F(Sweep, a_log_with_a_hole_goes_on) {
  build();
  Settings settings = small_log();
  settings.durable_is_commit = true;
  int holes = 0, n = 0;
  for (const Frame& frame : frames_) {
    if (frame.is_group || ++n % 3 != 0) continue;
    SCOPED_TRACE("batch " + std::to_string(frame.index.value));
    auto copy = filesystem_.fork();
    copy->crash(sim::CrashChoice::lose_unsynced());
    copy->flip_bit(path(frame.segment), frame.position + (n % 2 == 0 ? 100 : 140), 2);
    if (n % 4 == 0) copy->flip_bit(path(frame.segment), footer_position(kSegmentBytesMin) + 40, 2);
    sim::SimClock clock = clock_;
    Promise promise = promise_;
    std::set<std::uint64_t> lost;
    for (int life = 0; life < 4; ++life) {
      Process process(*copy, clock, settings);
      ASSERT_NE(process.log(), nullptr) << process.error();
      Log& log = *process.log();
      if (log.suspect()) {
        ASSERT_EQ(life, 0);
        break;
      }
      if (life == 0) ++holes;
      LogReader reader(log.view());
      std::set<std::uint64_t> unreadable;
      for (std::uint64_t at = 0; at < promise.end().value; ++at) {
        std::vector<BatchRef> batches;
        if (!reader.read(Index(at), 1, batches)) {
          unreadable.insert(at);
        } else {
          ASSERT_TRUE(std::ranges::equal(batches.at(0).bytes, promise.batches[at]->bytes));
        }
      }
      if (life == 0) {
        const auto may_be_lost = touched(frame.segment, frame.position, frame.bytes);
        EXPECT_TRUE(std::ranges::includes(may_be_lost, unreadable));
        EXPECT_TRUE(unreadable.contains(frame.index.value));
        lost = unreadable;
      }
      ASSERT_EQ(unreadable, lost) << "life " << life;
      for (int i = 0; i < 25; ++i) {
        BatchBuilder builder;
        ASSERT_TRUE(builder.add(bytes_of(std::string(static_cast<std::size_t>(1'900 + i), 'z'))));
        const MutableBytes batch = builder.finish({.log_id = kLog.id});
        const LogPoint tail = log.tail();
        stamp_batch(batch, {tail.index, tail.offset, Term(1), log.durable(), clock.wall_us()}, tail.digest);
        for (int k = 0; k < 50 && !log.append(batch); ++k) {
          process.disk().run_for_us(100'000);
          log.tick();
        }
        ASSERT_EQ(log.tail().index, tail.index + 1);
        promise.batches.push_back(std::make_shared<Promise::Batch>(std::vector(batch.begin(), batch.end()), *decode_batch(batch)));
        log.flush();
        process.disk().settle();
      }
      copy->crash(sim::CrashChoice::keep_random(frame.index.value));
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(holes, 10);
}

// The limit of one node, said in wal/FORMAT.md section 11: the last group, before an idle group or a bound
// says that it was durable, looks like a torn one. It is cut, with a warning; never one batch more.
TEST_F(Sweep, only_the_last_group_may_go_and_only_before_it_is_proven) {
  build(false);
  Index last_group;
  for (const Frame& frame : frames_) {
    if (frame.segment == segments_.back() && frame.is_group) last_group = Index();
    if (!frame.is_group && last_group == Index()) last_group = frame.index;
  }
  int cut = 0;
  for (const Frame& frame : frames_) {
    if (frame.segment != segments_.back() || frame.is_group) continue;
    const Result result = open([&](sim::SimFilesystem& copy) { copy.flip_bit(path(frame.segment), frame.position + 90, 1); });
    ASSERT_TRUE(result.opened);
    if (frame.index < last_group) {
      EXPECT_TRUE(result.suspect || result.end == promise_.end()) << frame.index.value;
    } else {
      EXPECT_FALSE(result.suspect);
      EXPECT_EQ(result.end, frame.index);
      EXPECT_TRUE(result.said) << "a cut is told";
      ++cut;
    }
  }
  EXPECT_GT(cut, 0);
}

// Damage under a running log (fault:S13, S16): reads give data_loss for what is damaged, the rest is right.
TEST_F(Sweep, damage_under_a_running_log_is_told_by_reads) {
  Settings setup = small_log();
  setup.durable_is_commit = true;
  build();
  Process process(filesystem_, clock_, setup);
  ASSERT_NE(process.log(), nullptr);
  sim::SimRng rng(2);
  std::set<std::uint64_t> damaged;
  for (const Frame& frame : frames_) {
    if (frame.is_group || !rng.one_in(9)) continue;
    filesystem_.flip_bit(path(frame.segment), frame.position + rng.below(frame.bytes), 2);
    damaged.insert(frame.index.value);
  }
  LogReader reader(process.log()->view());
  for (std::uint64_t at = 0; at < promise_.end().value; ++at) {
    std::vector<BatchRef> batches;
    const auto read = reader.read(Index(at), 1, batches);
    if (read) {
      EXPECT_FALSE(damaged.contains(at));
      EXPECT_TRUE(std::ranges::equal(batches.at(0).bytes, promise_.batches[at]->bytes));
    } else {
      EXPECT_EQ(read.error().code, Code::data_loss);
      EXPECT_TRUE(reader.hole().from <= Index(at) && Index(at) < reader.hole().to);
    }
    EXPECT_FALSE(damaged.contains(at) && read);
  }
}

}  // namespace
}  // namespace walraft::wal::crash_test
