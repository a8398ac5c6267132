#pragma once

// Appends from several connections to one log, for a given time.

#include <memory>
#include <vector>

#include "tools/walbench/work.h"
#include "wal/base/result.h"

namespace walraft::walbench {

// Latencies are of what started (in an open loop: was due) in it, counts of what ended in it.
struct Window {
  Time start;     // of the warm-up
  Time from, to;
  static Window after(std::chrono::microseconds warmup, std::chrono::microseconds duration) {
    const Time now = std::chrono::steady_clock::now();
    return {now, now + warmup, now + warmup + duration};
  }
  bool holds(Time time) const { return time >= from && time < to; }
};

// Bounds what a load has under way over all connections, below the 64 MiB that a server takes by default.
constexpr std::uint64_t kUnderWayBytesMax = 32u << 20;

// How many appends a connection may have under way, wanted at most.
std::uint32_t inflight_within_bound(const Work& work);

// The time at which its append started or was due stands in the first bytes of each record that has room for it,
// nanoseconds of the steady clock.
constexpr std::uint32_t kStampBytes = 8;

// Thread: the one that made it.
class AppendLoad {
 public:
  // Opens the connections, and makes the log if it is missing. Errors: those of Client::open; too_large if an append
  // is larger than the log takes.
  static Result<std::unique_ptr<AppendLoad>> open(const Target& target, const Work& work);
  ~AppendLoad();

  // Appends until the window ends. In a closed loop each answer starts the next append, on the client's thread.
  void begin(const Window& window);
  // Waits until all is answered. The first error of an append, if there was one: it ended its connection's part.
  Result<Tally> end();

 private:
  class Stream;
  AppendLoad() = default;
  std::vector<std::unique_ptr<Stream>> streams_;
};

// Appends `bytes` of such records as fast as it goes; returns how many.
Result<std::uint64_t> fill_log(const Target& target, std::uint32_t size, std::uint64_t bytes);

}  // namespace walraft::walbench
