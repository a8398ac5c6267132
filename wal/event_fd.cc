#include "wal/event_fd.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "wal/base/check.h"
#include "wal/base/clock.h"

namespace walraft::wal {

EventFd::EventFd() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { CHECK(descriptor_ >= 0, errno); }

EventFd::~EventFd() { close(descriptor_); }

void EventFd::signal() {
  const std::uint64_t one = 1;
  // EAGAIN: the counter is full, so it is readable, and that is all that is asked for.
  while (::write(descriptor_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void EventFd::clear() {
  std::uint64_t count = 0;
  while (::read(descriptor_, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

void EventFd::wait(std::uint64_t timeout_us) {
  constexpr std::uint64_t kLongUs = 1'000'000'000;  // keeps the sum below from overflowing
  const std::uint64_t deadline = system_clock().monotonic_us() + std::min(timeout_us, kLongUs);
  while (true) {
    const std::uint64_t now = system_clock().monotonic_us();
    const std::uint64_t left = deadline > now ? deadline - now : 0;
    const timespec timeout = {.tv_sec = static_cast<time_t>(left / 1'000'000),
                              .tv_nsec = static_cast<long>(left % 1'000'000 * 1'000)};
    pollfd waited = {.fd = descriptor_, .events = POLLIN, .revents = 0};
    if (ppoll(&waited, 1, &timeout, nullptr) > 0 || left == 0) return;
  }
}

}  // namespace walraft::wal
