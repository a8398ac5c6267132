#pragma once

// Walraft's C++ client: append, read, subscribe.
//
//   walraft::Client client({.endpoints = {"10.0.0.1:7400"}});
//   auto log = client.open("orders");                        // Result<Log>
//   auto appender = log->appender();                         // Result<Appender>
//   appender->append(records, {}, [](walraft::Result<walraft::Appended> r) { … });
//   auto subscription = log->subscribe({.from = walraft::From::earliest()});
//   while (auto event = subscription->next()) { … }
//
// Errors are those of the outcome table (wal/base/outcome.h). No exception is thrown on purpose; memory exhaustion ends
// the process.
//
// Threads: a Client has one thread of its own, which speaks to the servers and runs the callbacks. All functions may be
// called from any thread; one Appender, Log or Subscription by one thread at a time. In a callback nothing may block:
// no read(), next(), open() or destruction of a Client; append() works there (see there).

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "client/administration.h"
#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft {

namespace client_inside {
class Connection;
class AppenderChannel;
class SubscriberChannel;
}  // namespace client_inside

struct ClientOptions {
  // "host:port", stream addresses of any members. They are tried in turn, each for its share of the timeout, until one
  // answers; the one in use stays in use until its connection is lost.
  std::vector<std::string> endpoints = {"127.0.0.1:7400"};
  std::string cluster_name = {};                            // empty: whichever cluster answers
  std::string software = "walraft client";                  // for the server's logs
  // Of one request. open(), read(), tail(), appender() and subscribe() connect, and connect again, until it is over,
  // then end with `unavailable`. An append without an answer by then ends `unknown`, and its connection.
  std::chrono::microseconds timeout = std::chrono::seconds(5);
};

// Where a read or a subscription starts.
struct From {
  enum class Kind : std::uint8_t { offset, earliest, latest, last, time };
  Kind kind = Kind::earliest;
  std::uint64_t value = 0;

  static From offset(Offset offset) { return {Kind::offset, offset.value}; }
  static From earliest() { return {Kind::earliest, 0}; }            // the first record kept
  static From latest() { return {Kind::latest, 0}; }                // the next one to be committed
  static From last(std::uint64_t n) { return {Kind::last, n}; }     // the last n records
  static From time(std::int64_t timestamp_us) {                     // the first record stamped at or after it
    return {Kind::time, static_cast<std::uint64_t>(timestamp_us)};
  }
  // An offset, "earliest", "latest", "-N" (the last N records) or "@2026-11-23T10:00:00.5Z" (RFC 3339, with zone).
  // `invalid`, saying what is allowed.
  static Result<From> parse(std::string_view text);
};

struct Record {
  Offset offset;
  std::int64_t timestamp_us = 0;  // the server's clock, microseconds since 1970 UTC; never decreases within a log
  Term term;
  ByteView data;  // lives as long as the Records it came in
};

// Records in order, without gaps, verified against the checksum that their appender made.
class Records {
 public:
  const std::vector<Record>& all() const { return all_; }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }
  bool empty() const { return all_.empty(); }
  std::size_t size() const { return all_.size(); }

  Offset next() const { return next_; }            // where the next read goes on
  Offset committed() const { return committed_; }  // the log's end, as the server knew it when it sent this
  std::size_t wire_bytes() const { return wire_bytes_; }

 private:
  friend class RecordsBuilder;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> memory_;
  std::vector<Record> all_;
  Offset next_;
  Offset committed_;
  std::size_t wire_bytes_ = 0;
};

// Where the time of an append went. Microseconds; parts that do not apply are 0.
struct Timing {
  std::uint32_t queue_us = 0;
  std::uint32_t own_sync_us = 0;
  std::uint32_t network_us = 0;
  std::uint32_t follower_sync_us = 0;
  std::uint32_t quorum_us = 0;  // from arrival at the leader to the commit
};

struct Appended {
  Offset first;
  Offset last;  // inclusive
  Term term;
  bool duplicate = false;
  std::vector<NodeId> durable_on;
  Timing timing;
};

struct AppenderOptions {
  // append() waits while this much is unanswered; one batch may always go.
  std::uint64_t inflight_bytes_max = 16u << 20;
  // Once an append was refused, all that follow are (unavailable), also those sent before the refusal came: nothing is
  // written behind something that is missing.
  bool stop_on_refusal = false;
};

struct AppendOptions {
  std::optional<Offset> expect_offset = {};  // only if the next record gets this offset; else condition_failed {tail}
};

// Appends to one log, in order, any number under way.
//
// An append ends in one of three ways: ok; certainly not written (every code but `unknown`); `unknown`, when the
// connection was lost after it was handed to the socket. After a lost connection the appender is done: what was sent
// ends `unknown`, what was not ends `unavailable`, and so does everything that follows, so that no later append can
// pass an earlier one. Make a new one; client/README.md, "Outcomes", says what to do about `unknown`.
class Appender {
 public:
  using Callback = std::function<void(Result<Appended>)>;

  Appender(Appender&&) noexcept;
  Appender& operator=(Appender&&) noexcept;
  ~Appender();  // waits for no answer: what is under way ends `unknown` or `unavailable`

