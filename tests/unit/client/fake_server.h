#pragma once

// A server that says what a test tells it to, frame by frame, on a port of the loopback interface: for what a good
// server never does, or does at no time that a test could choose. Until accept() is called, clients connect and hear
// nothing.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"

namespace walraft::test {

class FakeServer {
 public:
  FakeServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    const int receive_buffer = 64 << 10;  // so that a client soon has to wait with what is not received
    EXPECT_EQ(::setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer), 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    endpoint_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~FakeServer() {
    hang_up();
    ::close(listener_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  const std::string& endpoint() const { return endpoint_; }

  // The next client, welcomed.
  void accept() {
    meet();
    send(rpc::FrameType::welcome, 0, rpc::encode(rpc::Welcome{.cluster_name = "fake", .cluster_uuid = Uuid{{7}}}));
  }

  // The next client, turned away with an ERROR of the connection.
  void refuse(const Error& error) {
    meet();
    end_with(error);
  }

  // An ERROR of the connection, and its end.
  void end_with(const Error& error) {
    send(rpc::FrameType::error, 0, rpc::encode(rpc::ErrorMessage{.request = 0, .error = error}));
    hang_up();
  }
  void hang_up() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  // Something from the client waits to be received.
  bool readable() const {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 10'000) == 1;
  }

  // The client has ended the connection, or does within 20 s, and sent nothing before.
  bool left() const {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    char byte;
    return ::poll(&waiting, 1, 20'000) == 1 && ::recv(socket_, &byte, 1, MSG_PEEK) <= 0;
  }

  struct Frame {
    rpc::FrameType type = rpc::FrameType::pong;  // also: nothing came within `timeout_ms`, or the client has gone
    std::uint32_t channel = 0;
    std::vector<std::byte> payload;
  };

  // The client's next frame.
  Frame receive(int timeout_ms = 10'000) {
    for (;;) {
      if (const auto frame = decoder_.next()) {
        EXPECT_TRUE(frame->has_value());
        return {(*frame)->header.type, (*frame)->header.channel, {(*frame)->payload.begin(), (*frame)->payload.end()}};
      }
      pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, timeout_ms) <= 0) return {};
      const MutableBytes space = decoder_.space();
      const ssize_t got = ::recv(socket_, space.data(), space.size(), 0);
      if (got <= 0) return {};
      decoder_.filled(static_cast<std::size_t>(got));
    }
  }

  // The next frame of this type; those before it are dropped.
  Frame receive(rpc::FrameType type) {
    for (;;) {
      Frame frame = receive();
      if (frame.type == type) return frame;
      if (frame.type == rpc::FrameType::pong) {
        ADD_FAILURE() << "no " << rpc::name_of(type) << " came";
        return frame;
      }
    }
  }

  // Takes the client's next OPEN and grants it. Returns the OPEN.
  Frame open(const rpc::Opened& opened = {
                 .log_id = LogId(1), .record_bytes_max = 1u << 20, .batch_bytes_max = 4u << 20}) {
    Frame frame = receive(rpc::FrameType::open);
    send(rpc::FrameType::opened, frame.channel, rpc::encode(opened));
    return frame;
  }

  void send(rpc::FrameType type, std::uint32_t channel, ByteView payload, ByteView more = {}) {
    const auto frame = rpc::make_frame(type, channel, Term(1), payload, more);
    EXPECT_EQ(::send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL), static_cast<ssize_t>(frame.size()));
  }

 private:
  // The next client, after its HELLO.
  void meet() {
    hang_up();
    socket_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    ASSERT_GE(socket_, 0);
    decoder_ = {};
    ASSERT_EQ(receive().type, rpc::FrameType::hello);
  }

  int listener_;
  int socket_ = -1;
  std::string endpoint_;
  rpc::FrameDecoder decoder_;
};

}  // namespace walraft::test
