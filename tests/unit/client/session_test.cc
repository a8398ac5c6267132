// The server's sessions, spoken to frame by frame: what a good client never sends, and how much a slow one may cost.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <map>
#include <set>

#include "client/client.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "tests/unit/client/node.h"
#include "wal/batch.h"

namespace walraft {
namespace {

using rpc::FrameType;

// A connection without any manners of its own.
class Raw {
 public:
  explicit Raw(std::uint16_t port, bool greet = true) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    if (!greet) return;
    send(rpc::make_frame(FrameType::hello, 0, Term(), rpc::encode(rpc::Hello{})));
    EXPECT_EQ(receive().type, FrameType::welcome);
  }
  ~Raw() { ::close(socket_); }

  void send(ByteView bytes) { EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size())); }

  struct Frame {
    FrameType type = FrameType::close;  // also: nothing came
    std::uint32_t channel = 0;
    std::vector<std::byte> payload;
  };

  Frame receive(int timeout_ms = 5'000) {
    for (;;) {
      if (const auto frame = decoder_.next()) {
        EXPECT_TRUE(frame->has_value());
        return {(*frame)->header.type, (*frame)->header.channel,
                {(*frame)->payload.begin(), (*frame)->payload.end()}};
      }
      pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, timeout_ms) == 0) return {};
      const MutableBytes space = decoder_.space();
      const ssize_t got = ::recv(socket_, space.data(), space.size(), 0);
      if (got <= 0) {
        ended_ = true;
        return {};
      }
      decoder_.filled(static_cast<std::size_t>(got));
    }
  }

  // The ERROR that comes next, and then the end.
  std::string last_words() {
    const Frame frame = receive();
    EXPECT_EQ(frame.type, FrameType::error);
    EXPECT_EQ(frame.channel, 0u);
    const auto message = rpc::decode_error(frame.payload);
    receive();
    EXPECT_TRUE(ended_) << "the connection goes on";
    return message ? message->error.message : "";
  }

  rpc::Opened open(std::uint32_t channel, const rpc::Open& open) {
    send(rpc::make_frame(FrameType::open, channel, Term(), rpc::encode(open)));
    const Frame frame = receive();
    EXPECT_EQ(frame.type, FrameType::opened) << rpc::name_of(frame.type);
    return rpc::decode_opened(frame.payload).value_or(rpc::Opened{});
  }

  bool ended() const { return ended_; }

 private:
  int socket_;
  bool ended_ = false;
  rpc::FrameDecoder decoder_;
};

std::vector<std::byte> batch_of(LogId log, std::string_view record, wal::BatchKind kind = wal::BatchKind::data) {
  wal::BatchBuilder builder;
  EXPECT_TRUE(builder.add(bytes_of(record)));
  const auto batch = builder.finish({.log_id = log, .kind = kind, .writer_epoch = {}, .producer_id = {}});
  return {batch.begin(), batch.end()};
}

std::vector<std::byte> append_frame(std::uint32_t channel, std::uint64_t request, ByteView batch) {
  return rpc::make_frame(FrameType::append, channel, Term(), rpc::encode(rpc::Append{.request = request}), batch);
}

class SessionTest : public testing::Test {
 protected:
  // A log with one record, its id in log_id_.
  void SetUp() override {
    Client client({.endpoints = {node_.endpoint()}});
    auto log = client.open("log", {.create = true});
    ASSERT_TRUE(log) << log.error().message;
    auto appender = log->appender();
    const ByteView record = bytes_of("first");
    ASSERT_TRUE(appender->append({&record, 1}).get());
    log_id_ = Raw(node_.port()).open(1, {.log_name = "log"}).log_id;
  }

  Offset tail() {
    Client client({.endpoints = {node_.endpoint()}});
    return client.open("log")->tail().value_or(Offset(UINT64_MAX));
  }

  // More records in the log, a batch each.
  void fill(int records, std::size_t bytes) {
    Client client({.endpoints = {node_.endpoint()}});
    auto log = client.open("log");
    auto appender = log->appender();
    const std::string text(bytes, 'c');
    const ByteView record = bytes_of(text);
    for (int i = 0; i < records; ++i) appender->append({&record, 1}, {}, [](Result<Appended> r) { EXPECT_TRUE(r); });
    appender->wait();
  }

  test::Node node_;
  LogId log_id_;
};

