#include "replication/state/catalogue.h"

#include <algorithm>

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

constexpr std::string_view kSystemName = "_system";
constexpr std::size_t kReplayBytes = 1u << 20;
constexpr std::size_t kLogsMax = wal::HardStateFile::kLogsMax - 1;  // `_system` has a slot too
constexpr int kRemoveTries = 10;
constexpr std::uint64_t kRemoveRetryUs = 1'000'000;
constexpr std::size_t kRemoveFiles = 4;  // in one job

Error no_such_log(std::string_view name) {
  return {Code::not_found, "log \"" + std::string(name) + "\": there is no such log", 0};
}

Error log_deleted(std::string_view name) {
  return {Code::deleted, "log \"" + std::string(name) + "\": it was deleted", 0};
}

}  // namespace

// The files of a deleted log, removed in pieces: the background thread has the segments of other logs to make.
struct Catalogue::Removal {
  Uuid log;
  int tries_left = kRemoveTries;
  std::unique_ptr<wal::Directory> directory;
  std::vector<wal::DirectoryEntry> left;  // the background thread's while a job runs
  bool listed = false;

  // Blocks.
  Result<void> remove_some() {
    if (!listed) {
      auto entries = directory->list();
      if (!entries) return std::unexpected(std::move(entries.error()));
      left = std::move(*entries);
      listed = true;
    }
    for (std::size_t i = 0; i < kRemoveFiles && !left.empty(); ++i) {
      if (auto gone = directory->remove(left.back().name); !gone && gone.error().code != Code::not_found) return gone;
      left.pop_back();
    }
    return {};
  }
};

Catalogue::Catalogue(Shard& shard, std::unique_ptr<wal::Directory> logs, const Uuid& cluster,
                     const wal::LogOptions& options)
    : shard_(shard), logs_(std::move(logs)), cluster_(cluster), options_(options) {}

Catalogue::~Catalogue() { *alive_ = false; }

Result<std::unique_ptr<Catalogue>> Catalogue::open(Shard& shard, std::unique_ptr<wal::Directory> logs,
                                                   const Uuid& cluster, const wal::LogOptions& options) {
  std::unique_ptr<Catalogue> catalogue(new Catalogue(shard, std::move(logs), cluster, options));
  auto system = catalogue->open_replica({.name = std::string(kSystemName), .id = LogId(0), .uuid = cluster});
  if (!system) return std::unexpected(std::move(system.error()));
  catalogue->system_ = std::move(*system);
  if (auto ok = catalogue->replay(); !ok) {
    return std::unexpected(std::move(ok.error()).at("log \"_system\", the catalogue"));
  }
  for (auto& [name, known] : catalogue->known_) {
    auto replica = catalogue->open_replica(known.entry);
    if (!replica && replica.error().code == Code::no_space) {
      catalogue->findings_.push_back(replica.error().message);
      continue;  // made when it is asked for and there is room
    }
    if (!replica) return std::unexpected(std::move(replica.error()));
    known.replica = std::move(*replica);
  }
  catalogue->remove_leftovers();
  return catalogue;
}

Result<std::unique_ptr<Replica>> Catalogue::open_replica(const CatalogueEntry& entry, bool is_new) {
  const auto place = "log \"" + entry.name + "\"";
  auto directory = logs_->subdirectory(to_string(entry.uuid), true);
  if (!directory) return std::unexpected(std::move(directory.error()).at(place));
  if (auto ok = logs_->sync(); !ok) return std::unexpected(std::move(ok.error()).at(place));
  wal::LogOptions options = options_;
  if (entry.config.segment_bytes != 0) options.segment_bytes = entry.config.segment_bytes;
  options.first_segment_bytes = std::min(options.first_segment_bytes, options.segment_bytes);
  options.durable_is_commit = true;  // one voter
  options.is_new = is_new;
  const wal::LogIdentity identity{.cluster = cluster_, .log = entry.uuid, .id = entry.id};
  auto log = wal::Log::open(std::move(*directory), identity, options, shard_.hard_state(), shard_.disk(),
                            shard_.clock(), shard_.rng());
  if (!log) return std::unexpected(std::move(log.error()).at(place));
  for (const auto& finding : (*log)->recovery().findings) findings_.push_back(place + ": " + finding.text);
  auto replica = Replica::open(shard_,
                               {.name = entry.name,
                                .identity = identity,
                                .members = {{{shard_.self().node, shard_.self().disk}}},
                                .record_bytes_max = entry.config.record_bytes_max},
                               std::move(*log));
  if (!replica) return std::unexpected(std::move(replica.error()).at(place));
  return replica;
}

