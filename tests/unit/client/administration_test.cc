// Client's administration against a node in this process, and what a bad client of it meets.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "client/client.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/node.h"

namespace walraft {
namespace {

using namespace std::chrono_literals;

class AdministrationTest : public testing::Test {
 protected:
  Result<Appended> append(const std::string& log, std::string_view record) {
    auto opened = client_.open(log);
    if (!opened) return std::unexpected(opened.error());
    auto appender = opened->appender();
    if (!appender) return std::unexpected(appender.error());
    return appender->append(std::vector{bytes_of(record)}).get();
  }

  test::Node node_;
  Client client_{{.endpoints = {node_.endpoint()}, .timeout = 20s}};
};

TEST_F(AdministrationTest, MakesListsDescribesAndDeletes) {
  const auto made = client_.create_log("orders", {.segment_bytes = 128u << 10, .record_bytes_max = 5});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->is_new);
  EXPECT_EQ(made->log.config.segment_bytes, 128u << 10);
  EXPECT_EQ(made->log.config.replicas, 1u);
  ASSERT_TRUE(append("orders", "12345"));
  EXPECT_EQ(append("orders", "123456").error().code, Code::too_large);
  const auto log = client_.describe_log("orders");
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->commit, Offset(1));
  EXPECT_EQ(log->leader, NodeId{1});
  EXPECT_EQ(log->uuid, made->log.uuid);
  ASSERT_EQ(log->members.size(), 1u);
  EXPECT_EQ(log->members[0].health, "ok");
  ASSERT_TRUE(client_.create_log("other"));
  const auto logs = client_.list_logs("or");
  ASSERT_TRUE(logs) << logs.error().message;
  ASSERT_EQ(logs->size(), 1u);
  EXPECT_EQ(logs->front().name, "orders");
  EXPECT_EQ(client_.list_logs()->size(), 2u);
  EXPECT_EQ(client_.list_logs("zzz")->size(), 0u);
  ASSERT_TRUE(client_.delete_log("orders"));
  EXPECT_EQ(client_.delete_log("orders").error().code, Code::not_found);
  EXPECT_EQ(client_.describe_log("orders").error().code, Code::not_found);
  EXPECT_EQ(append("orders", "x").error().code, Code::not_found);
  EXPECT_EQ(client_.list_logs()->size(), 1u);
}

TEST_F(AdministrationTest, SaysHowTheClusterDoes) {
  const auto cluster = client_.status();
  ASSERT_TRUE(cluster) << cluster.error().message;
  EXPECT_EQ(cluster->name, "test");
  ASSERT_EQ(cluster->nodes.size(), 1u);
  EXPECT_EQ(cluster->nodes[0].id, NodeId{1});
  EXPECT_EQ(cluster->nodes[0].state, "up");
  EXPECT_EQ(cluster->nodes[0].health, "ok");
  node_.run([](rpc::Server& server, replication::Catalogue&) { server.shard().reserve_held(false); });
  EXPECT_EQ(client_.status()->nodes[0].health, "no_space");
}

TEST_F(AdministrationTest, RefusesWhatThisReleaseCannotKeep) {
  const auto code = [&](const std::string& name, const LogConfig& config) {
    const auto made = client_.create_log(name, config);
    return made ? Code::ok : made.error().code;
  };
  EXPECT_EQ(code("x", {.replicas = 3}), Code::invalid);
  EXPECT_EQ(code("x", {.retention_bytes = 1}), Code::invalid);
  EXPECT_EQ(code("x", {.retention_ms = 1}), Code::invalid);
  EXPECT_EQ(code("x", {.require_epoch = true}), Code::invalid);
  EXPECT_EQ(code("x", {.segment_bytes = 3u << 20}), Code::invalid);
  EXPECT_EQ(code("x", {.segment_bytes = 1u << 15}), Code::invalid);
  EXPECT_EQ(code("x", {.segment_bytes = 1ull << 31}), Code::invalid);
  EXPECT_EQ(code("x", {.record_bytes_max = 5u << 20}), Code::invalid) << "no batch could hold it";
  EXPECT_EQ(code("_x", {}), Code::invalid);
  EXPECT_EQ(code("", {}), Code::invalid);
  EXPECT_EQ(code(std::string(129, 'x'), {}), Code::invalid);
  EXPECT_EQ(client_.list_logs()->size(), 0u);
  EXPECT_EQ(code("x", {.replicas = 1, .segment_bytes = 64u << 10, .record_bytes_max = 4u << 20}), Code::ok);
  EXPECT_EQ(code("x", {.replicas = 1, .segment_bytes = 64u << 10, .record_bytes_max = 4u << 20}), Code::ok);
  EXPECT_EQ(code("x", {}), Code::exists);
  EXPECT_EQ(code("y", {}), Code::ok);
  EXPECT_EQ(code("y", {.segment_bytes = 1u << 20}), Code::ok) << "that is the default";
}

