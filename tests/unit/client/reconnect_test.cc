// Deadlines, lost connections and several endpoints, as the client's caller sees them.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "client/client.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/node.h"
#include "wal/batch.h"

namespace walraft {
namespace {

using namespace std::chrono_literals;
using rpc::FrameType;
using test::FakeServer;
using Clock = std::chrono::steady_clock;

const ByteView kRecord = bytes_of("record");

// RECORDS with one batch of one record.
void send_record(FakeServer& server, std::uint32_t channel, Offset offset, std::string_view text) {
  wal::BatchBuilder builder;
  ASSERT_TRUE(builder.add(bytes_of(text)));
  const auto batch = builder.finish({.log_id = LogId(1)});
  wal::stamp_batch(batch,
                   {.index = Index(1 + offset.value), .base_offset = offset, .term = Term(1), .commit = Index(0)}, {});
  server.send(
      FrameType::records, channel,
      rpc::encode(rpc::Records{
          .from = offset, .next = offset + 1, .commit = offset + 1, .bytes = static_cast<std::uint32_t>(batch.size())}),
      batch);
}

std::uint64_t credit_of(const FakeServer::Frame& frame) {
  return frame.type == FrameType::open ? rpc::decode_open(frame.payload)->credit
                                       : rpc::decode_credit(frame.payload)->bytes;
}

void answer_appends(FakeServer& server, int appends) {
  for (int i = 0; i < appends; ++i) {
    const auto frame = server.receive(FrameType::append);
    const auto request = rpc::decode_append(frame.payload)->request;
    server.send(FrameType::appended, frame.channel,
                rpc::encode(rpc::Appended{.request = request,
                                          .first = Offset(request - 1),
                                          .last = Offset(request - 1),
                                          .term = Term(1),
                                          .durable_on = NodeId{1}}));
  }
}

Result<Appender> open_appender(Client& client, const AppenderOptions& options = {}) {
  auto log = client.open("log");
  if (!log) return std::unexpected(log.error());
  return log->appender(options);
}

Result<Subscription> open_subscription(Client& client, const SubscribeOptions& options) {
  auto log = client.open("log");
  if (!log) return std::unexpected(log.error());
  return log->subscribe(options);
}

TEST(Connecting, IsTriedAgainUntilTheTimeout) {
  test::Node node;
  node.stop();
  Client client({.endpoints = {node.endpoint()}, .timeout = 20s});
  auto opening = std::async(std::launch::async, [&] { return client.open("log", {.create = true}); });
  EXPECT_EQ(opening.wait_for(300ms), std::future_status::timeout);
  node.start();
  const auto log = opening.get();
  EXPECT_TRUE(log) << log.error().message;
}

TEST(Connecting, SaysWhyItFailed) {
  Client client({.endpoints = {"127.0.0.1:1"}, .timeout = 200ms});
  const auto log = client.open("log");
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::unavailable);
  EXPECT_EQ(log.error().message, "the request: no answer within 200 ms; 127.0.0.1:1: Connection refused");
}

// The first endpoint used to get the whole timeout, so that the second was never reached by the first request.
TEST(Connecting, ADeadMachineLeavesTimeForTheNextEndpoint) {
  FakeServer dead;  // takes the connection and says nothing, like a host that hangs
  test::Node node;
  Client client({.endpoints = {dead.endpoint(), node.endpoint()}, .timeout = 8s});
  const auto log = client.open("log", {.create = true});
  EXPECT_TRUE(log) << log.error().message;
}

// The first that was full used to end the request with over_limit, though others were there to ask.
TEST(Connecting, AFullServerIsLeftForTheNextEndpoint) {
  FakeServer full;
  test::Node node;
  Client client({.endpoints = {full.endpoint(), node.endpoint()}, .timeout = 40s});
  std::jthread script([&] { full.refuse({Code::over_limit, "as many connections as may be are open", 0}); });
  const auto log = client.open("log", {.create = true});
  EXPECT_TRUE(log) << log.error().message;
}

TEST(Connecting, AnAppenderOpensThroughALostConnection) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}, .timeout = 20s});
  std::jthread script([&] {
    server.accept();
    server.open();  // of open()
    EXPECT_EQ(server.receive(FrameType::open).type, FrameType::open);
    server.accept();  // the connection is lost before OPENED
    server.open();
    answer_appends(server, 1);
  });
  auto appender = open_appender(client);
  ASSERT_TRUE(appender) << appender.error().message;
  ASSERT_TRUE(appender->append({&kRecord, 1}).get());
  script.join();
}