TEST_F(SessionTest, WorksByteByByte) {
  Raw raw(node_.port(), false);
  std::vector<std::byte> all = rpc::make_frame(FrameType::hello, 0, Term(), rpc::encode(rpc::Hello{}));
  for (const auto& frame : {rpc::make_frame(FrameType::open, 9, Term(),
                                            rpc::encode(rpc::Open{.log_name = "log", .kind = rpc::SessionKind::appender})),
                            append_frame(9, 1, batch_of(log_id_, "slow"))}) {
    all.insert(all.end(), frame.begin(), frame.end());
  }
  for (const std::byte byte : all) raw.send({&byte, 1});
  EXPECT_EQ(raw.receive().type, FrameType::welcome);
  EXPECT_EQ(raw.receive().type, FrameType::opened);
  const auto answer = raw.receive();
  ASSERT_EQ(answer.type, FrameType::appended);
  EXPECT_EQ(rpc::decode_appended(answer.payload)->first, Offset(1));
}

TEST_F(SessionTest, PingIsAnswered) {
  Raw raw(node_.port());
  raw.send(rpc::make_frame(FrameType::ping, 0, Term(), rpc::encode(rpc::Ping{77})));
  const auto pong = raw.receive();
  EXPECT_EQ(pong.type, FrameType::pong);
  EXPECT_EQ(rpc::decode_ping(pong.payload)->token, 77u);
}

TEST_F(SessionTest, AWrongOrderEndsTheConnection) {
  const rpc::Open appender{.log_name = "log", .kind = rpc::SessionKind::appender};
  {
    Raw raw(node_.port());
    raw.open(1, appender);
    raw.send(append_frame(1, 2, batch_of(log_id_, "x")));
    EXPECT_NE(raw.last_words().find("request 2"), std::string::npos);
  }
  {
    Raw raw(node_.port());
    raw.open(1, appender);
    raw.send(rpc::make_frame(FrameType::open, 1, Term(), rpc::encode(appender)));
    EXPECT_NE(raw.last_words().find("in use"), std::string::npos);
  }
  {
    Raw raw(node_.port());
    raw.send(rpc::make_frame(FrameType::open, 0, Term(), rpc::encode(appender)));
    EXPECT_NE(raw.last_words().find("channel 0"), std::string::npos);
  }
  {
    Raw raw(node_.port());
    raw.open(1, appender);
    raw.send(rpc::make_frame(FrameType::credit, 1, Term(), rpc::encode(rpc::Credit{1})));
    EXPECT_NE(raw.last_words().find("does not send"), std::string::npos);
  }
  {
    Raw raw(node_.port());
    raw.send(rpc::make_frame(FrameType::hello, 0, Term(), rpc::encode(rpc::Hello{})));
    EXPECT_NE(raw.last_words().find("does not send hello"), std::string::npos);
  }
  {
    Raw raw(node_.port(), false);
    raw.send(rpc::make_frame(FrameType::hello, 0, Term(), rpc::encode(rpc::Hello{.version_min = 2, .version_max = 9})));
    EXPECT_NE(raw.last_words().find("2 to 9"), std::string::npos);
  }
  EXPECT_EQ(tail(), Offset(1)) << "nothing was written";
}

TEST_F(SessionTest, ADamagedBatchIsNeverWritten) {
  const auto good = batch_of(log_id_, "precious");
  for (std::size_t at = 0; at < good.size(); ++at) {
    if (at >= 56 && at < wal::kBatchHeaderBytes) continue;  // the stamp is the server's
    auto damaged = good;
    damaged[at] ^= std::byte{0x10};
    Raw raw(node_.port());
    raw.open(1, {.log_name = "log", .kind = rpc::SessionKind::appender});
    raw.send(append_frame(1, 1, damaged));
    const auto answer = raw.receive();
    EXPECT_EQ(answer.type, FrameType::error) << "byte " << at;
  }
  EXPECT_EQ(tail(), Offset(1));
}

TEST_F(SessionTest, RefusesWhatOnlyTheServerWrites) {
  Raw raw(node_.port());
  raw.open(1, {.log_name = "log", .kind = rpc::SessionKind::appender});
  raw.send(append_frame(1, 1, wal::make_control_batch(log_id_, wal::BatchKind::trim, {})));
  raw.send(append_frame(1, 2, batch_of(LogId(log_id_.value + 5), "for another log")));
  raw.send(append_frame(1, 3, batch_of(log_id_, "good")));
  for (const std::uint64_t request : {1u, 2u}) {
    const auto answer = raw.receive();
    ASSERT_EQ(answer.type, FrameType::error);
    const auto message = rpc::decode_error(answer.payload);
    EXPECT_EQ(message->request, request);
    EXPECT_EQ(message->error.code, Code::invalid);
  }
  EXPECT_EQ(raw.receive().type, FrameType::appended);
  EXPECT_EQ(tail(), Offset(2));
}

TEST_F(SessionTest, TheSystemLogIsNotForClients) {
  Raw raw(node_.port());
  raw.send(rpc::make_frame(FrameType::open, 1, Term(),
                           rpc::encode(rpc::Open{.log_name = "_system", .kind = rpc::SessionKind::appender})));
  const auto answer = raw.receive();
  ASSERT_EQ(answer.type, FrameType::error);
  EXPECT_EQ(rpc::decode_error(answer.payload)->error.code, Code::invalid);
}

