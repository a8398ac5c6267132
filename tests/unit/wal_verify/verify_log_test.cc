// verify_log(): damage of every structure is named with file, position and extent; what a crash
// leaves is none.

#include <gmock/gmock.h>

#include "tests/unit/wal_log/log_world.h"
#include "wal/segment_scan.h"
#include "wal/verify.h"

namespace walraft::wal {
namespace {

class VerifyLog : public ::testing::Test {
 protected:
  // A log of some sealed segments and one that is written, closed after an idle second.
  void write_log(std::uint64_t records = 150) {
    LogProcess process(filesystem_, clock_, small_options());
    for (std::uint64_t i = 0; i < records; ++i) process.append_durably({record_text(2 * i, 1'000), record_text(2 * i + 1, 500)});
    process.idle_for_us(2'500'000);
    bounds_ = process.hard_state().find(kIdentity.log).value();
    view_ = process.log().view();
    for (const SegmentView& segment : view_.segments) numbers_.push_back(segment.file->header.number);
    ASSERT_GT(numbers_.size(), 3u);
  }
  // After this nothing of the process lives.
  void close() {
    view_ = {};
    filesystem_.crash(sim::CrashChoice::kill_process());
  }

  LogVerification verify() {
    const std::uint64_t operations = filesystem_.operations();
    auto directory = filesystem_.root()->subdirectory("log", false);
    EXPECT_TRUE(directory);
    auto result = verify_log(**directory, kIdentity.cluster, kIdentity.log, &bounds_, {});
    EXPECT_EQ(filesystem_.operations(), operations) << "it wrote";
    EXPECT_FALSE(result.error) << result.error->message;
    return result;
  }
  std::vector<VerifyFinding> damage(const LogVerification& result) {
    std::vector<VerifyFinding> found;
    for (const VerifyFinding& f : result.findings) {
      if (f.is_damage) found.push_back(f);
    }
    return found;
  }
  // The only damage there is.
  VerifyFinding only_damage() {
    const LogVerification result = verify();
    EXPECT_TRUE(result.is_damaged());
    const auto found = damage(result);
    EXPECT_EQ(found.size(), 1u) << render(result);
    return found.empty() ? VerifyFinding{} : found.front();
  }

  std::string path(std::size_t segment) const { return "log/" + segment_name(numbers_[segment]); }
  std::string name(std::size_t segment) const { return segment_name(numbers_[segment]); }
  void flip(std::size_t segment, std::uint64_t position) { filesystem_.flip_bit(path(segment), position, 3); }

  // Frames as they stand: position of each, groups and batches.
  struct Frame {
    std::uint64_t position = 0;
    std::uint64_t bytes = 0;
    std::optional<BatchHeader> batch;  // else a group
  };
  std::vector<Frame> frames(std::size_t segment) {
    std::vector<std::byte> bytes(filesystem_.size_of(path(segment)));
    filesystem_.image(path(segment)).read(0, bytes);
    std::vector<Frame> result;
    for (std::uint64_t at = kFramesPosition; at + kBatchHeaderBytes <= bytes.size();) {
      const ByteView rest = ByteView(bytes).subspan(at);
      if (decode_group_header(rest)) {
        result.push_back({at, kGroupHeaderBytes, std::nullopt});
      } else if (auto batch = decode_batch(rest)) {
        result.push_back({at, frame_bytes(batch->total_bytes()), *batch});
      } else {
        break;
      }
      at += result.back().bytes;
    }
    return result;
  }

  sim::SimFilesystem filesystem_{11};
  sim::SimClock clock_;
  HardState bounds_;
  LogView view_;
  std::vector<std::uint64_t> numbers_;
};

TEST_F(VerifyLog, a_sound_log_is_clean_and_counted) {
  write_log();
  close();
  const LogVerification result = verify();
  EXPECT_FALSE(result.is_damaged()) << render(result);
  EXPECT_TRUE(result.findings.empty()) << render(result);
  EXPECT_EQ(result.records, 300u);
  EXPECT_EQ(result.batches, 150u);
  EXPECT_EQ(result.end_offset, Offset(300));
  EXPECT_EQ(result.segments, numbers_.size());
  EXPECT_EQ(result.id, kIdentity.id);
  EXPECT_THAT(render(result), ::testing::EndsWith("clean\n"));
}

TEST_F(VerifyLog, an_empty_log_is_clean) {
  { LogProcess process(filesystem_, clock_, small_options()); }
  close();
  EXPECT_TRUE(verify().findings.empty());
}

TEST_F(VerifyLog, a_body_in_a_sealed_segment_is_a_hole_with_its_extent) {
  write_log();
  close();
  const auto all = frames(1);
  const Frame& frame = all[7].batch ? all[7] : all[8];
  ASSERT_TRUE(frame.batch);
  flip(1, frame.position + 700);
  const VerifyFinding f = only_damage();
  EXPECT_EQ(f.file, name(1));
  EXPECT_EQ(f.position, frame.position);
  EXPECT_EQ(f.from, frame.batch->index);
  EXPECT_EQ(f.to, frame.batch->next_index());
  EXPECT_EQ(f.from_offset, frame.batch->base_offset);
  EXPECT_EQ(f.to_offset, frame.batch->next_offset());
  EXPECT_GE(f.bytes, frame.bytes);
  EXPECT_LE(f.bytes, frame.bytes + kGroupHeaderBytes);
  EXPECT_EQ(f.letter, "C");
  EXPECT_EQ(f.verdict, Verdict::hole);
  EXPECT_TRUE(f.acknowledged);
}

TEST_F(VerifyLog, two_damaged_batches_are_two_findings) {
  write_log();
  close();
  std::vector<Frame> batches;
  for (const Frame& frame : frames(1)) {
    if (frame.batch) batches.push_back(frame);
  }
  flip(1, batches[2].position + 200);
  flip(1, batches[6].position + 200);
  const auto found = damage(verify());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].from, batches[2].batch->index);
  EXPECT_EQ(found[1].from, batches[6].batch->index);
}

TEST_F(VerifyLog, the_last_batch_of_a_sealed_segment_is_found_short) {
  write_log();
  close();
  Frame last;
  for (const Frame& frame : frames(0)) {
    if (frame.batch) last = frame;
  }
  flip(0, last.position + 130);
  const VerifyFinding f = only_damage();
  EXPECT_EQ(f.file, name(0));
  EXPECT_EQ(f.position, last.position);
  EXPECT_EQ(f.letter, "H");
  EXPECT_EQ(f.from, last.batch->index);
  EXPECT_EQ(f.to, last.batch->next_index());
  EXPECT_EQ(f.to_offset, last.batch->next_offset());
}

TEST_F(VerifyLog, a_group_header_costs_no_batch) {
  write_log();
  close();
  const auto all = frames(2);
  const Frame& group = all[4].batch ? all[5] : all[4];
  ASSERT_FALSE(group.batch);
  flip(2, group.position + 20);
  const VerifyFinding f = only_damage();
  EXPECT_EQ(f.file, name(2));
  EXPECT_EQ(f.position, group.position);
  EXPECT_EQ(f.bytes, kGroupHeaderBytes);
  EXPECT_EQ(f.letter, "E");
  EXPECT_FALSE(f.acknowledged);
}

TEST_F(VerifyLog, a_footer_is_damage_where_a_later_one_is_good) {
  write_log();
  close();
  flip(0, footer_position(kSegmentBytesMin) + 40);
  const VerifyFinding f = only_damage();
  EXPECT_EQ(f.file, name(0));
  EXPECT_EQ(f.position, footer_position(kSegmentBytesMin));
  EXPECT_EQ(f.letter, "O");
  EXPECT_FALSE(f.acknowledged);
}

TEST_F(VerifyLog, the_last_footer_may_be_a_crashs) {
  write_log();
  close();
  flip(numbers_.size() - 2, footer_position(kSegmentBytesMin) + 40);
  const LogVerification result = verify();
  EXPECT_FALSE(result.is_damaged()) << render(result);
  ASSERT_EQ(result.findings.size(), 1u);
  EXPECT_EQ(result.findings[0].letter, "O");
}

TEST_F(VerifyLog, each_copy_of_a_segment_header_is_looked_at) {
  write_log();
  close();
  for (const std::size_t segment : {std::size_t{0}, std::size_t{2}, numbers_.size() - 1}) {
    for (const std::uint64_t copy : {std::uint64_t{0}, std::uint64_t{kBlockBytes}}) {
      flip(segment, copy + 60);
      const VerifyFinding f = only_damage();
      EXPECT_EQ(f.file, name(segment));
      EXPECT_EQ(f.position, copy);
      EXPECT_FALSE(f.acknowledged);
      flip(segment, copy + 60);
    }
  }
}

TEST_F(VerifyLog, a_segment_without_header_is_case_I) {
  write_log();
  close();
  flip(1, 20);
  flip(1, kBlockBytes + 20);
  const VerifyFinding f = only_damage();
  EXPECT_EQ(f.letter, "I");
  EXPECT_TRUE(f.acknowledged);
  EXPECT_GT(f.to_offset, f.from_offset);
}

TEST_F(VerifyLog, missing_segments_are_named) {
  write_log();
  close();
  filesystem_.delete_on_medium(path(1));
  EXPECT_EQ(only_damage().letter, "L");
  filesystem_.delete_on_medium(path(0));
  EXPECT_EQ(only_damage().letter, "M");
}

TEST_F(VerifyLog, the_last_segment_below_what_was_durable) {
  write_log();
  close();
  const std::size_t last = numbers_.size() - 1;
  std::vector<Frame> batches;
  for (const Frame& frame : frames(last)) {
    if (frame.batch) batches.push_back(frame);
  }
  ASSERT_GT(batches.size(), 2u);
  flip(last, batches[1].position + 150);
  VerifyFinding f = only_damage();
  EXPECT_EQ(f.letter, "C");
  EXPECT_EQ(f.position, batches[1].position);
  EXPECT_EQ(f.from, batches[1].batch->index);
  EXPECT_GE(f.bytes, batches[1].bytes);
  flip(last, batches[1].position + 150);
  flip(last, batches.back().position + 150);
  f = only_damage();
  EXPECT_EQ(f.letter, "D");
  EXPECT_EQ(f.verdict, Verdict::suspect);
  EXPECT_EQ(f.position, batches.back().position);
  EXPECT_TRUE(f.acknowledged);
}

TEST_F(VerifyLog, a_file_that_was_cut_off_is_short) {
  write_log();
  close();
  filesystem_.truncate_on_medium(path(1), 30'000);
  const auto found = damage(verify());
  ASSERT_GE(found.size(), 2u);
  bool says_length = false;
  bool says_loss = false;
  for (const VerifyFinding& f : found) {
    EXPECT_EQ(f.file, name(1));
    says_length = says_length || (f.position == 30'000 && f.bytes == kSegmentBytesMin - 30'000);
    says_loss = says_loss || f.to_offset > f.from_offset;
  }
  EXPECT_TRUE(says_length && says_loss);
}

TEST_F(VerifyLog, an_unreadable_block_is_damage_and_the_rest_is_read) {
  write_log();
  close();
  filesystem_.make_unreadable(path(2), 20'480, 4'096);
  const auto found = damage(verify());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_LE(found[0].position, 20'480u);
  EXPECT_GE(found[0].position + found[0].bytes, 24'576u);
  EXPECT_EQ(found[0].letter, "C");
}

// Any byte that a CRC covers, anywhere in the log.
TEST_F(VerifyLog, no_flipped_byte_of_a_frame_goes_unnoticed) {
  write_log(120);
  close();
  sim::SimRng rng(5);
  for (std::size_t segment = 0; segment < numbers_.size(); ++segment) {
    auto all = frames(segment);
    // Behind the last batch of all, an empty group that is damaged looks like one that was torn.
    while (segment + 1 == numbers_.size() && !all.back().batch) all.pop_back();
    for (const Frame& frame : all) {
      if (rng.next() % 4 != 0) continue;
      const std::uint64_t used = frame.batch ? frame.batch->total_bytes() : kGroupHeaderBytes;
      const std::uint64_t at = frame.position + rng.next() % used;
      flip(segment, at);
      const auto found = damage(verify());
      ASSERT_EQ(found.size(), 1u) << name(segment) << " byte " << at;
      EXPECT_EQ(found[0].file, name(segment)) << at;
      EXPECT_LE(found[0].position, at);
      if (found[0].bytes > 0) {
        EXPECT_LT(at, found[0].position + found[0].bytes);
      }
      flip(segment, at);
    }
  }
}

TEST_F(VerifyLog, what_a_crash_leaves_is_no_damage) {
  std::uint64_t torn = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    sim::SimFilesystem filesystem(seed);
    sim::SimClock clock;
    sim::SimRng rng(seed);
    HardState bounds;
    for (int life = 0; life < 2; ++life) {
      LogProcess process(filesystem, clock, small_options());
      ASSERT_TRUE(process.is_open()) << process.open_error.message;
      const std::uint64_t batches = 5 + rng.next() % 60;
      for (std::uint64_t i = 0; i < batches; ++i) process.append_durably({record_text(i, 1'200)});
      for (int i = 0; i < 5; ++i) {
        if (!process.append({record_text(i, 2'500)})) break;
      }
      process.log().flush();
      process.disk().submit();
      filesystem.crash(sim::CrashChoice::keep_random(seed * 7 + static_cast<std::uint64_t>(life)));
    }
    {
      auto contents = HardStateFile::read(*filesystem.root(), kHardStateName, kDiskUuid);
      ASSERT_TRUE(contents);
      for (const LogHardState& slot : contents->logs) bounds = slot.state;
    }
    auto directory = filesystem.root()->subdirectory("log", false);
    ASSERT_TRUE(directory);
    const auto result = verify_log(**directory, kIdentity.cluster, kIdentity.log, &bounds, {});
    EXPECT_FALSE(result.error);
    EXPECT_FALSE(result.is_damaged()) << render(result);
    for (const VerifyFinding& f : result.findings) torn += f.letter == "B" ? 1 : 0;
  }
  EXPECT_GT(torn, 5u);
}

TEST_F(VerifyLog, a_log_of_another_cluster_is_an_error_with_its_names) {
  write_log();
  close();
  auto directory = filesystem_.root()->subdirectory("log", false);
  const auto result = verify_log(**directory, Uuid{{42}}, kIdentity.log, &bounds_, {});
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->code, Code::denied);
  EXPECT_THAT(render(result), ::testing::HasSubstr("cannot be verified"));
}

TEST_F(VerifyLog, progress_ends_at_the_total) {
  write_log();
  close();
  auto directory = filesystem_.root()->subdirectory("log", false);
  VerifyOptions options;
  std::uint64_t calls = 0;
  VerifyProgress last;
  options.progress = [&](const VerifyProgress& p) {
    ++calls;
    EXPECT_GE(p.done_bytes, last.done_bytes);
    last = p;
  };
  (void)verify_log(**directory, kIdentity.cluster, kIdentity.log, &bounds_, options);
  EXPECT_GE(calls, numbers_.size());
  EXPECT_GE(last.done_bytes + 64 * 1024, last.total_bytes);
}

}  // namespace
}  // namespace walraft::wal
