// Fail-stop: one failure ends a disk, is told once, and nothing is delivered or tried after it
// (fault:S5, S6).

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "tests/unit/wal_disk/failing_calls.h"
#include "tests/unit/wal_disk/scratch.h"
#include "wal/base/mutant.h"

namespace walraft::wal {
namespace {

using testing::HasSubstr;

// A descriptor of any kind as a file that a disk writes to.
class DescriptorFile final : public File {
 public:
  explicit DescriptorFile(int number) : descriptor_(number) { EXPECT_GE(number, 0); }
  ~DescriptorFile() override { close_now(); }
  void close_now() {
    if (open_) close(descriptor_);
    open_ = false;
  }
  Result<std::size_t> read(std::uint64_t, MutableBytes) override { return error(Code::failed, "not used"); }
  Result<void> write(std::uint64_t, ByteView) override { return error(Code::failed, "not used"); }
  Result<void> sync() override { return error(Code::failed, "not used"); }
  Result<void> allocate(std::uint64_t) override { return error(Code::failed, "not used"); }
  Result<void> truncate(std::uint64_t) override { return error(Code::failed, "not used"); }
  Result<std::uint64_t> size() override { return error(Code::failed, "not used"); }
  void drop_cache() override {}
  int descriptor() const override { return descriptor_; }

 private:
  int descriptor_;
  bool open_ = true;
};

// Where writing gives EIO, as a medium that fails does: this process's memory at an address so low
// that nothing is ever mapped there. (An address unmapped by us may be mapped again by anybody.)
struct BadMedium {
  DescriptorFile file{open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
  std::uint64_t position = kBlockBytes;
};

class SoftFileLimit {
 public:
  explicit SoftFileLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = signal(SIGXFSZ, SIG_IGN);
    set(bytes);
  }
  ~SoftFileLimit() { lift(); }
  void set(rlim_t bytes) {
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  void lift() {
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before_), 0);
    signal(SIGXFSZ, handler_);
  }

 private:
  struct rlimit before_ {};
  sighandler_t handler_ = SIG_DFL;
};

class DiskFailure : public testing::TestWithParam<DiskMethod> {
 protected:
  void SetUp() override {
    disk_ = make_disk(GetParam(), system_clock());
    if (disk_ == nullptr) GTEST_SKIP() << "NOT RUN: this kernel or sandbox has no io_uring";
    disk_->on_failure([this](const Error& error) {
      ++failures_;
      error_ = error;
      EXPECT_TRUE(disk_->failed());
    });
    file_ = scratch_.directory().create("a", Access::write).value();
    ASSERT_TRUE(file_->allocate(64 * kBlockBytes));
  }

  // A file of its own for a write: those of one buffered file would wait for each other.
  File& another_file() {
    const std::string name = "another" + std::to_string(others_.size());
    others_.push_back(scratch_.directory().create(name, Access::write).value());
    return *others_.back();
  }

  // Issues one write and runs the disk until it fails.
  void expect_failure(File& file, std::uint64_t position, Code code, const std::string& text) {
    TestWrite write(file, position, data_.view());
    disk_->write(write);
    disk_->submit();
    ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed() || write.times_durable > 0; }));
    EXPECT_EQ(write.times_durable, 0);
    EXPECT_EQ(failures_, 1);
    EXPECT_EQ(error_.code, code) << error_.message;
    EXPECT_THAT(error_.message, HasSubstr(text));
    EXPECT_THAT(error_.message, HasSubstr("position " + std::to_string(position)));
    expect_dead();
  }

  // A failed disk takes writes and jobs, and nothing comes of them.
  void expect_dead() {
    const int failures = failures_;
    TestWrite after(*file_, 8 * kBlockBytes, data_.view());
    int jobs = 0;
    disk_->write(after);
    disk_->background(0, [&]() -> Result<void> { ++jobs; return {}; }, [&](Result<void>) { ++jobs; });
    disk_->submit();
    disk_->fail({Code::failed, "a second failure"});
    for (int i = 0; i < 3; ++i) {
      disk_->wait(10'000);
      EXPECT_EQ(disk_->poll(), 0u);
    }
    EXPECT_EQ(after.times_durable, 0);
    EXPECT_EQ(failures_, failures);
    disk_.reset();  // the last use of `after` and `jobs`
    EXPECT_EQ(jobs, 0);
    EXPECT_EQ(contents(scratch_.directory(), "a")[8 * kBlockBytes], '\0');
  }

  FreshCalls fresh_;
  Scratch scratch_;
  std::unique_ptr<File> file_;
  std::vector<std::unique_ptr<File>> others_;
  Blocks data_{1, 'z'};
  int failures_ = 0;
  Error error_;
  std::unique_ptr<Disk> disk_;
};

