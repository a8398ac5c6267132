#include "tools/space_forecast.h"

namespace walraft {

void SpaceForecast::add(std::uint64_t now_us, std::uint64_t free_bytes) {
  const auto is_fresh = [&](const Sample& sample) { return now_us - sample.at_us < kSampleUs; };
  if (samples_.size() >= 2 && is_fresh(samples_[samples_.size() - 2])) samples_.pop_back();
  samples_.push_back({now_us, free_bytes});
  if (samples_.size() > kSamplesMax) samples_.pop_front();
}

std::optional<std::uint64_t> SpaceForecast::hours_until_full() const {
  if (samples_.empty()) return std::nullopt;
  const Sample& first = samples_.front();
  const Sample& last = samples_.back();
  const std::uint64_t passed_us = last.at_us - first.at_us;
  if (passed_us < kLeastUs || last.free_bytes >= first.free_bytes) return std::nullopt;
  const double bytes_an_hour =
      static_cast<double>(first.free_bytes - last.free_bytes) * 3.6e9 / static_cast<double>(passed_us);
  return static_cast<std::uint64_t>(static_cast<double>(last.free_bytes) / bytes_an_hour);
}

}  // namespace walraft
