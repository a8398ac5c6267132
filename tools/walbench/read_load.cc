#include "tools/walbench/read_load.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "client/client.h"
#include "tools/walbench/process_use.h"

namespace walraft::walbench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kMixedRounds = 3;
constexpr std::uint32_t kReadBytes = 256u << 10;
constexpr auto kDeliveryDeadline = 30s;

std::uint64_t bytes_of(const Records& records) {
  std::uint64_t bytes = 0;
  for (const Record& record : records) bytes += record.data.size();
  return bytes;
}

Result<Log> open_log(Client& client, const Target& target) { return client.open(target.log, {.create = true}); }

// One connection of run_read().
class ReadStream {
 public:
  ReadStream(const Target& target, const Work& work, const Window& window)
      : thread_([this, &target, &work, window] { run(target, work, window); }) {}

  void end_into(Tally& tally, std::optional<Error>& failure) {
    thread_.join();
    if (failure_ && !failure) failure = failure_;
    tally.latency.merge(tally_.latency);
    tally.operations += tally_.operations;
    tally.records += tally_.records;
    tally.bytes += tally_.bytes;
    tally.handled += tally_.handled;
  }

 private:
  void run(const Target& target, const Work& work, const Window& window) {
    Client client({.endpoints = target.endpoints, .software = target.software});
    auto log = open_log(client, target);
    if (!log) {
      failure_ = log.error();
      return;
    }
    const ReadOptions options{.bytes = work.batch_bytes != 0 ? work.batch_bytes : kReadBytes};
    From from = From::earliest();
    for (Time started = Clock::now(); started < window.to;) {
      const auto records = log->read(from, options);
      if (!records) {
        failure_ = records.error();
        return;
      }
      from = records->empty() ? From::earliest() : From::offset(records->next());
      const Time began = std::exchange(started, Clock::now());
      tally_.handled += records->size();
      if (records->empty()) continue;  // the end of the log
      if (window.holds(began)) tally_.latency.record(static_cast<std::uint64_t>((started - began).count()));
      if (!window.holds(started)) continue;
      ++tally_.operations;
      tally_.records += records->size();
      tally_.bytes += bytes_of(*records);
    }
  }

  Tally tally_;
  std::optional<Error> failure_;
  std::thread thread_;
};

// The subscriber of run_tail().
class TailStream {
 public:
  static Result<std::unique_ptr<TailStream>> open(const Target& target) {
    auto stream = std::unique_ptr<TailStream>(new TailStream(target));
    auto log = open_log(stream->client_, target);
    if (!log) return std::unexpected(log.error());
    auto subscription = log->subscribe({.from = From::latest()});
    if (!subscription) return std::unexpected(subscription.error());
    stream->first_ = subscription->position().value;
    stream->subscription_.emplace(std::move(*subscription));
    return stream;
  }

  void begin(const Window& window) {
    thread_ = std::thread([this, window] { follow(window); });
  }

  // `appended` records, and nothing else, must come.
  Result<Tally> end(std::uint64_t appended) {
    end_at_ = first_ + appended;
    thread_.join();
    if (failure_) return std::unexpected(*failure_);
    const std::uint64_t delivered = subscription_->position().value - first_;
    if (delivered != appended) {
      return error(Code::failed, "tail: " + std::to_string(appended) + " records were acknowledged, " +
                                     std::to_string(delivered) +
                                     " delivered. Does something else append to the log? Else this is a bug.");
    }
    return std::move(tally_);
  }

 private:
  explicit TailStream(const Target& target) : client_({.endpoints = target.endpoints, .software = target.software}) {}

  void follow(const Window& window) {
    std::optional<Time> deadline;
    while (subscription_->position().value < end_at_) {
      const auto event = subscription_->next(100ms);
      if (!event) {
        if (event.error().code != Code::unavailable) failure_ = event.error();
        if (end_at_ != UINT64_MAX && !deadline) deadline = Clock::now() + kDeliveryDeadline;
        if (failure_ || (deadline && Clock::now() > *deadline)) return;
        continue;
      }
      const Time now = Clock::now();
      if (const auto* records = std::get_if<Records>(&*event)) count(*records, now, window);
    }
  }

  void count(const Records& records, Time now, const Window& window) {
    ++tally_.operations;
    for (const Record& record : records) {
      if (record.data.size() < sizeof(Time::rep)) continue;  // not ours; end() says that something else appends
      const Time started{Time::duration(load_le<Time::rep>(record.data.data()))};
      if (window.holds(started)) tally_.latency.record(static_cast<std::uint64_t>((now - started).count()));
    }
    if (!window.holds(now)) return;
    tally_.records += records.size();
    tally_.bytes += bytes_of(records);
  }

  Client client_;
  std::optional<Subscription> subscription_;
  std::uint64_t first_ = 0;
  std::atomic<std::uint64_t> end_at_ = UINT64_MAX;  // not known yet
  Tally tally_;
  std::optional<Error> failure_;
  std::thread thread_;
};

// A reader of run_mixed(): from the start of the log to its end, and again, until it is stopped.
class CatchUpReader {
 public:
  explicit CatchUpReader(const Target& target) : thread_([this, &target] { run(target); }) {}

  // Records and bytes since it started.
  Result<std::pair<std::uint64_t, std::uint64_t>> end() {
    stop_ = true;
    thread_.join();
    if (failure_) return std::unexpected(*failure_);
    return std::pair(records_, bytes_);
  }

