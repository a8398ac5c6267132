#pragma once

// A loop whose time is a SimClock's: nothing runs until the test lets it. Thread: one.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "rpc/stream/loop.h"
#include "tests/sim/sim_clock.h"

namespace walraft::sim {

class SimLoop final : public rpc::Loop {
 public:
  explicit SimLoop(SimClock& clock) : clock_(clock) {}

  void post(Task task) override { tasks_.push_back(std::move(task)); }

  // Runs what is due, a timer only when nothing is posted; false if there is nothing.
  bool run_one() {
    if (tasks_.empty()) {
      const auto first = timers_.begin();
      if (first == timers_.end() || first->first.first > clock_.monotonic_us()) return false;
      tasks_.push_back(std::move(first->second));
      timers_.erase(first);
    }
    const Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }

  std::optional<std::uint64_t> next_due_us() const {
    return timers_.empty() ? std::nullopt : std::optional(timers_.begin()->first.first);
  }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // when, and a number of its own

  class SimTimer final : public Timer::Inside {
   public:
    explicit SimTimer(SimLoop& loop) : loop_(loop) {}
    ~SimTimer() override { SimTimer::cancel(); }
    void start(std::chrono::microseconds delay, Task task) override {
      cancel();
      key_ = {loop_.clock_.monotonic_us() + static_cast<std::uint64_t>(delay.count()), ++loop_.timer_number_};
      loop_.timers_.emplace(key_, std::move(task));
    }
    void cancel() override { loop_.timers_.erase(key_); }

   private:
    SimLoop& loop_;
    Key key_{};
  };

  std::unique_ptr<Timer::Inside> make_timer() override { return std::make_unique<SimTimer>(*this); }

  SimClock& clock_;
  std::deque<Task> tasks_;
  std::map<Key, Task> timers_;
  std::uint64_t timer_number_ = 0;
};

}  // namespace walraft::sim
