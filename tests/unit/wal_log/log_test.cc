#include "wal/log.h"

#include "tests/unit/wal_log/log_world.h"

namespace walraft::wal {
namespace {

class LogTest : public ::testing::Test {
 protected:
  LogProcess& start(const LogOptions& options = small_options()) {
    process_ = std::make_unique<LogProcess>(filesystem_, clock_, options);
    EXPECT_TRUE(process_->is_open()) << process_->open_error.message;
    return *process_;
  }
  void stop() { process_.reset(); }
  void power_cut(sim::CrashChoice choice = sim::CrashChoice::lose_unsynced()) {
    filesystem_.crash(choice);
    process_.reset();
  }

  sim::SimFilesystem filesystem_{7};
  sim::SimClock clock_;
  std::unique_ptr<LogProcess> process_;
};

TEST_F(LogTest, begins_empty) {
  LogProcess& p = start();
  EXPECT_EQ(p.log().tail().index, Index(0));
  EXPECT_EQ(p.log().tail().offset, Offset(0));
  EXPECT_EQ(p.log().tail().digest, first_digest(kIdentity.log));
  EXPECT_FALSE(p.log().suspect());
  EXPECT_TRUE(p.log().recovery().findings.empty());
}

TEST_F(LogTest, append_is_durable_only_after_the_disk_says_so) {
  LogProcess& p = start();
  ASSERT_TRUE(p.append({"a", "b"}));
  EXPECT_EQ(p.log().tail().index, Index(1));
  EXPECT_EQ(p.log().tail().offset, Offset(2));
  EXPECT_EQ(p.log().durable(), Index(0));
  p.log().flush();
  p.disk().submit();
  EXPECT_EQ(p.log().durable(), Index(0));
  p.disk().settle();
  EXPECT_EQ(p.log().durable(), Index(1));
  EXPECT_EQ(p.acknowledged, Index(1));
  EXPECT_EQ(p.read_all(Offset(0)).value(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(LogTest, what_comes_while_a_group_is_in_flight_forms_the_next_one) {
  LogProcess& p = start();
  ASSERT_TRUE(p.append({"a"}));
  p.log().flush();
  p.disk().submit();
  const std::uint64_t writes = p.disk().stats().writes;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(p.append({"b"}));
  p.log().flush();
  p.disk().settle();
  EXPECT_EQ(p.log().durable(), Index(11));
  EXPECT_EQ(p.disk().stats().writes, writes + 2);
}

TEST_F(LogTest, survives_a_power_cut_with_all_that_was_acknowledged) {
  std::vector<std::string> records;
  for (int round = 0; round < 4; ++round) {
    LogProcess& p = start();
    EXPECT_FALSE(p.log().suspect());
    EXPECT_EQ(p.read_all(Offset(0)).value(), records);
    for (int i = 0; i < 50; ++i) {
      records.push_back(record_text(records.size(), 900));
      p.append_durably({records.back()});
    }
    EXPECT_EQ(p.read_all(Offset(0)).value(), records);
    power_cut();
  }
  LogProcess& p = start();
  EXPECT_EQ(p.read_all(Offset(0)).value(), records);
  EXPECT_GT(p.log().view().segments.size(), 3u);  // it rolled
}

TEST_F(LogTest, control_batches_take_an_index_and_no_offset) {
  LogProcess& p = start();
  p.append_durably({"a"});
  ASSERT_TRUE(p.append_control(BatchKind::noop, ""));
  p.append_durably({"b"});
  EXPECT_EQ(p.log().tail().index, Index(3));
  EXPECT_EQ(p.log().tail().offset, Offset(2));
  EXPECT_EQ(p.read_all(Offset(0)).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(p.read_all(Offset(1)).value(), (std::vector<std::string>{"b"}));
}

TEST_F(LogTest, refuses_a_batch_that_does_not_continue_the_log) {
  LogProcess& p = start();
  p.append_durably({"a"});
  BatchBuilder builder;
  ASSERT_TRUE(builder.add(bytes_of("x")));
  const LogPoint tail = p.log().tail();
  const auto try_stamp = [&](BatchStamp stamp, const Digest& digest) {
    const MutableBytes batch = builder.finish({.log_id = kIdentity.id});
    stamp_batch(batch, stamp, digest);
    return p.log().append(batch);
  };
  EXPECT_EQ(try_stamp({tail.index + 1, tail.offset, Term(1), {}, tail.timestamp_us}, tail.digest).error().code, Code::invalid);
  EXPECT_EQ(try_stamp({tail.index, tail.offset + 1, Term(1), {}, tail.timestamp_us}, tail.digest).error().code, Code::invalid);
  EXPECT_EQ(try_stamp({tail.index, tail.offset, Term(0), {}, tail.timestamp_us}, tail.digest).error().code, Code::invalid);
  EXPECT_EQ(try_stamp({tail.index, tail.offset, Term(1), {}, tail.timestamp_us}, {1, 2}).error().code, Code::invalid);
  EXPECT_TRUE(try_stamp({tail.index, tail.offset, Term(1), {}, tail.timestamp_us}, tail.digest));
}

TEST_F(LogTest, a_truncated_suffix_never_comes_back) {
  for (const std::uint64_t keep : {0u, 1u, 3u, 60u, 119u, 120u}) {
    SCOPED_TRACE(keep);
    sim::SimFilesystem filesystem(keep + 1);
    auto p = std::make_unique<LogProcess>(filesystem, clock_, small_options());
    std::vector<std::string> records;
    for (int i = 0; i < 120; ++i) {
      records.push_back(record_text(records.size(), 1'500));
      p->append_durably({records.back()});
    }
    bool done = false;
    p->log().truncate_suffix(Index(keep), [&] { done = true; });
    p->idle_for_us(3'000'000);
    ASSERT_TRUE(done);
    records.resize(keep);
    EXPECT_EQ(p->log().tail().index, Index(keep));
    EXPECT_EQ(p->read_all(Offset(0)).value(), records);
    for (int i = 0; i < 3; ++i) {
      records.push_back("after " + std::to_string(i));
      p->append_durably({records.back()});
    }
    EXPECT_EQ(p->read_all(Offset(0)).value(), records);
    p.reset();
    filesystem.crash(sim::CrashChoice::lose_unsynced());
    p.reset();
    p = std::make_unique<LogProcess>(filesystem, clock_, small_options());
    EXPECT_FALSE(p->log().suspect());
    EXPECT_EQ(p->read_all(Offset(0)).value(), records);
  }
}

TEST_F(LogTest, drop_prefix_recycles_segments_and_answers_trimmed) {
  LogProcess* p = &start();
  std::vector<std::string> records;
  for (int i = 0; i < 200; ++i) {
    records.push_back(record_text(records.size(), 1'500));
    p->append_durably({records.back()});
  }
  p->idle_for_us(1'000'000);
  const std::size_t before = p->log().view().segments.size();
  bool done = false;
  p->log().drop_prefix(Index(150), Offset(150), [&] { done = true; });
  p->idle_for_us(1'000'000);
  ASSERT_TRUE(done);
  EXPECT_LT(p->log().view().segments.size(), before);
  EXPECT_EQ(p->read_all(Offset(149)).error().code, Code::trimmed);
  EXPECT_EQ(p->read_all(Offset(149)).error().detail, 150u);
  const std::vector<std::string> rest(records.begin() + 150, records.end());
  EXPECT_EQ(p->read_all(Offset(150)).value(), rest);
  power_cut();
  p = &start();
  EXPECT_FALSE(p->log().suspect());
  EXPECT_EQ(p->log().first_offset(), Offset(150));
  EXPECT_EQ(p->read_all(Offset(150)).value(), rest);
}

TEST_F(LogTest, a_full_disk_refuses_before_anything_is_written_and_resumes_by_itself) {
  LogProcess& p = start();
  filesystem_.set_capacity(filesystem_.used_bytes() + (200u << 10));
  std::vector<std::string> records;
  Result<void> appended;
  for (int i = 0; i < 2'000; ++i) {
    const std::string record = record_text(records.size(), 1'500);
    appended = p.append({record});
    if (appended) records.push_back(record);
    p.log().flush();
    p.disk().run_for_us(1'000);
    p.log().tick();
    if (!appended && appended.error().code == Code::no_space) break;
  }
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, Code::no_space);
  EXPECT_EQ(p.log().tail().index.value, records.size());
  EXPECT_EQ(p.read_all(Offset(0)).value(), records);
  EXPECT_TRUE(p.append_control(BatchKind::trim, "still fits")) << "the control reserve";
  p.log().flush();
  p.disk().settle();
  filesystem_.set_capacity(1u << 30);
  p.idle_for_us(2'000'000);
  p.append_durably({"goes on"});
  records.push_back("goes on");
  EXPECT_EQ(p.read_all(Offset(0)).value(), records);
}

// Nothing was to be made after the disk had been full, so nobody had noticed that it was no more.
TEST_F(LogTest, a_disk_that_was_full_once_is_asked_again_before_a_batch_is_refused) {
  LogProcess& p = start();
  p.append_durably({"a"});
  p.idle_for_us(1'000'000);
  filesystem_.set_capacity(filesystem_.used_bytes());
  const std::string large(100'000, 'x');  // fits no segment that is ready
  auto appended = p.append({large});
  for (int i = 0; i < 10 && appended.error().code == Code::over_limit; ++i) {
    p.disk().settle();
    appended = p.append({large});
  }
  EXPECT_EQ(appended.error().code, Code::no_space);
  filesystem_.set_capacity(1u << 30);
  p.idle_for_us(5'000'000);
  EXPECT_EQ(p.append({large}).error().code, Code::over_limit);
  p.append_durably({large});
  EXPECT_EQ(p.read_all(Offset(0)).value(), (std::vector<std::string>{"a", large}));
}

TEST_F(LogTest, reads_the_tail_from_memory) {
  LogProcess& p = start();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(p.append({record_text(static_cast<std::uint64_t>(i))}));
  std::vector<BatchRef> batches;
  EXPECT_TRUE(p.log().read_tail(Index(5), Index(20), 1u << 20, batches));
  ASSERT_EQ(batches.size(), 15u);  // written, not durable: for streams
  EXPECT_EQ(batches[0].index, Index(5));
  batches.clear();
  EXPECT_TRUE(p.log().read_tail(Offset(0), p.log().durable(), 1u << 20, batches));
  EXPECT_TRUE(batches.empty());  // nothing below the limit yet
  p.log().flush();
  p.disk().settle();
  EXPECT_TRUE(p.log().read_tail(Offset(3), p.log().durable(), 1, batches));
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].base_offset, Offset(3));
}

TEST_F(LogTest, finds_offsets_by_time) {
  LogProcess& p = start();
  std::vector<std::int64_t> stamps;
  for (int i = 0; i < 150; ++i) {
    clock_.advance_us(1'000'000);
    stamps.push_back(clock_.wall_us());
    p.append_durably({record_text(static_cast<std::uint64_t>(i), 1'000)});
  }
  LogReader reader(p.log().view());
  for (std::size_t i = 0; i < stamps.size(); i += 7) {
    EXPECT_EQ(reader.find_time(stamps[i]).value(), Offset(i));
    EXPECT_EQ(reader.find_time(stamps[i] - 1).value(), Offset(i));
    EXPECT_EQ(reader.find_time(stamps[i] + 1).value(), Offset(i + 1));
  }
  EXPECT_EQ(reader.find_time(0).value(), Offset(0));
}

TEST_F(LogTest, holds_batches_of_the_largest_size) {
  LogProcess& p = start();
  const std::string large(kRecordBytesMax, 'x');
  p.append_durably({"small"});
  p.append_durably({large});
  p.append_durably({"small again"});
  const auto read = p.read_all(Offset(0));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[1], large);
  power_cut();
  EXPECT_EQ(start().read_all(Offset(0)).value(), *read);
}

// The footer of a segment says that the next one is in use: it must not be there before that is true.
TEST_F(LogTest, a_recovered_segment_is_sealed_only_when_the_next_one_is_durable) {
  LogProcess* p = &start();
  std::vector<std::string> records;
  for (int i = 0; i < 20; ++i) {
    records.push_back(record_text(records.size(), 1'500));
    p->append_durably({records.back()});
  }
  p->idle_for_us(2'000'000);
  power_cut();
  p = &start();
  ASSERT_EQ(p->log().view().segments.size(), 1u);
  ASSERT_TRUE(p->append({std::string(40'000, 'x')}));  // opens the next segment
  p->log().flush();
  p->disk().submit();
  p->log().tick();
  while (p->disk().run_one_job()) p->disk().poll();
  ASSERT_EQ(p->disk().writes_in_flight(), 1u);
  power_cut();
  p = &start();
  EXPECT_FALSE(p->log().suspect());
  EXPECT_EQ(p->read_all(Offset(0)).value(), records);
}

// Behind the group that proves the last write after a second of rest, the batch was kept and could not be read.
TEST_F(LogTest, reads_on_behind_a_damaged_group_header_that_follows_an_empty_group) {
  LogProcess* p = &start();
  p->append_durably({"a"});
  p->idle_for_us(2'000'000);
  p->append_durably({"b"});
  const std::uint64_t end = p->log().view().segments.back().end_position;
  const std::uint64_t frame = frame_bytes(kBatchHeaderBytes + kRecordHeaderBytes + 1);
  power_cut();
  filesystem_.flip_bit("log/" + segment_name(1), end - frame - kGroupHeaderBytes + 9, 0);
  p = &start();
  ASSERT_EQ(p->log().recovery().findings.size(), 1u);
  EXPECT_EQ(p->log().recovery().findings[0].letter, RecoveryCase::group_header_rot);
  EXPECT_EQ(p->read_all(Offset(0)).value(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(LogTest, history_lists_the_terms) {
  LogProcess& p = start();
  for (const std::uint64_t term : {1u, 1u, 3u, 3u, 3u, 4u}) {
    ASSERT_TRUE(p.append({"x"}, Use::data, Term(term)));
    p.log().flush();
    p.disk().settle();
  }
  const std::vector<TermRun> runs = {{Term(1), Index(0)}, {Term(3), Index(2)}, {Term(4), Index(5)}};
  EXPECT_EQ(p.log().history(), runs);
  power_cut();
  EXPECT_EQ(start().log().history(), runs);
}

TEST_F(LogTest, more_terms_than_a_footer_holds_open_a_new_segment) {
  LogProcess& p = start();
  for (std::uint64_t term = 1; term <= 300; ++term) {
    ASSERT_TRUE(p.append({"x"}, Use::data, Term(term))) << term;
    p.log().flush();
    p.disk().run_for_us(10'000);
    p.log().tick();
  }
  EXPECT_EQ(p.log().history().size(), 300u);
  power_cut();
  EXPECT_EQ(start().log().history().size(), 300u);
}

}  // namespace
}  // namespace walraft::wal