 private:
  void run(const Target& target) {
    Client client({.endpoints = target.endpoints, .software = target.software});
    auto log = open_log(client, target);
    while (log && !stop_) {
      auto subscription = log->subscribe({.from = From::earliest()});
      if (!subscription) {
        failure_ = subscription.error();
        return;
      }
      while (!stop_ && subscription->position() < subscription->committed()) {
        const auto event = subscription->next(100ms);
        if (!event && event.error().code == Code::unavailable) continue;
        if (!event) {
          failure_ = event.error();
          return;
        }
        const auto* records = std::get_if<Records>(&*event);
        if (records == nullptr) continue;
        records_ += records->size();
        bytes_ += bytes_of(*records);
      }
    }
    if (!log) failure_ = log.error();
  }

  std::atomic<bool> stop_ = false;
  std::uint64_t records_ = 0, bytes_ = 0;
  std::optional<Error> failure_;
  std::thread thread_;
};

Result<Tally> run_appends(const Target& target, const Work& work, std::chrono::microseconds duration) {
  auto load = AppendLoad::open(target, work);
  if (!load) return std::unexpected(load.error());
  (*load)->begin(Window::after(work.warmup, duration));
  return (*load)->end();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

double MixedTally::cost() const {
  std::vector<double> costs;
  for (std::size_t i = 0; i < std::min(alone.size(), beside.size()); ++i) {
    costs.push_back(alone[i] > 0 ? 1 - beside[i] / alone[i] : 0);
  }
  return median(costs);
}

Result<Tally> run_read(const Target& target, const Work& work, Meter& meter) {
  const auto filled = fill_log(target, work.size, work.fill_bytes);
  if (!filled) return std::unexpected(filled.error());
  meter.start();
  const Window window = Window::after(work.warmup, work.duration);
  std::vector<std::unique_ptr<ReadStream>> streams;
  for (std::uint32_t i = 0; i < work.connections; ++i) {
    streams.push_back(std::make_unique<ReadStream>(target, work, window));
  }
  Tally tally;
  std::optional<Error> failure;
  for (const auto& stream : streams) stream->end_into(tally, failure);
  meter.stop();
  if (failure) return std::unexpected(std::move(*failure).at("read"));
  tally.seconds = std::chrono::duration<double>(work.duration).count();
  tally.acknowledged = *filled;
  return tally;
}

Result<Tally> run_tail(const Target& target, const Work& work, Meter& meter) {
  auto tail = TailStream::open(target);
  if (!tail) return std::unexpected(tail.error());
  auto load = AppendLoad::open(target, work);
  if (!load) return std::unexpected(load.error());
  meter.start();
  const Window window = Window::after(work.warmup, work.duration);
  (*tail)->begin(window);
  (*load)->begin(window);
  auto appended = (*load)->end();
  auto tally = (*tail)->end(appended ? appended->acknowledged : 0);
  meter.stop();
  if (!appended) return std::unexpected(appended.error());
  if (!tally) return std::unexpected(tally.error());
  tally->seconds = appended->seconds;
  tally->queue = std::move(appended->queue);
  tally->sync = std::move(appended->sync);
  tally->acknowledged = tally->handled = appended->acknowledged;
  tally->durable_on = appended->durable_on;
  return tally;
}

Result<MixedResult> run_mixed(const Target& target, const Work& work, Meter& meter) {
  const auto filled = fill_log(target, work.size, work.fill_bytes);
  if (!filled) return std::unexpected(filled.error());
  meter.start();
  MixedResult result;
  double reader_seconds = 0;
  std::uint64_t reader_bytes = 0;
  for (int round = 0; round < kMixedRounds; ++round) {
    auto alone = run_appends(target, work, work.duration / kMixedRounds);
    if (!alone) return std::unexpected(alone.error());
    const Time readers_began = Clock::now();
    std::vector<std::unique_ptr<CatchUpReader>> readers;
    for (std::uint32_t i = 0; i < work.readers; ++i) readers.push_back(std::make_unique<CatchUpReader>(target));
    auto beside = run_appends(target, work, work.duration / kMixedRounds);
    std::optional<Error> failure;
    for (const auto& reader : readers) {
      const auto read = reader->end();
      if (!read) failure = read.error();
      if (!read) continue;
      result.mixed.reader_records += read->first;
      reader_bytes += read->second;
    }
    if (failure) return std::unexpected(std::move(*failure).at("catch-up reader"));
    if (!beside) return std::unexpected(beside.error());
    reader_seconds += std::chrono::duration<double>(Clock::now() - readers_began).count();
    result.mixed.alone.push_back(alone->records_per_second());
    result.mixed.beside.push_back(beside->records_per_second());
    result.mixed.latency_alone.merge(alone->latency);
    result.tally.latency.merge(beside->latency);
    result.tally.queue.merge(beside->queue);
    result.tally.sync.merge(beside->sync);
    result.tally.operations += beside->operations;
    result.tally.records += beside->records;
    result.tally.bytes += beside->bytes;
    result.tally.seconds += beside->seconds;
    result.tally.acknowledged += alone->acknowledged + beside->acknowledged;
    result.tally.durable_on = beside->durable_on;
  }
  meter.stop();
  result.tally.handled = result.tally.acknowledged + result.mixed.reader_records;
  result.tally.acknowledged += *filled;
  result.mixed.reader_bytes = reader_seconds > 0 ? static_cast<double>(reader_bytes) / reader_seconds : 0;
  return result;
}

}  // namespace walraft::walbench
