#include "wal/base/clock.h"

#include <sys/random.h>
#include <time.h>

#include "wal/base/bytes.h"
#include "wal/base/check.h"

namespace walraft {
namespace {

std::int64_t read_us(clockid_t id) {
  timespec now{};
  CHECK(clock_gettime(id, &now) == 0);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

class SystemClock final : public Clock {
 public:
  std::uint64_t monotonic_us() override { return static_cast<std::uint64_t>(read_us(CLOCK_MONOTONIC)); }
  std::int64_t wall_us() override { return read_us(CLOCK_REALTIME); }
};

class SystemRng final : public Rng {
 public:
  std::uint64_t next() override {
    std::uint64_t value = 0;
    CHECK(getrandom(&value, sizeof(value), 0) == sizeof(value));  // <= 256 bytes never fall short
    return value;
  }
};

}  // namespace

Uuid random_uuid(Rng& rng) {
  Uuid uuid;
  do {
    for (std::size_t i = 0; i < uuid.bytes.size(); i += 8) {
      store_le(reinterpret_cast<std::byte*>(uuid.bytes.data()) + i, rng.next());
    }
    uuid.bytes[6] = static_cast<std::uint8_t>((uuid.bytes[6] & 0x0f) | 0x40);  // RFC 4122 version 4
    uuid.bytes[8] = static_cast<std::uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
  } while (uuid.is_none());
  return uuid;
}

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

Rng& system_rng() {
  static SystemRng rng;
  return rng;
}

}  // namespace walraft