// The catalogue is control batches only: it is read by index, from the first batch kept. Without all of it nobody can
// tell a log that is gone from one that never was.
Result<void> Catalogue::replay() {
  const wal::LogView view = system_->view();
  if (system_->log().suspect()) {
    return error(Code::data_loss,
                 "it lost acknowledged batches on this disk, so which logs there are is not known; "
                 "restore this node's data");
  }
  if (!view.holes.empty()) {
    return error(Code::corrupt, "batches " + std::to_string(view.holes[0].from.value) + " to " +
                                    std::to_string(view.holes[0].to.value) + " are damaged; restore this node's data");
  }
  wal::LogReader reader(view);
  Index next = system_->log().first_index();
  while (next < view.end_index) {
    std::vector<wal::BatchRef> batches;
    if (auto ok = reader.read(next, kReplayBytes, batches); !ok) return ok;
    if (batches.empty()) return error(Code::failed, "nothing could be read at batch " + std::to_string(next.value));
    for (const wal::BatchRef& batch : batches) {
      const auto place = "batch " + std::to_string(batch.index.value);
      auto header = wal::decode_batch(batch.bytes);
      if (!header) return std::unexpected(std::move(header.error()).at(place));
      if (auto ok = apply(*header, batch.bytes); !ok) return std::unexpected(std::move(ok.error()).at(place));
      next = batch.index + 1;
    }
  }
  return {};
}

Result<void> Catalogue::apply(const wal::BatchHeader& header, ByteView batch) {
  if (header.kind != wal::BatchKind::catalogue) {
    if (!wal::is_critical(header.kind)) return {};
    return error(Code::invalid, "a batch of " + wal::describe(header.kind) + ", which this release does not know here");
  }
  auto change = decode_catalogue_change(batch.subspan(wal::kBatchHeaderBytes, header.body_bytes));
  if (!change) return std::unexpected(std::move(change.error()));
  CatalogueEntry& entry = change->entry;
  id_next_ = std::max(id_next_, entry.id.value + 1);
  if (change->operation == CatalogueChange::Operation::remove) {
    const auto at = known_.find(entry.name);
    if (at == known_.end() || at->second.entry.uuid != entry.uuid) {
      return error(Code::corrupt, "it deletes a log \"" + entry.name + "\" that is not there");
    }
    known_.erase(at);
    deleted_.insert(entry.uuid);
    return {};
  }
  Known& known = known_[entry.name];
  known.entry = std::move(entry);
  known.state = Known::State::there;
  return {};
}

// What a removal left behind that the end of the process cut off. What belongs to no log that ever was in the catalogue
// is not touched: it is for people to judge.
void Catalogue::remove_leftovers() {
  for (const Uuid& log : deleted_) remove_files(log);
  const auto entries = logs_->list();
  if (!entries) return;  // the next start looks again
  for (const wal::DirectoryEntry& entry : *entries) {
    const auto uuid = parse_uuid(entry.name);
    const auto is_its = [&](const auto& known) { return uuid && known.second.entry.uuid == *uuid; };
    const bool is_deleted = uuid && deleted_.contains(*uuid);
    if (!is_deleted && uuid != cluster_ && std::ranges::none_of(known_, is_its)) {
      findings_.push_back("logs/" + entry.name + " belongs to no log of the catalogue; it is left as it is");
    }
  }
  deleted_.clear();
}

Replica* Catalogue::find(std::string_view name) {
  if (name == kSystemName) return system_.get();
  const auto at = known_.find(name);
  return at == known_.end() ? nullptr : at->second.replica.get();
}

const CatalogueEntry* Catalogue::entry(std::string_view name) const {
  const auto at = known_.find(name);
  return at == known_.end() || at->second.state == Known::State::making ? nullptr : &at->second.entry;
}

Result<Replica*> Catalogue::open_log(std::string_view name) {
  const auto at = known_.find(name);
  if (at == known_.end() || at->second.state == Known::State::making) return std::unexpected(no_such_log(name));
  Known& known = at->second;
  if (known.replica == nullptr) {
    if (known.state == Known::State::removing) return std::unexpected(log_deleted(name));
    auto replica = open_replica(known.entry);
    if (!replica) return std::unexpected(std::move(replica.error()));
    known.replica = std::move(*replica);
  }
  return known.replica.get();
}

const CatalogueEntry* Catalogue::entry_from(std::string_view name) const {
  for (auto at = known_.lower_bound(name); at != known_.end(); ++at) {
    if (at->second.state != Known::State::making) return &at->second.entry;
  }
  return nullptr;
}

void Catalogue::append(const CatalogueChange& change, wal::Use use, Replica::Answer answer) {
  auto batch = wal::make_control_batch(LogId(0), wal::BatchKind::catalogue, encode(change));
  const auto header = wal::decode_unstamped_batch(batch);
  CHECK(header.has_value());
  system_->append(batch, *header, {.use = use}, std::move(answer));
}

// --- Making -----------------------------------------------------------------------------------------------------------

void Catalogue::create(CatalogueEntry entry, Made made) {
  if (!known_.contains(entry.name) && known_.size() >= kLogsMax) {
    return made(error(Code::over_limit, "log \"" + entry.name + "\": this node has " + std::to_string(kLogsMax) +
                                            " logs, the most that it can have. Delete some."));
  }
  auto [at, is_new] = known_.try_emplace(entry.name);
  Known& known = at->second;
  if (is_new) {
    entry.id = LogId(id_next_++);
    entry.uuid = random_uuid(shard_.rng());
    known.entry = std::move(entry);
    known.makers.push_back(std::move(made));
    return append({CatalogueChange::Operation::create, known.entry}, wal::Use::data,
                  [this, name = at->first](Result<Committed> result) { on_create_answered(name, result); });
  }
  switch (known.state) {
    case Known::State::making: known.makers.push_back(std::move(made)); return;
    case Known::State::removing: known.remakers.emplace_back(std::move(entry), std::move(made)); return;
    case Known::State::there: break;
  }
  const auto replica = open_log(at->first);
  if (!replica) return made(std::unexpected(replica.error()));
  made(MadeLog{.replica = *replica, .is_new = false});
}

