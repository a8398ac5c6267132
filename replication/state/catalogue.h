#pragma once

// Which logs there are. The truth is the log `_system` (id 0): a control batch of kind `catalogue` says "log made:
// name, id, uuid, options"; replayed into a map at the start. A log is there for its users once that batch is committed.
//
// The body of a catalogue batch, little endian:
//   u16 version = 1 | u16 operation | u16 name_bytes | u16 option_count | u64 log_id | uuid | name |
//   option_count times { u16 key, u64 value }
// Operation 1 makes a log. Option keys with the high bit must be understood, others may be skipped.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "replication/replica/replica.h"
#include "replication/replica/shard.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"
#include "wal/log.h"

namespace walraft::replication {

struct CatalogueEntry {
  std::string name;
  LogId id{};
  Uuid uuid{};
  std::uint64_t segment_bytes = 0;     // option 1; 0: the node's default
  std::uint32_t record_bytes_max = 0;  // option 2; 0: the node's limit
};

std::vector<std::byte> encode(const CatalogueEntry& entry);
// `corrupt` if it is no such body; `invalid` if a newer release wrote what must be understood.
Result<CatalogueEntry> decode_catalogue_entry(ByteView body);

// Thread: shard, but open(), which blocks before the shard runs.
class Catalogue {
 public:
  using Made = std::function<void(Result<Replica*>)>;

  // Opens `_system`, replays it and opens every log. `logs` is the folder of the logs' folders, each named by its log's uuid.
  // The `_system` log has the cluster's uuid. `options` are the node's defaults.
  // Errors: those of wal::Log::open, with the log's name.
  static Result<std::unique_ptr<Catalogue>> open(Shard& shard, std::unique_ptr<wal::Directory> logs,
                                                 const Uuid& cluster, const wal::LogOptions& options);
  ~Catalogue();

  // Null if there is none of that name. `_system` is found too.
  Replica* find(std::string_view name);

  // Makes the log, or finds it: `made` runs once it is committed, possibly from within this call. The name is checked
  // by the caller. A log that exists is given as it is, whatever its options. Errors: those of Replica::append() and of
  // wal::Log::open(). Making the files blocks the shard for some milliseconds.
  void create(CatalogueEntry entry, Made made);

  // By name, `_system` not among them.
  std::vector<const CatalogueEntry*> list() const;
  Replica& system() { return *system_; }

  // Anything written and not yet committed, in any log.
  bool busy() const;

  // Findings of the logs' recovery, for people: "log "orders": segment 3, byte 8256: …".
  const std::vector<std::string>& findings() const { return findings_; }

 private:
  struct Known {
    CatalogueEntry entry;
    bool committed = false;
    std::unique_ptr<Replica> replica;  // null: its files could not be made yet (a full disk)
    std::vector<Made> waiting;
  };

  Catalogue(Shard& shard, std::unique_ptr<wal::Directory> logs, const Uuid& cluster, const wal::LogOptions& options);
  Result<std::unique_ptr<Replica>> open_replica(const CatalogueEntry& entry, bool is_new = false);
  Result<void> replay();
  Result<void> apply(const wal::BatchHeader& header, ByteView batch);
  void on_created(const std::string& name, const Result<Committed>& result);

  Shard& shard_;
  std::unique_ptr<wal::Directory> logs_;
  Uuid cluster_;
  wal::LogOptions options_;
  std::unique_ptr<Replica> system_;
  std::map<std::string, Known, std::less<>> known_;
  std::uint64_t id_next_ = 1;
  std::vector<std::string> findings_;
};

}  // namespace walraft::replication
