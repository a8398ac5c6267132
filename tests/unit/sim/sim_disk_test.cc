// The disk actor: durable when completed, torn before, fail-stop, and in time.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "tests/unit/sim/sim_test_support.h"

namespace walraft::sim {
namespace {

using wal::Access;
using wal::kBlockBytes;

struct OneFile {
  explicit OneFile(std::uint64_t seed = 1) : fs(seed), disk(fs, clock) {
    file = durable_file(fs, "a", std::string(8 * kBlockBytes, 'o'), Access::direct);
  }
  // The letter of each block, or '#' where a block holds more than one.
  std::string blocks() {
    const std::string text = text_in(fs, "a");
    std::string letters;
    for (std::size_t at = 0; at < text.size(); at += kBlockBytes) {
      const bool torn = text.substr(at, kBlockBytes).find_first_not_of(text[at]) != std::string::npos;
      letters += torn ? '#' : text[at];
    }
    return letters;
  }

  SimFilesystem fs;
  SimClock clock;
  SimDisk disk;
  std::unique_ptr<wal::File> file;
};

TEST(SimDisk, ACompletedWriteSurvivesAPowerCutAndAnIssuedOneMayNot) {
  OneFile one;
  LetterWrite first(*one.file, 0, 'x');
  LetterWrite second(*one.file, kBlockBytes, 'y');
  one.disk.write(first);
  one.disk.write(second);
  one.disk.submit();
  EXPECT_FALSE(one.fs.survives("a", 0, first.bytes));
  EXPECT_TRUE(one.disk.complete_one());
  EXPECT_TRUE(one.fs.survives("a", 0, first.bytes));
  EXPECT_FALSE(one.fs.survives("a", kBlockBytes, second.bytes));
  EXPECT_EQ(first.durable, 0);  // not told yet
  EXPECT_EQ(one.disk.poll(), 1u);
  EXPECT_EQ(first.durable, 1);
  one.fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(one.blocks(), "xooooooo");
  EXPECT_EQ(one.disk.poll(), 0u);  // dead
  EXPECT_EQ(second.durable, 0);
}

TEST(SimDisk, AForkHasTheWritesInFlight) {
  OneFile one;
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  one.disk.submit();
  auto kept = one.fs.fork();
  auto lost = one.fs.fork();
  kept->crash(CrashChoice::keep_everything());
  lost->crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(*kept, "a")[0], 'x');
  EXPECT_EQ(text_in(*lost, "a")[0], 'o');
}

TEST(SimDisk, TheGhostDiskSeesWhatAWriteInFlightMayTake) {
  OneFile one;
  const std::string old(kBlockBytes, 'o');
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  EXPECT_TRUE(one.fs.survives("a", 0, bytes_of(old)));
  one.disk.submit();
  EXPECT_FALSE(one.fs.survives("a", 0, bytes_of(old)));
  EXPECT_TRUE(one.fs.survives("a", kBlockBytes, bytes_of(old)));
}

TEST(SimDisk, AWriteThatWasOnlyQueuedLeavesNoTrace) {
  OneFile one;
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  one.fs.crash(CrashChoice::keep_everything());
  EXPECT_EQ(one.blocks(), "oooooooo");
}

TEST(SimDisk, AWriteInFlightIsTornBySectorsInAnyOrder) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    OneFile one(seed);
    LetterWrite write(*one.file, kBlockBytes, 'x', 2);
    one.disk.write(write);
    one.disk.submit();
    one.fs.crash(CrashChoice::keep_random(seed));
    const std::string text = text_in(one.fs, "a");
    std::string sectors;
    for (std::size_t at = kBlockBytes; at < 3 * kBlockBytes; at += kSectorBytes) {
      ASSERT_EQ(text.substr(at, kSectorBytes).find_first_not_of(text[at]), std::string::npos) << "a torn sector";
      sectors += text[at];
    }
    EXPECT_EQ(one.blocks().front(), 'o');
    EXPECT_EQ(one.blocks().substr(3), "ooooo");
    seen.insert(sectors);
  }
  EXPECT_TRUE(seen.contains(std::string(16, 'o')));
  EXPECT_TRUE(seen.contains(std::string(16, 'x')));
  EXPECT_TRUE(seen.contains("xxxxxxxxoooooooo"));  // the first block alone
  EXPECT_GT(seen.size(), 100u);
  const auto later_without_earlier = [](const std::string& s) { return s.front() == 'o' && s.back() == 'x'; };
  EXPECT_TRUE(std::ranges::any_of(seen, later_without_earlier));
}

TEST(SimDisk, ADurableWriteCarriesTheSizeItNeedsAndWhatLayBelowIt) {
  SimFilesystem fs;
  SimClock clock;
  SimDisk disk(fs, clock);
  auto file = durable_file(fs, "a", "");
  must(file->allocate(4 * kBlockBytes));
  must(file->write(0, bytes_of("under")));
  must(file->write(kBlockBytes, bytes_of("beside")));
  LetterWrite write(*file, 0, 'x');
  disk.write(write);
  disk.settle();
  EXPECT_EQ(write.durable, 1);
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(fs.size_of("a"), 4 * kBlockBytes);
  EXPECT_EQ(text_in(fs, "a"), std::string(kBlockBytes, 'x') + std::string(3 * kBlockBytes, '\0'));
}

