#pragma once

// What a server's log says of the connections that were refused: a flood of them makes few lines. Thread: one at a time.

#include <cstdint>
#include <optional>
#include <string>

namespace walraft {

class RefusalNotices {
 public:
  static constexpr std::uint64_t kRestUs = 10'000'000;  // between two lines, at least

  // How many were refused since the server's start, at a time of the monotonic clock: above limits.connections_max, and
  // for want of descriptors. The line to log now, if one is due: it counts what was refused since the last one.
  std::optional<std::string> look(std::uint64_t now_us, std::uint64_t over_limit, std::uint64_t no_descriptor);

 private:
  std::uint64_t over_limit_ = 0;  // that were said
  std::uint64_t no_descriptor_ = 0;
  std::optional<std::uint64_t> said_us_;
};

}  // namespace walraft
