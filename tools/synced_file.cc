#include "tools/synced_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace walraft {
namespace {

std::unexpected<Error> failure(const std::string& what, int why) {
  return error(why == ENOSPC ? Code::no_space : Code::failed, what + ": " + std::strerror(why));
}

// 0 or what went wrong.
int fill(int descriptor) {
  const std::vector<char> block(1u << 20, 'w');
  for (std::size_t at = 0; at < SyncedFile::kBytes;) {
    const ssize_t written = ::pwrite(descriptor, block.data(), block.size(), static_cast<off_t>(at));
    if (written <= 0) return written < 0 ? errno : EIO;
    at += static_cast<std::size_t>(written);
  }
  return ::fdatasync(descriptor) == 0 ? 0 : errno;
}

}  // namespace

Result<SyncedFile> SyncedFile::make(const std::string& directory) {
  std::string path = directory + "/walraft-disk.XXXXXX";
  const int plain = ::mkostemp(path.data(), O_CLOEXEC);
  if (plain < 0) return failure(directory + ": cannot make a file to measure the disk with", errno);
  int synced = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
  const bool direct = synced >= 0;
  if (!direct) synced = ::open(path.c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC);
  const int not_open = errno;
  ::unlink(path.c_str());
  SyncedFile file(synced, direct);
  const int not_filled = synced < 0 ? 0 : fill(plain);
  ::close(plain);
  if (synced < 0) return failure(directory + ": cannot open a file for synced writes", not_open);
  if (not_filled != 0) return failure(directory + ": cannot write 32 MiB to measure the disk with", not_filled);
  return file;
}

SyncedFile::SyncedFile(SyncedFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), direct_(other.direct_) {}

SyncedFile::~SyncedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<double> SyncedFile::write(std::size_t bytes, std::chrono::microseconds duration,
                                 const std::function<void(std::uint64_t)>& latency) const {
  using Clock = std::chrono::steady_clock;
  const std::unique_ptr<void, decltype(&std::free)> memory(std::aligned_alloc(4096, bytes), &std::free);
  std::memset(memory.get(), 'x', bytes);
  const auto start = Clock::now();
  auto now = start;
  std::size_t count = 0;
  for (std::size_t at = 0; now - start < duration; at = (at + bytes) % kBytes, ++count) {
    errno = EIO;  // of a write that was cut short
    if (::pwrite(descriptor_, memory.get(), bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) {
      return failure("a synced write of the disk's measurement failed", errno);
    }
    const auto then = std::exchange(now, Clock::now());
    latency(static_cast<std::uint64_t>((now - then).count()));
  }
  return static_cast<double>(count * bytes) / std::chrono::duration<double>(now - start).count();
}

}  // namespace walraft
