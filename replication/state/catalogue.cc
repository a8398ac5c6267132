#include "replication/state/catalogue.h"

#include <algorithm>
#include <cstring>

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

constexpr std::string_view kSystemName = "_system";
constexpr std::uint16_t kVersion = 1;
constexpr std::uint16_t kOperationCreate = 1;
constexpr std::uint16_t kKeySegmentBytes = 0x8001;
constexpr std::uint16_t kKeyRecordBytesMax = 0x8002;
constexpr std::size_t kFixedBytes = 8 + 8 + 16;
constexpr std::size_t kOptionBytes = 2 + 8;
constexpr std::size_t kReplayBytes = 1u << 20;

}  // namespace

std::vector<std::byte> encode(const CatalogueEntry& entry) {
  std::vector<std::pair<std::uint16_t, std::uint64_t>> options;
  if (entry.segment_bytes != 0) options.emplace_back(kKeySegmentBytes, entry.segment_bytes);
  if (entry.record_bytes_max != 0) options.emplace_back(kKeyRecordBytesMax, entry.record_bytes_max);
  std::vector<std::byte> body(kFixedBytes + entry.name.size() + options.size() * kOptionBytes);
  std::byte* at = body.data();
  store_le(at, kVersion);
  store_le(at + 2, kOperationCreate);
  store_le(at + 4, static_cast<std::uint16_t>(entry.name.size()));
  store_le(at + 6, static_cast<std::uint16_t>(options.size()));
  store_le(at + 8, entry.id.value);
  std::memcpy(at + 16, entry.uuid.bytes.data(), entry.uuid.bytes.size());
  std::memcpy(at + kFixedBytes, entry.name.data(), entry.name.size());
  at += kFixedBytes + entry.name.size();
  for (const auto& [key, value] : options) {
    store_le(at, key);
    store_le(at + 2, value);
    at += kOptionBytes;
  }
  return body;
}

Result<CatalogueEntry> decode_catalogue_entry(ByteView body) {
  if (body.size() < kFixedBytes) return error(Code::corrupt, "the catalogue entry is cut short");
  const std::byte* at = body.data();
  if (load_le<std::uint16_t>(at) != kVersion) return error(Code::invalid, "a newer release wrote this catalogue entry");
  if (load_le<std::uint16_t>(at + 2) != kOperationCreate) {
    return error(Code::invalid, "the catalogue entry has an operation unknown to this release");
  }
  const std::size_t name_bytes = load_le<std::uint16_t>(at + 4);
  const std::size_t option_count = load_le<std::uint16_t>(at + 6);
  if (body.size() != kFixedBytes + name_bytes + option_count * kOptionBytes) {
    return error(Code::corrupt, "the catalogue entry's lengths contradict each other");
  }
  CatalogueEntry entry;
  entry.id = LogId(load_le<std::uint64_t>(at + 8));
  std::memcpy(entry.uuid.bytes.data(), at + 16, entry.uuid.bytes.size());
  entry.name = std::string(text_of(body.subspan(kFixedBytes, name_bytes)));
  if (entry.name.empty() || entry.id.value == 0) return error(Code::corrupt, "the catalogue entry has no name or no id");
  at += kFixedBytes + name_bytes;
  for (std::size_t i = 0; i < option_count; ++i, at += kOptionBytes) {
    const auto key = load_le<std::uint16_t>(at);
    const auto value = load_le<std::uint64_t>(at + 2);
    if (key == kKeySegmentBytes) {
      entry.segment_bytes = value;
    } else if (key == kKeyRecordBytesMax) {
      if (value > wal::kRecordBytesMax) return error(Code::corrupt, "the catalogue entry has an impossible record limit");
      entry.record_bytes_max = static_cast<std::uint32_t>(value);
    } else if ((key & 0x8000) != 0) {
      return error(Code::invalid, "log \"" + entry.name + "\" has option " + std::to_string(key) +
                                      ", which this release does not know. Use the release that made it.");
    }
  }
  return entry;
}

