#pragma once

// A peer of a simulated server: sends frames, takes frames. Thread: one.

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "tests/sim/server_world.h"
#include "wal/batch.h"

namespace walraft::rpc {

class Peer {
 public:
  explicit Peer(sim::ServerWorld& world, const std::string& machine = "10.0.0.1", bool greet = true)
      : wire(world.connect(machine)), world_(world) {
    if (!greet) return;
    send(FrameType::hello, 0, encode(Hello{}));
    world_.settle();
    (void)next();  // WELCOME
  }

  void send(FrameType type, std::uint32_t channel, ByteView payload, ByteView more = {}) {
    wire->send(make_frame(type, channel, Term(), payload, more));
  }
  void open(std::uint32_t channel, const Open& open) { send(FrameType::open, channel, encode(open)); }

  struct Frame {
    FrameHeader header;
    std::vector<std::byte> payload;
  };
  // The next of the frames that the server has sent; takes no more from the wire than it needs to.
  std::optional<Frame> next() {
    for (;;) {
      if (auto frame = decoder_.next()) {
        CHECK(frame->has_value());
        return Frame{(*frame)->header, {(*frame)->payload.begin(), (*frame)->payload.end()}};
      }
      const MutableBytes space = decoder_.space();
      const auto taken = wire->take(space.size());
      if (taken.empty()) return std::nullopt;
      std::copy(taken.begin(), taken.end(), space.begin());
      decoder_.filled(taken.size());
    }
  }
  std::optional<Error> next_error() {
    const auto frame = next();
    if (!frame || frame->header.type != FrameType::error) return std::nullopt;
    const auto message = decode_error(frame->payload);
    return message ? std::optional(message->error) : std::nullopt;
  }

  std::shared_ptr<sim::Wire> wire;

 private:
  sim::ServerWorld& world_;
  FrameDecoder decoder_;
};

inline std::vector<std::byte> batch_of(LogId log, std::string_view record) {
  wal::BatchBuilder builder;
  CHECK(builder.add(bytes_of(record)));
  const auto batch =
      builder.finish({.log_id = log, .kind = wal::BatchKind::data, .writer_epoch = {}, .producer_id = {}});
  return {batch.begin(), batch.end()};
}

// Appends `records` records of `bytes` each, through a connection that goes.
inline void fill(sim::ServerWorld& world, std::uint32_t records, std::size_t bytes) {
  Peer peer(world);
  peer.open(1, {.log_name = "a", .kind = SessionKind::appender});
  const auto batch = batch_of(world.catalogue().find("a")->identity().id, std::string(bytes, 'f'));
  for (std::uint64_t request = 1; request <= records; ++request) {
    peer.send(FrameType::append, 1, encode(Append{.request = request}), batch);
    world.pass_us(10'000);
  }
  CHECK(world.catalogue().find("a")->committed() == Offset(records), world.catalogue().find("a")->committed().value);
  peer.wire->end();
  world.settle();
}

}  // namespace walraft::rpc
