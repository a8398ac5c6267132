#pragma once

// The files of a data directory, as a capability that is passed in from main. posix_filesystem.h is
// the real one; tests/sim has one that forgets, tears, lies, fills up and hangs.
//
// What survives a power cut is said for each verb. Names and contents are two things: a file's
// contents are durable after File::sync() (or a durable write, disk.h), its name after
// Directory::sync(). A new file without the latter is not there after a power cut.
// Errors: no_space when the filesystem is full; denied on permissions and read-only filesystems;
// not_found, exists; invalid for names and kinds that cannot be (a file where a directory is named);
// over_limit for too many open files; failed for everything else (an I/O error among them).
// Thread: any, but one thread at a time for one object; File::read() alone may run on several at once,
// and beside a durable write (disk.h) to blocks that it does not read; Directory::open() alone beside
// any other verb of its directory. All verbs block.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/result.h"

namespace walraft::wal {

// The unit of direct writes: position, length and memory are multiples of it.
inline constexpr std::size_t kBlockBytes = 4096;

enum class Access : std::uint8_t {
  read,    // through the page cache
  write,   // reading too; through the page cache
  direct,  // reading and writing past the page cache, in whole aligned blocks
};

class File {
 public:
  virtual ~File() = default;

  // Reads up to into.size() bytes at `position`; less only at the end of the file. Bytes that this
  // process wrote are seen. A medium error is `failed`: the bytes are unreadable, others may be fine.
  virtual Result<std::size_t> read(std::uint64_t position, MutableBytes into) = 0;

  // Writes all of `bytes`, or fails with an unknown part of them written. Not durable.
  virtual Result<void> write(std::uint64_t position, ByteView bytes) = 0;

  // All earlier writes and the size become durable. A failure is final for the file: the kernel may
  // have dropped the bytes, and a second sync would lie. The owner stops the node (disk.h).
  virtual Result<void> sync() = 0;

  // Reserves blocks for [0, bytes) and makes the file at least that long; what was not written reads
  // as zeros. Not durable. `no_space` leaves the file as it was, or longer.
  virtual Result<void> allocate(std::uint64_t bytes) = 0;

  // Cuts the file to `bytes` or fills it up with zeros (without reserving blocks). Not durable.
  virtual Result<void> truncate(std::uint64_t bytes) = 0;

  virtual Result<std::uint64_t> size() = 0;

  // Forgets cached copies, so that the next read comes from the medium. Only after sync().
  virtual void drop_cache() = 0;

  // The descriptor for disk.h's real implementations; -1 where there is none.
  virtual int descriptor() const = 0;
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
};

struct Space {
  std::uint64_t free_bytes = 0;   // to this process
  std::uint64_t total_bytes = 0;
};

// What an operator should know about where a directory lies.
struct Place {
  std::string filesystem;          // "ext4", "xfs", ...; a hexadecimal number if unknown; empty in tests
  std::string writable_by_others;  // this directory, or one above it, in which anyone may rename what is ours
};

// Held: no other process holds the same name. Released by the destructor or the end of the process.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

class Directory {
 public:
  virtual ~Directory() = default;

  // Sorted by name.
  virtual Result<std::vector<DirectoryEntry>> list() = 0;

  // A new empty file, mode 0600. `exists` if the name is taken. The name is not durable.
  virtual Result<std::unique_ptr<File>> create(std::string_view name, Access access) = 0;
  virtual Result<std::unique_ptr<File>> open(std::string_view name, Access access) = 0;

  // The subdirectory; made (mode 0700) if `create` and missing, the name not durable. It lives on
  // independently of this object.
  virtual Result<std::unique_ptr<Directory>> subdirectory(std::string_view name, bool create) = 0;

  // Replaces `to` if it exists; after a power cut the name is the old or the new one. Not durable.
  virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
  // Files, and empty directories. Open files stay usable. Not durable: the name may come back.
  virtual Result<void> remove(std::string_view name) = 0;

  // Names made, renamed and removed before become durable. A failure is as final as File::sync()'s.
  virtual Result<void> sync() = 0;

  // `unavailable` if another process holds it; the message names its pid where it is known.
  virtual Result<std::unique_ptr<DirectoryLock>> lock(std::string_view name) = 0;
  // For those who only look: many may hold it, none while another process has lock(), and nobody gets
  // lock() meanwhile. Writes nothing and needs read permission only. not_found without such a file.
  virtual Result<std::unique_ptr<DirectoryLock>> lock_for_reading(std::string_view name) = 0;

  virtual Result<Space> space() = 0;

  // Whether files here open with Access::direct.
  virtual bool has_direct() = 0;

  virtual Result<Place> place() { return Place{}; }

  // For messages.
  virtual std::string path() const = 0;
};

}  // namespace walraft::wal
