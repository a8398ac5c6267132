#include "wal/posix_filesystem.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "wal/posix_error.h"
#include "wal/posix_file.h"
#include "wal/posix_place.h"

namespace walraft::wal {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

int open_at(int directory, const char* name, int flags, mode_t mode = 0) {
  int descriptor = -1;
  do {
    descriptor = openat(directory, name, flags, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

int sync_descriptor(int descriptor) {
  int result = 0;
  do {
    result = fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  return result;
}

int flags_of(Access access) {
  switch (access) {
    case Access::read:
      return O_RDONLY;
    case Access::write:
      return O_RDWR;
    case Access::direct:
      return O_RDWR | O_DIRECT;
  }
  return O_RDONLY;
}

Result<void> check_name(std::string_view name) {
  const bool is_component = !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
                            name.find('/') == name.npos && name.find('\0') == name.npos;
  if (is_component) return {};
  return error(Code::invalid, "\"" + std::string(name) +
                                  "\" is not a file name: expected 1 to 255 bytes without '/', not \".\" or \"..\"");
}

class PosixLock final : public DirectoryLock {
 public:
  explicit PosixLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  Descriptor descriptor_;  // the lock is the descriptor's
};

// The number in a lock file; 0 if it has none.
long pid_in(int descriptor) {
  std::array<char, 32> text{};
  const ssize_t length = pread(descriptor, text.data(), text.size(), 0);
  long pid = 0;
  if (length > 0) std::from_chars(text.data(), text.data() + length, pid);
  return pid;
}

// Writes one block past the page cache and reads it back: some filesystems take the flag and then
// refuse the write. A full disk still proves that direct writes are understood.
bool direct_works(int descriptor) {
  alignas(kBlockBytes) static const std::array<std::byte, kBlockBytes> kBlock{};
  alignas(kBlockBytes) std::array<std::byte, kBlockBytes> copy;
  const ssize_t written = pwrite(descriptor, kBlock.data(), kBlockBytes, 0);
  if (written < 0) return errno == ENOSPC || errno == EDQUOT;
  copy.fill(std::byte{1});
  return written == kBlockBytes && pread(descriptor, copy.data(), kBlockBytes, 0) == kBlockBytes &&
         std::memcmp(copy.data(), kBlock.data(), kBlockBytes) == 0;
}

class PosixDirectory final : public Directory {
 public:
  PosixDirectory(Descriptor descriptor, std::string path)
      : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

  Result<std::vector<DirectoryEntry>> list() override;
  Result<std::unique_ptr<File>> create(std::string_view name, Access access) override;
  Result<std::unique_ptr<File>> open(std::string_view name, Access access) override;
  Result<std::unique_ptr<Directory>> subdirectory(std::string_view name, bool create) override;
  Result<void> rename(std::string_view from, std::string_view to) override;
  Result<void> remove(std::string_view name) override;
  Result<void> sync() override;
  Result<std::unique_ptr<DirectoryLock>> lock(std::string_view name) override;
  Result<std::unique_ptr<DirectoryLock>> lock_for_reading(std::string_view name) override;
  Result<Space> space() override;
  bool has_direct() override;
  Result<Place> place() override { return place_of(descriptor_.get(), path_); }
  std::string path() const override { return path_; }

 private:
  std::unexpected<Error> error_of(int error_number, std::string_view action, std::string_view name) const {
    return std::unexpected(posix_error(error_number, action, path_ + "/" + std::string(name)));
  }
  std::unexpected<Error> open_error(int error_number, std::string_view action, std::string_view name,
                                    Access access) const;
  Result<void> take_lock(int file, int kind, std::string_view name) const;

  Descriptor descriptor_;
  std::string path_;
  std::optional<Error> sync_error_;  // final: filesystem.h
  std::optional<bool> has_direct_;
};

Result<std::vector<DirectoryEntry>> PosixDirectory::list() {
  // A descriptor of its own, since reading moves its position.
  const int copy = open_at(descriptor_.get(), ".", kDirectoryFlags);
  DIR* stream = copy < 0 ? nullptr : fdopendir(copy);
  if (stream == nullptr) {
    const int error_number = errno;
    if (copy >= 0) close(copy);
    return std::unexpected(posix_error(error_number, "list", path_));
  }
  std::vector<DirectoryEntry> entries;
  int error_number = 0;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr) {
      error_number = errno;
      break;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {  // not every filesystem tells
      struct stat status {};
      if (fstatat(copy, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;  // removed since
        error_number = errno;
        break;
      }
      is_directory = S_ISDIR(status.st_mode);
    }
    entries.push_back({std::string(name), is_directory});
  }
  closedir(stream);
  if (error_number != 0) return std::unexpected(posix_error(error_number, "list", path_));
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

std::unexpected<Error> PosixDirectory::open_error(int error_number, std::string_view action, std::string_view name,
                                                  Access access) const {
  auto failure = error_of(error_number, action, name);
  if (error_number == EINVAL && access == Access::direct) {
    failure.error().message += ". This filesystem has no O_DIRECT: set storage.sync to \"buffered\" or use ext4 or XFS.";
  }
  return failure;
}

Result<std::unique_ptr<File>> PosixDirectory::create(std::string_view name, Access access) {
  if (auto valid = check_name(name); !valid) return std::unexpected(std::move(valid).error());
  const std::string text(name);
  const int flags = O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | flags_of(access);
  Descriptor file(open_at(descriptor_.get(), text.c_str(), flags, kFileMode));
  int error_number = file.is_open() ? 0 : errno;
  if (file.is_open() && fchmod(file.get(), kFileMode) != 0) error_number = errno;  // whatever the umask
  if (error_number == 0) return std::make_unique<PosixFile>(std::move(file), access == Access::direct);
  // Linux makes the file first and refuses O_DIRECT afterwards; nothing is to be left behind.
  const bool refused_direct = error_number == EINVAL && access == Access::direct;
  if (file.is_open() || refused_direct) unlinkat(descriptor_.get(), text.c_str(), 0);
  return open_error(error_number, "create", name, access);
}

Result<std::unique_ptr<File>> PosixDirectory::open(std::string_view name, Access access) {
  if (auto valid = check_name(name); !valid) return std::unexpected(std::move(valid).error());
  const std::string text(name);
  const auto irregular = [&] {
    return error(Code::invalid, "cannot open " + path_ + "/" + text + ": it is not a regular file");
  };
  // Looked at before too: to open a pipe waits for its other end. (With O_NONBLOCK the ring would refuse to wait for
  // the disk.)
  struct stat status{};
  if (fstatat(descriptor_.get(), text.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISFIFO(status.st_mode))
    return irregular();
  Descriptor file(open_at(descriptor_.get(), text.c_str(), O_CLOEXEC | O_NOFOLLOW | flags_of(access)));
  if (!file.is_open()) return open_error(errno, "open", name, access);
  if (fstat(file.get(), &status) != 0) return error_of(errno, "open", name);
  if (!S_ISREG(status.st_mode)) return irregular();
  return std::make_unique<PosixFile>(std::move(file), access == Access::direct);
}

Result<std::unique_ptr<Directory>> PosixDirectory::subdirectory(std::string_view name, bool create) {
  if (auto valid = check_name(name); !valid) return std::unexpected(std::move(valid).error());
  const std::string text(name);
  if (create) {
    if (mkdirat(descriptor_.get(), text.c_str(), kDirectoryMode) == 0) {
      if (fchmodat(descriptor_.get(), text.c_str(), kDirectoryMode, 0) != 0) {
        return error_of(errno, "set the mode of", name);
      }
    } else if (errno != EEXIST) {
      return error_of(errno, "make the directory", name);
    }
  }
  Descriptor opened(open_at(descriptor_.get(), text.c_str(), kDirectoryFlags | O_NOFOLLOW));
  if (!opened.is_open()) return error_of(errno, "open the directory", name);
  return std::make_unique<PosixDirectory>(std::move(opened), path_ + "/" + text);
}

Result<void> PosixDirectory::rename(std::string_view from, std::string_view to) {
  if (auto valid = check_name(from); !valid) return valid;
  if (auto valid = check_name(to); !valid) return valid;
  const std::string old_name(from);
  const std::string new_name(to);
  if (renameat(descriptor_.get(), old_name.c_str(), descriptor_.get(), new_name.c_str()) == 0) return {};
  return error_of(errno, "rename to \"" + new_name + "\" the file", from);
}

Result<void> PosixDirectory::remove(std::string_view name) {
  if (auto valid = check_name(name); !valid) return valid;
  const std::string text(name);
  if (unlinkat(descriptor_.get(), text.c_str(), 0) == 0) return {};
  if (errno == EISDIR && unlinkat(descriptor_.get(), text.c_str(), AT_REMOVEDIR) == 0) return {};
  return error_of(errno, "remove", name);
}

Result<void> PosixDirectory::sync() {
  if (sync_error_) return std::unexpected(*sync_error_);
  if (sync_descriptor(descriptor_.get()) == 0) return {};
  sync_error_ = posix_error(errno, "sync the directory", path_);
  return std::unexpected(*sync_error_);
}

Result<void> PosixDirectory::take_lock(int file, int kind, std::string_view name) const {
  int result = 0;
  do {
    result = flock(file, kind | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno != EWOULDBLOCK) return error_of(errno, "lock", name);
  const long pid = pid_in(file);
  // Who only looks leaves the number of the last server behind: it may be gone.
  const bool lives = pid > 0 && (kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH);
  return error(Code::unavailable, path_ + " is in use by " + (lives ? "process " + std::to_string(pid) : "another process") +
                                      ", which holds the lock on " + path_ + "/" + std::string(name) +
                                      ". Stop it, or use another directory.");
}

Result<std::unique_ptr<DirectoryLock>> PosixDirectory::lock(std::string_view name) {
  if (auto valid = check_name(name); !valid) return std::unexpected(std::move(valid).error());
  const std::string text(name);
  Descriptor file(open_at(descriptor_.get(), text.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (!file.is_open()) return error_of(errno, "open the lock file", name);
  if (auto taken = take_lock(file.get(), LOCK_EX, name); !taken) return std::unexpected(std::move(taken).error());
  // The pid is for messages only: on a full disk the lock holds without it.
  const std::string pid = std::to_string(getpid()) + "\n";
  if (fchmod(file.get(), kFileMode) != 0) return error_of(errno, "set the mode of", name);
  if (ftruncate(file.get(), 0) == 0) (void)!pwrite(file.get(), pid.data(), pid.size(), 0);
  return std::make_unique<PosixLock>(std::move(file));
}

Result<std::unique_ptr<DirectoryLock>> PosixDirectory::lock_for_reading(std::string_view name) {
  if (auto valid = check_name(name); !valid) return std::unexpected(std::move(valid).error());
  const std::string text(name);
  Descriptor file(open_at(descriptor_.get(), text.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.is_open()) return error_of(errno, "open the lock file", name);
  if (auto taken = take_lock(file.get(), LOCK_SH, name); !taken) return std::unexpected(std::move(taken).error());
  return std::make_unique<PosixLock>(std::move(file));
}

Result<Space> PosixDirectory::space() {
  struct statvfs status {};
  int result = 0;
  do {
    result = fstatvfs(descriptor_.get(), &status);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return std::unexpected(posix_error(errno, "get the free space of", path_));
  // f_bavail leaves out what is reserved for root, for root too: nobody should count on that.
  return Space{.free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize,
               .total_bytes = std::uint64_t{status.f_blocks} * status.f_frsize};
}

bool PosixDirectory::has_direct() {
  if (has_direct_) return *has_direct_;
  Descriptor file(open_at(descriptor_.get(), ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, kFileMode));
  if (!file.is_open()) {  // not every filesystem has nameless files
    const std::string name = ".direct-probe-" + std::to_string(getpid());
    unlinkat(descriptor_.get(), name.c_str(), 0);
    file = Descriptor(open_at(descriptor_.get(), name.c_str(),
                              O_CREAT | O_EXCL | O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
    unlinkat(descriptor_.get(), name.c_str(), 0);
  }
  has_direct_ = file.is_open() && direct_works(file.get());
  return *has_direct_;
}

}  // namespace

Result<std::unique_ptr<Directory>> open_directory(const std::string& path, bool create) {
  bool made = false;
  if (create) {
    made = mkdir(path.c_str(), kDirectoryMode) == 0;
    if (!made && errno != EEXIST) return std::unexpected(posix_error(errno, "make the directory", path));
    if (made && chmod(path.c_str(), kDirectoryMode) != 0) {  // whatever the umask
      return std::unexpected(posix_error(errno, "set the mode of", path));
    }
  }
  Descriptor directory(open_at(AT_FDCWD, path.c_str(), kDirectoryFlags));
  if (!directory.is_open()) return std::unexpected(posix_error(errno, "open the directory", path));
  if (made) {
    // The caller has no object for the parent, so its name is made durable here.
    Descriptor parent(open_at(directory.get(), "..", kDirectoryFlags));
    if (!parent.is_open()) return std::unexpected(posix_error(errno, "open the parent directory of", path));
    if (sync_descriptor(parent.get()) != 0) {
      return std::unexpected(posix_error(errno, "sync the parent directory of", path));
    }
  }
  return std::make_unique<PosixDirectory>(std::move(directory), path);
}

}  // namespace walraft::wal
