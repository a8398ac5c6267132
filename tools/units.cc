#include "tools/units.h"

#include <charconv>

namespace walraft {
namespace {

// A number and its unit.
bool split(const std::string& text, std::uint64_t& number, std::string& unit) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end == text.data()) return false;
  unit.assign(end, static_cast<std::size_t>(text.data() + text.size() - end));
  return true;
}

}  // namespace

Result<std::uint64_t> parse_bytes(const std::string& text) {
  std::uint64_t number = 0;
  std::string unit;
  if (split(text, number, unit)) {
    const int shift = unit.empty() || unit == "B" ? 0
                      : unit == "KiB"             ? 10
                      : unit == "MiB"             ? 20
                      : unit == "GiB"             ? 30
                                                  : -1;
    if (shift >= 0 && number <= UINT64_MAX >> shift) return number << shift;
  }
  return error(Code::usage, "\"" + text + "\" is no size; it must be a number with B, KiB, MiB or GiB, like 4MiB");
}

Result<std::chrono::microseconds> parse_duration(const std::string& text) {
  std::uint64_t number = 0;
  std::string unit;
  if (split(text, number, unit)) {
    const std::int64_t factor = unit == "ms"  ? 1'000
                                : unit == "s" ? 1'000'000
                                : unit == "m" ? 60'000'000
                                : unit == "h" ? 3'600'000'000
                                : unit == "d" ? 86'400'000'000
                                              : 0;
    if (factor > 0 && number > 0 && number <= 365ull * 86'400'000'000 / static_cast<std::uint64_t>(factor)) {
      return std::chrono::microseconds(static_cast<std::int64_t>(number) * factor);
    }
  }
  return error(Code::usage, "\"" + text + "\" is no duration; it must be a number with ms, s, m, h or d, like 5s");
}

}  // namespace walraft
