#pragma once

// A filesystem in memory that forgets, tears, lies, fills up and hangs: wal::Directory and wal::File
// for tests, together with sim_disk.h. One object is the storage of one machine.
//
// WHICH FAULTS WE PROMISE TO SURVIVE. A power cut at any instant leaves what wal/filesystem.h and
// wal/disk.h promise, and of everything else any subset:
//   bytes    Unsynced writes survive per 512-byte sector, any subset, in any order, and of a sector
//            written several times any version. A sector itself is never torn. Lost ones read as
//            before, or as zeros where nothing was.
//   disk     A disk write in flight is torn in the same way. One that was completed is durable, with
//            all that was written to its range before, and with the size that reading it needs.
//   size     Size and allocation are durable with File::sync(); of the unsynced changes of one file a
//            prefix survives, independently of its bytes and of other files.
//   names    Created, renamed and removed names are durable with Directory::sync(). Of the unsynced
//            changes of one directory any subset survives in which a change comes with all earlier
//            ones on the same names or files. A rename is there or not, never half. A name may be
//            durable without the contents and the other way round.
// One node alone also survives, by saying so and stopping or by refusing to serve what is damaged:
//   a failing sync or write, whatever happened to its bytes (S5-S7, S10); a full disk (S8); unreadable
//   ranges, flipped bits, lost and misdirected writes (S11-S13, S16); files cut off, deleted or
//   replaced by older ones as far as a node can know alone (S14, S15, S26); slow and hanging writes.
// Nobody survives, and the tests show that we would notice: a sync that reports success and lies
// (sync_lies), a volatile cache (set_volatile_cache). Mutants of the machine below the log are planted
// here as they are in the real disks: m26_sync_error_retried, m31_no_dsync.
//
// Operations. Everything that changes something is an operation and has a number, from 1. A test can
// be called before each (set_observer) and fork() there, or end the process at one (crash_at). The
// survivors of an unfinished operation are for the CrashChoice to pick, so "in the middle of a
// write" is the moment after it, and "in the middle of a sync" the moment before it.
//
// Everything is deterministic: the same calls on the same seed give the same trace_hash().
// Thread: one. The filesystem outlives the objects that it hands out.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/crash_choice.h"
#include "tests/sim/file_state.h"
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_rng.h"
#include "wal/filesystem.h"

namespace walraft::sim {

enum class OperationKind : std::uint8_t {
  write, sync, allocate, truncate,
  create, make_directory, rename, remove, sync_directory,
  disk_issue,     // the kernel has the write: from now on its sectors may reach the medium
  disk_complete,  // it is durable
};

struct Operation {
  std::uint64_t number = 0;
  OperationKind kind = OperationKind::write;
  std::string_view path;  // of the file or directory; valid during the observer's call
  std::uint64_t position = 0;
  std::uint64_t bytes = 0;
};
std::string describe(const Operation& operation);

// Ends the simulated process: thrown out of the operation that crash_at() named. The test catches it,
// destroys the process's objects (nothing they do has an effect any more) and calls crash().
struct SimCrash {
  std::uint64_t operation = 0;
};

enum class CrashMoment : std::uint8_t { before, after };

class SimFilesystem {
 public:
  explicit SimFilesystem(std::uint64_t seed = 1, std::string name = "sim:");
  ~SimFilesystem();
  SimFilesystem(const SimFilesystem&) = delete;

  // The top directory, for the process of now. Its path is the name given above.
  std::unique_ptr<wal::Directory> root();

  // --- Crashing ---
  // The machine loses power, or the process is killed: every File, Directory, lock and SimDisk of
  // before is dead from now on (verbs return `failed`, completions never come), and root() opens on
  // what survived. kill_process keeps what the process saw, but nothing becomes durable by it, except
  // that writes in flight are completed: a power cut afterwards can still take the rest.
  void crash(CrashChoice choice);
  // The operation with this number throws SimCrash, before or after it took effect. 0: none. Where
  // that may be in a destructor, use the observer and fork() instead.
  void crash_at(std::uint64_t operation, CrashMoment moment = CrashMoment::before);
  // How many operations have begun.
  std::uint64_t operations() const { return operations_; }
  // Called before each operation; it may fork(), and must not change this filesystem.
  using Observer = std::function<void(const Operation&)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  // A copy of this storage at this instant, for a few microseconds a file. It is powered off: crash()
  // comes first, then root(). Without observer, crash_at and locks; armed faults are copied.
  std::unique_ptr<SimFilesystem> fork() const;
  // What chance there is from now on comes from this seed: for copies that are to go different ways.
  void reseed(std::uint64_t seed) { rng_ = SimRng(seed); }

  // --- The ghost disk (inv:D3) ---
  // Whether every power cut at this instant leaves these bytes at `position` of the file `path`.
  bool survives(std::string_view path, std::uint64_t position, ByteView bytes) const;
  // Whether every power cut leaves a file or directory of this name.
  bool name_survives(std::string_view path) const;

  // --- Faults --- (paths are relative to the root: "logs/1/0000.wal"; they must exist)
  void inject(Fault fault) { faults_.push_back(std::move(fault)); }
  void clear_faults() { faults_.clear(); }
  // How many injected faults have struck: a test of a fault shows that it happened.
  std::uint64_t faults_struck() const { return faults_struck_; }

