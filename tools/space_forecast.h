#pragma once

// When the disk will be full, if it goes on as it did. Thread: one at a time.

#include <cstdint>
#include <deque>
#include <optional>

namespace walraft {

class SpaceForecast {
 public:
  static constexpr std::uint64_t kSampleUs = 10'000'000;        // between two samples that count
  static constexpr std::uint64_t kLeastUs = 60'000'000;         // watched before anything is said
  static constexpr std::size_t kSamplesMax = 1'440;             // four hours: looked back at most

  // Free bytes at a time of the monotonic clock.
  void add(std::uint64_t now_us, std::uint64_t free_bytes);
  // Until nothing is free, at the pace of the window; nothing if space is not getting less, or it is too early to say.
  std::optional<std::uint64_t> hours_until_full() const;

 private:
  struct Sample {
    std::uint64_t at_us = 0;
    std::uint64_t free_bytes = 0;
  };
  std::deque<Sample> samples_;  // oldest first; the last one is replaced until kSampleUs have passed
};

}  // namespace walraft
