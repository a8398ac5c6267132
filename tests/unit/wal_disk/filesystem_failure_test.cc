// The real filesystem when system calls fail: a failed sync is final, the rest is completed or said.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/wal_disk/failing_calls.h"
#include "tests/unit/wal_disk/scratch.h"

namespace walraft::wal {
namespace {

using testing::HasSubstr;

class FilesystemFailure : public testing::Test {
 protected:
  FreshCalls fresh_;
  Scratch scratch_;
  Directory& directory_ = scratch_.directory();
};

TEST_F(FilesystemFailure, AFailedFileSyncIsFinal) {
  auto file = directory_.create("a", Access::write).value();
  ASSERT_TRUE(file->write(0, bytes_of("lost?")));
  calls().sync_error = EIO;
  calls().sync_failures = 1;  // the next one would succeed, and lie
  const auto first = file->sync();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Code::failed);
  EXPECT_THAT(first.error().message, HasSubstr("cannot sync"));
  const auto second = file->sync();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, first.error().message);
  EXPECT_EQ(calls().syncs, 1);
}

TEST_F(FilesystemFailure, AFailedDirectorySyncIsFinal) {
  calls().sync_error = EIO;
  calls().sync_failures = 1;
  EXPECT_FALSE(directory_.sync());
  EXPECT_FALSE(directory_.sync());
  EXPECT_EQ(calls().syncs, 1);
}

TEST_F(FilesystemFailure, InterruptedCallsGoOn) {
  auto file = directory_.create("a", Access::write).value();
  calls().write_error = EINTR;
  calls().write_failures = 2;
  calls().write_bytes_max = 3;
  ASSERT_TRUE(file->write(1, bytes_of("in pieces")));
  calls().sync_error = EINTR;
  calls().sync_failures = 2;
  EXPECT_TRUE(file->sync());
  calls().sync_failures = 2;
  EXPECT_TRUE(directory_.sync());
  EXPECT_EQ(contents(directory_, "a"), std::string(1, '\0') + "in pieces");
}

TEST_F(FilesystemFailure, AMissingParentSyncIsSeen) {
  calls().sync_error = EIO;
  calls().sync_failures = 1;
  const auto made = open_directory(scratch_.path() + "/new", true);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("parent"));
}

TEST_F(FilesystemFailure, WithoutFallocateZerosAreWritten) {
  calls().fallocate_error = EOPNOTSUPP;
  for (const Access access : {Access::write, Access::direct}) {
    if (access == Access::direct && !directory_.has_direct()) continue;
    auto file = directory_.create("a", access).value();
    ASSERT_TRUE(file->allocate(700'000));
    EXPECT_EQ(contents(directory_, "a"), std::string(700'000, '\0'));
    Blocks data(1, 'k');
    ASSERT_TRUE(file->write(kBlockBytes, data.view()));
    ASSERT_TRUE(file->truncate(kBlockBytes + 100));
    ASSERT_TRUE(file->allocate(4 * kBlockBytes));
    std::string expected = std::string(kBlockBytes, '\0') + std::string(100, 'k');
    expected.resize(4 * kBlockBytes, '\0');
    EXPECT_TRUE(contents(directory_, "a") == expected);
    ASSERT_TRUE(file->allocate(100));
    EXPECT_EQ(file->size().value(), 4 * kBlockBytes);
    ASSERT_TRUE(directory_.remove("a"));
  }
}

TEST_F(FilesystemFailure, AllocateOnAFullDiskIsNoSpace) {
  auto file = directory_.create("a", Access::write).value();
  calls().fallocate_error = ENOSPC;
  EXPECT_EQ(file->allocate(100).error().code, Code::no_space);
  calls().fallocate_error = EOPNOTSUPP;
  calls().write_error = ENOSPC;
  calls().write_failures = 1;
  EXPECT_EQ(file->allocate(100'000).error().code, Code::no_space);
  EXPECT_TRUE(file->allocate(100'000));
}

}  // namespace
}  // namespace walraft::wal
