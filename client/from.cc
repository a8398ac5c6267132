// From::parse(): the ways to write where to start.
#include <charconv>
#include <chrono>
#include <cstdio>

#include "client/client.h"

namespace walraft {
namespace {

bool parse_number(std::string_view text, std::uint64_t& value) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end == text.data() + text.size() && !text.empty();
}

// Exactly `digits` digits at the front, taken off.
bool take_digits(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) return false;
  value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// RFC 3339: 2026-11-23T10:00:00[.fraction](Z|+hh:mm|-hh:mm)
std::optional<std::int64_t> parse_time(std::string_view text) {
  int year, month, day, hour, minute, second;
  if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, month) || !take(text, '-') ||
      !take_digits(text, 2, day) || !(take(text, 'T') || take(text, 't') || take(text, ' ')) ||
      !take_digits(text, 2, hour) || !take(text, ':') || !take_digits(text, 2, minute) || !take(text, ':') ||
      !take_digits(text, 2, second)) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  std::int64_t fraction_us = 0;
  if (take(text, '.')) {
    std::int64_t unit = 100'000;
    std::size_t digits = 0;
    for (int digit; take_digits(text, 1, digit); ++digits, unit /= 10) fraction_us += digit * unit;
    if (digits == 0) return std::nullopt;
  }
  int zone_minutes = 0;
  if (!take(text, 'Z') && !take(text, 'z')) {
    const bool east = take(text, '+');
    int hours, minutes;
    if ((!east && !take(text, '-')) || !take_digits(text, 2, hours) || !take(text, ':') ||
        !take_digits(text, 2, minutes) || hours > 23 || minutes > 59) {
      return std::nullopt;
    }
    zone_minutes = (hours * 60 + minutes) * (east ? 1 : -1);
  }
  if (!text.empty()) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = (std::int64_t{days} * 24 + hour) * 3600 + (minute - zone_minutes) * 60 + second;
  return seconds * 1'000'000 + fraction_us;
}

}  // namespace

Result<From> From::parse(std::string_view text) {
  std::uint64_t value = 0;
  if (text == "earliest") return earliest();
  if (text == "latest") return latest();
  if (text.starts_with("-") && parse_number(text.substr(1), value)) return last(value);
  if (text.starts_with("@")) {
    if (const auto at = parse_time(text.substr(1))) return time(*at);
  } else if (parse_number(text, value)) {
    return offset(Offset(value));
  }
  return error(Code::invalid, "\"" + std::string(text) +
                                  "\" is no place to start from: an offset, earliest, latest, -N (the last N records) or "
                                  "@TIME (RFC 3339 with a zone, like @2026-11-23T10:00:00Z)");
}

}  // namespace walraft
