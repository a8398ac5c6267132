#include "wal/base/ids.h"

namespace walraft {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

void append_hex(std::string& out, std::uint64_t value) {
  for (int shift = 60; shift >= 0; shift -= 4) out.push_back(kHexDigits[(value >> shift) & 15]);
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  std::string out;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    out.push_back(kHexDigits[uuid.bytes[i] >> 4]);
    out.push_back(kHexDigits[uuid.bytes[i] & 15]);
  }
  return out;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid;
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0 || digits == 2 * uuid.bytes.size()) return std::nullopt;
    std::uint8_t& byte = uuid.bytes[digits++ / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
  }
  if (digits != 2 * uuid.bytes.size() || to_string(uuid) != text) return std::nullopt;  // dashes in their places
  return uuid;
}

std::string to_string(const Digest& digest) {
  std::string out;
  append_hex(out, digest.high);
  append_hex(out, digest.low);
  return out;
}

}  // namespace walraft