Catalogue::Catalogue(Shard& shard, std::unique_ptr<wal::Directory> logs, const Uuid& cluster,
                     const wal::LogOptions& options)
    : shard_(shard), logs_(std::move(logs)), cluster_(cluster), options_(options) {}

Catalogue::~Catalogue() = default;

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
  return catalogue;
}

Result<std::unique_ptr<Replica>> Catalogue::open_replica(const CatalogueEntry& entry, bool is_new) {
  const auto place = "log \"" + entry.name + "\"";
  auto directory = logs_->subdirectory(to_string(entry.uuid), true);
  if (!directory) return std::unexpected(std::move(directory.error()).at(place));
  if (auto ok = logs_->sync(); !ok) return std::unexpected(std::move(ok.error()).at(place));
  wal::LogOptions options = options_;
  if (entry.segment_bytes != 0) options.segment_bytes = entry.segment_bytes;
  options.first_segment_bytes = std::min(options.first_segment_bytes, options.segment_bytes);
  options.durable_is_commit = true;  // one voter
  options.is_new = is_new;
  const wal::LogIdentity identity{.cluster = cluster_, .log = entry.uuid, .id = entry.id};
  auto log = wal::Log::open(std::move(*directory), identity, options, shard_.hard_state(), shard_.disk(),
                            shard_.clock(), shard_.rng());
  if (!log) return std::unexpected(std::move(log.error()).at(place));
  for (const auto& finding : (*log)->recovery().findings) findings_.push_back(place + ": " + finding.text);
  return std::make_unique<Replica>(shard_, entry.name, identity, entry.record_bytes_max, std::move(*log));
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
  auto entry = decode_catalogue_entry(batch.subspan(wal::kBatchHeaderBytes, header.body_bytes));
  if (!entry) return std::unexpected(std::move(entry.error()));
  id_next_ = std::max(id_next_, entry->id.value + 1);
  Known& known = known_[entry->name];
  known.entry = std::move(*entry);
  known.committed = true;
  return {};
}

Replica* Catalogue::find(std::string_view name) {
  if (name == kSystemName) return system_.get();
  const auto at = known_.find(name);
  return at == known_.end() ? nullptr : at->second.replica.get();
}

void Catalogue::create(CatalogueEntry entry, Made made) {
  auto [at, is_new] = known_.try_emplace(entry.name);
  Known& known = at->second;
  if (!is_new && !known.committed) {
    known.waiting.push_back(std::move(made));
    return;
  }
  if (!is_new) {
    if (known.replica == nullptr) {
      auto replica = open_replica(known.entry);
      if (!replica) return made(std::unexpected(std::move(replica.error())));
      known.replica = std::move(*replica);
    }
    return made(known.replica.get());
  }
  entry.id = LogId(id_next_++);
  entry.uuid = random_uuid(shard_.rng());
  auto batch = wal::make_control_batch(LogId(0), wal::BatchKind::catalogue, encode(entry));
  const auto header = wal::decode_unstamped_batch(batch);
  CHECK(header.has_value());
  const std::string name = entry.name;
  known.entry = std::move(entry);
  known.waiting.push_back(std::move(made));
  system_->append(batch, *header, {}, [this, name](Result<Committed> result) { on_created(name, result); });
}

void Catalogue::on_created(const std::string& name, const Result<Committed>& result) {
  const auto at = known_.find(name);
  CHECK(at != known_.end());
  Known& known = at->second;
  std::vector<Made> waiting = std::move(known.waiting);
  known.waiting.clear();
  if (!result) {
    known_.erase(at);
    for (const Made& made : waiting) made(std::unexpected(result.error()));
    return;
  }
  known.committed = true;
  auto replica = open_replica(known.entry, true);
  if (!replica) {
    for (const Made& made : waiting) made(std::unexpected(replica.error()));
    return;
  }
  known.replica = std::move(*replica);
  for (const Made& made : waiting) made(known.replica.get());
}

std::vector<const CatalogueEntry*> Catalogue::list() const {
  std::vector<const CatalogueEntry*> entries;
  for (const auto& [name, known] : known_) {
    if (known.committed) entries.push_back(&known.entry);
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
