// REQUEST and RESPONSE: round trips, and what is malformed or too much is refused.
#include "rpc/wire/administration.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>

#include "rpc/wire/administration.capnp.h"
#include "rpc/wire/frame.h"

namespace walraft::rpc {
namespace {

LogStatus some_log(const std::string& name = "orders") {
  return {.name = name,
          .uuid = Uuid{{1, 2, 3}},
          .id = LogId(7),
          .leader = NodeId{1},
          .commit = Offset(10),
          .durable = Offset(11),
          .tail = Offset(12),
          .trim = Offset(3),
          .term = Term(4),
          .epoch = Epoch(5),
          .config = {.replicas = 1,
                     .segment_bytes = 1u << 20,
                     .record_bytes_max = 100,
                     .retention_bytes = 5,
                     .retention_ms = 6,
                     .require_epoch = true},
          .members = {{.id = NodeId{1}, .role = "leader", .durable = Offset(11), .lag = 1, .health = "ok"}}};
}

void expect_same(const LogStatus& a, const LogStatus& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.uuid, b.uuid);
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.leader, b.leader);
  EXPECT_EQ(a.commit, b.commit);
  EXPECT_EQ(a.durable, b.durable);
  EXPECT_EQ(a.tail, b.tail);
  EXPECT_EQ(a.trim, b.trim);
  EXPECT_EQ(a.term, b.term);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.config, b.config);
  ASSERT_EQ(a.members.size(), b.members.size());
  for (std::size_t i = 0; i < a.members.size(); ++i) {
    EXPECT_EQ(a.members[i].id, b.members[i].id);
    EXPECT_EQ(a.members[i].role, b.members[i].role);
    EXPECT_EQ(a.members[i].durable, b.members[i].durable);
    EXPECT_EQ(a.members[i].lag, b.members[i].lag);
    EXPECT_EQ(a.members[i].health, b.members[i].health);
  }
}

template <class What>
What round_trip(const What& what) {
  const auto request = decode_request(encode(Request{.id = 9, .timeout_ms = 250, .what = what}));
  EXPECT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->id, 9u);
  EXPECT_EQ(request->timeout_ms, 250u);
  return std::get<What>(request->what);
}

TEST(Administration, RequestsRoundTrip) {
  round_trip(StatusRequest{});
  const auto list = round_trip(ListLogs{.prefix = "or", .after = "orders", .limit = 3});
  EXPECT_EQ(list.prefix, "or");
  EXPECT_EQ(list.after, "orders");
  EXPECT_EQ(list.limit, 3u);
  const auto create = round_trip(CreateLog{.name = "orders", .config = some_log().config});
  EXPECT_EQ(create.name, "orders");
  EXPECT_EQ(create.config, some_log().config);
  EXPECT_EQ(round_trip(DescribeLog{.name = "orders"}).name, "orders");
  const auto remove = round_trip(DeleteLog{.name = "orders", .uuid = Uuid{{1}}});
  EXPECT_EQ(remove.name, "orders");
  EXPECT_EQ(remove.uuid, Uuid{{1}});
  EXPECT_TRUE(round_trip(DeleteLog{.name = "orders"}).uuid.is_none());
}

TEST(Administration, ResponsesRoundTrip) {
  const auto decode = [](auto what) {
    const auto response = decode_response(encode(Response{.id = 3, .what = std::move(what)}));
    EXPECT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->id, 3u);
    return response->what;
  };
  expect_same(std::get<LogStatus>(decode(some_log())), some_log());
  const auto page = std::get<LogPage>(decode(LogPage{.logs = {some_log("a"), some_log("b")}, .more = true}));
  ASSERT_EQ(page.logs.size(), 2u);
  expect_same(page.logs[1], some_log("b"));
  EXPECT_TRUE(page.more);
  const auto created = std::get<CreatedLog>(decode(CreatedLog{.log = some_log(), .is_new = true}));
  expect_same(created.log, some_log());
  EXPECT_TRUE(created.is_new);
  EXPECT_TRUE(std::holds_alternative<DeletedLog>(decode(DeletedLog{})));
  const ClusterStatus sent{.name = "c",
                           .uuid = Uuid{{8}},
                           .nodes = {{.id = NodeId{1},
                                      .zone = "z",
                                      .stream = "s:1",
                                      .control = "c:2",
                                      .http = "h:3",
                                      .state = "up",
                                      .version = "v",
                                      .health = "ok",
                                      .free_bytes = 1,
                                      .total_bytes = 2,
                                      .hours_until_full = 48,
                                      .sync_us_mean = 3,
                                      .sync_us_last = 4,
                                      .sync_us_max = 5},
                                     {.id = NodeId{2}}}};
  const auto cluster = std::get<ClusterStatus>(decode(sent));
  EXPECT_EQ(cluster.name, "c");
  EXPECT_EQ(cluster.uuid, Uuid{{8}});
  ASSERT_EQ(cluster.nodes.size(), 2u);
  EXPECT_EQ(cluster.nodes[0].zone, "z");
  EXPECT_EQ(cluster.nodes[0].stream + cluster.nodes[0].control + cluster.nodes[0].http, "s:1c:2h:3");
  EXPECT_EQ(cluster.nodes[0].hours_until_full, 48u);
  EXPECT_EQ(cluster.nodes[0].sync_us_max, 5u);
  EXPECT_EQ(cluster.nodes[1].hours_until_full, std::nullopt);
}

// The server fills a page up to kLogPageMax; the largest names and numbers must fit the frame, and all members of each
// log, which once did not.
TEST(Administration, AWholePageFitsItsFrame) {
  LogPage page{.logs = {}, .more = true};
  LogStatus largest = some_log(std::string(128, 'x'));
  largest.members.assign(kMembersMax,
                         {.id = NodeId{1}, .role = "candidate", .durable = {}, .lag = 1, .health = "no_space"});
  page.logs.assign(kLogPageMax, largest);
  const auto payload = encode(Response{.id = 1, .what = page});
  EXPECT_LE(payload.size(), payload_bytes_max(FrameType::response));
  EXPECT_TRUE(decode_response(payload));
  page.logs.push_back(some_log());
  EXPECT_EQ(decode_response(encode(Response{.id = 1, .what = page})).error().code, Code::invalid);
}

TEST(Administration, RefusesWhatIsMalformed) {
  const auto good = encode(Request{.id = 9, .what = CreateLog{.name = "orders"}});
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(decode_request(ByteView(good).first(n))) << n;
  EXPECT_FALSE(decode_response(ByteView(good).first(7)));
  const auto long_name = encode(Request{.id = 9, .what = DescribeLog{.name = std::string(257, 'x')}});
  EXPECT_EQ(decode_request(long_name).error().code, Code::invalid);
  EXPECT_NE(decode_request(long_name).error().message.find("too long"), std::string::npos);
  const auto many = encode(Response{.id = 9, .what = [] {
                                      LogStatus log = some_log();
                                      log.members.resize(kMembersMax + 1);
                                      return log;
                                    }()});
  EXPECT_EQ(decode_response(many).error().code, Code::invalid);

  capnp::MallocMessageBuilder builder;
  auto request = builder.initRoot<schema::Request>();
  request.initDeleteLog().initUuid(15);
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  EXPECT_EQ(decode_request(bytes).error().code, Code::invalid);
}

}  // namespace
}  // namespace walraft::rpc
