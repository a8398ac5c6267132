// When the disk will be full.
#include "tools/space_forecast.h"

#include <gtest/gtest.h>

namespace walraft {
namespace {

constexpr std::uint64_t kSecondUs = 1'000'000;

TEST(SpaceForecast, SaysNothingTooEarly) {
  SpaceForecast forecast;
  EXPECT_EQ(forecast.hours_until_full(), std::nullopt);
  for (std::uint64_t s = 0; s < 59; ++s) forecast.add(s * kSecondUs, 1'000'000 - s * 1'000);
  EXPECT_EQ(forecast.hours_until_full(), std::nullopt);
}

TEST(SpaceForecast, GoesByThePaceOfTheWindow) {
  SpaceForecast forecast;
  for (std::uint64_t s = 0; s <= 100; ++s) forecast.add(s * kSecondUs, 360'100 - s);
  EXPECT_EQ(forecast.hours_until_full(), 100u);
  // Then space comes back: nothing is to be foreseen.
  forecast.add(200 * kSecondUs, 400'000);
  EXPECT_EQ(forecast.hours_until_full(), std::nullopt);
}

TEST(SpaceForecast, ForgetsWhatLiesFarBack) {
  SpaceForecast forecast;
  const std::uint64_t steps = SpaceForecast::kSamplesMax + 10;
  forecast.add(0, 0);  // a disk that was full once
  for (std::uint64_t i = 1; i <= steps; ++i) forecast.add(i * SpaceForecast::kSampleUs, 36'000'000 - i * 10);
  EXPECT_EQ(forecast.hours_until_full(), (36'000'000 - steps * 10) / 3'600);
}

}  // namespace
}  // namespace walraft
