#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "rpc/stream/asio_loop.h"
#include "rpc/stream/reader_pool.h"

namespace walraft::rpc {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kWork = 2ms;

// Jobs of kWork one after the other; the time from the end of each to the start of the next.
std::vector<Clock::duration> rests_between(int jobs, bool appends_under_way) {
  std::vector<Clock::time_point> starts, ends;
  AsioLoop loop;
  {
    ReaderThread readers(loop, [&] { return appends_under_way; });
    for (int i = 0; i < jobs; ++i) {
      readers.run(
          [&] {
            starts.push_back(Clock::now());
            std::this_thread::sleep_for(kWork);
            ends.push_back(Clock::now());
          },
          [&loop, last = i == jobs - 1] {
            if (last) loop.stop();
          });
    }
    loop.run();
  }
  std::vector<Clock::duration> rests;
  for (std::size_t i = 1; i < starts.size(); ++i) rests.push_back(starts[i] - ends[i - 1]);
  return rests;
}

// A reader that caught up at full speed took two thirds of the appends and more.
TEST(ReaderThread, rests_after_each_job_while_appends_are_under_way) {
  const auto rests = rests_between(5, true);
  ASSERT_EQ(rests.size(), 4u);
  const auto wanted = std::min<Clock::duration>(ReaderThread::kRest * kWork, ReaderThread::kRestMax);
  for (const auto rest : rests) EXPECT_GE(rest, wanted);
}

TEST(ReaderThread, does_not_rest_when_no_append_waits) {
  const auto rests = rests_between(20, false);
  ASSERT_EQ(rests.size(), 19u);
  // Each of them may have waited for a processor; all of them for so long, no machine makes.
  EXPECT_LT(*std::min_element(rests.begin(), rests.end()), ReaderThread::kRest * kWork);
}

TEST(ReaderThread, ends_in_the_middle_of_a_rest) {
  AsioLoop loop;
  ReaderThread readers(loop, [] { return true; });
  readers.run([] { std::this_thread::sleep_for(20ms); }, [&loop] { loop.stop(); });
  loop.run();  // the destructor comes while it rests
}

}  // namespace
}  // namespace walraft::rpc