TEST(Deadline, EndsARequestThatTheServerDoesNotAnswer) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}, .timeout = 300ms});
  std::jthread script([&] { server.accept(); });
  const auto before = Clock::now();
  const auto log = client.open("log");
  EXPECT_GE(Clock::now() - before, 300ms);
  script.join();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::unavailable);
  EXPECT_EQ(log.error().message, "the request: no answer within 300 ms");
}

TEST(Deadline, EndsAnAppendAsUnknownAndItsAppender) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}, .timeout = 2s});
  std::jthread script([&] {
    server.accept();
    server.open();
    server.open();
    answer_appends(server, 1);
  });
  auto appender = open_appender(client);
  ASSERT_TRUE(appender) << appender.error().message;
  EXPECT_TRUE(appender->append({&kRecord, 1}).get());
  script.join();
  const auto before = Clock::now();
  const auto answer = appender->append({&kRecord, 1}).get();
  EXPECT_GE(Clock::now() - before, 2s);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::unknown);
  EXPECT_EQ(appender->append({&kRecord, 1}).get().error().code, Code::unavailable);
}

TEST(Appends, AfterALostConnectionAreUnknownIfSentAndUnavailableIfNot) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::promise<void> all_sent;
  std::jthread script([&] {
    server.accept();
    server.open();
    server.open();
    answer_appends(server, 3);
    all_sent.get_future().wait_for(20s);
    server.receive(FrameType::append);
    server.hang_up();
  });
  auto appender = open_appender(client);
  ASSERT_TRUE(appender) << appender.error().message;
  std::vector<std::future<Result<Appended>>> answers;
  for (int i = 0; i < 6; ++i) answers.push_back(appender->append({&kRecord, 1}));
  answers.push_back(appender->append({}));  // refused by the client: certain, whatever happens to those before it
  all_sent.set_value();
  std::string outcomes;
  for (auto& answer : answers) {
    const auto result = answer.get();
    outcomes += std::string(result ? "ok" : outcome_of(result.error().code).name) + " ";
  }
  script.join();
  answers.clear();
  const auto later = appender->append({&kRecord, 1}).get();
  outcomes += outcome_of(later ? Code::ok : later.error().code).name;
  EXPECT_EQ(outcomes, "ok ok ok unknown unknown unknown invalid unavailable");
}

// What waited behind a write that the socket did not take used to end `unknown` as well.
TEST(Appends, WhatWasNeverHandedToTheSocketIsCertainlyNotThere) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::promise<void> first_sent, all_sent;
  std::jthread script([&] {
    server.accept();
    server.open();
    server.open();
    EXPECT_TRUE(server.readable());  // the first frame is being written; it is larger than all buffers on its way
    first_sent.set_value();
    all_sent.get_future().wait_for(20s);
    server.hang_up();
  });
  auto appender = open_appender(client, {.inflight_bytes_max = 64u << 20});
  ASSERT_TRUE(appender) << appender.error().message;
  const std::vector<std::string> parts(8, std::string(1020u << 10, 'x'));
  std::vector<ByteView> large;
  for (const std::string& part : parts) large.push_back(bytes_of(part));
  std::vector<std::future<Result<Appended>>> answers;
  answers.push_back(appender->append(large));
  first_sent.get_future().wait_for(20s);
  for (int i = 0; i < 2; ++i) answers.push_back(appender->append({&kRecord, 1}));
  answers.push_back(appender->append({}));
  answers.push_back(appender->append({&kRecord, 1}));
  all_sent.set_value();
  std::string outcomes;
  for (auto& answer : answers) {
    const auto result = answer.get();
    outcomes += std::string(result ? "ok" : outcome_of(result.error().code).name) + " ";
  }
  EXPECT_EQ(outcomes, "unknown unavailable unavailable invalid unavailable ");
}