INSTANTIATE_TEST_SUITE_P(RealDisks, DiskFailure, testing::Values(DiskMethod::uring, DiskMethod::thread),
                         [](const auto& param) { return param.param == DiskMethod::uring ? "Uring" : "Thread"; });

TEST_P(DiskFailure, AFileOpenForReading) {
  auto file = scratch_.directory().open("a", Access::read).value();
  expect_failure(*file, 0, Code::failed, std::filesystem::canonical(scratch_.path()).string() + "/a");
}

TEST_P(DiskFailure, AClosedDescriptor) {
  DescriptorFile file(open("/dev/null", O_WRONLY | O_CLOEXEC));
  file.close_now();
  expect_failure(file, 0, Code::failed, "EBADF");
}

TEST_P(DiskFailure, AFullDisk) {
  DescriptorFile file(open("/dev/full", O_WRONLY | O_CLOEXEC));
  expect_failure(file, 0, Code::no_space, "ENOSPC");
}

TEST_P(DiskFailure, AMediumThatFails) {
  BadMedium bad;
  expect_failure(bad.file, bad.position, Code::failed, "EIO");
}

TEST_P(DiskFailure, TheFileSizeLimit) {
  SoftFileLimit limit(64 * kBlockBytes);
  expect_failure(*file_, 64 * kBlockBytes, Code::no_space, "EFBIG");
}

TEST_P(DiskFailure, ManyFailuresAreOne) {
  std::vector<BadMedium> bad(20);
  std::vector<TestWrite> writes;
  for (BadMedium& medium : bad) writes.emplace_back(medium.file, medium.position, data_.view());
  for (TestWrite& write : writes) disk_->write(write);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  expect_dead();
  for (TestWrite& write : writes) EXPECT_EQ(write.times_durable, 0);
  EXPECT_EQ(failures_, 1);
}

// Good and bad writes together: what is delivered was delivered before the failure.
TEST_P(DiskFailure, NothingIsDeliveredAfterTheFailure) {
  BadMedium bad;
  std::vector<TestWrite> writes;
  for (int i = 0; i < 8; ++i) writes.emplace_back(another_file(), 0, data_.view());
  TestWrite doomed(bad.file, bad.position, data_.view());
  for (TestWrite& write : writes) write.then = [&] { EXPECT_FALSE(disk_->failed()); };
  for (int i = 0; i < 4; ++i) disk_->write(writes[i]);
  disk_->write(doomed);
  for (int i = 4; i < 8; ++i) disk_->write(writes[i]);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  EXPECT_EQ(doomed.times_durable, 0);
  expect_dead();
}