  // Total space. Files take their allocated blocks; each name, and each 64 names of a directory, one
  // more. no_space: creating a name, allocate (which reserves what there is) and writing to holes.
  void set_capacity(std::uint64_t bytes) { capacity_pages_ = bytes / kPageBytes; }
  std::uint64_t used_bytes() const { return used_pages_ * kPageBytes; }
  void set_has_direct(bool has) { has_direct_ = has; }
  // over_limit: opening and creating files, while it lasts.
  void set_out_of_descriptors(bool out) { out_of_descriptors_ = out; }
  // Durable writes are not: they survive like buffered ones, until the file's sync().
  void set_volatile_cache(bool is_volatile) { volatile_cache_ = is_volatile; }

  // Damage on the medium, seen by the process at once.
  void flip_bit(std::string_view path, std::uint64_t position, unsigned bit);
  void make_unreadable(std::string_view path, std::uint64_t position, std::uint64_t bytes);  // till overwritten
  void truncate_on_medium(std::string_view path, std::uint64_t bytes);
  void delete_on_medium(std::string_view path);  // a file, or a directory with everything in it
  // Copies of contents: what the process sees; and putting one back, durably (an old backup).
  Image image(std::string_view path) const;
  void restore(std::string_view path, const Image& image);

  std::uint64_t size_of(std::string_view path) const;  // as the process sees it
  bool exists(std::string_view path) const;
  std::uint64_t open_handles(std::string_view path) const;  // 0 also if there is no such file
  std::uint64_t trace_hash() const { return trace_hash_; }

 private:
  friend class SimFile;
  friend class SimDirectory;
  friend class SimLock;
  friend class SimDisk;

  using InodeId = std::uint64_t;
  struct NameChange {  // of a directory: `from` (may be empty) goes, `to` (may be empty) is `inode`
    std::uint64_t sequence = 0;
    std::string from;
    std::string to;
    InodeId inode = 0;
    InodeId replaced = 0;  // what `to` was before; 0 = nothing
  };
  using Names = std::map<std::string, InodeId, std::less<>>;
  struct Inode {
    InodeId id = 0;
    bool is_directory = false;
    InodeId parent = 0;
    std::string path;  // the last one it had
    bool linked = true;
    std::uint64_t open_handles = 0;
    std::uint64_t charged_pages = 0;
    FileState file;
    Names seen;     // directories
    Names durable;
    std::vector<NameChange> unsynced;
  };
  static constexpr InodeId kRoot = 1;

  // Begins an operation: number, observer, trace, crash_at. Ends by throwing if asked to.
  void begin(OperationKind kind, const Inode& inode, std::uint64_t position = 0, std::uint64_t bytes = 0,
             std::uint64_t content = 0);
  void end();
  [[noreturn]] void power_off();
  bool alive(std::uint64_t generation) const { return powered_ && generation == generation_; }

  Inode& inode(InodeId id) const;
  InodeId find(std::string_view path) const;  // 0 if there is none
  Inode& must_find(std::string_view path) const;
  InodeId add_inode(bool is_directory, InodeId parent, std::string_view name);
  void change_names(Inode& directory, NameChange change);
  void sync_names(Inode& directory);
  void crash_names(Inode& directory, Fate& fate);
  void release_orphans();
  void release_unreachable();
  void unlink(InodeId id);
  void opened(InodeId id);
  void closed(InodeId id);

  bool has_room(std::uint64_t pages) const { return used_pages_ + pages <= capacity_pages_; }
  std::uint64_t free_pages() const { return capacity_pages_ > used_pages_ ? capacity_pages_ - used_pages_ : 0; }
  void charge(Inode& inode);

  // The first armed fault of this kind for this file, used up by one; or none.
  const Fault* strike(FaultKind kind, const Inode& inode);
  Result<void> sync_file(Inode& inode);
  Result<void> sync_directory(Inode& directory);
  Result<void> write_file(Inode& inode, std::uint64_t position, ByteView bytes);

  // For SimDisk. An issued write is torn by a crash until it completes. `bytes` are the same in both.
  void issue_write(InodeId file, std::uint64_t position, ByteView bytes);
  Result<void> complete_write(InodeId file, std::uint64_t position, ByteView bytes);
  bool is_cached() const;  // whether a completed disk write is not durable before the file's sync()
  // The disk is closed: without an operation, the write reaches the medium, or nothing of it does.
  void close_write(InodeId file, std::uint64_t position, bool reaches);
  std::vector<const InFlightWrite*> in_flight_of(InodeId file) const;
  Error failure(const Inode& inode, std::string_view what, Code code = Code::failed) const;

  SimRng rng_;
  std::string name_;
  std::vector<std::unique_ptr<Inode>> inodes_;  // by id; ids are never used again
  std::map<std::pair<InodeId, std::uint64_t>, InFlightWrite> in_flight_;  // by file and position
  std::vector<InodeId> orphans_;  // unlinked, perhaps not for ever
  std::map<std::string, std::uint64_t, std::less<>> locks_;  // path -> generation
  std::vector<Fault> faults_;
  Fault struck_fault_;
  std::uint64_t faults_struck_ = 0;
  std::uint64_t capacity_pages_ = std::uint64_t{1} << 28;  // 1 TiB
  std::uint64_t used_pages_ = 0;
  bool has_direct_ = true;
  bool out_of_descriptors_ = false;
  bool volatile_cache_ = false;

  std::uint64_t operations_ = 0;
  std::uint64_t crash_at_ = 0;
  CrashMoment crash_moment_ = CrashMoment::before;
  bool powered_ = true;
  bool crash_after_ = false;
  std::uint64_t generation_ = 1;
  std::uint64_t trace_hash_ = 0;
  Observer observer_;
};

}  // namespace walraft::sim