TEST(SimDisk, AKillCompletesWhatTheKernelHas) {
  OneFile one;
  LetterWrite issued(*one.file, 0, 'x');
  LetterWrite queued(*one.file, kBlockBytes, 'y');
  one.disk.write(issued);
  one.disk.submit();
  one.disk.write(queued);
  one.fs.crash(CrashChoice::kill_process());
  EXPECT_TRUE(one.fs.survives("a", 0, issued.bytes));
  EXPECT_EQ(one.blocks(), "xooooooo");
}

TEST(SimDisk, CompletesInTheOrderTheTestPicks) {
  OneFile one;
  LetterWrite first(*one.file, 0, 'x');
  LetterWrite second(*one.file, kBlockBytes, 'y');
  LetterWrite third(*one.file, 2 * kBlockBytes, 'z');
  for (LetterWrite* write : {&first, &second, &third}) one.disk.write(*write);
  one.disk.submit();
  EXPECT_TRUE(one.disk.complete_one(SimDisk::Pick::newest));
  EXPECT_EQ(one.blocks(), "oozooooo");
  EXPECT_TRUE(one.disk.complete_one(SimDisk::Pick::oldest));
  EXPECT_EQ(one.blocks(), "xozooooo");
  one.disk.complete_all();
  EXPECT_EQ(one.disk.poll(), 3u);
  EXPECT_EQ(one.disk.stats().writes, 3u);
  EXPECT_EQ(one.disk.stats().written_bytes, 3 * kBlockBytes);
}

TEST(SimDisk, AWriteMayBeIssuedAgainFromItsCompletion) {
  struct Repeating final : wal::DurableWrite {
    void on_durable() override {
      if (++times < 3) disk->write(*this);
    }
    wal::Disk* disk = nullptr;
    int times = 0;
  };
  OneFile one;
  LetterWrite memory(*one.file, 0, 'x');
  Repeating write;
  write.file = one.file.get();
  write.bytes = memory.bytes;
  write.disk = &one.disk;
  one.disk.write(write);
  one.disk.settle();
  EXPECT_EQ(write.times, 3);
}

TEST(SimDisk, LatencyIsTheClocksAndAgesAreSeen) {
  OneFile one;
  one.disk.set_latency_us(300, 300);
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  one.disk.submit();
  EXPECT_FALSE(one.disk.complete_one());
  EXPECT_EQ(*one.disk.next_due_us(), one.clock.monotonic_us() + 300);
  one.clock.advance_us(299);
  EXPECT_FALSE(one.disk.complete_one());
  EXPECT_EQ(one.disk.oldest_write_age_us(), 299u);
  one.clock.advance_us(1);
  EXPECT_TRUE(one.disk.complete_one());
  EXPECT_EQ(one.disk.poll(), 1u);
  EXPECT_EQ(one.disk.stats().sync_us_last, 300u);
  EXPECT_EQ(one.disk.oldest_write_age_us(), 0u);
}

TEST(SimDisk, WaitAdvancesToTheNextCompletionOrTheTimeout) {
  OneFile one;
  one.disk.set_latency_us(300, 300);
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  one.disk.submit();
  const std::uint64_t start_us = one.clock.monotonic_us();
  one.disk.wait(100);
  EXPECT_EQ(one.clock.monotonic_us() - start_us, 100u);
  EXPECT_EQ(one.disk.poll(), 0u);
  one.disk.wait(1'000'000);
  EXPECT_EQ(one.clock.monotonic_us() - start_us, 300u);
  EXPECT_EQ(one.disk.poll(), 1u);
}

TEST(SimDisk, BackgroundJobsRunInOrderOfDueTimeAndReportFromPoll) {
  OneFile one;
  std::string order;
  const auto job = [&](char letter, std::uint64_t delay_us) {
    one.disk.background(
        delay_us,
        [&order, letter]() -> Result<void> {
          order += letter;
          return {};
        },
        [&order, letter](Result<void> result) {
          EXPECT_TRUE(result);
          order += static_cast<char>(letter - 'a' + 'A');
        });
  };
  job('c', 200);
  job('a', 0);
  job('b', 0);
  EXPECT_TRUE(one.disk.run_one_job());
  EXPECT_EQ(order, "a");
  EXPECT_EQ(one.disk.poll(), 1u);
  EXPECT_EQ(order, "aA");
  EXPECT_TRUE(one.disk.run_one_job());
  EXPECT_FALSE(one.disk.run_one_job());  // c is not due
  one.disk.settle();
  EXPECT_EQ(order, "aAbB");
  one.disk.run_for_us(1000);
  EXPECT_EQ(order, "aAbBcC");
}

