#include "wal/base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace walraft {

std::uint32_t crc32c(ByteView bytes) { return crc32c_extend(0, bytes); }

std::uint32_t crc32c_extend(std::uint32_t crc, ByteView bytes) {
  // crc32_iscsi takes its length as an int and neither inverts its start value nor its result.
  constexpr std::size_t kPieceBytes = std::size_t{1} << 30;
  std::uint32_t state = ~crc;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kPieceBytes);
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(n), state);
    bytes = bytes.subspan(n);
  }
  return ~state;
}

}  // namespace walraft
