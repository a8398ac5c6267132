#include "tools/walbench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace walraft::walbench {

// Values below 2^kSubBits have a bucket each; every power of two above is cut into 2^kSubBits.
Histogram::Histogram() : counts_((64 - kSubBits + 1) << kSubBits) {}

std::size_t Histogram::bucket_of(std::uint64_t value) {
  if (value < 1u << kSubBits) return static_cast<std::size_t>(value);
  const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
  return (std::size_t{shift + 1} << kSubBits) + static_cast<std::size_t>(value >> shift) - (1u << kSubBits);
}

std::uint64_t Histogram::last_of(std::size_t bucket) {
  if (bucket < 1u << kSubBits) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket >> kSubBits) - 1;
  const std::uint64_t top = (bucket & ((1u << kSubBits) - 1)) + (1u << kSubBits);
  return (top << shift) + ((std::uint64_t{1} << shift) - 1);
}

void Histogram::record(std::uint64_t value, std::uint64_t times) {
  counts_[bucket_of(value)] += times;
  count_ += times;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value) * static_cast<double>(times);
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

std::uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const double exact = std::ceil(percent / 100.0 * static_cast<double>(count_));
  const std::uint64_t wanted = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(exact), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(last_of(i), max_);
  }
  return max_;
}

}  // namespace walraft::walbench
