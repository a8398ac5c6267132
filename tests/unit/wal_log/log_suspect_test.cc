// A log that lost something it acknowledged, on disks of which each case is made by hand. Power cuts at every operation
// are in tests/crash/suspect_test.cc.

#include <optional>

#include "tests/unit/wal_log/log_world.h"
#include "wal/hard_state_format.h"
#include "wal/segment_format.h"

namespace walraft::wal {
namespace {

// One of several voters: only what a batch says is known to be committed.
LogOptions follower() {
  LogOptions options = small_options();
  options.durable_is_commit = false;
  return options;
}

class LogSuspect : public ::testing::Test {
 protected:
  LogProcess& start() {
    process_.reset();
    process_ = std::make_unique<LogProcess>(filesystem_, clock_, follower());
    EXPECT_TRUE(process_->is_open()) << process_->open_error.message;
    return *process_;
  }
  LogProcess& power_cut() {
    filesystem_.crash(sim::CrashChoice::lose_unsynced());
    return start();
  }
  // One record a batch; the leader knew `commit`.
  void append(LogProcess& p, int count, Index commit = Index(0), std::size_t bytes = 1'500) {
    for (int i = 0; i < count; ++i) {
      BatchBuilder builder;
      ASSERT_TRUE(builder.add(bytes_of(record_text(p.log().tail().offset.value, bytes))));
      const MutableBytes batch = builder.finish({.log_id = kIdentity.id});
      for (int attempt = 0;; ++attempt) {
        const LogPoint tail = p.log().tail();
        stamp_batch(batch, {tail.index, tail.offset, Term(1), commit, std::max(tail.timestamp_us, clock_.wall_us())},
                    tail.digest);
        const auto appended = p.log().append(batch);
        if (appended) break;
        ASSERT_EQ(appended.error().code, Code::over_limit) << appended.error().message;
        ASSERT_LT(attempt, 100);
        p.idle_for_us(100'000);
      }
    }
    p.log().flush();
  }
  void damage(LogProcess& p, Index index) {
    LogReader reader(p.log().view());
    const BatchPlace place = reader.find(index).value();
    process_.reset();
    filesystem_.flip_bit(path(place.segment), place.position + 140, 2);
  }
  static bool settled(LogProcess& p) {
    bool done = false;
    p.log().settle([&] { done = true; });
    p.idle_for_us(1'000'000);
    EXPECT_EQ(done, !p.log().suspect());
    return done;
  }
  static std::string path(std::uint64_t number) { return "log/" + segment_name(number); }
  static std::string said(LogProcess& p) {
    std::string all;
    for (const Finding& finding : p.log().recovery().findings) all += finding.text + "\n";
    return all;
  }

  sim::SimFilesystem filesystem_{17};
  sim::SimClock clock_;
  std::unique_ptr<LogProcess> process_;
};

TEST_F(LogSuspect, takes_batches_past_its_old_end_and_stays_suspect_until_it_is_settled) {
  append(start(), 20);
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(19));
  ASSERT_TRUE(start().log().suspect());
  ASSERT_EQ(process_->log().tail().index, Index(19));
  append(*process_, 5);
  process_->idle_for_us(3'000'000);
  EXPECT_TRUE(process_->log().suspect());
  EXPECT_EQ(process_->log().durable(), Index(24));
  for (int i = 0; i < 2; ++i) {
    LogProcess& again = power_cut();
    EXPECT_TRUE(again.log().suspect());
    EXPECT_FALSE(again.log().recovery().suspect) << "the files show nothing any more: " << said(again);
    EXPECT_EQ(again.log().tail().index, Index(24));
  }
  EXPECT_TRUE(settled(*process_));
  EXPECT_FALSE(power_cut().log().suspect());
  EXPECT_EQ(process_->read_all(Offset(0)).value().size(), 24u);
}

TEST_F(LogSuspect, its_files_are_left_as_they_are_until_somebody_appends) {
  append(start(), 100);
  process_->idle_for_us(2'000'000);
  const std::uint64_t last = process_->log().view().segments.back().file->header.number;
  const Index end = process_->log().tail().index;
  process_.reset();
  const sim::Image kept = filesystem_.image(path(last));
  filesystem_.delete_on_medium(path(last));
  for (int i = 0; i < 2; ++i) {
    LogProcess& p = start();
    ASSERT_TRUE(p.log().suspect());
    p.idle_for_us(2'000'000);
    p.log().prove_tail();
    p.idle_for_us(100'000);
  }
  process_.reset();
  // The operator finds the file, and puts it back.
  ASSERT_TRUE(filesystem_.root()->subdirectory("log", false).value()->create(segment_name(last), Access::write));
  filesystem_.restore(path(last), kept);
  LogProcess& p = start();
  EXPECT_FALSE(p.log().suspect()) << said(p);
  EXPECT_EQ(p.log().tail().index, end);
}

TEST_F(LogSuspect, settles_where_nothing_was_appended) {
  append(start(), 20);
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(19));
  ASSERT_TRUE(start().log().suspect());
  EXPECT_TRUE(settled(*process_));
  LogProcess& p = power_cut();
  EXPECT_FALSE(p.log().suspect()) << said(p);
  EXPECT_EQ(p.log().tail().index, Index(19));
  append(p, 3);
  p.idle_for_us(1'000'000);
  EXPECT_EQ(p.read_all(Offset(0)).value().size(), 22u);
}

TEST_F(LogSuspect, a_truncation_cuts_it_and_settles_nothing) {
  append(start(), 100);
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(99));
  ASSERT_TRUE(start().log().suspect());
  bool done = false;
  process_->log().truncate_suffix(Index(50), [&] { done = true; });
  process_->idle_for_us(2'000'000);
  ASSERT_TRUE(done);
  LogProcess& p = power_cut();
  EXPECT_TRUE(p.log().suspect());
  EXPECT_EQ(p.log().tail().index, Index(50));
  EXPECT_LE(p.hard_state().find(kIdentity.log)->durable_bound, Index(50));
  append(p, 3);
  EXPECT_TRUE(settled(p));
  EXPECT_FALSE(power_cut().log().suspect());
  EXPECT_EQ(process_->read_all(Offset(0)).value().size(), 53u);
}

TEST_F(LogSuspect, what_peers_know_is_remembered) {
  append(start(), 5);
  process_->idle_for_us(2'000'000);
  int done = 0;
  process_->log().mark_suspect([&] { ++done; });
  EXPECT_TRUE(process_->log().suspect());
  EXPECT_EQ(done, 0);
  bool marked = false, written = false;
  filesystem_.set_observer([&](const sim::Operation& operation) {
    marked = marked || (operation.path == kHardStateName && operation.kind == sim::OperationKind::disk_complete);
    if (operation.path == path(1) && operation.kind == sim::OperationKind::disk_issue) {
      written = true;
      EXPECT_TRUE(marked) << "the batch was written before the mark was durable";
    }
  });
  append(*process_, 1);
  process_->idle_for_us(100'000);
  filesystem_.set_observer(nullptr);
  EXPECT_TRUE(written);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(process_->log().durable(), Index(6));
  process_->log().mark_suspect([&] { ++done; });
  EXPECT_EQ(done, 2) << "the hard state says so already";
  LogProcess& p = power_cut();
  EXPECT_TRUE(p.log().suspect());
  EXPECT_TRUE(settled(p));
  EXPECT_FALSE(power_cut().log().suspect());
  bool at_once = false;
  process_->log().settle([&] { at_once = true; });
  EXPECT_TRUE(at_once);
}

// That the directory is empty may be all that tells.
TEST_F(LogSuspect, no_file_is_made_before_the_mark_is_durable) {
  start();
  ASSERT_TRUE(process_->hard_state().write(kIdentity.log, HardState{.term = Term(1)}, [] {}));
  process_->idle_for_us(100'000);
  process_.reset();
  filesystem_.delete_on_medium("log");
  ASSERT_TRUE(start().log().suspect());
  bool marked = false, made = false;
  filesystem_.set_observer([&](const sim::Operation& operation) {
    marked = marked || (operation.path == kHardStateName && operation.kind == sim::OperationKind::disk_complete);
    if (operation.kind == sim::OperationKind::create) {
      made = true;
      EXPECT_TRUE(marked) << operation.path;
    }
  });
  EXPECT_EQ(process_->append({"x"}).error().code, Code::over_limit);
  while (process_->disk().run_one_job()) {
  }
  append(*process_, 1);
  filesystem_.set_observer(nullptr);
  EXPECT_TRUE(made);
  EXPECT_TRUE(power_cut().log().suspect());
}

// drop_prefix() and a vote write the slot from what it said; an unreadable slot had said nothing of its loss.
TEST_F(LogSuspect, a_write_to_a_lost_slot_does_not_make_a_sound_one_of_it) {
  append(start(), 20);
  process_->idle_for_us(2'000'000);
  process_.reset();
  for (const int twin : {0, 1}) filesystem_.flip_bit(kHardStateName, hard_state::region_position(1, twin) + 50, 1);
  ASSERT_TRUE(start().log().suspect());
  process_->log().drop_prefix(Index(3), Offset(3), [] {});
  process_->idle_for_us(1'000'000);
  EXPECT_TRUE(power_cut().log().suspect());
  HardState vote = process_->hard_state().find(kIdentity.log).value();
  vote.term = Term(9);
  ASSERT_TRUE(process_->hard_state().write(kIdentity.log, vote, [] {}));
  process_->idle_for_us(1'000'000);
  EXPECT_TRUE(power_cut().log().suspect());
  EXPECT_TRUE(settled(*process_));
  EXPECT_FALSE(power_cut().log().suspect());
}

// --- One of several voters: durable_is_commit is false ---

TEST_F(LogSuspect, a_follower_cuts_a_torn_tail_that_it_never_acknowledged) {
  append(start(), 20, Index(10));
  process_->idle_for_us(2'000'000);
  append(*process_, 3, Index(20));
  process_->disk().submit();
  filesystem_.crash(sim::CrashChoice::lose_only_newest());
  LogProcess& p = start();
  EXPECT_FALSE(p.log().suspect()) << said(p);
  EXPECT_TRUE(p.log().recovery().holes.empty());
  EXPECT_GE(p.log().tail().index, Index(20));
  EXPECT_LE(p.log().recovery().durable_bound, p.log().tail().index);
}

TEST_F(LogSuspect, a_follower_that_lost_what_it_acknowledged_is_suspect_also_past_the_commit) {
  append(start(), 20, Index(10));
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(19));
  EXPECT_TRUE(start().log().suspect());
  EXPECT_EQ(process_->log().recovery().commit, Index(10));
  EXPECT_EQ(process_->log().tail().index, Index(19));
}

TEST_F(LogSuspect, a_follower_has_a_hole_where_the_damage_is_known_to_be_committed) {
  append(start(), 20, Index(0));
  append(*process_, 3, Index(20));
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(12));
  LogProcess& p = start();
  EXPECT_FALSE(p.log().suspect()) << said(p);
  ASSERT_EQ(p.log().recovery().holes.size(), 1u);
  EXPECT_EQ(p.log().recovery().holes[0].from, Index(12));
  EXPECT_EQ(p.log().recovery().holes[0].to, Index(13));
  EXPECT_EQ(p.log().tail().index, Index(23));
}

TEST_F(LogSuspect, a_follower_is_suspect_where_the_damage_is_not_known_to_be_committed) {
  append(start(), 20, Index(0));
  append(*process_, 3, Index(12));
  process_->idle_for_us(2'000'000);
  damage(*process_, Index(12));
  EXPECT_TRUE(start().log().suspect());
  EXPECT_EQ(process_->log().tail().index, Index(12));
}

// --- LogPoint at any index ---

TEST_F(LogSuspect, points_are_known_at_every_index_in_memory_or_from_the_files) {
  std::vector<LogPoint> points = {start().log().tail()};
  EXPECT_EQ(process_->log().point_in_memory(Index(0)), points[0]);
  EXPECT_EQ(process_->log().point_in_memory(Index(1)), std::nullopt);
  for (int i = 0; i < 200; ++i) {
    append(*process_, 1);
    process_->idle_for_us(100'000);
    points.push_back(process_->log().tail());
  }
  append(*process_, 2);  // not durable
  const LogPoint end = process_->log().tail();
  EXPECT_EQ(process_->log().point_in_memory(end.index), end);
  EXPECT_TRUE(process_->log().point_in_memory(Index(201)));
  std::size_t in_memory = 0;
  LogReader reader(process_->log().view());
  for (const LogPoint& expected : points) {
    const auto point = process_->log().point_in_memory(expected.index);
    EXPECT_EQ(point.value_or(expected), expected);
    in_memory += point ? 1 : 0;
    EXPECT_EQ(reader.point(expected.index).value(), expected) << expected.index.value;
  }
  EXPECT_GT(in_memory, 10u);
  EXPECT_LT(in_memory, 190u);
  EXPECT_EQ(reader.point(end.index).error().code, Code::invalid);
  process_->idle_for_us(1'000'000);

  // Trimmed in the middle of a segment, and where one starts.
  const Index boundary = process_->log().view().segments[2].start().index;
  for (const Index first : {Index(boundary.value - 7), boundary, Index(boundary.value + 7)}) {
    process_->log().drop_prefix(first, points[first.value].offset, [] {});
    process_->idle_for_us(1'000'000);
    LogProcess& p = power_cut();
    LogReader trimmed(p.log().view());
    for (std::size_t i = first.value; i < points.size(); ++i) EXPECT_EQ(trimmed.point(Index(i)).value(), points[i]);
    EXPECT_EQ(p.log().point_in_memory(Index(first.value - 1)), std::nullopt);
    EXPECT_EQ(trimmed.point(Index(0)).error().code, Code::trimmed);
  }
}

TEST_F(LogSuspect, no_point_is_told_behind_damage) {
  append(start(), 200, Index(0));
  append(*process_, 3, Index(200));
  process_->idle_for_us(2'000'000);
  const LogView view = process_->log().view();
  const Index lost = view.segments[1].start().index, behind = view.segments[1].end.index;
  process_.reset();
  filesystem_.delete_on_medium(path(view.segments[1].file->header.number));
  LogProcess& p = start();
  ASSERT_FALSE(p.log().suspect()) << said(p);
  LogReader reader(p.log().view());
  EXPECT_TRUE(reader.point(lost));
  EXPECT_EQ(reader.point(lost + 1).error().code, Code::data_loss);
  EXPECT_EQ(reader.hole().to, behind);
  EXPECT_TRUE(reader.point(behind));
  EXPECT_TRUE(reader.point(behind + 1));
}

// --- Files and batches of other logs ---

TEST_F(LogSuspect, a_segment_under_another_id_is_refused) {
  append(start(), 100);
  process_->idle_for_us(1'000'000);
  process_.reset();
  sim::Image image = filesystem_.image(path(2));
  std::vector<std::byte> blocks(kFramesPosition);
  image.read(0, blocks);
  SegmentHeader header = decode_segment_header(ByteView(blocks).first(kBlockBytes)).value();
  header.log_id = LogId(8);
  encode_segment_header(blocks, header);
  image.write(0, blocks);
  filesystem_.restore(path(2), image);
  LogProcess p(filesystem_, clock_, follower());
  ASSERT_FALSE(p.is_open());
  EXPECT_EQ(p.open_error.code, Code::denied);
  EXPECT_NE(p.open_error.message.find("has the id 8; expected 7"), std::string::npos) << p.open_error.message;
}

class PlantedBatch : public LogSuspect {
 protected:
  // Ten batches, of which the last is replaced by one that is right in all but what `change` makes of it.
  template <class Change>
  void plant(LogId id, Change change) {
    append(start(), 10, Index(0), 40);
    process_->idle_for_us(2'000'000);
    LogReader reader(process_->log().view());
    const BatchPlace place = reader.find(Index(9)).value();
    const LogPoint before = reader.point(Index(9)).value();
    process_.reset();
    BatchBuilder builder;
    ASSERT_TRUE(builder.add(bytes_of(record_text(9, 40))));
    std::vector<std::byte> batch;
    {
      const MutableBytes built = builder.finish({.log_id = id});
      batch.assign(built.begin(), built.end());
    }
    change(batch);
    stamp_batch(batch, {Index(9), before.offset, Term(1), Index(0), place.header.timestamp_us}, before.digest);
    ASSERT_EQ(batch.size(), place.header.total_bytes());
    sim::Image image = filesystem_.image(path(place.segment));
    image.write(place.position, batch);
    filesystem_.restore(path(place.segment), image);
  }
};

TEST_F(PlantedBatch, of_another_log_is_damage) {
  plant(LogId(8), [](std::vector<std::byte>&) {});
  LogProcess& p = start();
  EXPECT_TRUE(p.log().suspect());
  EXPECT_EQ(p.log().tail().index, Index(9));
  EXPECT_NE(said(p).find("a batch of another log"), std::string::npos) << said(p);
}

TEST_F(PlantedBatch, that_is_the_same_is_found_whole) {
  plant(kIdentity.id, [](std::vector<std::byte>&) {});
  LogProcess& p = start();
  EXPECT_FALSE(p.log().suspect()) << said(p);
  EXPECT_EQ(p.log().tail().index, Index(10));
}

TEST_F(PlantedBatch, with_attributes_is_a_newer_release_s_and_the_log_is_not_opened) {
  plant(kIdentity.id, [](std::vector<std::byte>& batch) { store_le(batch.data() + 6, std::uint16_t{4}); });
  LogProcess p(filesystem_, clock_, follower());
  ASSERT_FALSE(p.is_open());
  EXPECT_EQ(p.open_error.code, Code::invalid);
  EXPECT_NE(p.open_error.message.find("attributes 4"), std::string::npos) << p.open_error.message;
}

TEST_F(PlantedBatch, with_attributes_is_not_appended) {
  LogProcess& p = start();
  BatchBuilder builder;
  ASSERT_TRUE(builder.add(bytes_of("x")));
  const MutableBytes batch = builder.finish({.log_id = kIdentity.id});
  store_le(batch.data() + 6, std::uint16_t{1});
  EXPECT_EQ(p.append_stamped(batch, Use::data, Term(1)).error().code, Code::invalid);
  EXPECT_EQ(p.log().tail().index, Index(0));
}

}  // namespace
}  // namespace walraft::wal