TEST(SimDisk, ACrashInsideABackgroundJobIsACrash) {
  OneFile one;
  bool told = false;
  one.disk.background(
      0,
      [&]() -> Result<void> {
        auto root = one.fs.root();
        must(root->create("new", Access::write));
        return root->sync();
      },
      [&](Result<void>) { told = true; });
  one.fs.crash_at(one.fs.operations() + 2);
  EXPECT_THROW(one.disk.settle(), SimCrash);
  one.fs.crash(CrashChoice::lose_unsynced());
  EXPECT_FALSE(one.fs.exists("new"));
  EXPECT_EQ(one.disk.poll(), 0u);
  EXPECT_FALSE(told);
}

TEST(SimDisk, AFailedWriteLatchesAndIsToldOnce) {
  OneFile one;
  int failures = 0;
  one.disk.on_failure([&](const Error& error) {
    ++failures;
    EXPECT_EQ(error.code, Code::failed);
  });
  one.fs.inject({.kind = FaultKind::write_fails, .path = "a", .skip = 1});
  LetterWrite first(*one.file, 0, 'x');
  LetterWrite second(*one.file, kBlockBytes, 'y');
  LetterWrite third(*one.file, 2 * kBlockBytes, 'z');
  for (LetterWrite* write : {&first, &second, &third}) one.disk.write(*write);
  one.disk.settle();
  EXPECT_EQ(one.fs.faults_struck(), 1u);
  EXPECT_TRUE(one.disk.failed());
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(first.durable + second.durable + third.durable, 1);
  one.disk.fail({Code::failed, "again", 0});
  int late = 0;
  OneFile other;
  other.disk.fail({Code::failed, "before anyone listens", 0});
  other.disk.on_failure([&](const Error&) { ++late; });
  EXPECT_EQ(late, 1);
  one.disk.write(first);
  one.disk.settle();
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(first.durable, 1);
}

TEST(SimDisk, OneWriteHangsAndOthersPass) {
  OneFile one;
  one.fs.inject({.kind = FaultKind::write_hangs});
  LetterWrite stuck(*one.file, 0, 'x');
  LetterWrite other(*one.file, kBlockBytes, 'y');
  one.disk.write(stuck);
  one.disk.write(other);
  one.disk.run_for_us(5'000'000);
  EXPECT_EQ(stuck.durable, 0);
  EXPECT_EQ(other.durable, 1);
  EXPECT_EQ(one.disk.oldest_write_age_us(), 5'000'000u);
  one.disk.release_hanging();
  one.disk.settle();
  EXPECT_EQ(stuck.durable, 1);
}

TEST(SimDisk, AHangingDiskDoesNothingAtAll) {
  OneFile one;
  bool ran = false;
  one.disk.hang();
  LetterWrite write(*one.file, 0, 'x');
  one.disk.write(write);
  one.disk.background(0, [&]() -> Result<void> { ran = true; return {}; }, nullptr);
  one.disk.run_for_us(1'000'000);
  EXPECT_EQ(write.durable, 0);
  EXPECT_FALSE(ran);
  one.disk.release_hanging();
  one.disk.settle();
  EXPECT_EQ(write.durable, 1);
  EXPECT_TRUE(ran);
}

TEST(SimDisk, DestroyedInOrderItFinishesItsWritesSilently) {
  SimFilesystem fs;
  SimClock clock;
  auto file = durable_file(fs, "a", std::string(kBlockBytes, 'o'));
  LetterWrite write(*file, 0, 'x');
  {
    SimDisk disk(fs, clock);
    disk.write(write);
    disk.submit();
  }
  EXPECT_EQ(write.durable, 0);
  EXPECT_TRUE(fs.survives("a", 0, write.bytes));
}

TEST(SimDiskDeathTest, BreachesOfTheContractAreBugs) {
  OneFile one;
  LetterWrite write(*one.file, 0, 'x');
  LetterWrite same_block(*one.file, 0, 'y');
  LetterWrite past_the_end(*one.file, 8 * kBlockBytes, 'z');
  EXPECT_DEATH(one.disk.write(past_the_end), "CHECK failed");
  one.disk.write(write);
  EXPECT_DEATH(one.disk.write(write), "not finished yet");
  one.disk.write(same_block);
  EXPECT_DEATH(one.disk.submit(), "two writes in flight on one block");
  OneFile synced;
  LetterWrite unfinished(*synced.file, 0, 'x');
  synced.disk.write(unfinished);
  synced.disk.submit();
  EXPECT_DEATH((void)synced.file->sync(), "a sync while a write");
  OneFile overlapping;
  LetterWrite three_blocks(*overlapping.file, 0, 'x', 3);
  LetterWrite inside(*overlapping.file, 2 * kBlockBytes, 'y');
  overlapping.disk.write(three_blocks);
  overlapping.disk.write(inside);
  EXPECT_DEATH(overlapping.disk.submit(), "two writes in flight on one block");
  OneFile other;
  LetterWrite changed(*other.file, 0, 'x');
  other.disk.write(changed);
  other.disk.submit();
  changed.memory()[5] = std::byte{'!'};
  EXPECT_DEATH(other.disk.complete_one(), "were changed");
  changed.memory()[5] = std::byte{'x'};
}

}  // namespace
}  // namespace walraft::sim
