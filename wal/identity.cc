#include "wal/identity.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"

namespace walraft::wal {
namespace {

constexpr std::string_view kFirstLine = "walraft data directory, format ";
constexpr std::size_t kCrcLine = 16;  // "crc32c 89abcdef\n"
constexpr std::size_t kCovered = kBlockBytes - kCrcLine;
constexpr std::size_t kNameBytesMax = 128;
constexpr std::int64_t kCreatedMax = 253'402'300'799'999'999;

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string crc_line(ByteView copy) {
  char line[kCrcLine + 1];
  std::snprintf(line, sizeof(line), "crc32c %08x\n", crc32c(copy.first(kCovered)));
  return line;
}

// Takes the line that begins with `word` off the front of `text`; false if it is not there.
bool take_line(std::string_view& text, std::string_view word, std::string_view& rest) {
  const std::size_t end = text.find('\n');
  if (!text.starts_with(word) || end == text.npos) return false;
  rest = text.substr(word.size(), end - word.size());
  text.remove_prefix(end + 1);
  return true;
}

bool parse_number(std::string_view text, std::uint64_t& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc{} && end == text.data() + text.size();
}

bool take_uuid(std::string_view text, Uuid& uuid) {
  const auto parsed = parse_uuid(text);
  if (parsed) uuid = *parsed;
  return parsed.has_value();
}

// Lenient: decode_identity() compares with what encode_identity() would have written.
bool parse_time(std::string_view text, std::int64_t& us) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int micro = 0;
  const std::string line(text.substr(0, 64));
  if (std::sscanf(line.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d.%6dZ", &year, &month, &day, &hour, &minute, &second, &micro) !=
      7) {
    return false;
  }
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return false;
  us = duration_cast<microseconds>(sys_days(date).time_since_epoch()).count() +
       ((std::int64_t{hour} * 60 + minute) * 60 + second) * 1'000'000 + micro;
  return true;
}

std::string place(std::string_view name, int copy) {
  return std::string(name) + " copy " + std::to_string(copy + 1) + " of 2";
}

// What the two copies say; a missing or unreadable one is like a damaged one.
struct Copies {
  std::optional<Identity> copy[2];
};

Result<Copies> read_copies(File& file, std::string_view name) {
  Copies copies;
  for (const int i : {0, 1}) {
    std::vector<std::byte> bytes(kBlockBytes);
    const auto n = file.read(i * kBlockBytes, bytes);
    if (!n || *n != kBlockBytes) continue;
    auto identity = decode_identity(bytes);
    if (!identity) return std::unexpected(std::move(identity.error()).at(name));
    copies.copy[i] = std::move(*identity);
  }
  return copies;
}

}  // namespace

std::string format_time(std::int64_t us_since_1970) {
  using namespace std::chrono;
  const sys_time<microseconds> time{microseconds(us_since_1970)};
  const auto midnight = floor<days>(time);
  const year_month_day date(midnight);
  const auto rest = (time - midnight).count();
  char text[64];
  std::snprintf(text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(rest / 3'600'000'000), static_cast<int>(rest / 60'000'000 % 60),
                static_cast<int>(rest / 1'000'000 % 60), static_cast<int>(rest % 1'000'000));
  return text;
}

Result<void> check_identity(const Identity& identity) {
  const auto& name = identity.cluster_name;
  if (name.empty() || name.size() > kNameBytesMax || has_control_characters(name)) {
    return error(Code::invalid, "cluster.name must be 1 to 128 bytes without control characters");
  }
  if (identity.node == NodeId{}) return error(Code::invalid, "node.id must be 1..65535");
  if (identity.cluster.is_none() || identity.disk.is_none()) {
    return error(Code::invalid, "cluster and disk need a uuid");
  }
  if (identity.created_us < 0 || identity.created_us > kCreatedMax) {
    return error(Code::invalid, "the time of creation must lie in the years 1970 to 9999");
  }
  return {};
}

std::vector<std::byte> encode_identity(const Identity& identity) {
  CHECK(check_identity(identity).has_value(), identity.cluster_name);
  const std::string text = std::string(kFirstLine) + std::to_string(Identity::kFormat) + "\ncluster " +
                           to_string(identity.cluster) + " " + identity.cluster_name + "\nnode " +
                           std::to_string(identity.node.value) + "\ndisk " + to_string(identity.disk) + "\ncreated " +
                           format_time(identity.created_us) + "\n";
  std::vector<std::byte> copy(kBlockBytes);
  std::ranges::copy(bytes_of(text), copy.begin());
  const std::string line = crc_line(copy);
  std::ranges::copy(bytes_of(line), copy.begin() + kCovered);
  return copy;
}

Result<std::optional<Identity>> decode_identity(ByteView copy) {
  if (copy.size() != kBlockBytes || text_of(copy.subspan(kCovered)) != crc_line(copy)) return std::nullopt;
  std::string_view text = text_of(copy.first(kCovered));
  std::string_view rest;
  std::uint64_t number = 0;
  if (!take_line(text, kFirstLine, rest) || !parse_number(rest, number)) return std::nullopt;
  if (number > Identity::kFormat) {
    return error(Code::invalid, "the data directory was written by a newer release (format " + std::to_string(number) +
                                    "; this release reads format " + std::to_string(Identity::kFormat) +
                                    "). Run that release, or an even newer one");
  }
  Identity identity;
  if (!take_line(text, "cluster ", rest) || rest.size() < 38 || !take_uuid(rest.substr(0, 36), identity.cluster)) {
    return std::nullopt;
  }
  identity.cluster_name = rest.substr(37);
  if (!take_line(text, "node ", rest) || !parse_number(rest, number) || number > 65'535) return std::nullopt;
  identity.node = NodeId{static_cast<std::uint16_t>(number)};
  if (!take_line(text, "disk ", rest) || !take_uuid(rest, identity.disk)) return std::nullopt;
  if (!take_line(text, "created ", rest) || !parse_time(rest, identity.created_us)) return std::nullopt;
  if (!check_identity(identity) || !std::ranges::equal(copy, encode_identity(identity))) return std::nullopt;
  return identity;
}

Result<IdentityReading> read_identity(Directory& directory, std::string_view name) {
  auto file = directory.open(name, Access::read);
  if (!file) return std::unexpected(std::move(file.error()));
  auto copies = read_copies(**file, name);
  if (!copies) return std::unexpected(std::move(copies.error()));
  const auto& [first, second] = copies->copy;
  if (!first && !second) {
    return error(Code::corrupt,
                 directory.path() + "/" + std::string(name) +
                     ": both copies are damaged, so nobody can tell whose data this is. Restore the "
                     "file from a backup of this directory, or let the node join anew with an empty one");
  }
  if (first && second && *first != *second) {
    return error(Code::corrupt, directory.path() + "/" + std::string(name) +
                                    ": its two copies contradict each other (disk " + to_string(first->disk) + " and " +
                                    to_string(second->disk) + "); was one edited?");
  }
  IdentityReading reading;
  reading.identity = first ? *first : *second;
  for (const int i : {0, 1}) {
    if (!copies->copy[i]) reading.damage.push_back(place(name, i) + " is damaged; the other one is used");
  }
  return reading;
}

Result<void> repair_identity(Directory& directory, std::string_view name, const Identity& identity) {
  auto file = directory.open(name, Access::write);
  if (!file) return std::unexpected(std::move(file.error()));
  auto copies = read_copies(**file, name);
  if (!copies) return std::unexpected(std::move(copies.error()));
  const std::vector<std::byte> bytes = encode_identity(identity);
  for (const int i : {0, 1}) {
    if (copies->copy[i] == identity) continue;
    if (auto done = (*file)->write(i * kBlockBytes, bytes); !done) return done;
    if (auto done = (*file)->sync(); !done) return done;
  }
  return {};
}

Result<void> create_identity(Directory& directory, std::string_view name, const Identity& identity) {
  auto file = directory.create(name, Access::write);
  if (!file) return std::unexpected(std::move(file.error()));
  const std::vector<std::byte> bytes = encode_identity(identity);
  for (const int i : {0, 1}) {
    if (auto done = (*file)->write(i * kBlockBytes, bytes); !done) return done;
  }
  return (*file)->sync();
}

}  // namespace walraft::wal
