#include "tools/walbench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace walraft::walbench {
namespace {

// What percentile() approximates.
std::uint64_t exact_percentile(std::vector<std::uint64_t> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(at, 1) - 1];
}

TEST(Histogram, an_empty_one_is_all_zero) {
  const Histogram empty;
  EXPECT_EQ(empty.count(), 0u);
  EXPECT_EQ(empty.percentile(50), 0u);
  EXPECT_EQ(empty.max(), 0u);
  EXPECT_EQ(empty.mean(), 0);
}

TEST(Histogram, small_values_are_exact) {
  Histogram histogram;
  for (std::uint64_t i = 1; i <= 100; ++i) histogram.record(i);
  EXPECT_EQ(histogram.percentile(1), 1u);
  EXPECT_EQ(histogram.percentile(50), 50u);
  EXPECT_EQ(histogram.percentile(99), 99u);
  EXPECT_EQ(histogram.percentile(99.5), 100u);
  EXPECT_EQ(histogram.percentile(100), 100u);
  EXPECT_DOUBLE_EQ(histogram.mean(), 50.5);
}

TEST(Histogram, no_percentile_is_more_than_a_128th_above_the_exact_one_or_below_it) {
  std::mt19937_64 chance(7);
  for (int round = 0; round < 40; ++round) {
    Histogram histogram;
    std::vector<std::uint64_t> values;
    const unsigned bits = 1 + static_cast<unsigned>(chance() % 62);
    for (int i = 0; i < 1000; ++i) {
      values.push_back(chance() >> (chance() % (64 - bits) + 1));
      histogram.record(values.back());
    }
    for (const double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
      const std::uint64_t exact = exact_percentile(values, percent);
      const std::uint64_t approximate = histogram.percentile(percent);
      EXPECT_GE(approximate, exact) << percent;
      EXPECT_LE(approximate, exact + exact / 128) << percent;
    }
    EXPECT_EQ(histogram.max(), *std::max_element(values.begin(), values.end()));
  }
}

TEST(Histogram, holds_the_largest_value_there_is) {
  Histogram histogram;
  histogram.record(UINT64_MAX);
  histogram.record(0);
  EXPECT_EQ(histogram.percentile(100), UINT64_MAX);
  EXPECT_EQ(histogram.percentile(50), 0u);
}

TEST(Histogram, merged_ones_count_what_one_would_have_counted) {
  Histogram one, two, both;
  std::mt19937_64 chance(8);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = chance() >> (chance() % 60);
    (i % 3 == 0 ? one : two).record(value);
    both.record(value);
  }
  one.merge(two);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.max(), both.max());
  for (const double percent : {1.0, 50.0, 99.9}) EXPECT_EQ(one.percentile(percent), both.percentile(percent));
}

TEST(Histogram, times_counts_as_often) {
  Histogram histogram;
  histogram.record(10, 99);
  histogram.record(20);
  EXPECT_EQ(histogram.count(), 100u);
  EXPECT_EQ(histogram.percentile(99), 10u);
  EXPECT_EQ(histogram.percentile(99.5), 20u);
}

}  // namespace
}  // namespace walraft::walbench
