#pragma once

// Counts of values in buckets that grow with the value: each is at most 1/128 of its value wide, from 0 to 2^63, so
// that p99.99 of a long run costs 60 KiB and no sample is kept. (Debian 12 has such a histogram for Java and Go only.)
// Thread: one at a time; threads that record have one each, merged at the end.

#include <cstdint>
#include <vector>

namespace walraft::walbench {

class Histogram {
 public:
  Histogram();

  void record(std::uint64_t value, std::uint64_t times = 1);
  void merge(const Histogram& other);

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }  // exact
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  // The smallest value that `percent` of the values do not exceed, 0 < percent <= 100; at most 1/128 above the exact
  // one, never above max(). 0 if nothing was recorded.
  std::uint64_t percentile(double percent) const;

 private:
  static constexpr unsigned kSubBits = 7;
  static std::size_t bucket_of(std::uint64_t value);
  static std::uint64_t last_of(std::size_t bucket);  // the largest value in it

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace walraft::walbench