// Empty and refused appends used to cost nothing, and so could pile up without bound.
TEST(Appends, SmallOnesCountToo) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::jthread script([&] {
    server.accept();
    server.open();
    server.open();
  });
  auto appender = open_appender(client, {.inflight_bytes_max = 20'000});
  ASSERT_TRUE(appender) << appender.error().message;
  script.join();
  std::atomic<int> appended = 0;
  std::thread writer([&] {
    appender->append({&kRecord, 1}, {}, [](const Result<Appended>&) {});  // never answered: the others queue behind it
    for (int i = 0; i < 10'000; ++i, ++appended) appender->append({}, {}, [](const Result<Appended>&) {});
  });
  std::this_thread::sleep_for(200ms);
  EXPECT_LT(appended, 20'000 / 32);
  server.hang_up();
  writer.join();
  appender->wait();
  EXPECT_EQ(appended, 10'000);
}

TEST(Appends, LimitsOfZeroLetOneBatchThroughAtATime) {
  test::Node node;
  Client client({.endpoints = {node.endpoint()}});
  auto log = client.open("log", {.create = true});
  auto appender = log->appender({.inflight_bytes_max = 0});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(appender->append({&kRecord, 1}).get());
  auto subscription = log->subscribe({.from = From::earliest(), .credit_bytes = 0});
  ASSERT_TRUE(subscription) << subscription.error().message;
  std::uint64_t seen = 0;
  while (seen < 10) {
    const auto event = subscription->next(20s);
    ASSERT_TRUE(event) << event.error().message;
    seen += std::get<Records>(*event).size();
  }
}

// What was taken between OPEN and OPENED of a reconnect used to be given back by nobody: with a full queue before it,
// the server then waited for credit and the consumer for records.
TEST(Subscriptions, CreditTakenWhileReconnectingIsGivenBack) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::promise<void> reopening, taken;
  std::jthread script([&] {
    server.accept();
    server.open();
    const auto open = server.open();
    EXPECT_EQ(credit_of(open), 100u);
    send_record(server, open.channel, Offset(0), std::string(300, 'a'));
    server.accept();
    const auto again = server.receive(FrameType::open);
    EXPECT_EQ(credit_of(again), 0u) << "the queue is full";
    reopening.set_value();
    taken.get_future().wait_for(20s);
    server.send(FrameType::opened, again.channel, rpc::encode(rpc::Opened{.log_id = LogId(1), .start = Offset(1)}));
    EXPECT_GE(credit_of(server.receive(FrameType::credit)), 100u);
    send_record(server, again.channel, Offset(1), "b");
  });
  auto subscription = open_subscription(client, {.from = From::earliest(), .credit_bytes = 100});
  ASSERT_TRUE(subscription) << subscription.error().message;
  reopening.get_future().wait_for(20s);
  EXPECT_TRUE(subscription->next(20s));
  taken.set_value();
  const auto event = subscription->next(20s);
  script.join();
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(std::get<Records>(*event).all()[0].offset, Offset(1));
}

// Its memory is bounded by what it has granted, whatever the server does.
TEST(Subscriptions, AServerThatSendsBeyondItsCreditIsLeft) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::jthread script([&] {
    server.accept();
    server.open();
    const auto open = server.open();
    for (std::uint64_t offset = 0; offset < 3; ++offset) {  // 1, and 2 overdraws; 3 is too much
      send_record(server, open.channel, Offset(offset), std::string(100, 'a'));
    }
    server.accept();
    const auto again = server.open({.log_id = LogId(1), .start = Offset(2)});
    EXPECT_EQ(rpc::decode_open(again.payload)->from.value, 2u);
    EXPECT_EQ(credit_of(again), 0u);
  });
  auto subscription = open_subscription(client, {.from = From::earliest(), .credit_bytes = 300});
  ASSERT_TRUE(subscription) << subscription.error().message;
  script.join();
  EXPECT_TRUE(subscription->next(20s));
}

// The lost connection ends appends, whose callbacks used to meet a locked subscription.
TEST(Subscriptions, AServerThatSendsBeyondItsCreditIsLeftWithoutALock) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::jthread script([&] {
    server.accept();
    server.open();
    const auto open = server.open();
    server.open();
    server.receive(FrameType::append);
    for (std::uint64_t offset = 0; offset < 3; ++offset) {
      send_record(server, open.channel, Offset(offset), std::string(100, 'a'));
    }
    server.left();
  });
  auto log = client.open("log");
  ASSERT_TRUE(log) << log.error().message;
  auto subscription = log->subscribe({.from = From::earliest(), .credit_bytes = 300});
  ASSERT_TRUE(subscription) << subscription.error().message;
  auto appender = log->appender();
  ASSERT_TRUE(appender) << appender.error().message;
  std::promise<std::pair<bool, Offset>> ended;
  appender->append({&kRecord, 1}, {}, [&](const Result<Appended>& result) {
    ended.set_value({!result && result.error().code == Code::unknown, subscription->committed()});
  });
  EXPECT_EQ(ended.get_future().get(), std::pair(true, Offset(2)));
}

// A hung server used to hold its subscribers for ever: its kernel goes on answering for it.
TEST(Subscriptions, LeaveAServerThatFallsSilent) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}, .timeout = 1s});
  std::jthread script([&] {
    server.accept();
    server.open();
    server.open();
    const auto ping = server.receive(FrameType::ping);
    server.send(FrameType::pong, 0, ping.payload);  // a sign of life
    server.receive(FrameType::ping);                // and then none
    EXPECT_TRUE(server.left());
    server.accept();
    const auto open = server.open();
    send_record(server, open.channel, Offset(0), "a");
  });
  auto subscription = open_subscription(client, {.from = From::earliest()});
  ASSERT_TRUE(subscription) << subscription.error().message;
  const auto event = subscription->next(30s);
  EXPECT_TRUE(event) << event.error().message;
}

