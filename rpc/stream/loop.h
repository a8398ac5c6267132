#pragma once

// The loop of a shard: one thread that waits for sockets, timers, the disk and what other threads post.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace walraft::rpc {

class Loop {
 public:
  using Task = std::function<void()>;

  Loop();
  ~Loop();  // drops what is posted and not run
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). The thread that calls it is the shard thread.
  void run();
  void stop();          // any thread
  void post(Task task);  // any thread; runs soon, in order

  // Calls `ready` whenever the descriptor is readable. The owner keeps it open as long as the loop lives. Thread: shard.
  void watch(int descriptor, Task ready);

  // SIGTERM and SIGINT, delivered on the loop: first and later ones.
  void on_signals(std::function<void(int)> handler);

  boost::asio::io_context& context();

  // One shot; the destructor cancels. Thread: shard.
  class Timer {
   public:
    explicit Timer(Loop& loop);
    ~Timer();
    void start(std::chrono::microseconds delay, Task task);  // replaces what was started before
    void cancel();

   private:
    struct State;
    std::shared_ptr<State> state_;
  };

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace walraft::rpc
