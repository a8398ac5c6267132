// The client against a real server on the loopback interface: append, read, subscribe, and what goes wrong.
#include "client/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/client/node.h"

namespace walraft {
namespace {

using namespace std::chrono_literals;

std::vector<ByteView> views(const std::vector<std::string>& records) {
  std::vector<ByteView> result;
  for (const std::string& record : records) result.push_back(bytes_of(record));
  return result;
}

Result<Appended> append(Appender& appender, const std::vector<std::string>& records, AppendOptions options = {}) {
  return appender.append(views(records), options).get();
}

std::vector<std::string> texts(const Records& records) {
  std::vector<std::string> result;
  for (const Record& record : records) result.emplace_back(text_of(record.data));
  return result;
}

Records must(Result<Records> records) {
  EXPECT_TRUE(records) << records.error().message;
  return records ? std::move(*records) : Records();
}

// Everything from `from` to the end.
std::vector<std::string> read_all(Log& log, Offset from = {}) {
  std::vector<std::string> result;
  for (;;) {
    const auto records = log.read(From::offset(from), {.bytes = 300'000});
    EXPECT_TRUE(records) << records.error().message;
    if (!records || records->empty()) return result;
    for (auto& text : texts(*records)) result.push_back(std::move(text));
    from = records->next();
  }
}

class ClientTest : public testing::Test {
 protected:
  test::Node node_;
  Client client_{{.endpoints = {node_.endpoint()}}};
};

TEST_F(ClientTest, AppendsAndReadsBack) {
  EXPECT_EQ(client_.open("orders").error().code, Code::not_found);
  auto log = client_.open("orders", {.create = true});
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->tail(), Offset(0));
  auto appender = log->appender();
  ASSERT_TRUE(appender) << appender.error().message;

  const auto first = append(*appender, {"a", "", "ccc"});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->first, Offset(0));
  EXPECT_EQ(first->last, Offset(2));
  EXPECT_EQ(first->durable_on, std::vector{NodeId{1}});
  EXPECT_GE(first->term, Term(1));
  const auto second = append(*appender, {"d"});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->first, Offset(3));
  EXPECT_GT(second->timing.quorum_us, 0u);

