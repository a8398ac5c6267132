#pragma once

// A wake-up that a loop can wait for: an eventfd. signal() from any thread, the rest from one.

#include <cstdint>

namespace walraft::wal {

class EventFd {
 public:
  EventFd();  // a process that is out of descriptors already when it starts ends here
  ~EventFd();
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;

  int descriptor() const { return descriptor_; }
  void signal();
  void clear();
  // Until it is signalled or `timeout_us` is over.
  void wait(std::uint64_t timeout_us);

 private:
  int descriptor_;
};

}  // namespace walraft::wal