TEST_F(AdministrationTest, ListsInPages) {
  constexpr std::size_t kLogs = rpc::kLogPageMax + 10;
  for (std::size_t i = 0; i < kLogs; ++i) ASSERT_TRUE(client_.create_log("log" + std::to_string(1000 + i))) << i;
  const auto logs = client_.list_logs("log");
  ASSERT_TRUE(logs) << logs.error().message;
  ASSERT_EQ(logs->size(), kLogs);
  for (std::size_t i = 0; i < kLogs; ++i) EXPECT_EQ((*logs)[i].name, "log" + std::to_string(1000 + i));
}

TEST_F(AdministrationTest, EndsWhatIsOpenOnADeletedLog) {
  ASSERT_TRUE(client_.create_log("log"));
  ASSERT_TRUE(append("log", "first"));
  auto log = client_.open("log");
  auto appender = log->appender();
  auto subscription = log->subscribe({.from = From::earliest()});
  ASSERT_TRUE(appender && subscription);
  ASSERT_TRUE(subscription->next(20s));
  ASSERT_TRUE(client_.delete_log("log"));
  EXPECT_EQ(subscription->next(20s).error().code, Code::deleted);
  EXPECT_EQ(appender->append(std::vector{bytes_of("x")}).get().error().code, Code::deleted);
  EXPECT_EQ(log->read(From::earliest()).error().code, Code::not_found);
  // The name is free: another log, from the start.
  const auto again = client_.create_log("log");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->is_new);
  const auto appended = append("log", "other");
  ASSERT_TRUE(appended) << appended.error().message;
  EXPECT_EQ(appended->first, Offset(0));
}

// Appends are under way while their log goes: each gets an answer, and the node goes on.
TEST_F(AdministrationTest, DeletesALogUnderLoad) {
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(client_.create_log("log"));
    ASSERT_TRUE(client_.create_log("beside"));
    auto log = client_.open("log");
    ASSERT_TRUE(log) << log.error().message;
    auto appender = log->appender();
    auto reader = log->subscribe({.from = From::earliest()});
    ASSERT_TRUE(appender && reader);
    const std::string record(1000, 'x');
    std::vector<std::future<Result<Appended>>> answers;
    for (int i = 0; i < 500; ++i) answers.push_back(appender->append(std::vector{bytes_of(record)}));
    ASSERT_TRUE(client_.delete_log("log"));
    for (auto& answer : answers) {
      const auto result = answer.get();
      EXPECT_TRUE(result || result.error().code == Code::unknown || result.error().code == Code::deleted)
          << result.error().message;
    }
    ASSERT_TRUE(append("beside", "x"));
    ASSERT_TRUE(client_.delete_log("beside"));
  }
  node_.run([](rpc::Server& server, replication::Catalogue&) { EXPECT_EQ(server.shard().inflight_bytes(), 0u); });
}

TEST_F(AdministrationTest, GoesOnOverARestart) {
  ASSERT_TRUE(client_.create_log("log", {.record_bytes_max = 77}));
  node_.stop();
  auto asked = std::async(std::launch::async, [&] { return client_.describe_log("log"); });
  std::this_thread::sleep_for(300ms);
  node_.start();
  const auto log = asked.get();
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->config.record_bytes_max, 77u);
}

TEST_F(AdministrationTest, AChangeThatDoesNotCommitInTimeIsUnknown) {
  node_.run([](rpc::Server&, replication::Catalogue&) {});  // it is up
  Client hasty({.endpoints = {node_.endpoint()}, .timeout = 300ms});
  ASSERT_TRUE(hasty.status());
  std::promise<void> release;
  auto held = release.get_future().share();
  std::thread holder([&] { node_.run([&](rpc::Server&, replication::Catalogue&) { held.wait(); }); });
  std::this_thread::sleep_for(50ms);
  const auto made = hasty.create_log("log");
  release.set_value();
  holder.join();
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::unknown) << made.error().message;
}

// It used to end with the reason of the connection's end, which says that nothing was done.
TEST(Administration, AChangeWhoseConnectionIsEndedIsUnknown) {
  test::FakeServer server;
  Client client({.endpoints = {server.endpoint()}, .timeout = 40s});
  const auto lose = [&](auto ask) {
    std::jthread script([&] {
      server.accept();
      server.receive(rpc::FrameType::request);
      server.end_with({Code::denied, "no more", 0});
    });
    const auto answer = ask();
    return answer ? Code::ok : answer.error().code;
  };
  EXPECT_EQ(lose([&] { return client.create_log("log"); }), Code::unknown);
  EXPECT_EQ(lose([&] { return client.describe_log("log"); }), Code::denied) << "changes nothing";
}

}  // namespace
}  // namespace walraft
