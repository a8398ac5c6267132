#include "rpc/stream/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>

namespace walraft::rpc {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

struct Loop::Inside {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  asio::signal_set signals{context};
  std::list<asio::posix::stream_descriptor> watched;
  std::function<void(int)> on_signal;

  void watch(asio::posix::stream_descriptor& descriptor, Task ready) {
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [this, &descriptor, ready = std::move(ready)](ErrorCode failed) {
                            if (failed) return;
                            ready();
                            watch(descriptor, ready);
                          });
  }

  void wait_for_signal() {
    signals.async_wait([this](ErrorCode failed, int number) {
      if (failed) return;
      on_signal(number);
      wait_for_signal();
    });
  }
};

Loop::Loop() : inside_(std::make_unique<Inside>()) {}

Loop::~Loop() {
  for (auto& descriptor : inside_->watched) descriptor.release();  // not ours to close
}

void Loop::run() { inside_->context.run(); }
void Loop::stop() { inside_->context.stop(); }
void Loop::post(Task task) { asio::post(inside_->context, std::move(task)); }
asio::io_context& Loop::context() { return inside_->context; }

void Loop::watch(int descriptor, Task ready) {
  auto& watched = inside_->watched.emplace_back(inside_->context, descriptor);
  inside_->watch(watched, std::move(ready));
}

void Loop::on_signals(std::function<void(int)> handler) {
  inside_->on_signal = std::move(handler);
  inside_->signals.add(SIGTERM);
  inside_->signals.add(SIGINT);
  inside_->wait_for_signal();
}

struct Loop::Timer::State {
  explicit State(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
  std::uint64_t round = 0;  // a wait that was already due when it was replaced finds another round
};

Loop::Timer::Timer(Loop& loop) : state_(std::make_shared<State>(loop.context())) {}
Loop::Timer::~Timer() { cancel(); }

void Loop::Timer::start(std::chrono::microseconds delay, Task task) {
  const std::uint64_t round = ++state_->round;
  state_->timer.expires_after(delay);
  state_->timer.async_wait([state = std::weak_ptr<State>(state_), round, task = std::move(task)](ErrorCode failed) {
    const auto alive = state.lock();
    if (!failed && alive && alive->round == round) task();
  });
}

void Loop::Timer::cancel() {
  ++state_->round;
  state_->timer.cancel();
}

}  // namespace walraft::rpc
