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

std::string to_string(const Digest& digest) {
  std::string out;
  append_hex(out, digest.high);
  append_hex(out, digest.low);
  return out;
}

}  // namespace walraft
