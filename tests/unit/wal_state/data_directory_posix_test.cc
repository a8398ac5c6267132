// The data directory on a real filesystem: two real processes, permissions, full inode tables. Each
// child process reports what it saw by its exit code and by a file.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <utility>

#include "wal/base/check.h"
#include "wal/data_directory.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::wal {
namespace {

DataDirectoryOptions orders_7() {
  DataDirectoryOptions options;
  options.cluster_name = "orders";
  options.node = NodeId{7};
  options.reserve_bytes = 1u << 20;
  return options;
}

struct Opened {
  std::unique_ptr<Disk> disk;
  Result<std::unique_ptr<DataDirectory>> data = error(Code::failed, "not opened");
};

Opened open_at(const std::string& path, const DataDirectoryOptions& options = orders_7()) {
  Opened opened;
  auto root = open_directory(path, true);
  if (!root) {
    opened.data = std::unexpected(root.error());
    return opened;
  }
  opened.disk = make_disk(DiskMethod::thread, system_clock());
  opened.data = DataDirectory::open(std::move(*root), *opened.disk, system_clock(), system_rng(), options);
  return opened;
}

class DataDirectoryPosixTest : public ::testing::Test {
 protected:
  DataDirectoryPosixTest() {
    std::string name = (std::filesystem::temp_directory_path() / "walraft-state-XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    top_ = name;
    path_ = top_ + "/data";
  }
  ~DataDirectoryPosixTest() override { std::filesystem::remove_all(top_); }

  void expect_refused(const Opened& opened, Code code, std::initializer_list<std::string> parts) {
    ASSERT_FALSE(opened.data);
    const Error& e = opened.data.error();
    EXPECT_EQ(outcome_of(e.code).name, outcome_of(code).name) << e.message;
    for (const auto& part : parts)
      EXPECT_NE(e.message.find(part), std::string::npos) << part << " is not in: " << e.message;
  }

  // Runs `body` in a process of its own; what it returns comes back (an error's code and message). The
  // caller has no thread at that moment: `body` starts threads, and only the one that forks lives on in a
  // child, so that a lock which another thread held then (the allocator's, TSan's) is held there for ever.
  std::string in_child(const std::function<std::string()>& body) {
    return Child([&](const auto& say) { say(body()); }).rest();
  }

  // A process of its own that runs `body`; what `body` says arrives through a pipe.
  class Child {
   public:
    using Say = std::function<void(const std::string&)>;
    explicit Child(const std::function<void(const Say&)>& body) {
      CHECK(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}) == own_threads());
      int ends[2];
      CHECK(pipe2(ends, O_CLOEXEC) == 0);
      pid_ = fork();
      if (pid_ == 0) {
        body([&](const std::string& said) { (void)!write(ends[1], said.data(), said.size()); });
        _exit(0);
      }
      close(ends[1]);
      said_ = ends[0];
    }
    ~Child() {
      if (pid_ != 0) end(SIGKILL);
      close(said_);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }

    // What it says next, in one piece.
    std::string next() const {
      char buffer[4096];
      const ssize_t n = ::read(said_, buffer, sizeof(buffer));
      return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
    }

    // What it says until it ends by itself.
    std::string rest() {
      std::string said;
      for (std::string part; !(part = next()).empty();) said += part;
      const int status = end(0);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child died: " << status;
      return said;
    }

    int end(int signal) {
      if (signal != 0) kill(pid_, signal);
      int status = 0;
      waitpid(std::exchange(pid_, 0), &status, 0);
      return status;
    }

   private:
    // ThreadSanitizer keeps a thread of its own beside ours.
    static std::ptrdiff_t own_threads() {
#if defined(__SANITIZE_THREAD__)
      return 2;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
      return 2;
#endif
#endif
      return 1;
    }

    pid_t pid_ = 0;
    int said_ = -1;
  };

  std::string top_;
  std::string path_;
};

