#pragma once

// Chance in the simulator: everything random there comes from a seed, so that a run can be repeated.
// xoshiro256** (Blackman and Vigna, 2018), its state filled by splitmix64.

#include <array>
#include <bit>
#include <cstdint>

#include "wal/base/check.h"
#include "wal/base/clock.h"

namespace walraft::sim {

// One step of splitmix64: a good 64-bit mixing of `value`, for hashes and seeds.
constexpr std::uint64_t mix64(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// The same seed gives the same numbers for ever. A copy continues from where the original stands.
class SimRng final : public Rng {
 public:
  explicit SimRng(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      word = mix64(seed);
      seed += 0x9e3779b97f4a7c15;
    }
  }

  std::uint64_t next() override {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Uniform over [0, bound).
  std::uint64_t below(std::uint64_t bound) {
    CHECK(bound > 0);
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // Uniform over [low, high], both included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    CHECK(low <= high, low, high);
    return high - low == ~std::uint64_t{0} ? next() : low + below(high - low + 1);
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace walraft::sim
