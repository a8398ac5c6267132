#include "tools/walbench/loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace walraft::walbench {
namespace {

using Clock = std::chrono::steady_clock;

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int get() const { return number_; }

 private:
  int number_;
};

struct Pair {
  Descriptor near, far;
};

Result<Pair> connect_loopback() {
  const auto failed = [](const char* what) {
    return error(Code::failed, std::string("loopback: cannot ") + what + ": " + std::strerror(errno));
  };
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener.get() < 0 || ::bind(listener.get(), generic, sizeof address) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &length) != 0) {
    return failed("listen");
  }
  Pair pair;
  pair.near = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (pair.near.get() < 0 || ::connect(pair.near.get(), generic, sizeof address) != 0) return failed("connect");
  pair.far = Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (pair.far.get() < 0) return failed("accept");
  for (const int socket : {pair.near.get(), pair.far.get()}) {
    const int on = 1;
    if (::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return failed("set TCP_NODELAY");
  }
  return pair;
}

// A nonblocking socket that is waited for in an epoll of its own.
class Waiting {
 public:
  explicit Waiting(int socket) : socket_(socket), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    ::fcntl(socket, F_SETFL, O_NONBLOCK);
    epoll_event interest{.events = EPOLLIN, .data = {}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &interest);
  }

  // Reads exactly so much. False at the end of the stream and after an error.
  bool read(std::vector<char>& into) {
    std::size_t have = 0;
    while (have < into.size()) {
      epoll_event event{};
      if (::epoll_wait(epoll_.get(), &event, 1, -1) < 0 && errno != EINTR) return false;
      const ssize_t got = ::recv(socket_, into.data() + have, into.size() - have, 0);
      if (got > 0) have += static_cast<std::size_t>(got);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    }
    return true;
  }
  // Small enough for the socket's buffer: one message is under way at a time.
  bool write(const std::vector<char>& from) {
    return ::send(socket_, from.data(), from.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(from.size());
  }

 private:
  int socket_;
  Descriptor epoll_;
};

}  // namespace

Result<Histogram> measure_round_trip(std::size_t bytes, std::chrono::microseconds duration) {
  auto pair = connect_loopback();
  if (!pair) return std::unexpected(pair.error());
  std::thread echo([&] {
    Waiting far(pair->far.get());
    std::vector<char> message(bytes);
    while (far.read(message) && far.write(message)) {
    }
  });
  Histogram latency;
  bool ok = true;
  {
    Waiting near(pair->near.get());
    std::vector<char> message(bytes, 'p');
    const auto start = Clock::now();
    for (auto now = start; ok && now - start < duration;) {
      ok = near.write(message) && near.read(message);
      const auto then = std::exchange(now, Clock::now());
      if (ok) latency.record(static_cast<std::uint64_t>((now - then).count()));
    }
  }
  ::shutdown(pair->near.get(), SHUT_RDWR);
  echo.join();
  if (!ok) return error(Code::failed, "loopback: the connection was lost while round trips were measured");
  return latency;
}

Result<double> measure_tcp_bandwidth(std::chrono::microseconds duration) {
  auto pair = connect_loopback();
  if (!pair) return std::unexpected(pair.error());
  std::thread sender([&] {
    const std::vector<char> message(256u << 10, 'b');
    const auto start = Clock::now();
    while (Clock::now() - start < duration) {
      if (::send(pair->near.get(), message.data(), message.size(), MSG_NOSIGNAL) <= 0) break;
    }
    ::shutdown(pair->near.get(), SHUT_WR);
  });
  std::vector<char> into(256u << 10);
  std::uint64_t bytes = 0;
  const auto start = Clock::now();
  ssize_t got = 0;
  while ((got = ::recv(pair->far.get(), into.data(), into.size(), 0)) > 0) bytes += static_cast<std::uint64_t>(got);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  sender.join();
  if (got < 0) return error(Code::failed, std::string("loopback: reading failed: ") + std::strerror(errno));
  return static_cast<double>(bytes) / seconds;
}

}  // namespace walraft::walbench