TEST_F(DataDirectoryPosixTest, IsMadeAndFoundAgain) {
  Identity identity;
  {
    auto opened = open_at(path_);
    ASSERT_TRUE(opened.data) << opened.data.error().message;
    EXPECT_TRUE((*opened.data)->is_new());
    identity = (*opened.data)->identity();
    bool done = false;
    ASSERT_TRUE((*opened.data)->hard_state().write(identity.disk, {.term = Term(5)}, [&] { done = true; }));
    (*opened.data)->hard_state().flush();
    opened.disk->submit();
    while (!done) {
      opened.disk->wait(1'000'000);
      opened.disk->poll();
    }
  }
  auto opened = open_at(path_);
  ASSERT_TRUE(opened.data) << opened.data.error().message;
  EXPECT_FALSE((*opened.data)->is_new());
  EXPECT_EQ((*opened.data)->identity(), identity);
  EXPECT_EQ((*opened.data)->hard_state().find(identity.disk)->term, Term(5));
  std::ifstream file(path_ + "/identity");
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "walraft data directory, format 1");
}

TEST_F(DataDirectoryPosixTest, NobodyElseMayRead) {
  const mode_t old = umask(0);
  {
    ASSERT_TRUE(open_at(path_).data);
  }
  umask(old);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
    const auto mode = static_cast<unsigned>(entry.status().permissions());
    EXPECT_EQ(mode, entry.is_directory() ? 0700u : 0600u) << entry.path();
  }
  EXPECT_EQ(static_cast<unsigned>(std::filesystem::status(path_).permissions()), 0700u);
}

TEST_F(DataDirectoryPosixTest, SecondProcessIsRefusedAndNamesTheFirst) {  // fault:P12
  Child first([&](const Child::Say& say) {
    auto opened = open_at(path_);
    say(opened.data ? "opened" : opened.data.error().message);
    pause();
  });
  ASSERT_EQ(first.next(), "opened");
  expect_refused(open_at(path_), Code::unavailable, {"process " + std::to_string(first.pid())});
  auto offline = OfflineDataDirectory::open(std::move(*open_directory(path_, false)));
  ASSERT_FALSE(offline);
  EXPECT_EQ(offline.error().code, Code::unavailable);
  first.end(SIGKILL);
  EXPECT_TRUE(open_at(path_).data) << "the kernel lets the lock of a killed process go";
}

TEST_F(DataDirectoryPosixTest, WorldWritablePlacesAreRefused) {
  {
    ASSERT_TRUE(open_at(path_).data);
  }
  ASSERT_EQ(chmod(path_.c_str(), 0707), 0);
  expect_refused(open_at(path_), Code::denied, {"everyone may write to " + path_, "chmod o-w"});
  ASSERT_EQ(chmod(path_.c_str(), 0700), 0);
  ASSERT_EQ(chmod(top_.c_str(), 0777), 0);
  expect_refused(open_at(path_), Code::denied, {"everyone may write to " + top_, path_});
  ASSERT_EQ(chmod(top_.c_str(), 01777), 0);
  EXPECT_TRUE(open_at(path_).data) << "sticky, as /tmp is";
  ASSERT_EQ(chmod(top_.c_str(), 0700), 0);
}

TEST_F(DataDirectoryPosixTest, MissingParentAndNotADirectory) {
  expect_refused(open_at(top_ + "/no/such/data"), Code::not_found, {top_ + "/no/such/data"});
  std::ofstream(top_ + "/file") << "x";
  expect_refused(open_at(top_ + "/file"), Code::invalid, {top_ + "/file", "Not a directory"});
}

TEST_F(DataDirectoryPosixTest, OtherUsersDirectoryIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "NOT RUN: needs root, to become another user";
  {
    ASSERT_TRUE(open_at(path_).data);
  }
  ASSERT_EQ(chmod(top_.c_str(), 0755), 0);
  const std::string said = in_child([&] {
    CHECK(setgid(65'534) == 0 && setuid(65'534) == 0);
    auto opened = open_at(path_);
    return opened.data ? std::string("opened")
                       : std::string(outcome_of(opened.data.error().code).name) + ": " + opened.data.error().message;
  });
  EXPECT_TRUE(said.starts_with("denied: ")) << said;
  EXPECT_NE(said.find(path_), std::string::npos) << said;
}

