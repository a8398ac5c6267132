// Both real disks, on a real filesystem, with direct and with buffered files.

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/unit/wal_disk/scratch.h"

namespace walraft::wal {
namespace {

struct Setup {
  DiskMethod method;
  Access access;
};

void PrintTo(const Setup& setup, std::ostream* out) {
  *out << (setup.method == DiskMethod::uring ? "io_uring" : "thread") << ", "
       << (setup.access == Access::direct ? "direct" : "buffered");
}

class DiskTest : public testing::TestWithParam<Setup> {
 protected:
  void SetUp() override {
    disk_ = make_disk(GetParam().method, system_clock());
    if (disk_ == nullptr) GTEST_SKIP() << "NOT RUN: this kernel or sandbox has no io_uring";
    if (GetParam().access == Access::direct && !scratch_.directory().has_direct()) {
      GTEST_SKIP() << "NOT RUN: " << scratch_.path() << " has no O_DIRECT";
    }
  }

  std::unique_ptr<File> make_file(std::string_view name, std::uint64_t blocks) {
    auto file = scratch_.directory().create(name, GetParam().access).value();
    EXPECT_TRUE(file->allocate(blocks * kBlockBytes));
    return file;
  }

  Scratch scratch_;
  std::unique_ptr<Disk> disk_;
};

INSTANTIATE_TEST_SUITE_P(RealDisks, DiskTest,
                         testing::Values(Setup{DiskMethod::uring, Access::direct},
                                         Setup{DiskMethod::uring, Access::write},
                                         Setup{DiskMethod::thread, Access::direct},
                                         Setup{DiskMethod::thread, Access::write}),
                         [](const auto& param) {
                           std::string name = param.param.method == DiskMethod::uring ? "Uring" : "Thread";
                           return name + (param.param.access == Access::direct ? "Direct" : "Buffered");
                         });

TEST_P(DiskTest, WritesOneBlockAndSaysSoOnce) {
  auto file = make_file("a", 4);
  Blocks data(1, 'a');
  TestWrite write(*file, 2 * kBlockBytes, data.view());
  disk_->write(write);
  EXPECT_EQ(disk_->poll(), 0u);
  disk_->submit();
  EXPECT_TRUE(run_until(*disk_, [&] { return write.times_durable > 0; }));
  EXPECT_EQ(disk_->poll(), 0u);
  EXPECT_EQ(write.times_durable, 1);
  const std::string expected = std::string(2 * kBlockBytes, '\0') + std::string(kBlockBytes, 'a') +
                               std::string(kBlockBytes, '\0');
  EXPECT_EQ(contents(scratch_.directory(), "a"), expected);
}

TEST_P(DiskTest, NothingIsWrittenBeforeSubmit) {
  auto file = make_file("a", 1);
  Blocks data(1, 'a');
  TestWrite write(*file, 0, data.view());
  disk_->write(write);
  disk_->wait(50'000);
  EXPECT_EQ(contents(scratch_.directory(), "a"), std::string(kBlockBytes, '\0'));
  EXPECT_EQ(write.times_durable, 0);
}

TEST_P(DiskTest, PollSubmitsWhatIsQueued) {
  auto file = make_file("a", 1);
  Blocks data(1, 'a');
  TestWrite write(*file, 0, data.view());
  disk_->write(write);
  disk_->poll();  // no submit()
  EXPECT_TRUE(run_until(*disk_, [&] { return write.times_durable == 1; }));
}

// More than fit in the ring, over many files, of one to eight blocks.
TEST_P(DiskTest, CarriesThousandsOfWritesOverManyFiles) {
  constexpr int kFiles = 40;
  constexpr int kWritesPerFile = 30;
  std::vector<std::unique_ptr<File>> files;
  std::vector<std::string> expected(kFiles);
  std::vector<std::unique_ptr<Blocks>> data;
  std::vector<std::unique_ptr<TestWrite>> writes;
  std::mt19937 random(7);
  for (int f = 0; f < kFiles; ++f) {
    files.push_back(make_file("f" + std::to_string(f), 8 * kWritesPerFile));
    for (int w = 0; w < kWritesPerFile; ++w) {
      const std::size_t blocks = 1 + random() % 8;
      const char fill = static_cast<char>('a' + random() % 26);
      data.push_back(std::make_unique<Blocks>(blocks, fill));
      writes.push_back(std::make_unique<TestWrite>(*files.back(), expected[f].size(), data.back()->view()));
      expected[f].append(blocks * kBlockBytes, fill);
    }
    expected[f].resize(8 * kWritesPerFile * kBlockBytes, '\0');
  }
  std::ranges::shuffle(writes, random);
  for (auto& write : writes) disk_->write(*write);
  disk_->submit();
  std::size_t delivered = 0;
  const std::uint64_t start_us = system_clock().monotonic_us();
  while (delivered < writes.size() && system_clock().monotonic_us() - start_us < kPatienceUs) {
    disk_->wait(100'000);
    delivered += disk_->poll();
  }
  EXPECT_EQ(delivered, writes.size());
  for (auto& write : writes) ASSERT_EQ(write->times_durable, 1);
  for (int f = 0; f < kFiles; ++f) {
    ASSERT_TRUE(contents(scratch_.directory(), "f" + std::to_string(f)) == expected[f]) << "file " << f;
  }
  EXPECT_EQ(disk_->stats().writes, writes.size());
  EXPECT_EQ(disk_->oldest_write_age_us(), 0u);
}

// Each write goes on from its own completion: a chain of 50 writes on each of eight files.
TEST_P(DiskTest, IsIssuedAgainFromOnDurable) {
  constexpr int kChains = 8;
  constexpr int kLength = 50;
  std::vector<std::unique_ptr<File>> files;
  std::vector<std::unique_ptr<Blocks>> data;
  std::vector<TestWrite> writes(kChains);
  int finished = 0;
  for (int c = 0; c < kChains; ++c) {
    files.push_back(make_file("c" + std::to_string(c), kLength));
    data.push_back(std::make_unique<Blocks>(1, 'A'));
    writes[c].file = files[c].get();
    writes[c].bytes = data[c]->view();
    writes[c].then = [&, c] {
      if (writes[c].times_durable == kLength) {
        ++finished;
        return;
      }
      data[c]->refill(static_cast<char>('A' + writes[c].times_durable));
      writes[c].position += kBlockBytes;
      disk_->write(writes[c]);
    };
    disk_->write(writes[c]);
  }
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return finished == kChains; }));
  std::string expected;
  for (int i = 0; i < kLength; ++i) expected.append(kBlockBytes, static_cast<char>('A' + i));
  for (int c = 0; c < kChains; ++c) {
    EXPECT_TRUE(contents(scratch_.directory(), "c" + std::to_string(c)) == expected) << "chain " << c;
  }
  EXPECT_EQ(disk_->stats().writes, std::uint64_t{kChains * kLength});
}

TEST_P(DiskTest, ALargeAndASmallWriteDoNotWaitForEachOtherToBeRight) {
  auto large_file = make_file("large", 2048);
  auto small_file = make_file("small", 1);
  Blocks large_data(2048, 'L');
  Blocks small_data(1, 's');
  TestWrite large(*large_file, 0, large_data.view());
  TestWrite small(*small_file, 0, small_data.view());
  disk_->write(large);
  disk_->write(small);
  disk_->submit();
  EXPECT_TRUE(run_until(*disk_, [&] { return large.times_durable == 1 && small.times_durable == 1; }));
  EXPECT_TRUE(contents(scratch_.directory(), "large") == std::string(2048 * kBlockBytes, 'L'));
  EXPECT_EQ(contents(scratch_.directory(), "small"), std::string(kBlockBytes, 's'));
}

TEST_P(DiskTest, CountsAndTimes) {
  auto file = make_file("a", 8);
  Blocks one(1);
  Blocks three(3);
  TestWrite first(*file, 0, one.view());
  TestWrite second(*file, kBlockBytes, three.view());
  EXPECT_EQ(disk_->oldest_write_age_us(), 0u);
  disk_->write(first);
  disk_->wait(2'000);  // not submitted yet: it ages all the same
  EXPECT_GE(disk_->oldest_write_age_us(), 2'000u);
  disk_->write(second);
  EXPECT_GE(disk_->oldest_write_age_us(), 2'000u);  // the oldest, not the newest
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return first.times_durable + second.times_durable == 2; }));
  EXPECT_EQ(disk_->oldest_write_age_us(), 0u);
  const DiskStats& stats = disk_->stats();
  EXPECT_EQ(stats.writes, 2u);
  EXPECT_EQ(stats.written_bytes, 4 * kBlockBytes);
  EXPECT_GE(stats.sync_us_max, 2'000u);
  EXPECT_GE(stats.sync_us_total, stats.sync_us_max);
  EXPECT_LE(stats.sync_us_last, stats.sync_us_max);
}

TEST_P(DiskTest, EventDescriptorIsReadableUntilPolled) {
  auto file = make_file("a", 1);
  Blocks data(1);
  TestWrite write(*file, 0, data.view());
  const auto is_readable = [&](int timeout_ms) {
    pollfd event = {.fd = disk_->event_descriptor(), .events = POLLIN, .revents = 0};
    int result = 0;
    do {
      result = ::poll(&event, 1, timeout_ms);
    } while (result < 0 && errno == EINTR);
    return result == 1;
  };
  EXPECT_FALSE(is_readable(0));
  disk_->write(write);
  disk_->submit();
  EXPECT_TRUE(is_readable(20'000));
  EXPECT_TRUE(is_readable(0));
  EXPECT_EQ(disk_->poll(), 1u);
  disk_->poll();
  EXPECT_FALSE(is_readable(0));
}

// A loop that never sleeps sees completions too.
TEST_P(DiskTest, PollAloneIsEnough) {
  auto file = make_file("a", 1);
  Blocks data(1);
  TestWrite write(*file, 0, data.view());
  disk_->write(write);
  disk_->submit();
  const std::uint64_t start_us = system_clock().monotonic_us();
  while (write.times_durable == 0 && system_clock().monotonic_us() - start_us < kPatienceUs) disk_->poll();
  EXPECT_EQ(write.times_durable, 1);
}

TEST_P(DiskTest, WaitEndsWithItsTimeout) {
  const std::uint64_t start_us = system_clock().monotonic_us();
  disk_->wait(30'000);
  EXPECT_GE(system_clock().monotonic_us() - start_us, 30'000u);
}

// The destructor waits for what the kernel has (the memory is freed right after), drops what it has
// not, and delivers nothing.
TEST_P(DiskTest, DestructorWithWritesInFlight) {
  constexpr int kWrites = 600;
  auto file = make_file("a", kWrites * 4);
  int delivered = 0;
  {
    std::vector<std::unique_ptr<Blocks>> data;
    std::vector<std::unique_ptr<TestWrite>> writes;
    for (int i = 0; i < kWrites; ++i) {
      data.push_back(std::make_unique<Blocks>(4, 'd'));
      writes.push_back(std::make_unique<TestWrite>(*file, std::uint64_t{4} * i * kBlockBytes, data.back()->view()));
      writes.back()->then = [&] { ++delivered; };
      disk_->write(*writes.back());
    }
    disk_->submit();
    disk_.reset();
  }
  EXPECT_EQ(delivered, 0);
  // Each write is there as a whole or not at all.
  const std::string text = contents(scratch_.directory(), "a");
  for (int i = 0; i < kWrites; ++i) {
    const std::string_view part = std::string_view(text).substr(i * 4 * kBlockBytes, 4 * kBlockBytes);
    ASSERT_EQ(std::ranges::count(part, part[0]), static_cast<long>(part.size())) << "write " << i;
  }
}

TEST_P(DiskTest, DestructorWithWritesThatWereNotSubmitted) {
  auto file = make_file("a", 1);
  Blocks data(1, 'n');
  TestWrite write(*file, 0, data.view());
  disk_->write(write);
  disk_.reset();
  EXPECT_EQ(write.times_durable, 0);
  EXPECT_EQ(contents(scratch_.directory(), "a"), std::string(kBlockBytes, '\0'));
}

TEST(MakeDisk, AutomaticTakesUringWhereItWorks) {
  auto disk = make_disk(DiskMethod::automatic, system_clock());
  ASSERT_NE(disk, nullptr);
  const bool has_uring = make_disk(DiskMethod::uring, system_clock()) != nullptr;
  EXPECT_EQ(disk->method(), has_uring ? "io_uring" : "thread");
  EXPECT_EQ(make_disk(DiskMethod::thread, system_clock())->method(), "thread");
}

}  // namespace
}  // namespace walraft::wal
