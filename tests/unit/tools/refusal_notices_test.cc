// Refused connections in the server's log.
#include "tools/refusal_notices.h"

#include <gtest/gtest.h>

namespace walraft {
namespace {

constexpr std::uint64_t kRestUs = RefusalNotices::kRestUs;

std::string line(int over_limit, int no_descriptor) {
  return "connections refused: " + std::to_string(over_limit) +
         " above limits.connections_max or one machine's share of it, " + std::to_string(no_descriptor) +
         " for want of file descriptors (the process's limit of open files)";
}

TEST(RefusalNotices, SayTheFirstAtOnceAndNothingWithoutOne) {
  RefusalNotices notices;
  EXPECT_EQ(notices.look(5, 0, 0), std::nullopt);
  EXPECT_EQ(notices.look(6, 1, 0), line(1, 0));
  EXPECT_EQ(notices.look(6 + 10 * kRestUs, 1, 0), std::nullopt);
  EXPECT_EQ(notices.look(7 + 10 * kRestUs, 1, 1), line(0, 1)) << "a first one again";
}

TEST(RefusalNotices, OfAFloodAreFewAndCountAll) {
  RefusalNotices notices;
  std::uint64_t over_limit = 0, no_descriptor = 0, lines = 0;
  for (std::uint64_t now_us = 0; now_us < 3 * kRestUs; now_us += kRestUs / 100) {
    lines += notices.look(now_us, over_limit += 2, no_descriptor += 3).has_value();
  }
  EXPECT_EQ(lines, 3u);
  EXPECT_EQ(notices.look(3 * kRestUs, over_limit, no_descriptor), line(2 * 99, 3 * 99)) << "what came since the third";
}

}  // namespace
}  // namespace walraft