// What needs a filesystem of its own runs in a mount namespace, which ends with the child.
class MountedTest : public DataDirectoryPosixTest {
 protected:
  // Mounts a tmpfs at path_ with these options, then runs `body`; "" if mounting is not possible.
  std::string mounted(const std::string& options, const std::function<std::string()>& body) {
    std::filesystem::create_directory(path_);
    return in_child([&] {
      if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("tmpfs", path_.c_str(), "tmpfs", 0, options.c_str()) != 0) {
        return std::string();
      }
      return body();
    });
  }
  std::string refusal() {
    auto opened = open_at(path_);
    return opened.data ? std::string("opened")
                       : std::string(outcome_of(opened.data.error().code).name) + ": " + opened.data.error().message;
  }
};

#define SKIP_IF_NOT_MOUNTED(said) \
  if ((said).empty()) GTEST_SKIP() << "NOT RUN: no right to mount a tmpfs here"

TEST_F(MountedTest, FullInodeTable) {  // fault:O9
  for (const int inodes : {1, 2, 3, 4}) {  // the top directory is one
    const std::string said =
        mounted("mode=0700,size=64m,nr_inodes=" + std::to_string(inodes), [&] { return refusal(); });
    SKIP_IF_NOT_MOUNTED(said);
    EXPECT_TRUE(said.starts_with("no_space: ")) << said;
    EXPECT_NE(said.find("inode table"), std::string::npos) << said;
  }
  // Room was made: what is half-made is made anew, and whole.
  const std::string said = mounted("mode=0700,size=64m,nr_inodes=4", [&] {
    std::string first = refusal().substr(0, 8);
    CHECK(mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT, "mode=0700,size=64m,nr_inodes=100") == 0);
    return first + " then " + refusal();
  });
  EXPECT_EQ(said, "no_space then opened");
}

TEST_F(MountedTest, ReadOnlyFilesystem) {
  const std::string said = mounted("mode=0700,size=64m", [&] {
    if (const std::string first = refusal(); first != "opened") return first;
    CHECK(mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "mode=0700,size=64m") == 0);
    return refusal();
  });
  SKIP_IF_NOT_MOUNTED(said);
  EXPECT_TRUE(said.starts_with("denied: ")) << said;
  EXPECT_NE(said.find("read-only"), std::string::npos) << said;
}

TEST_F(MountedTest, FullDiskAndUnsupportedFilesystem) {
  const std::string said = mounted("mode=0700,size=3m", [&] { return refusal(); });
  SKIP_IF_NOT_MOUNTED(said);
  EXPECT_TRUE(said.starts_with("no_space: making the data directory ")) << said;
  const std::string warned = mounted("mode=0700,size=64m", [&] {
    auto opened = open_at(path_);
    std::string lines;
    for (const auto& line : (*opened.data)->notices()) lines += line + "\n";
    return lines;
  });
  EXPECT_NE(warned.find("lies on tmpfs; ext4 and XFS are supported"), std::string::npos) << warned;
}

// Ballast on a full disk: what is let go can be used, though not one byte was free.
TEST_F(MountedTest, BallastFreesRealSpace) {  // fault:S8
  const std::string said = mounted("mode=0700,size=16m", [&] {
    auto opened = open_at(path_);
    if (!opened.data) return opened.data.error().message;
    DataDirectory& data = **opened.data;
    auto filler = data.root().create("filler", Access::write);
    std::vector<std::byte> block(64u << 10);
    std::uint64_t at = 0;
    while ((*filler)->write(at, block)) at += block.size();
    if ((*filler)->allocate(at + (1u << 20))) return std::string("the disk was not full");
    bool released = false;
    data.ballast().release([&](Result<void> result) { released = result.has_value(); });
    for (int i = 0; i < 100 && !released; ++i) {
      opened.disk->wait(100'000);
      opened.disk->poll();
    }
    if (!released) return std::string("not released");
    if (auto done = (*filler)->allocate(at + (1u << 20) - (128u << 10)); !done) return done.error().message;
    return std::string("freed");
  });
  SKIP_IF_NOT_MOUNTED(said);
  EXPECT_EQ(said, "freed");
}

}  // namespace
}  // namespace walraft::wal
