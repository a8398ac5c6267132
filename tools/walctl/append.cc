// walctl append: stdin or files become batches, pipelined; the first failure ends it, and nothing is written behind it
// (AppenderOptions::stop_on_refusal).
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "tools/walctl/commands.h"

namespace walraft::walctl {
namespace {

std::string batch_object(const Appended& appended) {
  std::string durable_on;
  for (const NodeId node : appended.durable_on) durable_on += (durable_on.empty() ? "" : ",") + std::to_string(node.value);
  const Timing& timing = appended.timing;
  return "{\"offset\":" + std::to_string(appended.first.value) + ",\"last_offset\":" +
         std::to_string(appended.last.value) + ",\"term\":" + std::to_string(appended.term.value) +
         ",\"duplicate\":" + (appended.duplicate ? "true" : "false") + ",\"durable_on\":[" + durable_on +
         "],\"timing_us\":{\"queue\":" + std::to_string(timing.queue_us) + ",\"own_sync\":" +
         std::to_string(timing.own_sync_us) + ",\"network\":" + std::to_string(timing.network_us) +
         ",\"follower_sync\":" + std::to_string(timing.follower_sync_us) + ",\"quorum\":" +
         std::to_string(timing.quorum_us) + "}}\n";
}

// Shared with the client's thread.
class Answers {
 public:
  explicit Answers(Output output) : output_(output) {}

  void take(std::uint32_t records, const Result<Appended>& result) {
    const std::lock_guard lock(mutex_);
    if (!result) {
      if (!error_) error_ = result.error();
      failed_ = true;
      return;
    }
    records_ += records;
    last_ = result->last;
    if (output_ == Output::json) {
      std::fputs(batch_object(*result).c_str(), stdout);
      std::fflush(stdout);
    }
  }
  bool failed() const { return failed_; }
  std::uint64_t records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }
  std::optional<Error> error() {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  std::optional<Offset> last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  const Output output_;
  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  std::uint64_t records_ = 0;
  std::optional<Error> error_;
  std::optional<Offset> last_;
};

// A line on the terminal, rewritten a few times a second.
class Progress {
 public:
  explicit Progress(Answers& answers) : answers_(answers), shown_(::isatty(STDERR_FILENO) == 1) {}
  void update() {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const auto records = answers_.records();
    std::fprintf(stderr, "\r%llu records, %.0f/s ", static_cast<unsigned long long>(records),
                 static_cast<double>(records) / std::max(seconds, 0.001));
    drawn_ = true;
  }
  ~Progress() {
    if (drawn_) std::fprintf(stderr, "\r\x1b[K");
  }

 private:
  Answers& answers_;
  const bool shown_;
  bool drawn_ = false;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = start_;
};

class Batcher {
 public:
  Batcher(Appender& appender, Answers& answers, const AppendArguments& arguments)
      : appender_(appender), answers_(answers), arguments_(arguments), progress_(answers),
        expect_(arguments.expect_offset) {}

  // False: an earlier append failed; stop.
  bool add(ByteView record) {
    if (!ends_.empty() &&
        (ends_.size() >= arguments_.batch_records || bytes_.size() + record.size() > appender_.batch_bytes_max())) {
      if (!send()) return false;
    }
    bytes_.insert(bytes_.end(), record.begin(), record.end());
    ends_.push_back(bytes_.size());
    return true;
  }

  bool send() {
    progress_.update();
    if (answers_.failed()) return false;
    if (ends_.empty()) return true;
    std::vector<ByteView> records;
    records.reserve(ends_.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      records.push_back(ByteView(bytes_).subspan(begin, end - begin));
      begin = end;
    }
    const auto count = static_cast<std::uint32_t>(ends_.size());
    AppendOptions options;
    if (expect_) options.expect_offset = Offset(*expect_);
    if (expect_) *expect_ += count;
    appender_.append(records, options, [&answers = answers_, count](Result<Appended> result) { answers.take(count, result); });
    bytes_.clear();
    ends_.clear();
    return true;
  }

 private:
  Appender& appender_;
  Answers& answers_;
  const AppendArguments& arguments_;
  Progress progress_;
  std::optional<std::uint64_t> expect_;
  std::vector<std::byte> bytes_;
  std::vector<std::size_t> ends_;
};

Result<void> append_inputs(const AppendArguments& arguments, Batcher& batcher, std::uint32_t record_bytes_max) {
  const std::vector<std::string> inputs = arguments.files.empty() ? std::vector<std::string>{"-"} : arguments.files;
  for (const std::string& input : inputs) {
    const bool is_stdin = input == "-";
    const int descriptor = is_stdin ? STDIN_FILENO : ::open(input.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return error(Code::usage, input + ": cannot be opened: " + std::strerror(errno));
    RecordReader reader(descriptor, arguments.format, is_stdin ? "stdin" : input, record_bytes_max);
    auto done = reader.run([&](ByteView record) { return batcher.add(record); }, [&] { return batcher.send(); });
    if (!is_stdin) ::close(descriptor);
    if (!done) return done;
  }
  return {};
}

}  // namespace

int append(const Global& global, const AppendArguments& arguments) {
  Client client(global.client());
  auto log = client.open(arguments.log, {.create = arguments.create});
  if (!log) return fail(log.error());
  auto appender = log->appender({.stop_on_refusal = true});  // what lands is a prefix of the input
  if (!appender) return fail(appender.error());
  Answers answers(global.output);
  Result<void> read;
  {
    Batcher batcher(*appender, answers, arguments);
    read = append_inputs(arguments, batcher, appender->record_bytes_max());
    batcher.send();  // also what came before a bad record: it was good
    appender->wait();
  }
  if (const auto last = answers.last(); last && global.output == Output::table) {
    std::printf("%llu\n", static_cast<unsigned long long>(last->value));
    std::fflush(stdout);
  }
  if (auto error = answers.error()) {
    if (answers.last()) error->message += " (appended before: up to offset " + std::to_string(answers.last()->value) + ")";
    return fail(*error);
  }
  if (!read) return fail(read.error());
  return 0;
}

}  // namespace walraft::walctl