TEST_P(DiskFailure, FailFromOnDurableStopsTheRest) {
  TestWrite writes[3];
  int delivered = 0;
  for (int i = 0; i < 3; ++i) {
    writes[i] = TestWrite(another_file(), 0, data_.view());
    writes[i].then = [&] {
      ++delivered;
      disk_->fail({Code::corrupt, "the owner does not believe it"});
    };
    disk_->write(writes[i]);
  }
  disk_->submit();
  usleep(50'000);  // mostly, all three are there when the first is delivered
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  EXPECT_EQ(delivered, 1);
  EXPECT_EQ(error_.code, Code::corrupt);
  expect_dead();
  EXPECT_EQ(delivered, 1);
}

TEST_P(DiskFailure, FailFromDoneStopsTheRest) {
  int delivered = 0;
  for (int i = 0; i < 3; ++i) {
    disk_->background(0, [] { return Result<void>(); }, [&](Result<void>) {
      ++delivered;
      disk_->fail({Code::failed, "a job saw the disk lie"});
    });
  }
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  expect_dead();
  EXPECT_EQ(delivered, 1);
}

TEST_P(DiskFailure, TheUnfinishedWriteStillAges) {
  BadMedium bad;
  TestWrite write(bad.file, bad.position, data_.view());
  disk_->write(write);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  usleep(2'000);
  EXPECT_GE(disk_->oldest_write_age_us(), 2'000u);
  EXPECT_EQ(disk_->stats().writes, 0u);
}

TEST_P(DiskFailure, DestructorAfterAFailureWaitsForTheRest) {
  BadMedium bad;
  auto doomed = std::make_unique<TestWrite>(bad.file, bad.position, data_.view());
  disk_->write(*doomed);
  std::vector<std::unique_ptr<Blocks>> data;
  std::vector<std::unique_ptr<TestWrite>> writes;
  for (std::uint64_t i = 0; i < 16; ++i) {
    data.push_back(std::make_unique<Blocks>(4, 'w'));
    writes.push_back(std::make_unique<TestWrite>(another_file(), i * 4 * kBlockBytes, data.back()->view()));
    disk_->write(*writes.back());
  }
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return disk_->failed(); }));
  disk_.reset();
  writes.clear();
  data.clear();
}

// The kernel takes a part of a write; the rest follows, and only then is it durable.
TEST_P(DiskFailure, AShortWriteIsCompleted) {
  auto file = scratch_.directory().create("short", Access::write).value();
  Blocks data(4, 's');
  TestWrite write(*file, 0, data.view());
  if (GetParam() == DiskMethod::thread) {
    calls().write_bytes_max = 3'000;
    disk_->write(write);
    disk_->submit();
  } else {
    SoftFileLimit limit(2 * kBlockBytes + 1'000);  // the kernel stops there, with what it has written
    disk_->write(write);
    disk_->submit();
    disk_->wait(kPatienceUs);
    EXPECT_EQ(file->size().value(), 2 * kBlockBytes + 1'000);
  }
  ASSERT_TRUE(run_until(*disk_, [&] { return write.times_durable > 0 || disk_->failed(); }));
  EXPECT_EQ(error_.message, "");
  EXPECT_EQ(write.times_durable, 1);
  EXPECT_EQ(disk_->stats().written_bytes, 4 * kBlockBytes);
  EXPECT_EQ(contents(scratch_.directory(), "short"), std::string(4 * kBlockBytes, 's'));
  EXPECT_EQ(calls().plain_writes, 0);  // each part with its sync
}

TEST_P(DiskFailure, AShortWriteThatCannotBeCompletedFails) {
  auto file = scratch_.directory().create("short", Access::write).value();
  Blocks data(4, 's');
  TestWrite write(*file, 0, data.view());
  SoftFileLimit limit(2 * kBlockBytes + 1'000);
  disk_->write(write);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return write.times_durable > 0 || disk_->failed(); }));
  limit.lift();
  EXPECT_EQ(write.times_durable, 0);
  EXPECT_EQ(error_.code, Code::no_space);
  EXPECT_THAT(error_.message, HasSubstr("EFBIG"));
}

// The kernel tells the error of one open file once: with two syncs of a buffered file in flight, one
// write fails with the error of the other, and the other counts as durable.
TEST_P(DiskFailure, BufferedWritesOfOneFileNeverShareASync) {
  auto other = scratch_.directory().create("b", Access::write).value();
  std::vector<TestWrite> writes;
  for (std::uint64_t i = 0; i < 12; ++i) writes.emplace_back(i % 2 == 0 ? *file_ : *other, i * kBlockBytes, data_.view());
  std::size_t delivered = 0;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    writes[i].then = [&, i] {
      ++delivered;
      // Of its file, those before it are done, and the one behind it has not started.
      EXPECT_EQ(i < 2 ? 1 : writes[i - 2].times_durable, 1) << i;
      EXPECT_LE(calls().synced_writes, static_cast<int>(delivered) + 1) << i;
    };
    disk_->write(writes[i]);
  }
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return delivered == writes.size() || disk_->failed(); }));
  EXPECT_EQ(calls().synced_writes, 12);
}

