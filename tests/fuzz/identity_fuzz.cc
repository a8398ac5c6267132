// Arbitrary bytes as one copy of an identity: with bit 0 of the first byte they get the CRC line that they need to be
// looked at. What decodes must be exactly what encoding gives. Corpus: tests/data/fuzz/identity.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/identity.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace walraft;
  using namespace walraft::wal;
  if (size == 0) return 0;
  const bool fixes_crc = (data[0] & 1) != 0;
  std::vector<std::byte> copy(kBlockBytes);
  std::memcpy(copy.data(), data + 1, std::min(size - 1, copy.size()));
  if (fixes_crc) {
    char line[17];
    std::snprintf(line, sizeof(line), "crc32c %08x\n", crc32c(ByteView(copy).first(kBlockBytes - 16)));
    std::memcpy(copy.data() + kBlockBytes - 16, line, 16);
  }
  const auto identity = decode_identity(copy);
  if (identity && *identity) CHECK(std::ranges::equal(encode_identity(**identity), copy));
  return 0;
}
