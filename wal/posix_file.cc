#include "wal/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/posix_error.h"

namespace walraft::wal {
namespace {

constexpr std::size_t kZeroBytes = std::size_t{256} << 10;
alignas(kBlockBytes) constexpr std::byte kZeros[kZeroBytes] = {};

bool is_aligned(std::uint64_t position, const void* data, std::size_t length) {
  return position % kBlockBytes == 0 && length % kBlockBytes == 0 &&
         reinterpret_cast<std::uintptr_t>(data) % kBlockBytes == 0;
}

std::string span_of(std::string_view verb, std::size_t bytes, std::string_view preposition,
                    std::uint64_t position) {
  std::string text(verb);
  text.append(" ").append(std::to_string(bytes)).append(" bytes ").append(preposition);
  return text.append(" position ").append(std::to_string(position)).append(" of");
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);  // nothing to do on failure: what matters was synced
}

std::unexpected<Error> PosixFile::error_of(int error_number, std::string_view action) const {
  return std::unexpected(posix_error(error_number, action, path_of_descriptor(descriptor())));
}

Result<std::size_t> PosixFile::read(std::uint64_t position, MutableBytes into) {
  if (direct_) CHECK(is_aligned(position, into.data(), into.size()), position, into.size());
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = pread(descriptor(), into.data() + done, into.size() - done,
                            static_cast<off_t>(position + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_of(errno, span_of("read", into.size() - done, "at", position + done));
    done += static_cast<std::size_t>(n);
    if (n == 0) break;
    if (direct_ && done % kBlockBytes != 0) break;  // the end: going on would be unaligned
  }
  return done;
}

Result<void> PosixFile::write(std::uint64_t position, ByteView bytes) {
  if (direct_) CHECK(is_aligned(position, bytes.data(), bytes.size()), position, bytes.size());
  while (!bytes.empty()) {
    const ssize_t n = pwrite(descriptor(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return error_of(n < 0 ? errno : EIO, span_of("write", bytes.size(), "at", position));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> PosixFile::sync() {
  if (sync_error_) return std::unexpected(*sync_error_);
  // fsync rather than fdatasync: a size that was cut is to be durable too. Not on the append path.
  int result = fsync(descriptor());
  while (result != 0 && errno == EINTR) result = fsync(descriptor());
  if (result != 0 && mutant(Mutant::m26_sync_error_retried)) result = fsync(descriptor());
  if (result == 0) return {};
  auto failure = error_of(errno, "sync");
  sync_error_ = failure.error();
  return failure;
}

Result<void> PosixFile::allocate(std::uint64_t bytes) {
  if (bytes == 0) return {};
  int result = 0;
  do {
    result = fallocate(descriptor(), 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno == EOPNOTSUPP) return append_zeros(bytes);
  return error_of(errno, "reserve " + std::to_string(bytes) + " bytes for");
}

// Where fallocate is missing. Holes below the present size stay holes: nobody here makes them.
Result<void> PosixFile::append_zeros(std::uint64_t bytes) {
  auto end = size();
  if (!end) return std::unexpected(std::move(end).error());
  const std::uint64_t start = align_up(*end, kBlockBytes);
  if (*end >= bytes) return {};
  if (*end != start) {
    if (auto filled = truncate(start); !filled) return filled;
  }
  for (std::uint64_t at = start; at < bytes;) {  // whole blocks, as direct files want
    const std::size_t n = std::min<std::uint64_t>(kZeroBytes, align_up(bytes - at, kBlockBytes));
    if (auto written = write(at, ByteView(kZeros, n)); !written) return written;
    at += n;
  }
  return truncate(bytes);
}

Result<void> PosixFile::truncate(std::uint64_t bytes) {
  int result = 0;
  do {
    result = ftruncate(descriptor(), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0) return error_of(errno, "set the size to " + std::to_string(bytes) + " of");
  return {};
}

Result<std::uint64_t> PosixFile::size() {
  struct stat status {};
  if (fstat(descriptor(), &status) != 0) return error_of(errno, "get the size of");
  return static_cast<std::uint64_t>(status.st_size);
}

void PosixFile::drop_cache() {
  // Advice: a filesystem without a page cache may refuse it, and has nothing to forget then.
  posix_fadvise(descriptor(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace walraft::wal
