// The real filesystem, verb by verb.

#include "wal/posix_filesystem.h"

#include <filesystem>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/unit/wal_disk/scratch.h"
#include "wal/posix_error.h"

namespace walraft::wal {
namespace {

using testing::HasSubstr;

std::string names(Directory& directory) {
  std::string text;
  const auto entries = directory.list().value();
  for (const DirectoryEntry& entry : entries) text += entry.name + (entry.is_directory ? "/ " : " ");
  return text;
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

class PosixFilesystem : public testing::Test {
 protected:
  Scratch scratch_;
  Directory& directory_ = scratch_.directory();
};

TEST_F(PosixFilesystem, WritesAndReadsBack) {
  auto file = directory_.create("a", Access::write).value();
  ASSERT_TRUE(file->write(5, bytes_of("hello")));
  ASSERT_TRUE(file->write(0, bytes_of("12345")));
  ASSERT_TRUE(file->sync());
  std::string text(64, '?');
  EXPECT_EQ(file->read(0, std::as_writable_bytes(std::span(text))).value(), 10u);
  EXPECT_EQ(text.substr(0, 11), "12345hello?");
  EXPECT_EQ(file->read(8, std::as_writable_bytes(std::span(text))).value(), 2u);
  EXPECT_EQ(file->read(10, std::as_writable_bytes(std::span(text))).value(), 0u);
  EXPECT_EQ(file->read(1000, std::as_writable_bytes(std::span(text))).value(), 0u);
  EXPECT_EQ(file->read(0, {}).value(), 0u);
  EXPECT_EQ(file->size().value(), 10u);
  EXPECT_GE(file->descriptor(), 0);
  EXPECT_EQ(contents(directory_, "a"), "12345hello");
}

TEST_F(PosixFilesystem, AFileOpenedForReadingRefusesWrites) {
  ASSERT_TRUE(directory_.create("a", Access::write).value()->write(0, bytes_of("kept")));
  auto file = directory_.open("a", Access::read).value();
  EXPECT_FALSE(file->write(0, bytes_of("lost")));
  EXPECT_EQ(contents(directory_, "a"), "kept");
}

TEST_F(PosixFilesystem, DirectFilesReadAndWriteWholeBlocks) {
  if (!directory_.has_direct()) GTEST_SKIP() << "NOT RUN: " << scratch_.path() << " has no O_DIRECT";
  auto file = directory_.create("a", Access::direct).value();
  EXPECT_NE(fcntl(file->descriptor(), F_GETFL) & O_DIRECT, 0);
  Blocks written(3, 'w');
  ASSERT_TRUE(file->write(kBlockBytes, written.view()));
  Blocks read(8, '?');
  EXPECT_EQ(file->read(0, read.bytes()).value(), 4 * kBlockBytes);
  EXPECT_EQ(read.data()[0], std::byte{0});
  EXPECT_EQ(std::memcmp(read.data() + kBlockBytes, written.data(), 3 * kBlockBytes), 0);
  // A size that is no multiple of a block is read to its end.
  ASSERT_TRUE(file->truncate(2 * kBlockBytes + 100));
  EXPECT_EQ(file->read(0, read.bytes()).value(), 2 * kBlockBytes + 100);
  EXPECT_EQ(file->read(2 * kBlockBytes, read.bytes()).value(), 100u);
  EXPECT_EQ(file->read(4 * kBlockBytes, read.bytes()).value(), 0u);
  EXPECT_DEATH((void)file->read(1, read.bytes()), "position");
  EXPECT_DEATH((void)file->write(0, written.view().first(100)), "size");
}

TEST_F(PosixFilesystem, AllocateReservesZerosAndKeepsWhatIsThere) {
  auto file = directory_.create("a", Access::write).value();
  ASSERT_TRUE(file->write(0, bytes_of("kept")));
  ASSERT_TRUE(file->allocate(0));
  EXPECT_EQ(file->size().value(), 4u);
  ASSERT_TRUE(file->allocate(1'000'000));
  EXPECT_EQ(contents(directory_, "a"), "kept" + std::string(999'996, '\0'));
  struct stat status {};
  ASSERT_EQ(fstat(file->descriptor(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 1'000'000);
  ASSERT_TRUE(file->allocate(10));  // never shrinks
  EXPECT_EQ(file->size().value(), 1'000'000u);
}

TEST_F(PosixFilesystem, TruncateCutsAndFills) {
  auto file = directory_.create("a", Access::write).value();
  ASSERT_TRUE(file->write(0, bytes_of("123456")));
  ASSERT_TRUE(file->truncate(3));
  ASSERT_TRUE(file->truncate(5));
  EXPECT_EQ(contents(directory_, "a"), std::string("123\0\0", 5));
}

TEST_F(PosixFilesystem, DropCacheKeepsTheContents) {
  auto file = directory_.create("a", Access::write).value();
  ASSERT_TRUE(file->write(0, bytes_of("synced")));
  ASSERT_TRUE(file->sync());
  file->drop_cache();
  EXPECT_EQ(contents(directory_, "a"), "synced");
}

TEST_F(PosixFilesystem, ListIsSortedAndTellsDirectories) {
  EXPECT_EQ(names(directory_), "");
  for (const char* name : {"c", "a", "b10", "b9"}) ASSERT_TRUE(directory_.create(name, Access::write));
  ASSERT_TRUE(directory_.subdirectory("bb", true));
  EXPECT_EQ(names(directory_), "a b10 b9 bb/ c ");
  EXPECT_EQ(names(directory_), "a b10 b9 bb/ c ");  // again from the start
}

TEST_F(PosixFilesystem, CreateIsForNewNamesOnly) {
  ASSERT_TRUE(directory_.create("a", Access::write).value()->write(0, bytes_of("first")));
  for (const Access access : {Access::read, Access::write, Access::direct}) {
    const auto again = directory_.create("a", access);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::exists);
    EXPECT_THAT(again.error().message, HasSubstr(scratch_.path() + "/a"));
  }
  EXPECT_EQ(contents(directory_, "a"), "first");
}

TEST_F(PosixFilesystem, MissingThingsAreNotFound) {
  EXPECT_EQ(directory_.open("a", Access::read).error().code, Code::not_found);
  EXPECT_EQ(directory_.open("a", Access::direct).error().code, Code::not_found);
  EXPECT_EQ(directory_.subdirectory("a", false).error().code, Code::not_found);
  EXPECT_EQ(directory_.remove("a").error().code, Code::not_found);
  EXPECT_EQ(directory_.rename("a", "b").error().code, Code::not_found);
  EXPECT_EQ(open_directory(scratch_.path() + "/a", false).error().code, Code::not_found);
  EXPECT_EQ(open_directory(scratch_.path() + "/a/b", true).error().code, Code::not_found);
}

TEST_F(PosixFilesystem, NamesAreOneComponent) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("/a"), std::string("a\0b", 3), std::string(256, 'a')}) {
    EXPECT_EQ(directory_.create(name, Access::write).error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.open(name, Access::read).error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.subdirectory(name, true).error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.remove(name).error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.rename(name, "x").error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.rename("x", name).error().code, Code::invalid) << name;
    EXPECT_EQ(directory_.lock(name).error().code, Code::invalid) << name;
  }
  EXPECT_EQ(names(directory_), "");
  EXPECT_TRUE(directory_.create(std::string(255, 'a'), Access::write));
  EXPECT_TRUE(directory_.create("..a", Access::write));
}

TEST_F(PosixFilesystem, ModesDoNotDependOnTheUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{0777}}) {
    const mode_t before = umask(mask);
    const std::string suffix = std::to_string(mask);
    EXPECT_TRUE(directory_.create("file" + suffix, Access::write));
    EXPECT_TRUE(directory_.subdirectory("directory" + suffix, true));
    EXPECT_TRUE(directory_.lock("lock" + suffix));
    EXPECT_TRUE(open_directory(scratch_.path() + "/top" + suffix, true));
    umask(before);
    EXPECT_EQ(mode_of(scratch_.path() + "/file" + suffix), 0600u);
    EXPECT_EQ(mode_of(scratch_.path() + "/directory" + suffix), 0700u);
    EXPECT_EQ(mode_of(scratch_.path() + "/lock" + suffix), 0600u);
    EXPECT_EQ(mode_of(scratch_.path() + "/top" + suffix), 0700u);
  }
}

TEST_F(PosixFilesystem, DescriptorsAreClosedOnExec) {
  auto file = directory_.create("a", Access::write).value();
  EXPECT_NE(fcntl(file->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(directory_.open("a", Access::read).value()->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(PosixFilesystem, SymbolicLinksAreNotFollowed) {
  ASSERT_TRUE(directory_.create("real", Access::write).value()->write(0, bytes_of("kept")));
  ASSERT_TRUE(directory_.subdirectory("folder", true));
  ASSERT_EQ(symlink("real", (scratch_.path() + "/link").c_str()), 0);
  ASSERT_EQ(symlink("folder", (scratch_.path() + "/folder_link").c_str()), 0);
  for (const Access access : {Access::read, Access::write, Access::direct}) {
    EXPECT_EQ(directory_.open("link", access).error().code, Code::invalid);
  }
  EXPECT_EQ(directory_.create("link", Access::write).error().code, Code::exists);
  EXPECT_FALSE(directory_.subdirectory("folder_link", true));
  EXPECT_FALSE(directory_.lock("link"));
  ASSERT_TRUE(directory_.remove("link"));  // the link, not what it points to
  EXPECT_EQ(contents(directory_, "real"), "kept");
  EXPECT_TRUE(open_directory(scratch_.path() + "/folder_link", false));  // the operator's own path may
}

TEST_F(PosixFilesystem, ADirectoryIsNotAFile) {
  ASSERT_TRUE(directory_.subdirectory("folder", true));
  ASSERT_TRUE(directory_.create("file", Access::write));
  EXPECT_EQ(directory_.open("folder", Access::read).error().code, Code::invalid);
  EXPECT_EQ(directory_.open("folder", Access::write).error().code, Code::invalid);
  EXPECT_EQ(directory_.subdirectory("file", true).error().code, Code::invalid);
  EXPECT_EQ(open_directory(scratch_.path() + "/file", false).error().code, Code::invalid);
}

TEST_F(PosixFilesystem, APipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(mkfifo((scratch_.path() + "/pipe").c_str(), 0600), 0);
  for (const Access access : {Access::read, Access::direct}) {
    EXPECT_EQ(directory_.open("pipe", access).error().code, Code::invalid);
  }
}

TEST_F(PosixFilesystem, SubdirectoriesLiveOnTheirOwn) {
  auto parent = open_directory(scratch_.path() + "/parent", true).value();
  auto child = parent->subdirectory("child", true).value();
  ASSERT_TRUE(parent->sync());
  EXPECT_EQ(child->path(), scratch_.path() + "/parent/child");
  parent.reset();
  ASSERT_TRUE(child->create("a", Access::write));
  ASSERT_TRUE(child->sync());
  EXPECT_EQ(names(*child), "a ");
  EXPECT_TRUE(open_directory(scratch_.path() + "/parent", true));  // there already
}

TEST_F(PosixFilesystem, RenameReplaces) {
  ASSERT_TRUE(directory_.create("new", Access::write).value()->write(0, bytes_of("new")));
  auto old = directory_.create("a", Access::write).value();
  ASSERT_TRUE(old->write(0, bytes_of("old")));
  ASSERT_TRUE(directory_.rename("new", "a"));
  EXPECT_EQ(names(directory_), "a ");
  EXPECT_EQ(contents(directory_, "a"), "new");
  std::string text(3, '?');  // the open file stays usable
  EXPECT_EQ(old->read(0, std::as_writable_bytes(std::span(text))).value(), 3u);
  EXPECT_EQ(text, "old");
}

TEST_F(PosixFilesystem, RemovesFilesAndEmptyDirectories) {
  auto file = directory_.create("a", Access::write).value();
  auto folder = directory_.subdirectory("folder", true).value();
  ASSERT_TRUE(folder->create("b", Access::write));
  ASSERT_TRUE(directory_.remove("a"));
  ASSERT_TRUE(file->write(0, bytes_of("still usable")));
  EXPECT_EQ(directory_.remove("folder").error().code, Code::failed);
  ASSERT_TRUE(folder->remove("b"));
  ASSERT_TRUE(directory_.remove("folder"));
  EXPECT_EQ(names(directory_), "");
}

TEST_F(PosixFilesystem, LockNamesItsHolder) {
  auto lock = directory_.lock("LOCK");
  ASSERT_TRUE(lock);
  EXPECT_EQ(contents(directory_, "LOCK"), std::to_string(getpid()) + "\n");
  const auto second = directory_.lock("LOCK");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::unavailable);
  EXPECT_THAT(second.error().message, HasSubstr("process " + std::to_string(getpid())));
  EXPECT_THAT(second.error().message, HasSubstr(scratch_.path()));
  EXPECT_TRUE(directory_.lock("OTHER"));
  lock->reset();
  EXPECT_TRUE(directory_.lock("LOCK"));
}

TEST_F(PosixFilesystem, WhoOnlyLooksLocksWithoutWriting) {
  EXPECT_EQ(directory_.lock_for_reading("LOCK").error().code, Code::not_found);
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() + "/LOCK"));
  directory_.lock("LOCK").value().reset();
  const std::string before = contents(directory_, "LOCK");
  std::filesystem::permissions(scratch_.path() + "/LOCK", std::filesystem::perms::owner_read);
  {
    const auto one = directory_.lock_for_reading("LOCK");
    const auto two = directory_.lock_for_reading("LOCK");
    EXPECT_TRUE(one && two);
    EXPECT_EQ(contents(directory_, "LOCK"), before);
    std::filesystem::permissions(scratch_.path() + "/LOCK", std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
    EXPECT_EQ(directory_.lock("LOCK").error().code, Code::unavailable);
  }
  const auto server = directory_.lock("LOCK");
  ASSERT_TRUE(server);
  const auto reader = directory_.lock_for_reading("LOCK");
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code, Code::unavailable);
  EXPECT_THAT(reader.error().message, HasSubstr("process " + std::to_string(getpid())));
}

TEST_F(PosixFilesystem, LockOfAKilledProcessIsFree) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto lock = directory_.lock("LOCK");
    const char told = lock ? 'y' : 'n';
    (void)!::write(ready[1], &told, 1);
    while (true) pause();
  }
  char told = '?';
  ASSERT_EQ(::read(ready[0], &told, 1), 1);
  EXPECT_EQ(told, 'y');
  const auto held = directory_.lock("LOCK");
  ASSERT_FALSE(held);
  EXPECT_THAT(held.error().message, HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(directory_.lock("LOCK"));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(PosixFilesystem, ALockFileWithoutAPidStillLocks) {
  std::ofstream(scratch_.path() + "/LOCK") << "no number";
  auto lock = directory_.lock("LOCK").value();
  ASSERT_EQ(truncate((scratch_.path() + "/LOCK").c_str(), 0), 0);
  EXPECT_THAT(directory_.lock("LOCK").error().message, HasSubstr("another process"));
}

TEST_F(PosixFilesystem, SpaceIsThatOfTheFilesystem) {
  const Space space = directory_.space().value();
  EXPECT_GT(space.total_bytes, 0u);
  EXPECT_LE(space.free_bytes, space.total_bytes);
  EXPECT_LE(space.free_bytes, std::filesystem::space(scratch_.path()).free);
}

TEST_F(PosixFilesystem, HasDirectLeavesNothingBehind) {
  const bool has_direct = directory_.has_direct();
  EXPECT_EQ(directory_.has_direct(), has_direct);
  EXPECT_EQ(names(directory_), "");
  EXPECT_EQ(directory_.create("a", Access::direct).has_value(), has_direct);
  EXPECT_EQ(names(directory_), has_direct ? "a " : "");  // what cannot be direct is not left behind
}

// procfs has neither direct I/O nor new files.
TEST(PosixFilesystemElsewhere, ProcHasNoDirect) {
  auto proc = open_directory("/proc/self", false).value();
  EXPECT_FALSE(proc->has_direct());
  const auto file = proc->open("cmdline", Access::direct);
  ASSERT_FALSE(file);
}

TEST_F(PosixFilesystem, FullDeviceIsNoSpaceAndStaysUsable) {
  // The file size limit stands in for a full disk: EFBIG comes from the same place as ENOSPC.
  auto file = directory_.create("a", Access::write).value();
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {.rlim_cur = 10'000, .rlim_max = before.rlim_max};
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto written = file->write(0, bytes_of(std::string(20'000, 'x')));
  const auto allocated = file->allocate(1'000'000);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::no_space);
  EXPECT_THAT(written.error().message, HasSubstr("position 10000 of " + std::filesystem::canonical(scratch_.path()).string()));
  ASSERT_FALSE(allocated);
  EXPECT_EQ(allocated.error().code, Code::no_space);
  EXPECT_TRUE(file->write(0, bytes_of(std::string(20'000, 'y'))));
  EXPECT_EQ(contents(directory_, "a"), std::string(20'000, 'y'));
}

TEST_F(PosixFilesystem, OutOfDescriptorsIsOverLimit) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "NOT RUN: the sanitizer opens descriptors itself to check a virtual call";
#endif
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto file = directory_.create("a", Access::write);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::over_limit);
  EXPECT_THAT(file.error().message, HasSubstr("LimitNOFILE"));
}

TEST(PosixError, MapsToTheOutcomeTable) {
  const std::pair<int, Code> expected[] = {
      {ENOSPC, Code::no_space},   {EDQUOT, Code::no_space},   {EFBIG, Code::no_space},   {EACCES, Code::denied},
      {EPERM, Code::denied},      {EROFS, Code::denied},      {ENOENT, Code::not_found}, {EEXIST, Code::exists},
      {EMFILE, Code::over_limit}, {ENFILE, Code::over_limit}, {EIO, Code::failed},       {EINVAL, Code::failed},
      {ELOOP, Code::invalid},     {ENOTDIR, Code::invalid},   {12345, Code::failed}};
  for (const auto& [error_number, code] : expected) {
    EXPECT_EQ(posix_error(error_number, "open", "/x").code, code) << error_number;
  }
  EXPECT_EQ(posix_error(ENOENT, "open", "/x/y").message, "cannot open /x/y: No such file or directory (ENOENT)");
  EXPECT_EQ(posix_error(12345, "open", "/x").message, "cannot open /x: unknown error (12345)");
  EXPECT_THAT(posix_error(EIO, "sync", "/x").message, HasSubstr("dmesg"));
}

}  // namespace
}  // namespace walraft::wal