TEST_F(SessionTest, CreditBoundsWhatIsSent) {
  fill(300, 10'000);
  Raw raw(node_.port());
  const auto opened = raw.open(1, {.log_name = "log", .kind = rpc::SessionKind::subscriber,
                                   .from = {rpc::From::Kind::earliest, 0}, .credit = 100'000});
  EXPECT_EQ(opened.start, Offset(0));
  std::size_t got = 0;
  Offset next = opened.start;
  const auto drain = [&] {
    for (;;) {
      const auto frame = raw.receive(300);
      if (frame.type != FrameType::records) return;
      const auto records = rpc::decode_records(frame.payload);
      EXPECT_EQ(records->from, next);
      next = records->next;
      got += records->bytes;
    }
  };
  drain();
  EXPECT_GE(got, 80'000u);
  EXPECT_LE(got, 100'000u + 11'000u) << "credit, and one batch that overdraws it";
  raw.send(rpc::make_frame(FrameType::credit, 1, Term(), rpc::encode(rpc::Credit{50'000})));
  drain();
  EXPECT_GE(got, 130'000u);
  EXPECT_LE(got, 150'000u + 2 * 11'000u);
}

// Each CREDIT of a byte used to bring a whole batch: what a frame overdrew was forgotten, and with it what the
// subscriber was ready to hold.
TEST_F(SessionTest, OverdrawnCreditIsOwed) {
  fill(50, 10'000);
  Raw raw(node_.port());
  raw.open(
      1, {.log_name = "log", .kind = rpc::SessionKind::subscriber, .from = {rpc::From::Kind::offset, 1}, .credit = 1});
  EXPECT_EQ(raw.receive().type, FrameType::records) << "one may always come";
  for (int i = 0; i < 20; ++i) raw.send(rpc::make_frame(FrameType::credit, 1, Term(), rpc::encode(rpc::Credit{1})));
  raw.send(rpc::make_frame(FrameType::ping, 0, Term(), rpc::encode(rpc::Ping{1})));
  EXPECT_EQ(raw.receive().type, FrameType::pong);
  EXPECT_EQ(raw.receive(200).type, FrameType::close) << "nothing more came";
  raw.send(rpc::make_frame(FrameType::credit, 1, Term(), rpc::encode(rpc::Credit{20'000})));
  EXPECT_EQ(raw.receive().type, FrameType::records);
}

// All of them fetch from the files at once, while nobody reads what they send: that used to be queued in full. And the
// first used to be served to its end before the next got anything.
TEST_F(SessionTest, ManySessionsShareTheQueueOfTheirConnection) {
  constexpr std::uint32_t kSessions = 40;
  fill(64, 256u << 10);
  Raw raw(node_.port());
  for (std::uint32_t channel = 1; channel <= kSessions; ++channel) {
    raw.send(rpc::make_frame(FrameType::open, channel, Term(),
                             rpc::encode(rpc::Open{.log_name = "log", .kind = rpc::SessionKind::subscriber,
                                                   .from = {rpc::From::Kind::earliest, 0}, .credit = 1u << 30})));
  }
  ::usleep(500'000);
  // A server that a slow reader holds up may read the later OPENs late: only from the last of them on are all sessions
  // there to take turns.
  std::size_t opened = 0;
  std::size_t bytes_since = 0;
  std::set<std::uint32_t> served;
  while (served.size() < kSessions) {
    const auto frame = raw.receive();
    if (frame.type == FrameType::opened) {
      ++opened;
      continue;
    }
    ASSERT_EQ(frame.type, FrameType::records) << served.size() << " sessions got something";
    served.insert(frame.channel);
    if (opened == kSessions) bytes_since += frame.payload.size();
  }
  EXPECT_LT(bytes_since, kSessions * (std::size_t{2} << 20)) << "all get something within two rounds";
  std::size_t queued = 0;
  node_.run([&](rpc::Server& server, replication::Catalogue&) { queued = server.stats().queue_bytes_max; });
  EXPECT_LE(queued, std::size_t{6} << 20);
}

TEST_F(SessionTest, AConnectionCarriesManySessionsButNotAnyNumber) {
  Raw raw(node_.port());
  for (std::uint32_t channel = 1; channel <= 1024; ++channel) {
    raw.send(rpc::make_frame(FrameType::open, channel, Term(), rpc::encode(rpc::Open{.log_name = "log"})));
    ASSERT_EQ(raw.receive().type, FrameType::opened) << channel;
  }
  raw.send(rpc::make_frame(FrameType::open, 2000, Term(), rpc::encode(rpc::Open{.log_name = "log"})));
  const auto refused = raw.receive();
  EXPECT_EQ(refused.type, FrameType::error);
  EXPECT_EQ(refused.channel, 2000u);
  EXPECT_EQ(rpc::decode_error(refused.payload)->error.code, Code::over_limit);
  raw.send(rpc::make_frame(FrameType::close, 7, Term(), {}));
  raw.open(2000, {.log_name = "log"});
}

// The log that was asked for first used to take the channel over when it had been made.
TEST_F(SessionTest, AChannelClosedWhileItsLogIsMadeIsFree) {
  Raw raw(node_.port());
  std::vector<std::byte> frames;
  for (const auto& frame : {rpc::make_frame(FrameType::open, 1, Term(), rpc::encode(rpc::Open{.log_name = "new", .create = true})),
                            rpc::make_frame(FrameType::close, 1, Term(), {}),
                            rpc::make_frame(FrameType::open, 1, Term(), rpc::encode(rpc::Open{.log_name = "log"}))}) {
    frames.insert(frames.end(), frame.begin(), frame.end());
  }
  raw.send(frames);
  const auto answer = raw.receive();
  ASSERT_EQ(answer.type, FrameType::opened);
  EXPECT_EQ(rpc::decode_opened(answer.payload)->log_id, log_id_);
  Client client({.endpoints = {node_.endpoint()}});
  ASSERT_TRUE(client.open("new", {.create = true}));
  EXPECT_EQ(raw.receive(300).type, FrameType::close) << "nothing more";
}

// Sessions that go with their answers outstanding give their place back: else the connection would stop reading.
TEST_F(SessionTest, ClosedSessionsLeaveNoUnansweredRequests) {
  Raw raw(node_.port());
  for (int round = 0; round < 100; ++round) {
    raw.open(1, {.log_name = "log", .kind = rpc::SessionKind::appender});
    std::vector<std::byte> frames;
    for (std::uint64_t request = 1; request <= 100; ++request) {
      const auto frame = append_frame(1, request, batch_of(log_id_, "r"));
      frames.insert(frames.end(), frame.begin(), frame.end());
    }
    const auto close = rpc::make_frame(FrameType::close, 1, Term(), {});
    frames.insert(frames.end(), close.begin(), close.end());
    const auto ping = rpc::make_frame(FrameType::ping, 0, Term(), rpc::encode(rpc::Ping{1}));
    frames.insert(frames.end(), ping.begin(), ping.end());
    raw.send(frames);
    for (;;) {
      const auto frame = raw.receive();
      ASSERT_NE(frame.type, FrameType::close) << "no answer in round " << round;
      if (frame.type == FrameType::pong) break;
    }
  }
  const Offset all(1 + 100 * 100);  // a session's end takes nothing back; what is under way is still committed
  for (int i = 0; i < 500 && tail() < all; ++i) ::usleep(10'000);
  EXPECT_EQ(tail(), all);
}

TEST(Admission, WhatIsAboveTheLimitIsRefusedAndNotWritten) {
  test::Node node({.record_bytes_max = 1u << 20, .batch_bytes_max = 4u << 20, .inflight_bytes_max = 100'000});
  Client client({.endpoints = {node.endpoint()}});
  auto log = client.open("log", {.create = true});
  auto appender = log->appender({.inflight_bytes_max = 64u << 20});
  const std::string text(20'000, 'a');
  const ByteView record = bytes_of(text);
  std::vector<std::future<Result<Appended>>> answers;
  for (int i = 0; i < 400; ++i) answers.push_back(appender->append({&record, 1}));
  std::uint64_t written = 0, refused = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (result) {
      EXPECT_EQ(result->first, Offset(written++));
    } else {
      EXPECT_EQ(result.error().code, Code::over_limit) << result.error().message;
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(log->tail(), Offset(written));
  EXPECT_TRUE(appender->append({&record, 1}).get()) << "once answered, there is room again";
}

TEST(Catalogue, LogsAreMadeOnceAndOutliveARestart) {
  test::Node node;
  {
    Client one({.endpoints = {node.endpoint()}}), two({.endpoints = {node.endpoint()}});
    std::vector<std::future<bool>> made;
    for (Client* client : {&one, &two}) {
      made.push_back(std::async(std::launch::async, [client] {
        for (int i = 0; i < 20; ++i) {
          if (!client->open("log-" + std::to_string(i), {.create = true})) return false;
        }
        return true;
      }));
    }
    EXPECT_TRUE(made[0].get() && made[1].get());
  }
  std::map<std::string, Uuid> before, after;
  const auto list = [](std::map<std::string, Uuid>& into) {
    return [&into](rpc::Server&, replication::Catalogue& catalogue) {
      for (const auto* entry : catalogue.list()) into[entry->name] = entry->uuid;
    };
  };
  node.run(list(before));
  EXPECT_EQ(before.size(), 20u);
  node.stop();
  node.start();
  node.run(list(after));
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace walraft
