// What a peer may keep of a server, and for how long: deadlines, queues, connections. (fault:K1, K7, K8)

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "rpc/stream/connection.h"
#include "rpc/wire/administration.h"
#include "tests/unit/rpc_stream/peer.h"

namespace walraft::rpc {
namespace {

using sim::ServerWorld;

TEST(Deadline, OfTheHandshake) {
  ServerWorld world({"a"});
  Peer silent(world, "10.0.0.1", false);
  world.pass_s(4);
  EXPECT_FALSE(silent.wire->server_ended);
  world.pass_s(4);
  const auto error = silent.next_error();
  ASSERT_TRUE(error);
  EXPECT_NE(error->message.find("no HELLO came within 5 s"), std::string::npos) << error->message;
  world.pass_s(5);
  EXPECT_TRUE(silent.wire->closed) << "it does not wait for a peer that does not close";
  EXPECT_EQ(world.server().connections(), 0u);
  EXPECT_EQ(world.server().stats().timeouts, 1u);
}

TEST(Deadline, OfAHandshakeThatComesInDrops) {
  ServerWorld world({"a"});
  Peer slow(world, "10.0.0.1", false);
  const auto hello = make_frame(FrameType::hello, 0, Term(), encode(Hello{}));
  for (std::size_t i = 0; i + 1 < hello.size() && !slow.wire->server_ended; ++i) {
    slow.wire->send(ByteView(hello).subspan(i, 1));
    world.pass_us(500'000);
    EXPECT_LE(i, 20u);
  }
  EXPECT_TRUE(slow.next_error());
}

TEST(Deadline, OfAFrameThatComesInDrops) {
  ServerWorld world({"a"});
  Peer slow(world);
  slow.open(1, {.log_name = "a", .kind = SessionKind::appender});
  world.settle();
  ASSERT_EQ(slow.next()->header.type, FrameType::opened);
  const auto batch = batch_of(world.catalogue().find("a")->identity().id, std::string(200'000, 'x'));
  const auto frame = make_frame(FrameType::append, 1, Term(), encode(Append{.request = 1}), batch);
  std::size_t seconds = 0;
  for (; !slow.wire->server_ended && seconds < 100; ++seconds) {
    slow.wire->send(ByteView(frame).subspan(seconds, 1));
    world.pass_s(1);
  }
  EXPECT_GE(seconds, 30u);
  EXPECT_LE(seconds, 40u) << "and not sooner for dripping on";
  const auto error = slow.next_error();
  ASSERT_TRUE(error);
  EXPECT_NE(error->message.find("did not arrive whole"), std::string::npos) << error->message;
}

// Large frames get the time that they need at 64 KiB a second; and many small ones in a row are not one slow one.
TEST(Deadline, OfAFrameIsNotInTheWayOfSlowLines) {
  ServerWorld world({"a"}, {.record_bytes_max = 8u << 20, .batch_bytes_max = 8u << 20});
  Peer peer(world);
  peer.open(1, {.log_name = "a", .kind = SessionKind::appender});
  const auto batch = batch_of(world.catalogue().find("a")->identity().id, std::string(4u << 20, 'x'));
  const auto frame = make_frame(FrameType::append, 1, Term(), encode(Append{.request = 1}), batch);
  for (std::size_t at = 0; at < frame.size(); at += 64u << 10) {
    peer.wire->send(ByteView(frame).subspan(at, std::min<std::size_t>(64u << 10, frame.size() - at)));
    world.pass_s(1);
  }
  world.pass_s(1);
  ASSERT_EQ(peer.next()->header.type, FrameType::opened);
  const auto answer = peer.next();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.type, FrameType::appended);
  const auto ping = make_frame(FrameType::ping, 0, Term(), encode(Ping{1}));
  const auto half = ByteView(ping).first(ping.size() / 2);
  const auto rest = ByteView(ping).subspan(ping.size() / 2);
  peer.wire->send(half);
  for (int second = 0; second < 100; ++second) {
    world.pass_s(1);
    peer.wire->send(rest);
    peer.wire->send(half);
  }
  EXPECT_FALSE(peer.wire->server_ended);
}

TEST(Deadline, OfAPeerThatSaysNothing) {
  ServerWorld world({"a"});
  Peer quiet(world), alive(world);
  std::size_t pings = 0;
  for (int second = 0; second < 300; ++second) {
    world.pass_s(1);
    while (const auto frame = alive.next()) {
      ASSERT_EQ(frame->header.type, FrameType::ping);
      ++pings;
      alive.send(FrameType::pong, 0, frame->payload);
    }
    EXPECT_TRUE(second >= 50 || !quiet.wire->closed) << second;
    EXPECT_TRUE(second <= 65 || quiet.wire->closed) << second;
  }
  EXPECT_FALSE(alive.wire->closed) << "a peer that answers may rest for ever";
  EXPECT_GE(pings, 8u);
  EXPECT_EQ(quiet.next()->header.type, FrameType::ping);
}

// A subscriber that stops taking: bounded memory, then the end; it goes on at its next offset later. (fault:K1)
TEST(StoppedReader, CostsBoundedMemoryAndIsLetGo) {
  ServerWorld world({"a"});
  fill(world, 64, 250'000);  // 16 MB
  auto stopped = std::make_unique<Peer>(world);
  stopped->wire->window_bytes = 200'000;
  stopped->open(1, {.log_name = "a", .kind = SessionKind::subscriber, .from = {}, .credit = 1u << 30});
  world.settle();
  EXPECT_LE(world.server().stats().queue_bytes_max, std::size_t{5} << 20);
  ASSERT_EQ(stopped->next()->header.type, FrameType::opened);
  world.pass_s(20);
  EXPECT_FALSE(stopped->wire->closed);
  std::optional<Peer::Frame> first;  // it takes a little: that counts
  while (!(first = stopped->next())) world.settle();
  ASSERT_EQ(first->header.type, FrameType::records);
  const Offset next = decode_records(first->payload)->next;
  world.pass_s(25);
  EXPECT_FALSE(stopped->wire->closed);
  world.pass_s(10);
  EXPECT_TRUE(stopped->wire->closed);
  EXPECT_EQ(world.server().connections(), 0u);
  EXPECT_EQ(world.server().queued_bytes(), 0u);
  Peer again(world);
  again.open(
      1,
      {.log_name = "a", .kind = SessionKind::subscriber, .from = {From::Kind::offset, next.value}, .credit = 1u << 30});
  world.settle();
  const auto opened = again.next();
  ASSERT_EQ(opened->header.type, FrameType::opened);
  Offset reached = decode_opened(opened->payload)->start;
  EXPECT_EQ(reached, next);
  while (reached < Offset(64)) {
    world.settle();
    const auto frame = again.next();
    ASSERT_TRUE(frame);
    const auto records = decode_records(frame->payload);
    ASSERT_TRUE(records);
    EXPECT_EQ(records->from, reached);
    reached = records->next;
  }
}

TEST(StoppedReader, ManyOfThemShareABudgetAndLockNobodyOut) {
  ServerWorld world({"a"}, {}, 1000);
  fill(world, 64, 60'000);
  std::vector<std::unique_ptr<Peer>> stopped;
  for (int i = 0; i < 200; ++i) {
    stopped.push_back(std::make_unique<Peer>(world));
    stopped.back()->wire->window_bytes = 10'000;
    stopped.back()->open(1, {.log_name = "a", .kind = SessionKind::subscriber, .from = {}, .credit = 1u << 30});
  }
  world.settle();
  EXPECT_GE(world.server().queued_bytes(), Server::kQueueBytesMax - (1u << 20)) << "the test fills the budget";
  EXPECT_LE(world.server().queued_bytes(), Server::kQueueBytesMax + 200 * (128u << 10));
  Peer reading(world);
  reading.open(1, {.log_name = "a", .kind = SessionKind::subscriber, .from = {}, .credit = 1u << 30});
  std::size_t got = 0;
  for (int i = 0; i < 1000 && got < 64; ++i) {
    world.settle();
    while (const auto frame = reading.next()) {
      if (frame->header.type == FrameType::records) got = decode_records(frame->payload)->next.value;
    }
  }
  EXPECT_EQ(got, 64u) << "who reads is served";
  world.pass_s(40);
  EXPECT_EQ(world.server().connections(), 1u);
  EXPECT_EQ(world.server().queued_bytes(), 0u);
}

// A commit of one small record lies in memory of its own, many times its size: waiting for a stopped reader, it used to
// keep all of that.
TEST(StoppedReader, KeepsNoChunksForSmallRecords) {
  ServerWorld world({"a"});
  const LogId log = world.catalogue().find("a")->identity().id;
  Peer stopped(world), appender(world);
  stopped.wire->window_bytes = 100;
  stopped.open(1, {.log_name = "a", .kind = SessionKind::subscriber, .from = {}, .credit = 1u << 30});
  appender.open(1, {.log_name = "a", .kind = SessionKind::appender});
  world.settle();
  const auto owners = [&] {  // of the last batch: the cache, and whoever else keeps it
    std::vector<wal::BatchRef> batches;
    replication::Replica& replica = *world.catalogue().find("a");
    CHECK(replica.read_tail(Offset(replica.committed().value - 1), 1, batches) && batches.size() == 1);
    return batches[0].owner.use_count() - 1;
  };
  for (std::uint64_t request = 1; request <= 100; ++request) {
    appender.send(FrameType::append, 1, encode(Append{.request = request}), batch_of(log, "small"));
    world.settle();
    ASSERT_LE(owners(), 2) << request;  // the writer of the group may still have it
  }
}

TEST(Connections, OneMachineGetsThreeQuartersAndLoopbackGetsIn) {
  ServerWorld world({"a"}, {}, 64);
  std::vector<std::unique_ptr<Peer>> peers;
  const auto connect = [&](const std::string& machine) {
    peers.push_back(std::make_unique<Peer>(world, machine, false));
    peers.back()->send(FrameType::hello, 0, encode(Hello{}));
    world.settle();
    const auto frame = peers.back()->next();
    return frame && frame->header.type == FrameType::welcome;
  };
  std::size_t one = 0, two = 0;
  while (connect("10.0.0.1")) ++one;
  EXPECT_EQ(one, 48u);
  EXPECT_FALSE(connect("10.0.0.1"));
  while (connect("10.0.0.2")) ++two;
  EXPECT_EQ(two, 12u) << "the last sixteenth is for the loopback interface";
  EXPECT_FALSE(connect("10.0.0.3"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(connect("local")) << i;
  EXPECT_FALSE(connect("local"));
  EXPECT_EQ(world.server().connections(), 64u);
  peers[0]->wire->end();
  world.settle();
  EXPECT_TRUE(connect("local")) << "a place that is free is given again";
}

TEST(Connections, AFloodOfRefusedOnesIsCutShort) {
  ServerWorld world({"a"}, {}, 4);
  std::vector<std::shared_ptr<sim::Wire>> wires;
  std::size_t told = 0, cut = 0;
  for (int i = 0; i < 1000; ++i) wires.push_back(world.connect("10.0.0.1"));
  world.settle();
  for (const auto& wire : wires) {
    told += !wire->to_peer.empty();
    cut += wire->closed;
  }
  EXPECT_EQ(told, Server::kRefusedMax);
  EXPECT_EQ(cut, 1000 - 3 - Server::kRefusedMax);
  world.pass_s(10);
  EXPECT_EQ(world.server().connections(), 0u);
  EXPECT_EQ(world.server().stats().connections_refused, 997u);
}

// Small requests with large answers: 64 KiB of them used to be answered at once, by tens of megabytes in the queue,
// each with a list of all logs made for it.
TEST(Flood, ListsOfLogsWaitForThoseWhoTakeTheAnswers) {
  std::vector<std::string> logs;
  for (int i = 0; i < 100; ++i) logs.push_back(std::string(100, 'l') + std::to_string(i));
  ServerWorld world(logs);
  constexpr std::uint64_t kRequests = 500;
  constexpr std::size_t kMost = 2 * Connection::kQueueBytesMax + kResponseBytesMax;
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 12; ++i) {
    peers.push_back(std::make_unique<Peer>(world, "10.0.1." + std::to_string(i)));
    peers.back()->wire->window_bytes = 10'000;
    for (std::uint64_t id = 1; id <= kRequests; ++id) {
      peers.back()->send(FrameType::request, 1, encode(Request{.id = id, .what = ListLogs{}}));
    }
    world.settle();
  }
  EXPECT_GE(world.server().stats().queue_bytes_max, 2 * Connection::kQueueBytesMax) << "the test fills a queue";
  EXPECT_LE(world.server().stats().queue_bytes_max, kMost);
  EXPECT_GE(world.server().queued_bytes(), Server::kQueueBytesMax) << "and that of the server";
  EXPECT_LE(world.server().queued_bytes(), Server::kQueueBytesMax + kMost + 12 * (kResponseBytesMax + (64u << 10)));
  for (const auto& peer : peers) {  // those who take them get them all
    peer->wire->window_bytes = 1u << 20;
    peer->wire->changed();
    std::uint64_t answered = 0;
    do {
      world.settle();
      while (const auto frame = peer->next()) {
        ASSERT_EQ(frame->header.type, FrameType::response);
        const auto response = decode_response(frame->payload);
        ASSERT_TRUE(response);
        EXPECT_EQ(response->id, ++answered);
        EXPECT_EQ(std::get<LogPage>(response->what).logs.size(), logs.size());
      }
      world.settle();
    } while (!peer->wire->to_peer.empty());
    EXPECT_EQ(answered, kRequests);
  }
  EXPECT_EQ(world.server().queued_bytes(), 0u);
}

// Sessions that come and go leave their reads behind, in the queue of the reader thread: it used to have no bound.
TEST(Flood, OpenAndCloseLeaveABoundedNumberOfReads) {
  ServerWorld world({"a"});
  fill(world, 1, 100);
  Peer peer(world);
  world.readers().hold(true);
  const auto open = make_frame(
      FrameType::open, 1, Term(),
      encode(
          Open{.log_name = "a", .kind = SessionKind::subscriber, .from = {From::Kind::timestamp, 1}, .credit = 1000}));
  const auto close = make_frame(FrameType::close, 1, Term(), {});
  for (int i = 0; i < 20'000; ++i) {
    peer.wire->send(open);
    peer.wire->send(close);
  }
  world.settle();
  EXPECT_GE(world.readers().waiting, 1000u);
  EXPECT_LE(world.readers().waiting, Connection::kUnansweredMax);
  world.readers().hold(false);
  world.settle();
  EXPECT_EQ(world.readers().waiting, 0u);
  peer.send(FrameType::ping, 0, encode(Ping{5}));
  world.settle();
  std::optional<Peer::Frame> last;
  while (auto frame = peer.next()) last = std::move(frame);
  ASSERT_TRUE(last) << "it reads on";
  EXPECT_EQ(last->header.type, FrameType::pong);
}

}  // namespace
}  // namespace walraft::rpc