TEST_P(DiskFailure, EveryWriteIsSynced) {
  TestWrite one(*file_, 0, data_.view());
  disk_->write(one);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return one.times_durable == 1; }));
  EXPECT_EQ(calls().synced_writes, 1);
  EXPECT_EQ(calls().plain_writes, 0);
}

#ifdef WALRAFT_MUTANTS
class WithMutant {
 public:
  explicit WithMutant(Mutant which) { set_mutant(which); }
  ~WithMutant() { set_mutant(std::nullopt); }
};

// The planted bugs are really there: each does what its name says.
TEST_P(DiskFailure, MutantNoDsyncSyncsNothing) {
  const WithMutant mutant(Mutant::m31_no_dsync);
  TestWrite one(*file_, 0, data_.view());
  disk_->write(one);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return one.times_durable == 1; }));
  EXPECT_EQ(calls().synced_writes, 0);
  EXPECT_EQ(calls().syncs, 0);
  EXPECT_EQ(contents(scratch_.directory(), "a")[0], 'z');
}

TEST_P(DiskFailure, MutantSyncErrorRetriedBelievesTheSecondSync) {
  const WithMutant mutant(Mutant::m26_sync_error_retried);
  TestWrite first(*file_, 0, data_.view());
  TestWrite second(*file_, kBlockBytes, data_.view());
  calls().write_error = EIO;  // the thread's
  calls().write_failures = 2;
  calls().ring_result = -EIO;
  calls().ring_results = 2;
  disk_->write(first);
  disk_->write(second);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return second.times_durable == 1 || disk_->failed(); }));
  EXPECT_FALSE(disk_->failed());
}
#endif

// --- The thread disk's own calls --------------------------------------------------------------------

class ThreadDiskFailure : public DiskFailure {};
INSTANTIATE_TEST_SUITE_P(RealDisks, ThreadDiskFailure, testing::Values(DiskMethod::thread),
                         [](const auto&) { return "Thread"; });

TEST_P(ThreadDiskFailure, AFailedSyncIsNotTriedAgain) {
  calls().flags_unknown = true;
  calls().sync_error = EIO;
  calls().sync_failures = 1;  // a second one would succeed, and lie
  expect_failure(*file_, 0, Code::failed, "EIO");
  EXPECT_EQ(calls().syncs, 1);
}

TEST_P(ThreadDiskFailure, AFailedSyncedWriteIsNotTriedAgain) {
  calls().write_error = EIO;
  calls().write_failures = 1;
  expect_failure(*file_, 0, Code::failed, "EIO");
  EXPECT_EQ(calls().synced_writes, 1);
  EXPECT_EQ(calls().plain_writes, 0);
}

TEST_P(ThreadDiskFailure, InterruptedCallsGoOn) {
  calls().flags_unknown = true;
  calls().write_error = EINTR;
  calls().write_failures = 3;
  calls().sync_error = EINTR;
  calls().sync_failures = 3;
  TestWrite write(*file_, 0, data_.view());
  disk_->write(write);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return write.times_durable == 1 || disk_->failed(); }));
  EXPECT_EQ(calls().write_failures, 0);
  EXPECT_EQ(calls().sync_failures, 0);
  EXPECT_EQ(write.times_durable, 1);
}

TEST_P(ThreadDiskFailure, WithoutTheFlagItSyncsByItself) {
  calls().flags_unknown = true;
  TestWrite write(*file_, 0, data_.view());
  disk_->write(write);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return write.times_durable == 1; }));
  EXPECT_EQ(calls().plain_writes, 1);
  EXPECT_EQ(calls().syncs, 1);
  EXPECT_EQ(contents(scratch_.directory(), "a")[0], 'z');
}

