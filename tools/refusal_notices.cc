#include "tools/refusal_notices.h"

#include <utility>

namespace walraft {

std::optional<std::string> RefusalNotices::look(std::uint64_t now_us, std::uint64_t over_limit,
                                                std::uint64_t no_descriptor) {
  if (over_limit == over_limit_ && no_descriptor == no_descriptor_) return std::nullopt;
  if (said_us_ && now_us - *said_us_ < kRestUs) return std::nullopt;
  said_us_ = now_us;
  const std::uint64_t limit = over_limit - std::exchange(over_limit_, over_limit);
  const std::uint64_t descriptors = no_descriptor - std::exchange(no_descriptor_, no_descriptor);
  return "connections refused: " + std::to_string(limit) +
         " above limits.connections_max or one machine's share of it, " + std::to_string(descriptors) +
         " for want of file descriptors (the process's limit of open files)";
}

}  // namespace walraft
