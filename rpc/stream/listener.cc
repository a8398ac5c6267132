#include "rpc/stream/listener.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <climits>
#include <utility>
#include <vector>

namespace walraft::rpc {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using namespace std::chrono_literals;

std::string machine_of(const asio::ip::address& address) {
  if (address.is_v4()) return address.is_loopback() ? "local" : address.to_string();
  const asio::ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) return machine_of(asio::ip::make_address_v4(asio::ip::v4_mapped, v6));
  if (v6.is_loopback()) return "local";
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
  return asio::ip::address_v6(bytes).to_string() + "/64";
}

class TcpStream final : public ByteStream {
 public:
  explicit TcpStream(tcp::socket socket) : inside_(std::make_shared<Inside>(std::move(socket))) {
    ErrorCode ignored;
    const auto endpoint = inside_->socket.remote_endpoint(ignored);
    peer_ = ignored ? "a closed connection" : machine_of(endpoint.address());
    inside_->socket.set_option(tcp::no_delay(true), ignored);
    inside_->socket.set_option(asio::socket_base::keep_alive(true), ignored);
    // A peer that vanished without a word is noticed in half a minute, idle or not.
    for (const auto& [name, value] : {std::pair{TCP_USER_TIMEOUT, 30'000}, {TCP_KEEPIDLE, 10}, {TCP_KEEPINTVL, 5},
                                     {TCP_KEEPCNT, 4}}) {
      ::setsockopt(inside_->socket.native_handle(), IPPROTO_TCP, name, &value, sizeof value);
    }
  }
  ~TcpStream() override { close(); }

  void read(MutableBytes into, OnRead done) override {
    inside_->socket.async_read_some(asio::buffer(into.data(), into.size()),
                                    [inside = inside_, done = std::move(done)](ErrorCode failed, std::size_t bytes) {
                                      if (inside->open) done(failed ? 0 : bytes);
                                    });
  }

  void write(std::span<const ByteView> pieces, OnWritten done) override {
    inside_->buffers.clear();
    for (const ByteView piece : pieces) inside_->buffers.emplace_back(piece.data(), piece.size());
    inside_->socket.async_write_some(inside_->buffers,
                                     [inside = inside_, done = std::move(done)](ErrorCode failed, std::size_t bytes) {
                                       if (inside->open) done(failed ? 0 : bytes);
                                     });
  }

  void finish() override {
    ErrorCode ignored;
    inside_->socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void close() override {
    if (!inside_->open) return;
    inside_->open = false;
    ErrorCode ignored;
    inside_->socket.shutdown(tcp::socket::shutdown_send, ignored);
    inside_->socket.close(ignored);
  }

  const std::string& peer() const override { return peer_; }

 private:
  struct Inside {  // outlives the stream until the operations that close() cancelled are through
    explicit Inside(tcp::socket s) : socket(std::move(s)) {}
    tcp::socket socket;
    std::vector<asio::const_buffer> buffers;
    bool open = true;
  };
  std::shared_ptr<Inside> inside_;
  std::string peer_;
};

Result<tcp::endpoint> parse_address(const std::string& address) {
  const auto bad = [&] {
    return error(Code::invalid, "\"" + address + "\" is no address to listen on; it must be like 127.0.0.1:7400 or [::1]:7400");
  };
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size() || address.size() - colon > 6) return bad();
  unsigned long port = 0;
  for (const char c : address.substr(colon + 1)) {
    if (c < '0' || c > '9') return bad();
    port = port * 10 + static_cast<unsigned long>(c - '0');
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  ErrorCode failed;
  const auto ip = asio::ip::make_address(host, failed);
  if (failed || port > 65'535) return bad();
  return tcp::endpoint(ip, static_cast<std::uint16_t>(port));
}

}  // namespace

struct Listener::Inside : std::enable_shared_from_this<Inside> {
  Inside(AsioLoop& loop, std::string its_address)
      : address(std::move(its_address)), acceptor(loop.context()), retry(loop) {
    rlimit limit{};
    const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    const rlim_t most = known ? std::min<rlim_t>(limit.rlim_cur, INT_MAX) : INT_MAX;
    descriptor_limit = static_cast<int>(most - std::min(most / 4, kReservedMax));
    take_spare();
  }
  ~Inside() {
    if (spare >= 0) ::close(spare);
  }

  std::unexpected<Error> fail(const char* what, ErrorCode why) const {
    return error(why == asio::error::address_in_use ? Code::exists : Code::failed,
                 std::string("cannot ") + what + " " + address + ": " + why.message());
  }

  void take_spare() {
    if (spare < 0) spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  }

  void accept() {
    acceptor.async_accept([self = shared_from_this()](ErrorCode failed, tcp::socket socket) {
      if (!self->acceptor.is_open()) return;
      if (failed) return self->back_off(failed);
      // The kernel gives the lowest number that is free: as many descriptors as this are open.
      if (socket.native_handle() >= self->descriptor_limit) {
        self->on_refuse();
      } else {
        self->on_accept(std::make_unique<TcpStream>(std::move(socket)));
      }
      self->accept();
    });
  }

  // The connections that are open go on; who comes now is closed rather than kept waiting.
  void back_off(ErrorCode why) {
    if (why == boost::system::errc::too_many_files_open || why == boost::system::errc::too_many_files_open_in_system) {
      on_refuse();
      if (spare >= 0) ::close(std::exchange(spare, -1));
      ErrorCode ignored;
      acceptor.non_blocking(true, ignored);
      acceptor.accept(ignored).close(ignored);
      take_spare();
    }
    retry.start(100ms, [self = shared_from_this()] {
      self->take_spare();
      if (self->acceptor.is_open()) self->accept();
    });
  }

  static constexpr rlim_t kReservedMax = 128;
  const std::string address;
  tcp::acceptor acceptor;
  Loop::Timer retry;
  OnAccept on_accept;
  Loop::Task on_refuse;
  int descriptor_limit = INT_MAX;
  int spare = -1;
};

Result<std::unique_ptr<Listener>> Listener::bind(AsioLoop& loop, const std::string& address) {
  const auto endpoint = parse_address(address);
  if (!endpoint) return std::unexpected(endpoint.error());
  auto inside = std::make_shared<Inside>(loop, address);
  ErrorCode failed;
  tcp::acceptor& acceptor = inside->acceptor;
  acceptor.open(endpoint->protocol(), failed);
  if (failed) return inside->fail("open a socket for", failed);
  acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
  if (endpoint->address().is_v6()) acceptor.set_option(asio::ip::v6_only(false), failed);
  acceptor.bind(*endpoint, failed);
  if (failed) return inside->fail("listen on", failed);
  return std::unique_ptr<Listener>(new Listener(std::move(inside)));
}

Result<void> Listener::listen(OnAccept on_accept, Loop::Task on_refuse) {
  ErrorCode failed;
  inside_->on_accept = std::move(on_accept);
  inside_->on_refuse = std::move(on_refuse);
  inside_->acceptor.listen(asio::socket_base::max_listen_connections, failed);
  if (failed) return inside_->fail("listen on", failed);
  inside_->accept();
  return {};
}

Listener::~Listener() {
  ErrorCode ignored;
  inside_->retry.cancel();
  inside_->acceptor.close(ignored);
}

std::uint16_t Listener::port() const {
  ErrorCode ignored;
  return inside_->acceptor.local_endpoint(ignored).port();
}

}  // namespace walraft::rpc
