#include "rpc/stream/asio_loop.h"

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

struct AsioLoop::Inside {
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

AsioLoop::AsioLoop() : inside_(std::make_unique<Inside>()) {}

AsioLoop::~AsioLoop() {
  for (auto& descriptor : inside_->watched) descriptor.release();  // not ours to close
}

void AsioLoop::run() { inside_->context.run(); }
void AsioLoop::stop() { inside_->context.stop(); }
void AsioLoop::post(Task task) { asio::post(inside_->context, std::move(task)); }
asio::io_context& AsioLoop::context() { return inside_->context; }

void AsioLoop::watch(int descriptor, Task ready) {
  auto& watched = inside_->watched.emplace_back(inside_->context, descriptor);
  inside_->watch(watched, std::move(ready));
}

void AsioLoop::on_signals(std::function<void(int)> handler) {
  inside_->on_signal = std::move(handler);
  inside_->signals.add(SIGTERM);
  inside_->signals.add(SIGINT);
  inside_->signals.add(SIGHUP);
  inside_->wait_for_signal();
}

namespace {

class AsioTimer final : public Loop::Timer::Inside {
 public:
  explicit AsioTimer(asio::io_context& context) : state_(std::make_shared<State>(context)) {}
  ~AsioTimer() override { AsioTimer::cancel(); }

  void start(std::chrono::microseconds delay, Loop::Task task) override {
    const std::uint64_t round = ++state_->round;
    state_->timer.expires_after(delay);
    state_->timer.async_wait([state = std::weak_ptr<State>(state_), round, task = std::move(task)](ErrorCode failed) {
      const auto alive = state.lock();
      if (!failed && alive && alive->round == round) task();
    });
  }

  void cancel() override {
    ++state_->round;
    state_->timer.cancel();
  }

 private:
  struct State {
    explicit State(asio::io_context& context) : timer(context) {}
    asio::steady_timer timer;
    std::uint64_t round = 0;  // a wait that was already due when it was replaced finds another round
  };
  std::shared_ptr<State> state_;
};

}  // namespace

std::unique_ptr<Loop::Timer::Inside> AsioLoop::make_timer() { return std::make_unique<AsioTimer>(inside_->context); }

}  // namespace walraft::rpc
