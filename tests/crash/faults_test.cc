// Faults of a running log: what fails is said once and never tried again, and nothing is acknowledged
// after it; a full disk refuses and resumes; a disk that hangs acknowledges nothing (fault:S5-S8, S24; inv:D9).

#include <gtest/gtest.h>

#include "tests/crash/log_machine.h"

namespace walraft::wal::crash_test {
namespace {

class Faults : public ::testing::Test {
 protected:
  // Appends until the disk fails or it is enough.
  static void work(Process& process, Promise& promise, sim::SimClock& clock, int batches) {
    Log& log = *process.log();
    for (int i = 0; i < batches && !process.failed(); ++i) {
      BatchBuilder builder;
      const std::string record(static_cast<std::size_t>(200 + i * 37 % 3'000), static_cast<char>('a' + i % 26));
      ASSERT_TRUE(builder.add(bytes_of(record)));
      const MutableBytes batch = builder.finish({.log_id = kLog.id});
      const LogPoint tail = log.tail();
      stamp_batch(batch, {tail.index, tail.offset, Term(1), promise.commit, clock.wall_us()}, tail.digest);
      if (log.append(batch)) {
        promise.batches.push_back(
            std::make_shared<Promise::Batch>(std::vector(batch.begin(), batch.end()), *decode_batch(batch)));
      }
      log.flush();
      if (i % 3 == 0) process.disk().settle();
      if (i % 10 == 9) {
        for (int k = 0; k < 15; ++k) {
          process.disk().run_for_us(100'000);
          log.tick();
          process.hard_state().flush();
        }
      }
    }
  }
};

TEST_F(Faults, a_failed_write_or_sync_is_final_wherever_it_strikes) {
  const Settings settings = small_log();
  int struck = 0;
  for (const sim::FaultKind kind : {sim::FaultKind::write_fails, sim::FaultKind::sync_fails, sim::FaultKind::sync_drops}) {
    for (std::uint64_t skip = 0;; ++skip) {
      SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)) + ", operation " + std::to_string(skip));
      sim::SimFilesystem filesystem(skip + 1);
      sim::SimClock clock;
      Promise promise;
      int failures = 0;
      {
        Process process(filesystem, clock, settings);
        ASSERT_NE(process.log(), nullptr);
        process.disk().on_failure([&](const Error&) { ++failures; });
        process.log()->on_durable([&](Index durable) {
          EXPECT_EQ(failures, 0) << "an acknowledgement after the failure";
          promise.durable = durable;
        });
        filesystem.inject({.kind = kind, .skip = skip});
        work(process, promise, clock, 120);
        if (filesystem.faults_struck() == 0) break;
        ++struck;
        EXPECT_EQ(failures, 1);
        EXPECT_TRUE(process.failed());
        const std::uint64_t operations = filesystem.operations();
        work(process, promise, clock, 5);
        for (int i = 0; i < 30; ++i) {
          process.disk().run_for_us(100'000);
          process.log()->tick();
          process.log()->flush();
          process.hard_state().flush();
        }
        EXPECT_EQ(filesystem.operations(), operations) << "something was tried after the failure";
        EXPECT_EQ(failures, 1);
        filesystem.crash(skip % 2 == 0 ? sim::CrashChoice::lose_unsynced() : sim::CrashChoice::kill_process());
      }
      Process again(filesystem, clock, settings);
      ASSERT_EQ(verify(again, promise), "");
    }
  }
  std::printf("%d faults struck\n", struck);
  EXPECT_GT(struck, 100);
}

TEST_F(Faults, a_full_disk_refuses_keeps_reading_and_resumes_at_every_size) {
  for (std::uint64_t pages = 0; pages < 60; pages += 3) {
    SCOPED_TRACE(pages);
    sim::SimFilesystem filesystem(pages + 1);
    sim::SimClock clock;
    Promise promise;
    Settings settings = small_log();
    settings.segment_bytes = kSegmentBytesMin * 4;
    Process process(filesystem, clock, settings);
    ASSERT_NE(process.log(), nullptr);
    work(process, promise, clock, 20);
    filesystem.set_capacity(filesystem.used_bytes() + pages * sim::kPageBytes);
    work(process, promise, clock, 400);
    process.log()->flush();
    process.disk().settle();
    promise.durable = process.log()->durable();
    EXPECT_FALSE(process.failed());
    EXPECT_EQ(verify(process, promise), "");
    auto control = make_control_batch(kLog.id, BatchKind::trim, {});
    const LogPoint tail = process.log()->tail();
    stamp_batch(control, {tail.index, tail.offset, Term(1), {}, clock.wall_us()}, tail.digest);
    auto appended = process.log()->append(control, Use::control);
    ASSERT_TRUE(appended) << appended.error().message;
    promise.batches.push_back(std::make_shared<Promise::Batch>(control, *decode_batch(control)));
    filesystem.set_capacity(1u << 30);
    const std::size_t before = promise.batches.size();
    work(process, promise, clock, 40);
    EXPECT_GT(promise.batches.size(), before) << "appends go on when there is space";
    process.log()->flush();
    process.disk().settle();
    promise.durable = process.log()->durable();
    EXPECT_EQ(promise.durable, promise.end());
    EXPECT_EQ(verify(process, promise), "");
  }
}

TEST_F(Faults, a_disk_that_hangs_acknowledges_nothing_and_goes_on_when_it_comes_back) {
  sim::SimFilesystem filesystem(1);
  sim::SimClock clock;
  Promise promise;
  Process process(filesystem, clock, small_log());
  ASSERT_NE(process.log(), nullptr);
  work(process, promise, clock, 9);
  process.disk().settle();
  const Index durable = process.log()->durable();
  process.disk().hang();
  work(process, promise, clock, 12);
  EXPECT_EQ(process.log()->durable(), durable);
  EXPECT_GT(process.disk().oldest_write_age_us(), 1'000'000u);
  EXPECT_GT(process.log()->pending_bytes(), 0u);
  process.disk().release_hanging();
  process.disk().settle();
  EXPECT_EQ(process.log()->durable(), promise.end());
  EXPECT_EQ(process.log()->pending_bytes(), 0u);
  promise.durable = promise.end();
  EXPECT_EQ(verify(process, promise), "");
}

}  // namespace
}  // namespace walraft::wal::crash_test
