#pragma once

// A node's data directory:
//
//   LOCK        held while a process uses the directory
//   identity    whose data this is (identity.h); written last, so that it says: all of this is there
//   hard_state  term, vote and bounds of every log (hard_state.h)
//   ballast     space in reserve (ballast.h)
//   logs/       one directory for each log
//
// Making one, in this order: `identity.new` with its name durable; hard_state and logs/ durable;
// identity.new renamed to identity, durably. A directory without `identity` is then either empty, or
// half-made (identity.new is there: what is there is removed and made anew, since no log can have
// been in it), or has lost its identity: refused, never taken for new (fault:O9).
//
// Thread: shard; open() blocks.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wal/ballast.h"
#include "wal/base/clock.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/disk.h"
#include "wal/filesystem.h"
#include "wal/hard_state.h"
#include "wal/identity.h"

namespace walraft::wal {

// storage.sync of the configuration.
enum class SyncMode : std::uint8_t {
  automatic,  // direct where the filesystem has it
  direct,
  buffered,
};

struct DataDirectoryOptions {
  std::string cluster_name;
  NodeId node;
  Uuid cluster;                     // none: any when opening, a new one when making
  SyncMode sync = SyncMode::automatic;
  std::uint64_t reserve_bytes = 0;  // of the ballast; 0 = automatic
  bool may_create = true;           // false: an empty directory is not_found
};

class DataDirectory {
 public:
  // Opens the directory, or makes it if it is empty. Errors, each naming the path, what was found
  // and what was expected:
  // unavailable - another process uses it;
  // denied - another cluster's or node's, permissions, a read-only filesystem, others may write there;
  // corrupt - damaged beyond what copies can mend, or parts of it are missing;
  // invalid - made by a newer release, or `sync` asks for what the filesystem does not have;
  // not_found - it is empty, and may_create is false; no_space - no room to make it; failed.
  // All but `disk`, `clock` and `rng`, which outlive the data directory, is owned.
  static Result<std::unique_ptr<DataDirectory>> open(std::unique_ptr<Directory> root, Disk& disk, Clock& clock,
                                                     Rng& rng, const DataDirectoryOptions& options);

  const Identity& identity() const { return identity_; }
  Directory& root() { return *root_; }
  Directory& logs() { return *logs_; }
  HardStateFile& hard_state() { return *hard_state_; }
  Ballast& ballast() { return *ballast_; }

  // How files are written: Access::direct or Access::write.
  Access access() const { return access_; }
  bool is_new() const { return is_new_; }  // made by this open()

  // One line each for the log: a fall back to buffered writes, an unsupported filesystem, damage and
  // what was done about it.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  DataDirectory() = default;

  std::unique_ptr<Directory> root_;
  std::unique_ptr<DirectoryLock> lock_;
  Identity identity_;
  std::unique_ptr<Directory> logs_;
  std::unique_ptr<HardStateFile> hard_state_;
  std::unique_ptr<Ballast> ballast_;
  Access access_ = Access::direct;
  bool is_new_ = false;
  std::vector<std::string> notices_;
};

// The same for tools that look at a stopped node: takes the lock, and changes nothing else. Damage is
// for the tool to report; errors are those that leave nothing to look at: unavailable, denied,
// not_found (no data directory), invalid, and corrupt for the identity.
struct OfflineDataDirectory {
  std::unique_ptr<Directory> root;
  std::unique_ptr<DirectoryLock> lock;
  Identity identity;
  std::unique_ptr<Directory> logs;  // null if missing
  HardStateFile::Contents hard_state;
  std::vector<std::string> damage;  // of everything but the logs

  static Result<OfflineDataDirectory> open(std::unique_ptr<Directory> root);
};

}  // namespace walraft::wal
