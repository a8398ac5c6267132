#pragma once

// A byte stream in memory: the server holds SimStream, the test the Wire that it hangs on. Thread: one.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rpc/stream/byte_stream.h"
#include "tests/sim/sim_loop.h"
#include "wal/base/check.h"

namespace walraft::sim {

// Between a peer, which the test plays, and its SimStream.
struct Wire {
  std::vector<std::byte> to_server;  // sent and not read yet, from to_server_at on
  std::size_t to_server_at = 0;
  std::vector<std::byte> to_peer;  // written and not taken yet
  std::size_t fragment_bytes = SIZE_MAX;  // the most that one read gives
  std::size_t window_bytes = SIZE_MAX;    // the most that may lie in to_peer
  bool peer_ended = false;    // by finishing or breaking
  bool server_ended = false;  // nothing more will come: finished or closed
  bool closed = false;        // by the server

  std::function<void()> changed = [] {};  // the stream looks what it can do now

  void send(ByteView bytes) {
    to_server.insert(to_server.end(), bytes.begin(), bytes.end());
    changed();
  }
  std::vector<std::byte> take(std::size_t bytes_max) {
    const auto end = to_peer.begin() + static_cast<std::ptrdiff_t>(std::min(bytes_max, to_peer.size()));
    std::vector<std::byte> taken(to_peer.begin(), end);
    to_peer.erase(to_peer.begin(), end);
    changed();
    return taken;
  }
  void end() {
    peer_ended = true;
    changed();
  }
};

class SimStream final : public rpc::ByteStream {
 public:
  SimStream(SimLoop& loop, std::shared_ptr<Wire> wire, std::string machine)
      : loop_(loop), wire_(std::move(wire)), machine_(std::move(machine)) {
    wire_->changed = [this] { move(); };
  }
  ~SimStream() override { SimStream::close(); }

  void read(MutableBytes into, OnRead done) override {
    CHECK(!on_read_ && !into.empty());
    into_ = into;
    on_read_ = std::move(done);
    move();
  }
  void write(std::span<const ByteView> pieces, OnWritten done) override {
    CHECK(!on_written_ && !pieces.empty());
    pieces_.assign(pieces.begin(), pieces.end());
    on_written_ = std::move(done);
    move();
  }
  void finish() override { wire_->server_ended = true; }
  void close() override {
    *alive_ = false;
    wire_->server_ended = wire_->closed = true;
    wire_->changed = [] {};
    on_read_ = nullptr;
    on_written_ = nullptr;
  }
  const std::string& peer() const override { return machine_; }

 private:
  // What can be done is done by a task of its own, as a kernel would: never from within the call that asked for it.
  void move() {
    if (std::exchange(moving_, true)) return;
    loop_.post([this, alive = alive_] {
      if (!*alive) return;
      moving_ = false;
      give();
      if (*alive) accept();
    });
  }
  void give() {
    const std::size_t there = wire_->to_server.size() - wire_->to_server_at;
    if (!on_read_ || (there == 0 && !wire_->peer_ended)) return;
    const std::size_t bytes = std::min({there, into_.size(), wire_->fragment_bytes});
    const auto from = wire_->to_server.begin() + static_cast<std::ptrdiff_t>(wire_->to_server_at);
    std::copy_n(from, bytes, into_.begin());
    wire_->to_server_at += bytes;
    std::exchange(on_read_, nullptr)(bytes);
  }
  void accept() {
    if (!on_written_) return;
    std::size_t room = wire_->window_bytes - std::min(wire_->window_bytes, wire_->to_peer.size());
    if (wire_->peer_ended) return std::exchange(on_written_, nullptr)(0);
    if (room == 0) return;
    std::size_t bytes = 0;
    for (const ByteView piece : pieces_) {
      const ByteView part = piece.first(std::min(room, piece.size()));
      wire_->to_peer.insert(wire_->to_peer.end(), part.begin(), part.end());
      bytes += part.size();
      room -= part.size();
    }
    std::exchange(on_written_, nullptr)(bytes);
  }

  SimLoop& loop_;
  std::shared_ptr<Wire> wire_;
  std::string machine_;
  MutableBytes into_;
  OnRead on_read_;
  std::vector<ByteView> pieces_;
  OnWritten on_written_;
  bool moving_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace walraft::sim
