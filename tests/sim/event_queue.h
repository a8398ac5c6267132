#pragma once

// What is to happen in a simulated world, in the order of its time; at one moment in the order in which it was asked
// for. Thread: one.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace walraft::sim {

class EventQueue {
 public:
  using Event = std::function<void()>;

  // Of the world; no node's clock.
  std::uint64_t now_us() const { return now_us_; }

  void at(std::uint64_t time_us, Event event) {
    heap_.push_back({std::max(time_us, now_us_), ++number_, std::move(event)});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  void after(std::uint64_t delay_us, Event event) { at(now_us_ + delay_us, std::move(event)); }

  // Moves the time to the next event, and lets it happen. False: there is none.
  bool run_one() {
    if (heap_.empty()) return false;
    std::pop_heap(heap_.begin(), heap_.end(), later);
    Entry next = std::move(heap_.back());
    heap_.pop_back();
    now_us_ = next.time_us;
    ++events_;
    next.event();
    return true;
  }

  std::uint64_t events() const { return events_; }

 private:
  struct Entry {
    std::uint64_t time_us = 0;
    std::uint64_t number = 0;
    Event event;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.time_us != b.time_us ? a.time_us > b.time_us : a.number > b.number;
  }

  std::vector<Entry> heap_;
  std::uint64_t now_us_ = 1'000'000;
  std::uint64_t number_ = 0;
  std::uint64_t events_ = 0;
};

}  // namespace walraft::sim