void Catalogue::on_create_answered(const std::string& name, const Result<Committed>& result) {
  const auto at = known_.find(name);
  CHECK(at != known_.end());
  Known& known = at->second;
  const std::vector<Made> makers = std::exchange(known.makers, {});
  if (!result) {
    known_.erase(at);
    for (const Made& made : makers) made(std::unexpected(result.error()));
    return;
  }
  known.state = Known::State::there;
  if (auto replica = open_replica(known.entry, true)) {
    known.replica = std::move(*replica);
    bool is_new = true;  // for the first, whose call it was
    for (const Made& made : makers) made(MadeLog{known.replica.get(), std::exchange(is_new, false)});
    return;
  } else {
    // It is in the catalogue, and its files are not to be had (a full disk): out it goes again, so that who is told
    // "no" finds no log.
    known.removers.push_back([makers, why = std::move(replica.error())](const Result<void>&) {
      for (const Made& made : makers) made(std::unexpected(why));
    });
    start_removal(at);
  }
}

// --- Removing ---------------------------------------------------------------------------------------------------------

void Catalogue::remove(std::string_view name, const Uuid& uuid, Removed removed) {
  const auto at = known_.find(name);
  if (at == known_.end() || at->second.state == Known::State::making ||
      (!uuid.is_none() && at->second.entry.uuid != uuid)) {
    return removed(std::unexpected(no_such_log(name)));
  }
  at->second.removers.push_back(std::move(removed));
  if (at->second.state == Known::State::there) start_removal(at);
}

void Catalogue::start_removal(KnownAt at) {
  at->second.state = Known::State::removing;
  append({CatalogueChange::Operation::remove, at->second.entry}, wal::Use::control,
         [this, name = at->first](Result<Committed> result) { on_remove_answered(name, result); });
}

void Catalogue::on_remove_answered(const std::string& name, const Result<Committed>& result) {
  const auto at = known_.find(name);
  CHECK(at != known_.end());
  if (!result) {
    Known& known = at->second;
    known.state = Known::State::there;
    const auto removers = std::exchange(known.removers, {});
    auto remakers = std::exchange(known.remakers, {});
    for (const Removed& removed : removers) removed(std::unexpected(result.error()));
    for (auto& [entry, made] : remakers) create(std::move(entry), std::move(made));
    return;
  }
  Known known = std::move(known_.extract(at).mapped());
  if (known.replica != nullptr) {
    if (removed_handler_) removed_handler_(*known.replica);
    known.replica->abandon(log_deleted(name));
    known.replica.reset();
  }
  remove_files(known.entry.uuid);
  for (const Removed& removed : known.removers) removed({});
  for (auto& [entry, made] : known.remakers) create(std::move(entry), std::move(made));
}

// The files go on the background thread; a segment that was being made there when the log went may appear once more,
// so the folder is looked at again until it is empty. What is left in the end is found by the next start.
void Catalogue::remove_files(const Uuid& log) {
  if (shard_.hard_state().find(log)) (void)shard_.hard_state().remove(log, [] {});
  auto opened = logs_->subdirectory(to_string(log), false);
  if (!opened) return;
  const auto removal = std::make_shared<Removal>();
  removal->log = log;
  removal->directory = std::move(*opened);
  remove_some(removal, 0);
}

void Catalogue::remove_some(const std::shared_ptr<Removal>& removal, std::uint64_t delay_us) {
  shard_.disk().background(
      delay_us, [removal] { return removal->remove_some(); },
      [this, alive = alive_, removal](Result<void> removed) {
        if (!*alive) return;
        if (removed && !removal->left.empty()) return remove_some(removal, 0);
        if (removed) removed = logs_->remove(to_string(removal->log));
        if (removed) return;
        removal->listed = false;
        if (--removal->tries_left > 0) return remove_some(removal, kRemoveRetryUs);
        if (!left_behind_handler_) return;
        left_behind_handler_(std::move(removed.error())
                                 .at("logs/" + to_string(removal->log) +
                                     ", of a deleted log, is left until "
                                     "the next start"));
      });
}

std::vector<const CatalogueEntry*> Catalogue::list() const {
  std::vector<const CatalogueEntry*> entries;
  for (const auto& [name, known] : known_) {
    if (known.state != Known::State::making) entries.push_back(&known.entry);
  }
  return entries;
}

bool Catalogue::busy() const {
  if (system_->busy()) return true;
  return std::ranges::any_of(known_, [](const auto& known) {
    return known.second.replica != nullptr && known.second.replica->busy();
  });
}

}  // namespace walraft::replication
