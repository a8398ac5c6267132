#pragma once

// Which logs there are. The truth is the log `_system` (id 0): its control batches of kind `catalogue`
// (catalogue_change.h) are replayed into a map at the start. A log is there for its users once the batch that made it is
// committed, and gone once the batch that deleted it is.
//
// A name belongs to one log at a time; the log made under the name of a deleted one has another uuid, and so other
// files. The files of a deleted log go in the background, and if that was cut off, after the next start.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "replication/replica/replica.h"
#include "replication/replica/shard.h"
#include "replication/state/catalogue_change.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"
#include "wal/log.h"

namespace walraft::replication {

// Thread: shard, but open(), which blocks before the shard runs.
class Catalogue {
 public:
  // The log, and whether this call made it.
  struct MadeLog {
    Replica* replica;
    bool is_new;
  };
  using Made = std::function<void(Result<MadeLog>)>;
  using Removed = std::function<void(Result<void>)>;

  // Opens `_system`, replays it and opens every log. `logs` is the folder of the logs' folders, each named by its log's uuid.
  // The `_system` log has the cluster's uuid. `options` are the node's defaults.
  // Errors: those of wal::Log::open, with the log's name.
  static Result<std::unique_ptr<Catalogue>> open(Shard& shard, std::unique_ptr<wal::Directory> logs,
                                                 const Uuid& cluster, const wal::LogOptions& options);
  ~Catalogue();

  // Null if there is none of that name. `_system` is found too.
  Replica* find(std::string_view name);
  // A log that has an entry(). One whose files found no room at the start gets them now, which blocks the shard for
  // some milliseconds. Errors: not_found, `deleted` while it goes, and those of wal::Log::open().
  Result<Replica*> open_log(std::string_view name);

  // Makes the log, or finds it: `made` runs once it is committed, possibly from within this call. The name is checked
  // by the caller; id and uuid are given here. A log that exists is given as it is, whatever its configuration. Errors:
  // those of Replica::append() and of wal::Log::open(), and over_limit for more logs than a node can have; the log is
  // not there then. Making the files blocks the shard for some milliseconds.
  void create(CatalogueEntry entry, Made made);

  // Deletes the log: `removed` runs once that is committed. Before it, the handler of on_removed() ran, every append
  // under way was answered `deleted`, and the replica is gone. With a uuid, only the log that has it. Finds room on a
  // full disk. Errors: not_found, and those of Replica::append(); the log is still there then.
  void remove(std::string_view name, const Uuid& uuid, Removed removed);

  // Called before a removed log's replica is destroyed: nobody may use it afterwards.
  void on_removed(std::function<void(Replica&)> handler) { removed_handler_ = std::move(handler); }

  // Called when files of a removed log could not be removed, not even at the tenth try: with the folder and the error.
  void on_left_behind(std::function<void(const Error&)> handler) { left_behind_handler_ = std::move(handler); }

  // By name, `_system` not among them. Null if there is none of that name.
  std::vector<const CatalogueEntry*> list() const;
  const CatalogueEntry* entry(std::string_view name) const;
  // The first one of that name or above it.
  const CatalogueEntry* entry_from(std::string_view name) const;
  Replica& system() { return *system_; }
  // What logs get whose configuration leaves it open.
  const wal::LogOptions& defaults() const { return options_; }

  // Anything written and not yet committed, in any log.
  bool busy() const;

  // Findings of the logs' recovery, for people: "log "orders": segment 3, byte 8256: …".
  const std::vector<std::string>& findings() const { return findings_; }

 private:
  struct Known {
    enum class State : std::uint8_t { making, there, removing };
    CatalogueEntry entry;
    State state = State::making;
    std::unique_ptr<Replica> replica;  // null: its files could not be made yet (a full disk)
    std::vector<Made> makers;          // wait for its being made
    std::vector<Removed> removers;     // wait for its removal
    std::vector<std::pair<CatalogueEntry, Made>> remakers;  // want the name when it is free again
  };
  using KnownAt = std::map<std::string, Known, std::less<>>::iterator;

  Catalogue(Shard& shard, std::unique_ptr<wal::Directory> logs, const Uuid& cluster, const wal::LogOptions& options);
  Result<std::unique_ptr<Replica>> open_replica(const CatalogueEntry& entry, bool is_new = false);
  Result<void> replay();
  Result<void> apply(const wal::BatchHeader& header, ByteView batch);
  void remove_leftovers();
  void append(const CatalogueChange& change, wal::Use use, Replica::Answer answer);
  void on_create_answered(const std::string& name, const Result<Committed>& result);
  void start_removal(KnownAt at);
  void on_remove_answered(const std::string& name, const Result<Committed>& result);
  struct Removal;
  void remove_files(const Uuid& log);
  void remove_some(const std::shared_ptr<Removal>& removal, std::uint64_t delay_us);

  Shard& shard_;
  std::unique_ptr<wal::Directory> logs_;
  Uuid cluster_;
  wal::LogOptions options_;
  std::unique_ptr<Replica> system_;
  std::map<std::string, Known, std::less<>> known_;
  std::set<Uuid> deleted_;  // as replayed, until their files are looked for
  std::uint64_t id_next_ = 1;
  std::function<void(Replica&)> removed_handler_;
  std::function<void(const Error&)> left_behind_handler_;
  std::vector<std::string> findings_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for jobs that end after us
};

}  // namespace walraft::replication