// It used to go on in the new log at the old one's offset, as if its records were the same.
TEST(Subscriptions, EndWhenTheNameHasPassedToAnotherLog) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::jthread script([&] {
    server.accept();
    server.open();
    const auto open = server.open({.log_id = LogId(1), .log_uuid = Uuid{{1}}});
    send_record(server, open.channel, Offset(0), "of the first");
    server.accept();
    server.open({.log_id = LogId(2), .log_uuid = Uuid{{2}}, .start = Offset(1)});
    server.receive(FrameType::close);
  });
  auto subscription = open_subscription(client, {.from = From::earliest()});
  ASSERT_TRUE(subscription) << subscription.error().message;
  EXPECT_TRUE(subscription->next(20s));
  const auto event = subscription->next(20s);
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, Code::deleted) << event.error().message;
}

// A session refused for now, on a connection that goes on, used to leave the subscription without one for ever.
TEST(Subscriptions, OpenAgainAfterARefusalThatMayPass) {
  FakeServer server;
  Client client({.endpoints = {server.endpoint()}});
  std::jthread script([&] {
    server.accept();
    server.open();
    const auto open = server.open();
    for (const Code code : {Code::unavailable, Code::over_limit}) {
      server.send(FrameType::error, open.channel,
                  rpc::encode(rpc::ErrorMessage{.request = 0, .error = {code, "later", 0}}));
      server.open();
    }
    send_record(server, open.channel, Offset(0), "a");
    server.send(FrameType::error, open.channel,
                rpc::encode(rpc::ErrorMessage{.request = 0, .error = {Code::deleted, "the log was deleted", 0}}));
  });
  auto subscription = open_subscription(client, {.from = From::earliest()});
  ASSERT_TRUE(subscription) << subscription.error().message;
  const auto event = subscription->next(20s);
  EXPECT_TRUE(event) << event.error().message;
  const auto end = subscription->next(20s);
  script.join();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::deleted) << "this one does not pass";
}

}  // namespace
}  // namespace walraft