  EXPECT_EQ(read_all(*log), (std::vector<std::string>{"a", "", "ccc", "d"}));
  EXPECT_EQ(texts(must(log->read(From::offset(Offset(1)), {.count = 2}))), (std::vector<std::string>{"", "ccc"}));
  EXPECT_EQ(texts(must(log->read(From::last(2)))), (std::vector<std::string>{"ccc", "d"}));
  EXPECT_EQ(texts(must(log->read(From::last(100)))).size(), 4u);
  EXPECT_EQ(texts(must(log->read(From::earliest(), {.until = Offset(1)}))), (std::vector<std::string>{"a"}));
  EXPECT_TRUE(must(log->read(From::latest())).empty());
  EXPECT_TRUE(must(log->read(From::offset(Offset(4)))).empty());
  EXPECT_TRUE(must(log->read(From::offset(Offset(UINT64_MAX)))).empty());
  const auto stamped = log->read(From::offset(Offset(3)));
  EXPECT_EQ(texts(must(log->read(From::time(stamped->all()[0].timestamp_us)))).back(), "d");
  EXPECT_TRUE(must(log->read(From::time(INT64_MAX))).empty());
  EXPECT_EQ(log->tail(), Offset(4));
}

TEST_F(ClientTest, RefusesWhatIsWrong) {
  EXPECT_EQ(client_.open("bad name", {.create = true}).error().code, Code::invalid);
  EXPECT_EQ(client_.open("_system2", {.create = true}).error().code, Code::invalid);
  auto log = client_.open("log", {.create = true});
  ASSERT_TRUE(log);
  auto appender = log->appender();
  ASSERT_TRUE(appender);
  EXPECT_EQ(append(*appender, {}).error().code, Code::invalid);
  EXPECT_EQ(append(*appender, {std::string((1u << 20) + 1, 'x')}).error().code, Code::too_large);
  EXPECT_EQ(append(*appender, {std::string((8u << 20) + 1, 'x')}).error().code, Code::too_large);
  EXPECT_EQ(append(*appender, std::vector<std::string>(5, std::string(1u << 20, 'x'))).error().code, Code::too_large);
  EXPECT_EQ(log->tail(), Offset(0)) << "nothing was written";
  const auto largest = append(*appender, {std::string(1u << 20, 'y')});
  EXPECT_TRUE(largest) << largest.error().message;
  const auto full = append(*appender, std::vector<std::string>(4, std::string(1u << 20, 'z')));
  EXPECT_TRUE(full) << full.error().message;
  const auto many = append(*appender, std::vector<std::string>(65'536));
  EXPECT_TRUE(many) << many.error().message;
  EXPECT_EQ(append(*appender, std::vector<std::string>(65'537)).error().code, Code::too_large);
  const auto back = read_all(*log);
  EXPECT_EQ(back.size(), 1 + 4 + 65'536u);
  EXPECT_EQ(back[0].size(), 1u << 20);
}

TEST_F(ClientTest, ExpectOffsetIsEvaluatedInOrder) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  std::vector<std::future<Result<Appended>>> answers;
  const std::vector<std::string> one = {"r"};
  for (const std::uint64_t expect : {0u, 1u, 1u, 2u, 7u, 3u}) {
    answers.push_back(appender->append(views(one), {.expect_offset = Offset(expect)}));
  }
  std::string outcomes;
  for (auto& answer : answers) {
    const auto result = answer.get();
    outcomes += result ? std::to_string(result->first.value) + " "
                       : std::string(outcome_of(result.error().code).name) + "{" +
                             std::to_string(result.error().detail) + "} ";
  }
  EXPECT_EQ(outcomes, "0 1 condition_failed{2} 2 condition_failed{3} 3 ");
}

TEST_F(ClientTest, PipelinedAppendsAreAnsweredInOrder) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender({.inflight_bytes_max = 1u << 20});
  constexpr int kAppends = 20'000;
  std::atomic<int> answered = 0;
  std::atomic<bool> ordered = true;
  for (int i = 0; i < kAppends; ++i) {
    const std::string record = "record " + std::to_string(i);
    const ByteView view = bytes_of(record);
    appender->append({&view, 1}, {}, [&, i](Result<Appended> result) {
      if (!result || result->first != Offset(static_cast<std::uint64_t>(i)) || answered++ != i) ordered = false;
    });
  }
  appender->wait();
  EXPECT_EQ(answered, kAppends);
  EXPECT_TRUE(ordered);
  const auto back = read_all(*log);
  ASSERT_EQ(back.size(), static_cast<std::size_t>(kAppends));
  EXPECT_EQ(back[12'345], "record 12345");
}

TEST_F(ClientTest, AppendsInACallback) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  std::promise<Result<Appended>> last;
  const std::string text = "x";
  const ByteView record = bytes_of(text);
  std::function<void(int)> chain = [&](int left) {
    appender->append({&record, 1}, {}, [&, left](Result<Appended> result) {
      if (left == 0 || !result) {
        last.set_value(std::move(result));
      } else {
        chain(left - 1);
      }
    });
  };
  chain(100);
  const auto result = last.get_future().get();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->last, Offset(100));
}

TEST_F(ClientTest, SubscriptionFollows) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  ASSERT_TRUE(append(*appender, {"0", "1", "2"}));
  auto early = log->subscribe({.from = From::offset(Offset(1))});
  ASSERT_TRUE(early) << early.error().message;
  auto late = log->subscribe();
  ASSERT_TRUE(late);
  EXPECT_EQ(late->next(20ms).error().code, Code::unavailable) << "nothing is there yet";

  auto event = early->next(5s);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(texts(std::get<Records>(*event)), (std::vector<std::string>{"1", "2"}));
  ASSERT_TRUE(append(*appender, {"3"}));
  for (auto* subscription : {&*early, &*late}) {
    event = subscription->next(5s);
    ASSERT_TRUE(event) << event.error().message;
    EXPECT_EQ(texts(std::get<Records>(*event)), (std::vector<std::string>{"3"}));
    EXPECT_EQ(subscription->position(), Offset(4));
    EXPECT_EQ(subscription->committed(), Offset(4));
  }
}

TEST_F(ClientTest, SubscriptionAtAFutureOffsetWaitsForIt) {  // fault:K3
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  auto subscription = log->subscribe({.from = From::offset(Offset(3))});
  ASSERT_TRUE(subscription) << subscription.error().message;
  ASSERT_TRUE(append(*appender, {"0", "1", "2"}));
  EXPECT_FALSE(subscription->next(50ms));
  ASSERT_TRUE(append(*appender, {"3"}));
  const auto event = subscription->next(5s);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(std::get<Records>(*event).all()[0].offset, Offset(3));
}

// More than the tail cache and more than the credit: the files are read, and the flow goes on as credit comes back.
TEST_F(ClientTest, SubscriptionCatchesUpFromFilesWithLittleCredit) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  constexpr int kRecords = 3'000;
  for (int i = 0; i < kRecords; ++i) {
    const std::string record = std::to_string(i) + std::string(1'000, '.');
    const ByteView view = bytes_of(record);
    appender->append({&view, 1}, {}, [](Result<Appended> result) { EXPECT_TRUE(result); });
  }
  appender->wait();
  auto subscription = log->subscribe({.from = From::earliest(), .credit_bytes = 50'000});
  ASSERT_TRUE(subscription);
  std::uint64_t next = 0;
  while (next < kRecords) {
    const auto event = subscription->next(5s);
    ASSERT_TRUE(event) << event.error().message << " at " << next;
    for (const Record& record : std::get<Records>(*event)) {
      ASSERT_EQ(record.offset, Offset(next));
      ASSERT_TRUE(text_of(record.data).starts_with(std::to_string(next) + "."));
      ++next;
    }
  }
}

TEST_F(ClientTest, SubscriptionSurvivesRestartsWithoutGapOrDuplicate) {
  auto log = client_.open("log", {.create = true});
  auto subscription = log->subscribe({.from = From::earliest()});
  ASSERT_TRUE(subscription);
  std::uint64_t appended = 0, seen = 0;
  for (int round = 0; round < 4; ++round) {
    Client writer({.endpoints = {node_.endpoint()}});
    auto writer_log = writer.open("log");
    ASSERT_TRUE(writer_log) << writer_log.error().message;
    auto appender = writer_log->appender();
    ASSERT_TRUE(appender);
    for (int i = 0; i < 50; ++i) {
      const auto result = append(*appender, {std::to_string(appended)});
      ASSERT_TRUE(result) << result.error().message;
      ASSERT_EQ(result->first, Offset(appended++));
    }
    while (seen < appended) {
      const auto event = subscription->next(10s);
      ASSERT_TRUE(event) << event.error().message << " round " << round;
      for (const Record& record : std::get<Records>(*event)) {
        ASSERT_EQ(record.offset, Offset(seen));
        ASSERT_EQ(text_of(record.data), std::to_string(seen));
        ++seen;
      }
    }
    node_.stop();
    node_.start();
  }
  EXPECT_EQ(log->tail(), Offset(appended));
}

TEST_F(ClientTest, ALostConnectionEndsTheAppender) {
  auto log = client_.open("log", {.create = true});
  auto appender = log->appender();
  ASSERT_TRUE(append(*appender, {"kept"}));
  node_.stop();
  const auto lost = append(*appender, {"after"});
  ASSERT_FALSE(lost);
  EXPECT_TRUE(lost.error().code == Code::unknown || lost.error().code == Code::unavailable);
  EXPECT_EQ(append(*appender, {"later"}).error().code, Code::unavailable);
  EXPECT_EQ(log->appender().error().code, Code::unavailable) << "no server within the timeout";
  node_.start();
  EXPECT_EQ(append(*appender, {"later still"}).error().code, Code::unavailable) << "nothing passes what was lost";
  auto again = log->appender();
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_TRUE(append(*again, {"new"}));
  EXPECT_EQ(read_all(*log), (std::vector<std::string>{"kept", "new"}));
}

TEST(ClientOptions, WrongClusterIsRefused) {
  test::Node node;
  Client client({.endpoints = {node.endpoint()}, .cluster_name = "another"});
  const auto log = client.open("log");
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Code::denied) << log.error().message;
}

TEST(ClientOptions, TheFirstEndpointThatAnswersIsUsed) {
  test::Node node;
  Client client({.endpoints = {"127.0.0.1:1", node.endpoint()}});
  EXPECT_TRUE(client.open("log", {.create = true}));
}

TEST(From, Parses) {
  EXPECT_EQ(From::parse("17")->value, 17u);
  EXPECT_EQ(From::parse("earliest")->kind, From::Kind::earliest);
  EXPECT_EQ(From::parse("latest")->kind, From::Kind::latest);
  EXPECT_EQ(From::parse("-10")->kind, From::Kind::last);
  EXPECT_EQ(From::parse("-10")->value, 10u);
  EXPECT_EQ(static_cast<std::int64_t>(From::parse("@1970-01-01T00:00:01Z")->value), 1'000'000);
  EXPECT_EQ(static_cast<std::int64_t>(From::parse("@2026-11-23T10:00:00.25+02:00")->value), 1'795'420'800'250'000);
  EXPECT_EQ(static_cast<std::int64_t>(From::parse("@1969-12-31T23:59:59.5Z")->value), -500'000);
  for (const char* bad : {"", "-", "x", "1x", "+1", "@", "@2026-11-23", "@2026-11-23T10:00:00", "@2026-02-30T10:00:00Z",
                          "@2026-11-23T10:00:00.Z", "@2026-11-23T10:00:00Zx", "99999999999999999999"}) {
    EXPECT_FALSE(From::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace walraft
