#pragma once

// The real loop: one thread that waits for sockets, timers, the disk and what other threads post.

#include <functional>
#include <memory>

#include "rpc/stream/loop.h"

namespace boost::asio {
class io_context;
}

namespace walraft::rpc {

class AsioLoop final : public Loop {
 public:
  AsioLoop();
  ~AsioLoop() override;  // drops what is posted and not run
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;

  // Runs until stop(). The thread that calls it is the shard thread.
  void run();
  void stop();  // any thread
  void post(Task task) override;

  // Calls `ready` whenever the descriptor is readable. The owner keeps it open as long as the loop lives. Thread:
  // shard.
  void watch(int descriptor, Task ready);

  // SIGTERM, SIGINT and SIGHUP, delivered on the loop: first and later ones.
  void on_signals(std::function<void(int)> handler);

  boost::asio::io_context& context();

 private:
  std::unique_ptr<Timer::Inside> make_timer() override;

  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace walraft::rpc
