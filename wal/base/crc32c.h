#pragma once

// CRC-32C (Castagnoli, as in RFC 3720 appendix B.4): crc32c("123456789") == 0xe3069283.
// Any thread. Runs at memory speed (ISA-L).

#include <cstdint>

#include "wal/base/bytes.h"

namespace walraft {

std::uint32_t crc32c(ByteView bytes);

// The CRC of what `crc` covers followed by `bytes`.
std::uint32_t crc32c_extend(std::uint32_t crc, ByteView bytes);

}  // namespace walraft
