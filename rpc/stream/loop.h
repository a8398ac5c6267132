#pragma once

// The loop of a shard, as those see it who run on it: post, and be called later. asio_loop.h is the real one; tests/sim
// has one whose time a test lets pass.

#include <chrono>
#include <functional>
#include <memory>

namespace walraft::rpc {

class Loop {
 public:
  using Task = std::function<void()>;

  virtual ~Loop() = default;

  // Any thread; runs soon on the shard thread, in order, never from within the call.
  virtual void post(Task task) = 0;

  // One shot; the destructor cancels. Thread: shard. Does not outlive the loop.
  class Timer {
   public:
    explicit Timer(Loop& loop) : inside_(loop.make_timer()) {}
    void start(std::chrono::microseconds delay, Task task) { inside_->start(delay, std::move(task)); }  // replaces
    void cancel() { inside_->cancel(); }

    // What a kind of loop makes of it.
    class Inside {
     public:
      virtual ~Inside() = default;  // cancels
      virtual void start(std::chrono::microseconds delay, Task task) = 0;
      virtual void cancel() = 0;
    };

   private:
    std::unique_ptr<Inside> inside_;
  };

 protected:
  virtual std::unique_ptr<Timer::Inside> make_timer() = 0;
};

}  // namespace walraft::rpc
