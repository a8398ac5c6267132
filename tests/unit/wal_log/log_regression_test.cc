// Bugs of the log that were found, each by name. Where nothing else is said, they were found by reading
// or by tests/crash.

#include <array>
#include <functional>

#include "tests/unit/wal_log/log_world.h"
#include "wal/base/crc32c.h"
#include "wal/segment_format.h"

namespace walraft::wal {
namespace {

class LogRegression : public ::testing::Test {
 protected:
  LogProcess& start(const LogOptions& options = small_options()) {
    process_.reset();
    process_ = std::make_unique<LogProcess>(filesystem_, clock_, options);
    EXPECT_TRUE(process_->is_open()) << process_->open_error.message;
    return *process_;
  }
  void power_cut() {
    filesystem_.crash(sim::CrashChoice::lose_unsynced());
    process_.reset();
  }
  // Batches of one record each.
  void append(LogProcess& p, int count, std::size_t bytes = 1'500) {
    for (int i = 0; i < count; ++i) {
      records_.push_back(record_text(records_.size(), bytes));
      p.append_durably({records_.back()});
    }
  }
  static std::string path(std::uint64_t number) { return "log/" + segment_name(number); }
  static std::uint64_t last_segment(LogProcess& p) { return p.log().view().segments.back().file->header.number; }
  std::vector<std::string> records_from(std::size_t from) const {
    return {records_.begin() + static_cast<std::ptrdiff_t>(from), records_.end()};
  }
  // Truncates, and opens what each power cut in the middle would leave; `check` looks at it.
  void truncate_with_cuts(LogProcess& p, Index to, const std::function<void(LogProcess&)>& check) {
    std::vector<std::unique_ptr<sim::SimFilesystem>> copies;
    filesystem_.set_observer([&](const sim::Operation&) { copies.push_back(filesystem_.fork()); });
    bool done = false;
    p.log().truncate_suffix(to, [&] { done = true; });
    p.idle_for_us(1'000'000);
    filesystem_.set_observer(nullptr);
    ASSERT_TRUE(done);
    for (auto& copy : copies) {
      copy->crash(sim::CrashChoice::lose_unsynced());
      LogProcess after(*copy, clock_, small_options());
      ASSERT_TRUE(after.is_open()) << after.open_error.message;
      ASSERT_FALSE(after.log().suspect()) << after.log().recovery().findings.back().text;
      check(after);
      after.append_durably({"after the cut"});
      EXPECT_TRUE(after.read_all(after.log().first_offset()));
    }
    EXPECT_GT(copies.size(), 4u);
  }