  // The records become one batch: committed as a whole or not at all. They are copied before this returns. `done` runs
  // on the client's thread, in the order of the appends, always once; for batches that the client itself refuses
  // (too_large, no records: invalid), too. Blocks while inflight_bytes_max are unanswered; in a callback it does not
  // block, but ends with over_limit. Once the client has ended, which has no thread then, `done` runs in append().
  void append(std::span<const ByteView> records, const AppendOptions& options, Callback done);
  std::future<Result<Appended>> append(std::span<const ByteView> records, const AppendOptions& options = {});

  // Waits until everything is answered.
  void wait();

  // Limits of the log, in bytes of records.
  std::uint32_t record_bytes_max() const;
  std::uint32_t batch_bytes_max() const;

 private:
  friend class Log;
  explicit Appender(std::shared_ptr<client_inside::AppenderChannel> channel);
  std::shared_ptr<client_inside::AppenderChannel> channel_;
};

// The subscription cannot give [from, to): it was trimmed before it was read. It goes on at `to`.
struct Gap {
  Offset from;
  Offset to;
};

using Event = std::variant<Records, Gap>;

struct SubscribeOptions {
  From from = From::latest();
  // What the server may send ahead of next(), in bytes of batches; one batch may always come. In memory a record takes
  // sizeof(Record) more.
  std::uint64_t credit_bytes = 8u << 20;
};

// Follows a log for ever: every committed record from a start on, in order, without gap or duplicate, across lost
// connections and restarts of servers. It reconnects by itself, after a pause that grows from 20 ms to 1 s, and goes on
// at position(). After a restart of its own program, a consumer goes on from the position it has noted itself.
class Subscription {
 public:
  Subscription(Subscription&&) noexcept;
  Subscription& operator=(Subscription&&) noexcept;
  ~Subscription();

  // The next records, at least one, or a gap; waits for them. With a timeout, `unavailable` when it is over. Any other
  // error is final: data_loss, deleted, denied, not_found …; while no server can be reached it waits.
  Result<Event> next(std::optional<std::chrono::microseconds> timeout = {});

  Offset position() const;   // of the next record that next() will give
  Offset committed() const;  // the log's end, as far as the client has heard

 private:
  friend class Log;
  explicit Subscription(std::shared_ptr<client_inside::SubscriberChannel> channel);
  std::shared_ptr<client_inside::SubscriberChannel> channel_;
};

struct ReadOptions {
  std::uint64_t count = UINT64_MAX;                 // records
  Offset until{UINT64_MAX};                         // first offset that is not wanted
  std::uint32_t bytes = 4u << 20;                   // about; at least one record if there is one
};

class Log {
 public:
  const std::string& name() const { return name_; }

  Result<Appender> appender(const AppenderOptions& options = {});
  Result<Subscription> subscribe(const SubscribeOptions& options = {});

  // A bounded read: ends at the committed end of the log, after `count` records, at `until`, or after about `bytes`,
  // whichever comes first; go on from Records::next(). An offset at or past the end gives no records. Damage ends it
  // too: what lies before is given, and the read that starts in the damage fails. Tries again on another connection
  // until the timeout. Errors: trimmed {first kept}, data_loss {offset}, unavailable, ….
  Result<Records> read(const From& from, const ReadOptions& options = {});

  // The next offset to be committed.
  Result<Offset> tail();

 private:
  friend class Client;
  Log(std::shared_ptr<client_inside::Connection> connection, std::string name)
      : connection_(std::move(connection)), name_(std::move(name)) {}

  std::shared_ptr<client_inside::Connection> connection_;
  std::string name_;
};

struct OpenOptions {
  bool create = false;  // make the log, with default options, if it is missing
};

class Client {
 public:
  explicit Client(ClientOptions options);
  ~Client();  // ends the thread; logs, appenders and subscriptions answer `unavailable` from then on
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Connects if need be, and looks the log up. Errors: not_found, invalid (the name), unavailable, denied, ….
  Result<Log> open(const std::string& name, const OpenOptions& options = {});

  // Administration. Each is tried again on another connection until the timeout. A change whose answer did not come in
  // time is `unknown`: look, and do it again, which harms nothing.
  //
  // The cluster and its nodes.
  Result<ClusterStatus> status();
  // By name; all whose names start with `prefix`.
  Result<std::vector<LogStatus>> list_logs(const std::string& prefix = "");
  // Errors: not_found.
  Result<LogStatus> describe_log(const std::string& name);
  // A log that is there with the same configuration is given as it is (CreatedLog::is_new says which). Errors: invalid
  // (the name; what the configuration asks for cannot be had), exists (with another configuration), no_space,
  // over_limit.
  Result<CreatedLog> create_log(const std::string& name, const LogConfig& config = {});
  // With all its records: nothing brings them back. What is open on it ends with `deleted`. Errors: not_found.
  Result<void> delete_log(const std::string& name);

 private:
  ClientOptions options_;
  std::shared_ptr<client_inside::Connection> connection_;
};

}  // namespace walraft
