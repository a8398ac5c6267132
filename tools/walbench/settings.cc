#include "tools/walbench/settings.h"

#include <charconv>
#include <cmath>
#include <sstream>

#include "tools/units.h"
#include "tools/walbench/append_load.h"

namespace walraft::walbench {
namespace {

constexpr std::uint64_t kRecordBytesMax = 8u << 20;

Result<std::uint64_t> parse_count(const std::string& option, const std::string& text, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc() && end == text.data() + text.size() && value >= 1 && value <= max) return value;
  return error(Code::usage,
               option + ": \"" + text + "\" is not allowed; it must be a number from 1 to " + std::to_string(max));
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Result<double> parse_rate(const std::string& text) {
  if (text.empty()) return 0.0;
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc() && end == text.data() + text.size() && value > 0 && value <= 1e9) return value;
  return error(Code::usage,
               "--rate: \"" + text + "\" is not allowed; it must be records a second, more than 0, at most 1e9");
}

}  // namespace

Result<std::vector<std::uint64_t>> parse_sizes(const std::string& option, const std::string& text, std::uint64_t min,
                                               std::uint64_t max) {
  std::vector<std::uint64_t> sizes;
  for (const std::string& part : split_at_commas(text)) {
    const auto size = parse_bytes(part);
    if (!size) return std::unexpected(Error(size.error()).at(option));
    if (*size < min || *size > max) {
      return error(Code::usage, option + ": \"" + part + "\" is not allowed; it must be from " + std::to_string(min) +
                                    " to " + std::to_string(max) + " bytes");
    }
    sizes.push_back(*size);
  }
  if (sizes.empty()) return error(Code::usage, option + ": is empty; it must be sizes like 32,256,1KiB");
  return sizes;
}

Result<std::vector<Work>> cells_of(const Arguments& arguments) {
  Work work;
  work.command = arguments.command;
  const auto rate = parse_rate(arguments.rate);
  if (!rate) return std::unexpected(rate.error());
  work.rate = *rate;
  const auto duration = parse_duration(arguments.duration);
  if (!duration) return std::unexpected(Error(duration.error()).at("--duration"));
  work.duration = *duration;
  if (arguments.warmup != "0" && arguments.warmup != "0s") {
    const auto warmup = parse_duration(arguments.warmup);
    if (!warmup) return std::unexpected(Error(warmup.error()).at("--warmup"));
    work.warmup = *warmup;
  } else {
    work.warmup = {};
  }
  const auto connections = parse_count("--connections", arguments.connections, 256);
  if (!connections) return std::unexpected(connections.error());
  work.connections = static_cast<std::uint32_t>(*connections);
  const auto readers = parse_count("--readers", arguments.readers, 64);
  if (!readers) return std::unexpected(readers.error());
  work.readers = static_cast<std::uint32_t>(*readers);
  if (!arguments.batch_bytes.empty()) {
    const auto batch = parse_sizes("--batch-bytes", arguments.batch_bytes, 1, kRecordBytesMax);
    if (!batch) return std::unexpected(batch.error());
    if (batch->size() != 1) return error(Code::usage, "--batch-bytes takes one size");
    work.batch_bytes = static_cast<std::uint32_t>(batch->front());
  }
  const auto fill = parse_sizes("--fill", arguments.fill, 1, std::uint64_t{1} << 40);
  if (!fill) return std::unexpected(fill.error());
  if (fill->size() != 1) return error(Code::usage, "--fill takes one size");
  work.fill_bytes = fill->front();

  // A record of tail carries the time at which its append started.
  const auto sizes = parse_sizes("--size", arguments.size, work.command == "tail" ? kStampBytes : 1, kRecordBytesMax);
  if (!sizes) return std::unexpected(sizes.error());
  std::vector<std::uint64_t> inflights;
  for (const std::string& part : split_at_commas(arguments.inflight)) {
    const auto count = parse_count("--inflight", part, 8192);
    if (!count) return std::unexpected(count.error());
    inflights.push_back(*count);
  }
  if (inflights.empty()) return error(Code::usage, "--inflight: is empty; it must be numbers like 1,64,1024");
  if (work.rate > 0) inflights = {0};
  if (work.command == "read") inflights = {1};

  std::vector<Work> cells;
  for (const std::uint64_t size : *sizes) {
    for (const std::uint64_t inflight : inflights) {
      work.size = static_cast<std::uint32_t>(size);
      work.inflight = static_cast<std::uint32_t>(inflight);
      if (work.command != "read" && work.records_per_append() > 65'536) {
        return error(Code::usage, "--batch-bytes: " + std::to_string(work.records_per_append()) + " records of " +
                                      std::to_string(size) + " bytes; a batch takes 65536 at most");
      }
      cells.push_back(work);
    }
  }
  return cells;
}

}  // namespace walraft::walbench
