#include "tools/walbench/append_load.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "client/client.h"
#include "tools/walbench/schedule.h"

namespace walraft::walbench {
namespace {

using Clock = std::chrono::steady_clock;

// What no disk or network can make smaller.
std::vector<std::byte> random_bytes(std::size_t bytes) {
  std::minstd_rand chance(1);
  std::vector<std::byte> result(bytes);
  for (std::byte& byte : result) byte = static_cast<std::byte>(chance() >> 8);
  return result;
}

}  // namespace

std::uint32_t inflight_within_bound(const Work& work) {
  const std::uint64_t append_bytes = std::uint64_t{work.records_per_append()} * work.size + 1;
  const std::uint64_t most = kUnderWayBytesMax / work.connections / append_bytes;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(most, 1, std::max(work.inflight, 1u)));
}

// The appends of one connection. In a closed loop all of it runs on the client's thread but open(), begin() and end();
// in an open loop a thread of its own appends.
class AppendLoad::Stream {
 public:
  Stream(const Target& target, const Work& work, std::uint32_t number)
      : work_(work),
        number_(number),
        inflight_(inflight_within_bound(work)),
        client_({.endpoints = target.endpoints, .software = target.software}),
        payload_(random_bytes(work.size)),
        records_(work.records_per_append(), ByteView(payload_)) {}

  Result<void> open(const std::string& name) {
    auto log = client_.open(name, {.create = true});
    if (!log) return std::unexpected(log.error());
    // In a closed loop the callback that appends still holds its own bytes, so the bound is not to be met there.
    auto appender =
        log->appender({.inflight_bytes_max = work_.rate > 0 ? kUnderWayBytesMax / work_.connections : UINT64_MAX});
    if (!appender) return std::unexpected(appender.error());
    const std::uint64_t bytes = records_.size() * work_.size;
    if (work_.size > appender->record_bytes_max() || bytes > appender->batch_bytes_max()) {
      return error(Code::too_large, "an append of " + std::to_string(records_.size()) + " records of " +
                                        std::to_string(work_.size) + " bytes: the log takes records of " +
                                        std::to_string(appender->record_bytes_max()) + " and batches of " +
                                        std::to_string(appender->batch_bytes_max()) + " bytes");
    }
    appender_.emplace(std::move(*appender));
    return {};
  }

  void begin(const Window& window) {
    window_ = window;
    if (work_.rate > 0) {
      thread_ = std::thread([this] { append_on_schedule(); });
    } else {
      append(Clock::now());  // its answer starts the others
    }
  }

  Result<Tally> end() {
    if (thread_.joinable()) {
      thread_.join();
      appender_->wait();
    } else {
      ended_.get_future().wait();
    }
    appender_.reset();
    if (failure_) return std::unexpected(*failure_);
    tally_.seconds = std::chrono::duration<double>(window_.to - window_.from).count();
    return std::move(tally_);
  }

 private:
  void append(Time started) {
    ++under_way_;
    if (payload_.size() >= kStampBytes) store_le(payload_.data(), started.time_since_epoch().count());
    appender_->append(records_, {}, [this, started](const Result<Appended>& result) { on_answer(started, result); });
  }

  void append_on_schedule() {
    const double appends_per_second = work_.rate / work_.connections / static_cast<double>(records_.size());
    const auto stagger =
        std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / appends_per_second * number_ / work_.connections));
    const OpenLoopSchedule schedule(window_.start + stagger, appends_per_second);
    for (std::uint64_t n = 0; !failed_; ++n) {
      const Time due = schedule.due(n);
      if (due >= window_.to) return;
      std::this_thread::sleep_until(due);
      append(due);
    }
  }

  void on_answer(Time started, const Result<Appended>& result) {
    const Time now = Clock::now();
    if (!result) {
      if (!failure_) failure_ = result.error();
      failed_ = true;
    } else {
      count(started, now, *result);
    }
    if (work_.rate > 0) return;
    --under_way_;
    if (!failed_ && now < window_.to) {
      while (under_way_ < inflight_) append(Clock::now());
    } else if (under_way_ == 0) {
      ended_.set_value();
    }
  }

  void count(Time started, Time now, const Appended& appended) {
    tally_.acknowledged += records_.size();
    if (window_.holds(started)) {
      tally_.latency.record(static_cast<std::uint64_t>((now - started).count()));
      tally_.queue.record(std::uint64_t{appended.timing.queue_us} * 1000);
      tally_.sync.record(std::uint64_t{appended.timing.own_sync_us} * 1000);
    }
    if (!window_.holds(now)) return;
    ++tally_.operations;
    tally_.records += records_.size();
    tally_.bytes += records_.size() * work_.size;
    if (tally_.durable_on.empty()) {
      for (const NodeId node : appended.durable_on) tally_.durable_on.push_back(node.value);
    }
  }

  const Work& work_;
  const std::uint32_t number_;
  const std::uint32_t inflight_;
  Client client_;
  std::optional<Appender> appender_;
  std::vector<std::byte> payload_;
  std::vector<ByteView> records_;  // all of them the payload
  Window window_{};
  std::thread thread_;
  std::promise<void> ended_;
  std::uint32_t under_way_ = 0;  // of a closed loop
  Tally tally_;
  std::optional<Error> failure_;
  std::atomic<bool> failed_ = false;
};

AppendLoad::~AppendLoad() = default;

Result<std::unique_ptr<AppendLoad>> AppendLoad::open(const Target& target, const Work& work) {
  std::unique_ptr<AppendLoad> load(new AppendLoad);
  for (std::uint32_t i = 0; i < work.connections; ++i) {
    load->streams_.push_back(std::make_unique<Stream>(target, work, i));
    if (auto opened = load->streams_.back()->open(target.log); !opened) return std::unexpected(opened.error());
  }
  return load;
}

void AppendLoad::begin(const Window& window) {
  for (const auto& stream : streams_) stream->begin(window);
}

Result<Tally> AppendLoad::end() {
  Tally all;
  std::optional<Error> failure;
  for (const auto& stream : streams_) {
    auto tally = stream->end();
    if (!tally) {
      failure = tally.error();
      continue;
    }
    all.latency.merge(tally->latency);
    all.queue.merge(tally->queue);
    all.sync.merge(tally->sync);
    all.operations += tally->operations;
    all.records += tally->records;
    all.bytes += tally->bytes;
    all.acknowledged += tally->acknowledged;
    all.seconds = tally->seconds;
    if (all.durable_on.empty()) all.durable_on = std::move(tally->durable_on);
  }
  if (failure) return std::unexpected(std::move(*failure).at("append"));
  all.handled = all.acknowledged;
  return all;
}

Result<std::uint64_t> fill_log(const Target& target, std::uint32_t size, std::uint64_t bytes) {
  Client client({.endpoints = target.endpoints, .software = target.software});
  auto log = client.open(target.log, {.create = true});
  if (!log) return std::unexpected(log.error());
  auto appender = log->appender();
  if (!appender) return std::unexpected(appender.error());
  const auto payload = random_bytes(size);
  const std::vector<ByteView> records(std::clamp<std::size_t>((256u << 10) / size, 1, 65'536), ByteView(payload));
  const std::uint64_t appends = (bytes + records.size() * size - 1) / (records.size() * size);
  std::optional<Error> failure;
  for (std::uint64_t i = 0; i < appends; ++i) {
    appender->append(records, {}, [&failure](const Result<Appended>& result) {
      if (!result && !failure) failure = result.error();
    });
  }
  appender->wait();
  if (failure) return std::unexpected(std::move(*failure).at("filling the log"));
  return appends * records.size();
}

}  // namespace walraft::walbench
