// The server's state machine: the input is a program of up to four clients, each byte an instruction (the table in
// run()) with the bytes behind it as arguments. Their frames arrive in pieces, out of step with disk, reader thread and
// time; connections end at any point; some clients send bytes that are no frames. Whatever they do: no crash, no leak,
// bounded queues; appends are answered once and in order, nothing that failed a check is in a log, and what was
// answered stays where it was said to be (session_model.h). Corpus: tests/data/fuzz/session.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "rpc/stream/connection.h"
#include "tests/fuzz/session_model.h"
#include "tests/sim/server_world.h"
#include "wal/base/check.h"
#include "wal/log_view.h"

namespace {

using namespace walraft;

constexpr std::size_t kClients = 4;
constexpr std::size_t kConnectionsMax = 16;  // in one program

class Program {
 public:
  Program(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {
    logs_ = {world_.catalogue().find("a")->identity().id, world_.catalogue().find("b")->identity().id};
  }

  void run() {
    while (left_ > 0) step();
    finish();
  }

 private:
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *at_++;
  }

  fuzz::Client& client(std::size_t slot) {
    if (!clients_[slot] || (clients_[slot]->ended() && connections_ < kConnectionsMax)) {
      if (clients_[slot]) gone_.push_back(std::move(clients_[slot]));
      ++connections_;
      clients_[slot] = std::make_unique<fuzz::Client>(ledger_, world_.connect("10.0.0." + std::to_string(slot)), logs_);
    }
    return *clients_[slot];
  }

  std::uint32_t channel() { return 1 + byte() % (fuzz::Client::kChannels - 1); }

  rpc::From from() {
    const auto kind = static_cast<rpc::From::Kind>(byte() % 5);
    const std::uint64_t value = byte();
    return {kind, value == 255 ? UINT64_MAX : value};
  }

  void open(fuzz::Client& who) {
    const std::uint32_t number = channel();
    const std::uint8_t what = byte();
    rpc::Open open;
    open.kind = static_cast<rpc::SessionKind>(what % 3);
    const std::size_t log = (what / 3) % 4;  // a, b, one that is made, one that is not there
    open.log_name = std::array{"a", "b", "new", "missing"}[log];
    open.create = log == 2;
    if (open.kind == rpc::SessionKind::subscriber) {
      open.from = from();
      open.credit = std::uint64_t{byte()} << 16;
    }
    who.open(number, open, log < 2 ? std::optional(log) : std::nullopt);
  }

  void step() {
    const std::uint8_t instruction = byte();
    fuzz::Client& who = client((instruction >> 4) % kClients);
    switch (instruction % 16) {
      case 0: return who.hello();
      case 1: return open(who);
      case 2: {
        const std::uint32_t number = channel();
        const std::size_t padding = std::size_t{byte()} << 10;
        return who.append(number, padding, std::nullopt, fuzz::Client::Flaw::none);
      }
      case 3: {
        const std::uint32_t number = channel();
        const auto flaw = static_cast<fuzz::Client::Flaw>(byte() % 5);
        return who.append(number, 0, Offset(byte()), flaw);
      }
      case 4: {
        const std::uint32_t number = channel();
        rpc::Read read{.from = from()};
        const std::uint8_t what = byte();
        if (what & 1) read.count = byte();
        if (what & 2) read.until = Offset(byte());
        read.bytes = std::uint32_t{byte()} << 13;
        return who.read(number, read);
      }
      case 5: {
        const std::uint32_t number = channel();
        return who.credit(number, std::uint64_t{byte()} << 12);
      }
      case 6: return who.ping();
      case 7: return who.close(channel());
      case 8: {
        std::vector<std::byte> bytes(byte() % 80);
        for (std::byte& b : bytes) b = static_cast<std::byte>(byte());
        return who.raw(bytes);
      }
      case 9: who.take(std::size_t{byte()} << 8); return;
      case 10: {
        const std::uint64_t seconds = byte() % 64;
        for (const auto& each : clients_) {
          if (each) each->time_passes();
        }
        return world_.pass_s(seconds);
      }
      case 11: {
        for (int steps = byte(); steps > 0 && world_.step(); --steps) {
        }
        return;
      }
      case 12: return who.end();
      case 13: who.wire().fragment_bytes = std::size_t{byte()} + 1; return;
      case 14: who.wire().window_bytes = std::size_t{byte()} << 10; return;
      case 15: {
        const std::uint8_t what = byte();
        if (what % 4 == 0) return world_.disk().hang();
        if (what % 4 == 1) return world_.disk().release_hanging();
        if (what % 4 == 2) return world_.readers().hold((what & 4) != 0);
        return world_.settle();
      }
    }
  }

  void finish() {
    world_.disk().release_hanging();
    world_.readers().hold(false);
    for (const auto& each : clients_) {
      if (!each) continue;
      each->wire().window_bytes = each->wire().fragment_bytes = SIZE_MAX;
      each->wire().changed();
    }
    // What is under way comes to its end; who waits for a segment waits for the next tick.
    for (int round = 0; round < 3; ++round) {
      for (bool more = true; more;) {
        world_.settle();
        more = false;
        for (const auto& each : clients_) more |= each && each->take(SIZE_MAX);
      }
      world_.pass_us(200'000);
    }
    const std::size_t bound = rpc::Connection::kQueueBytesMax + rpc::kRecordsFrameBytes + (2u << 20);
    CHECK(world_.server().stats().queue_bytes_max <= bound, world_.server().stats().queue_bytes_max);
    CHECK(world_.readers().waiting == 0);
    CHECK(!world_.catalogue().busy());
    CHECK(world_.shard().inflight_bytes() == 0, world_.shard().inflight_bytes());
    for (const auto& each : clients_) {
      if (each) each->end();
    }
    world_.settle();
    CHECK(world_.server().connections() == 0, world_.server().connections());
    CHECK(world_.server().queued_bytes() == 0, world_.server().queued_bytes());
    for (const char* name : {"a", "b"}) verify(*world_.catalogue().find(name));
  }

  // The log on disk: what was answered is there, and nothing that was not sent.
  void verify(replication::Replica& replica) {
    std::size_t found = 0;
    wal::LogReader reader(replica.view());
    for (Offset next; next < replica.committed();) {
      std::vector<wal::BatchRef> batches;
      CHECK(reader.read(next, 1u << 20, batches).has_value() && !batches.empty());
      for (const wal::BatchRef& batch : batches) {
        const auto header = wal::decode_batch(batch.bytes);
        CHECK(header.has_value());
        wal::RecordCursor cursor(*header, batch.bytes);
        for (Offset offset = header->base_offset; const auto record = cursor.next(); offset = offset + 1) {
          ledger_.found(replica.identity().id, offset, *record);
          ++found;
        }
        next = batch.next_offset();
      }
    }
    CHECK(Offset(found) == replica.committed(), found, replica.committed().value);
    for (std::size_t number = 0; number < ledger_.sent(); ++number) {
      const auto place = ledger_.place_of(number);
      CHECK(!place || place->first != replica.identity().id || place->second < replica.committed());
    }
  }

  const std::uint8_t* at_;
  std::size_t left_;
  sim::ServerWorld world_{{"a", "b"}};
  fuzz::Ledger ledger_;
  std::array<LogId, 2> logs_;
  std::array<std::unique_ptr<fuzz::Client>, kClients> clients_;
  std::vector<std::unique_ptr<fuzz::Client>> gone_;
  std::size_t connections_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  Program(data, size).run();
  return 0;
}