// --- The ring's own results -------------------------------------------------------------------------

class UringDiskFailure : public DiskFailure {
 protected:
  void write_once(int ring_result) {
    calls().ring_result = ring_result;
    calls().ring_results = 1;
    disk_->write(write_);
    disk_->submit();
    ASSERT_TRUE(run_until(*disk_, [&] { return write_.times_durable == 1 || disk_->failed(); }));
  }
  TestWrite write_;
  void SetUp() override {
    DiskFailure::SetUp();
    write_ = TestWrite(*file_, 0, data_.view());
    calls().submits = 0;
  }
};
INSTANTIATE_TEST_SUITE_P(RealDisks, UringDiskFailure, testing::Values(DiskMethod::uring),
                         [](const auto&) { return "Uring"; });

TEST_P(UringDiskFailure, AFailedWriteIsNotTriedAgain) {
  write_once(-EIO);
  EXPECT_TRUE(disk_->failed());
  EXPECT_EQ(failures_, 1);
  EXPECT_THAT(error_.message, HasSubstr("EIO"));
  expect_dead();
  EXPECT_EQ(calls().submits, 1);
  EXPECT_EQ(calls().syncs, 0);
  EXPECT_EQ(write_.times_durable, 0);
}

TEST_P(UringDiskFailure, AWriteOfNothingFails) {
  write_once(0);
  EXPECT_TRUE(disk_->failed());
  EXPECT_EQ(write_.times_durable, 0);
}

TEST_P(UringDiskFailure, InterruptedRequestsAreGivenAgain) {
  for (const int result : {-EINTR, -EAGAIN}) {
    write_.times_durable = 0;
    const int submits = calls().submits;
    write_once(result);
    EXPECT_EQ(write_.times_durable, 1);
    EXPECT_EQ(calls().submits, submits + 2);
  }
}

TEST_P(UringDiskFailure, AShortResultIsContinuedWhereItEnded) {
  write_once(512);
  EXPECT_EQ(write_.times_durable, 1);
  EXPECT_EQ(calls().synced_writes, 2);
  EXPECT_EQ(calls().plain_writes, 0);
}

TEST_P(UringDiskFailure, AKernelThatIsShortOfMemoryIsAskedAgain) {
  calls().submit_error = EAGAIN;
  calls().submit_failures = 3;
  disk_->write(write_);
  disk_->submit();
  ASSERT_TRUE(run_until(*disk_, [&] { return write_.times_durable == 1 || disk_->failed(); }));
  EXPECT_EQ(calls().submits, 4);
  EXPECT_FALSE(disk_->failed());
}

TEST_P(UringDiskFailure, ARingThatRefusesFails) {
  calls().submit_error = EBADFD;
  calls().submit_failures = 1;
  disk_->write(write_);
  disk_->submit();
  EXPECT_TRUE(disk_->failed());
  EXPECT_EQ(failures_, 1);
  EXPECT_THAT(error_.message, HasSubstr("io_uring"));
  expect_dead();  // and the destructor does not wait for what the kernel never took
}

TEST_P(UringDiskFailure, OneSubmitHandsOverAll) {
  std::vector<std::unique_ptr<File>> files;
  std::vector<TestWrite> writes;
  for (std::uint64_t i = 0; i < 40; ++i) {
    files.push_back(scratch_.directory().create("f" + std::to_string(i), Access::write).value());
    writes.emplace_back(*files.back(), 0, data_.view());
  }
  int delivered = 0;
  for (TestWrite& write : writes) write.then = [&] { ++delivered; };
  for (TestWrite& write : writes) disk_->write(write);
  EXPECT_EQ(calls().submits, 0);
  disk_->submit();
  disk_->submit();  // nothing is left: no call
  EXPECT_EQ(calls().submits, 1);
  ASSERT_TRUE(run_until(*disk_, [&] { return delivered == 40; }));
  EXPECT_EQ(calls().submits, 1);
  EXPECT_EQ(calls().synced_writes, 40);
}

}  // namespace
}  // namespace walraft::wal
