#include "replication/state/catalogue_change.h"

#include <cstring>
#include <limits>
#include <utility>

#include "wal/batch.h"

namespace walraft::replication {
namespace {

constexpr std::uint16_t kVersion = 1;
constexpr std::uint16_t kKeySegmentBytes = 0x8001;
constexpr std::uint16_t kKeyRecordBytesMax = 0x8002;
constexpr std::uint16_t kKeyReplicas = 0x8003;
constexpr std::uint16_t kKeyIsCritical = 0x8000;
constexpr std::size_t kFixedBytes = 8 + 8 + 16;
constexpr std::size_t kOptionBytes = 2 + 8;

using Options = std::vector<std::pair<std::uint16_t, std::uint64_t>>;

Options options_of(const CatalogueChange& change) {
  Options options;
  if (change.operation == CatalogueChange::Operation::remove) return options;
  const LogConfig& config = change.entry.config;
  if (config.segment_bytes != 0) options.emplace_back(kKeySegmentBytes, config.segment_bytes);
  if (config.record_bytes_max != 0) options.emplace_back(kKeyRecordBytesMax, config.record_bytes_max);
  if (config.replicas != 1) options.emplace_back(kKeyReplicas, config.replicas);
  return options;
}

Result<void> take_option(CatalogueEntry& entry, std::uint16_t key, std::uint64_t value) {
  const auto impossible = [&](const char* what) {
    return error(Code::corrupt, std::string("the catalogue entry has an impossible ") + what);
  };
  switch (key) {
    case kKeySegmentBytes: entry.config.segment_bytes = value; return {};
    case kKeyRecordBytesMax:
      if (value > wal::kRecordBytesMax) return impossible("record limit");
      entry.config.record_bytes_max = static_cast<std::uint32_t>(value);
      return {};
    case kKeyReplicas:
      if (value == 0 || value > std::numeric_limits<std::uint16_t>::max()) return impossible("number of replicas");
      entry.config.replicas = static_cast<std::uint32_t>(value);
      return {};
    default: break;
  }
  if ((key & kKeyIsCritical) == 0) return {};
  return error(Code::invalid, "log \"" + entry.name + "\" has option " + std::to_string(key) +
                                  ", which this release does not know. Use the release that made it.");
}

}  // namespace

std::vector<std::byte> encode(const CatalogueChange& change) {
  const CatalogueEntry& entry = change.entry;
  const Options options = options_of(change);
  std::vector<std::byte> body(kFixedBytes + entry.name.size() + options.size() * kOptionBytes);
  std::byte* at = body.data();
  store_le(at, kVersion);
  store_le(at + 2, static_cast<std::uint16_t>(change.operation));
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

Result<CatalogueChange> decode_catalogue_change(ByteView body) {
  if (body.size() < kFixedBytes) return error(Code::corrupt, "the catalogue entry is cut short");
  const std::byte* at = body.data();
  if (load_le<std::uint16_t>(at) != kVersion) return error(Code::invalid, "a newer release wrote this catalogue entry");
  CatalogueChange change;
  change.operation = static_cast<CatalogueChange::Operation>(load_le<std::uint16_t>(at + 2));
  if (change.operation != CatalogueChange::Operation::create && change.operation != CatalogueChange::Operation::remove) {
    return error(Code::invalid, "the catalogue entry has an operation unknown to this release");
  }
  const std::size_t name_bytes = load_le<std::uint16_t>(at + 4);
  const std::size_t option_count = load_le<std::uint16_t>(at + 6);
  if (body.size() != kFixedBytes + name_bytes + option_count * kOptionBytes) {
    return error(Code::corrupt, "the catalogue entry's lengths contradict each other");
  }
  CatalogueEntry& entry = change.entry;
  entry.id = LogId(load_le<std::uint64_t>(at + 8));
  std::memcpy(entry.uuid.bytes.data(), at + 16, entry.uuid.bytes.size());
  entry.name = std::string(text_of(body.subspan(kFixedBytes, name_bytes)));
  if (entry.name.empty() || entry.id.value == 0) return error(Code::corrupt, "the catalogue entry has no name or no id");
  at += kFixedBytes + name_bytes;
  for (std::size_t i = 0; i < option_count; ++i, at += kOptionBytes) {
    auto taken = take_option(entry, load_le<std::uint16_t>(at), load_le<std::uint64_t>(at + 2));
    if (!taken) return std::unexpected(std::move(taken.error()));
  }
  return change;
}

}  // namespace walraft::replication