  sim::SimFilesystem filesystem_{11};
  sim::SimClock clock_;
  std::unique_ptr<LogProcess> process_;
  std::vector<std::string> records_;
};

// The log of a young log has one segment ahead; the reserve for control batches was to lie in a second
// one, which nobody made: over_limit for ever.
TEST_F(LogRegression, a_batch_that_fills_the_only_prepared_segment_is_not_refused_for_ever) {
  LogOptions options = small_options();
  options.segment_bytes = 1u << 20;
  LogProcess& p = start(options);
  append(p, 1, 50'000);
  EXPECT_EQ(p.read_all(Offset(0)).value(), records_);
}

// The second of two trims in a row was taken for durable when the first one was.
TEST_F(LogRegression, segments_go_only_when_their_trim_is_durable) {
  LogProcess& p = start();
  append(p, 200);
  bool first = false;
  p.log().drop_prefix(Index(60), Offset(60), [&] { first = true; });
  p.log().drop_prefix(Index(190), Offset(190), [] {});
  while (!first) {
    p.disk().submit();
    ASSERT_TRUE(p.disk().complete_one());
    p.disk().poll();
  }
  while (p.disk().run_one_job()) {
  }
  power_cut();
  LogProcess& again = start();
  EXPECT_FALSE(again.log().suspect());
  EXPECT_TRUE(again.log().recovery().holes.empty());
  EXPECT_EQ(again.log().first_offset(), Offset(60));
  EXPECT_EQ(again.read_all(Offset(60)).value(), records_from(60));
}

// All segments went before the new one was there: nobody knew the digest any more.
TEST_F(LogRegression, a_truncation_to_the_first_kept_batch_survives_a_power_cut_anywhere) {
  LogProcess& p = start();
  append(p, 120);
  const Index to = p.log().view().segments[1].start().index;
  const LogPoint point = p.log().view().segments[1].start();
  p.log().drop_prefix(to, point.offset, [] {});
  p.idle_for_us(1'000'000);
  truncate_with_cuts(p, to, [&](LogProcess& after) {
    EXPECT_TRUE(after.log().tail() == point || after.log().tail().index == Index(120)) << after.log().tail().index.value;
  });
}

// The segment that ends the log after a truncation went before another one was there that ends it.
// Found by seed 100953532055654.
TEST_F(LogRegression, a_truncation_never_brings_back_what_an_earlier_one_cut) {
  LogProcess& p = start();
  append(p, 20);
  p.log().truncate_suffix(Index(12), [] {});
  p.idle_for_us(1'000'000);
  records_.resize(12);
  for (int i = 0; i < 8; ++i) {
    records_.push_back("new " + std::to_string(i));
    ASSERT_TRUE(p.append({records_.back()}, Use::data, Term(2)));
    p.log().flush();
    p.disk().settle();
  }
  truncate_with_cuts(p, Index(10), [&](LogProcess& after) {
    const auto read = after.read_all(Offset(0));
    ASSERT_TRUE(read);
    ASSERT_LE(read->size(), records_.size());
    EXPECT_TRUE(std::equal(read->begin(), read->end(), records_.begin())) << read->size();
  });
}

// Sealing opened the file again, and the readers of the older handle were no longer counted.
TEST_F(LogRegression, a_reader_of_an_unsealed_segment_keeps_it_from_being_recycled) {
  LogProcess& p = start();
  append(p, 10);
  const LogView view = p.log().view();
  LogReader reader(view);
  auto reading = view.segments.front().file->open();  // what a read does
  ASSERT_TRUE(reading);
  append(p, 140);
  p.idle_for_us(500'000);
  p.log().drop_prefix(Index(140), Offset(140), [] {});
  p.idle_for_us(500'000);
  append(p, 200);
  std::vector<BatchRef> batches;
  const auto read = reader.read(Index(0), 1u << 20, batches);
  EXPECT_TRUE(read) << read.error().message;
  EXPECT_EQ(batches.size(), 10u);
}

// The view of a reader that rested kept every file of it open, and on the disk.
TEST_F(LogRegression, a_reader_that_rests_keeps_no_trimmed_file) {
  LogProcess& p = start();
  append(p, 100);
  p.idle_for_us(500'000);
  LogReader reader(p.log().view());
  std::vector<BatchRef> batches;
  ASSERT_TRUE(reader.read(Index(0), 1, batches));
  p.log().drop_prefix(Index(90), Offset(90), [] {});
  p.idle_for_us(500'000);
  EXPECT_FALSE(filesystem_.exists(path(1)));
  const auto read = reader.read(Index(0), 1, batches);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::not_found) << read.error().message;
  EXPECT_TRUE(LogReader(p.log().view()).read(Index(90), 1, batches));
}

// Each sealed segment kept a descriptor.
TEST_F(LogRegression, sealed_segments_are_opened_when_they_are_read_and_few_stay_open) {
  LogOptions options = small_options();
  options.open_files = std::make_shared<OpenFiles>(3);
  LogProcess* p = &start(options);
  append(*p, 400);
  p->idle_for_us(1'000'000);
  const auto open_segments = [&] {
    std::size_t open = 0;
    for (const auto& segment : p->log().view().segments)
      open += filesystem_.open_handles(path(segment.file->header.number));
    return open;
  };
  for (const bool restarted : {false, true}) {
    if (restarted) {
      power_cut();
      p = &start(options);
    }
    ASSERT_GE(p->log().view().segments.size(), 8u);
    EXPECT_LE(open_segments(), 4u) << "three that were read last, and the one that is written";
    LogReader reader(p->log().view());
    for (std::uint64_t i = 0; i < 400; ++i) {
      std::vector<BatchRef> batches;
      ASSERT_TRUE(reader.read(Index(i), 1, batches));
    }
    EXPECT_LE(open_segments(), 4u);
  }
}

// A want of descriptors while a segment was sealed or recycled ended the node as a failing disk does.
TEST_F(LogRegression, a_want_of_descriptors_is_waited_for) {
  LogProcess& p = start();
  append(p, 60);
  filesystem_.set_out_of_descriptors(true);
  for (int i = 0; i < 40; ++i) {
    const std::string record = record_text(records_.size(), 1'500);
    const auto appended = p.append({record});
    if (appended) records_.push_back(record);
    ASSERT_TRUE(appended || appended.error().code == Code::no_space || appended.error().code == Code::over_limit);
    p.log().flush();
    p.idle_for_us(100'000);
  }
  p.log().drop_prefix(Index(50), Offset(50), [] {});
  p.idle_for_us(3'000'000);
  EXPECT_FALSE(p.disk().failed());
  filesystem_.set_out_of_descriptors(false);
  p.idle_for_us(3'000'000);
  EXPECT_FALSE(filesystem_.exists(path(1)));
  append(p, 20);
  EXPECT_EQ(p.read_all(Offset(50)).value(), records_from(50));
}

// Behind damage the scan went on with batches that the next segment had replaced.
TEST_F(LogRegression, truncated_batches_behind_damage_are_no_hole) {
  LogProcess& p = start();
  append(p, 24);
  p.log().truncate_suffix(Index(20), [] {});
  p.idle_for_us(1'000'000);
  records_.resize(20);
  append(p, 30, 100);
  p.idle_for_us(2'000'000);
  const std::uint64_t position = LogReader(p.log().view()).find(Index(19)).value().position;
  filesystem_.flip_bit(path(1), position + kBatchHeaderBytes + 50, 3);
  filesystem_.flip_bit(path(1), footer_position(kSegmentBytesMin) + 100, 3);
  LogProcess& again = start();
  EXPECT_FALSE(again.log().suspect());
  ASSERT_EQ(again.log().recovery().holes.size(), 1u);
  EXPECT_EQ(again.log().recovery().holes[0].from, Index(19));
  EXPECT_EQ(again.log().recovery().holes[0].to, Index(20));
  EXPECT_EQ(again.read_all(Offset(20)).value(), records_from(20));
  EXPECT_EQ(again.read_all(Offset(19)).error().code, Code::data_loss);
}

// Only the bound of the hard state told that the last segment was gone, and that is a second late.
TEST_F(LogRegression, a_missing_last_segment_is_noticed_by_the_footer_before_it) {
  LogProcess& p = start();
  while (p.log().view().segments.size() < 3) append(p, 1);
  const std::uint64_t last = last_segment(p);
  process_.reset();
  filesystem_.delete_on_medium(path(last));
  LogProcess& again = start();
  EXPECT_TRUE(again.log().suspect());
}

TEST_F(LogRegression, a_segment_without_header_is_known_by_its_groups) {
  LogProcess& p = start();
  append(p, 6);
  process_.reset();
  filesystem_.flip_bit(path(1), 20, 1);
  filesystem_.flip_bit(path(1), kBlockBytes + 20, 1);
  for (int i = 0; i < 2; ++i) {
    LogProcess& again = start();
    EXPECT_TRUE(again.log().suspect());
    process_.reset();
    EXPECT_TRUE(filesystem_.exists(path(1)));
  }
}

TEST_F(LogRegression, a_segment_with_zeros_for_a_header_is_no_prepared_one) {
  LogProcess& p = start();
  append(p, 6);
  process_.reset();
  sim::Image image = filesystem_.image(path(1));
  const std::vector<std::byte> zeros(kFramesPosition);
  image.write(0, zeros);
  filesystem_.restore(path(1), image);
  EXPECT_TRUE(start().log().suspect());
  process_.reset();
  EXPECT_TRUE(filesystem_.exists(path(1)));
}

TEST_F(LogRegression, a_segment_in_the_middle_cut_to_nothing_is_a_hole_and_stays) {
  LogProcess& p = start();
  append(p, 120);
  p.idle_for_us(2'000'000);
  const LogView view = p.log().view();
  const Index from = view.segments[1].start().index, to = view.segments[1].end.index;
  process_.reset();
  filesystem_.truncate_on_medium(path(2), 0);
  LogProcess& again = start();
  EXPECT_FALSE(again.log().suspect());
  ASSERT_EQ(again.log().recovery().holes.size(), 1u);
  EXPECT_EQ(again.log().recovery().holes[0].from, from);
  EXPECT_EQ(again.log().recovery().holes[0].to, to);
  again.idle_for_us(1'000'000);
  EXPECT_TRUE(filesystem_.exists(path(2)));
}

// What an appender put into a record could keep a log from being opened, once the file was recycled.
TEST_F(LogRegression, records_that_look_like_a_newer_release_do_not_stop_the_log) {
  std::array<std::byte, kBatchHeaderBytes> fake{};
  store_le(fake.data(), kBatchMagic);
  store_le(fake.data() + 4, std::uint8_t{2});
  store_le(fake.data() + 124, crc32c(ByteView(fake).first(124)));
  LogProcess* p = &start();
  const auto end = [&] {
    const LogView view = p->log().view();
    return view.segments.empty() ? kFramesPosition : view.segments.back().end_position;
  };
  // Whatever the segment, the fakes stand 64 bytes behind each multiple of 128 of the file.
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t frame = (end() + 13'000 > footer_position(kSegmentBytesMin) ? kFramesPosition : end()) + kGroupHeaderBytes;
    std::string record((64 + 2 * 128 - (frame + kBatchHeaderBytes + kRecordHeaderBytes) % 128) % 128, ' ');
    while (record.size() < 12'000) record.append(text_of(fake));
    p->append_durably({record});
  }
  p->idle_for_us(1'000'000);
  p->log().drop_prefix(Index(39), Offset(39), [] {});
  p->idle_for_us(1'000'000);
  p->append_durably({std::string(50'000, 'x')});  // into a recycled file from here on
  for (int i = 0; i < 16; ++i) {
    // Each ends with a block: what follows is the earlier use of the file.
    const std::uint64_t used = end() % kBlockBytes + kGroupHeaderBytes + kBatchHeaderBytes + kRecordHeaderBytes;
    p->append_durably({std::string(static_cast<std::size_t>(2 * kBlockBytes - used), 'x')});
    power_cut();
    p = &start();
    ASSERT_TRUE(p->is_open());
    EXPECT_FALSE(p->log().suspect());
  }
}

// Looking for a group header, a whole block was passed over because the one behind it was unreadable.
TEST_F(LogRegression, an_unreadable_block_hides_no_group_header_before_it) {
  LogProcess& p = start();
  append(p, 60, 100);
  p.idle_for_us(2'000'000);
  LogReader reader(p.log().view());
  const auto place = [&](std::uint64_t index) { return reader.find(Index(index)).value().position; };
  std::uint64_t damaged = 0;  // two more batches lie in its block, and no more than that
  for (std::uint64_t i = 5; i < 40 && damaged == 0; ++i) {
    if (place(i + 3) / kBlockBytes == place(i) / kBlockBytes && place(i + 6) / kBlockBytes > place(i) / kBlockBytes) damaged = i;
  }
  ASSERT_GT(damaged, 0u);
  const std::uint64_t next_block = align_down(place(damaged), kBlockBytes) + kBlockBytes;
  filesystem_.flip_bit(path(1), place(damaged) + 60, 1);
  filesystem_.make_unreadable(path(1), next_block, kBlockBytes);
  LogProcess& again = start();
  EXPECT_FALSE(again.log().suspect());
  ASSERT_EQ(again.log().recovery().holes.size(), 2u);
  EXPECT_EQ(again.log().recovery().holes[0].from, Index(damaged));
  EXPECT_EQ(again.log().recovery().holes[0].to, Index(damaged + 1));
}

// The disk went on to write freed memory, and called a log that was gone.
TEST_F(LogRegression, a_log_that_closes_in_the_middle_of_a_write_leaves_it_to_the_disk) {
  LogProcess& p = start();
  append(p, 1);
  ASSERT_TRUE(p.append({"in flight"}));
  p.log().flush();
  p.disk().submit();
  p.close_log();
  for (int i = 0; i < 8; ++i) std::fill_n(Chunk::make(kBlockBytes)->data(), kBlockBytes, std::byte{0x5a});
  p.disk().run_for_us(100'000);
  EXPECT_FALSE(p.disk().failed());
  records_.push_back("in flight");
  EXPECT_EQ(start().read_all(Offset(0)).value(), records_);
}

// A footer in the middle was never written again, so nothing behind it was ever trimmed.
TEST_F(LogRegression, a_damaged_footer_is_written_again_and_does_not_stop_retention) {
  LogProcess& p = start();
  append(p, 150);
  p.idle_for_us(2'000'000);
  process_.reset();
  filesystem_.flip_bit(path(2), footer_position(kSegmentBytesMin) + 30, 0);
  LogProcess& again = start();
  ASSERT_EQ(again.log().recovery().findings.size(), 1u);
  EXPECT_EQ(again.log().recovery().findings[0].letter, RecoveryCase::footer_damaged);
  again.idle_for_us(1'000'000);
  EXPECT_TRUE(start().log().recovery().findings.empty());
  process_->log().drop_prefix(Index(149), Offset(149), [] {});
  process_->idle_for_us(1'000'000);
  EXPECT_EQ(process_->log().view().segments.size(), 1u);
}

}  // namespace
}  // namespace walraft::wal
