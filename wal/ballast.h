#pragma once

// Disk space held in reserve: the file `ballast`. At 0 bytes free it is let go, so that what frees
// space - a trim, a step-down, a change of members - and the restart itself can still write
// (fault:S8). When space is back, it is taken again, off the hot path.
//
// The file's contents mean nothing, and its size says how much is held; after a power cut in the
// middle of a change it is whatever it is, and the next open() settles it.
//
// Thread: shard; open() blocks.

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "wal/base/result.h"
#include "wal/disk.h"
#include "wal/filesystem.h"

namespace walraft::wal {

// min(256 MiB, max(1 MiB, 2 % of the disk)), in whole blocks.
std::uint64_t automatic_ballast_bytes(const Space& space);

class Ballast {
 public:
  using Done = std::function<void(Result<void>)>;
  enum class State : std::uint8_t {
    held,       // all of it is allocated, durably
    released,   // the space is free to be used
    releasing,  // in between, on the disk's background thread
    restoring,
  };

  // Opens or makes the file and brings it to `bytes` (0: none is wanted; held at once). A disk
  // without room for it is no error: state() is then `released`. Errors: denied, failed.
  // `directory` and `disk` outlive the ballast; `directory` is used on this thread only.
  static Result<std::unique_ptr<Ballast>> open(Directory& directory, std::string_view name, std::uint64_t bytes,
                                               Disk& disk);
  ~Ballast();

  State state() const;
  std::uint64_t bytes() const;  // when held

  // Frees the space, durably; `done` when it is free. At once if it is released already. After a
  // restore() in progress. A failure of the medium stops the node (Disk::fail).
  void release(Done done);

  // Takes the space again; `done` with no_space, and still released, if less than twice `bytes` is
  // free - so that it is not let go again at once - or if it runs out meanwhile. At once if held.
  void restore(Done done);

 private:
  struct Shared;
  explicit Ballast(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace walraft::wal
