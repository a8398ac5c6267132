#include "tests/crash/log_machine.h"

#include <algorithm>
#include <utility>

#include "tests/crash/small_hard_state.h"
#include "wal/base/check.h"

namespace walraft::wal::crash_test {
namespace {

constexpr std::string_view kHardStateName = "hard_state";
constexpr std::string_view kSmallHardStateName = "small_hard_state";

std::string text(Index index) { return std::to_string(index.value); }

std::string findings_of(const RecoveryReport& report) {
  std::string all;
  for (const Finding& finding : report.findings) {
    all += std::string("\n    ") + static_cast<char>(finding.letter) + " " + finding.text;
  }
  return all;
}

std::string describe(const LogPoint& point) {
  return "index " + text(point.index) + " offset " + std::to_string(point.offset.value) + " term " +
         std::to_string(point.term.value) + " time " + std::to_string(point.timestamp_us) + " digest " +
         to_string(point.digest);
}

bool is_promised(const Promise& promise, const BatchRef& ref) {
  if (ref.index >= promise.end()) return false;
  const Promise::Batch& batch = *promise.batches[ref.index.value];
  return std::ranges::equal(ref.bytes, batch.bytes) && ref.base_offset == batch.header.base_offset;
}

}  // namespace

Settings small_log() {
  Settings options;
  options.segment_bytes = kSegmentBytesMin;
  options.first_segment_bytes = kSegmentBytesMin;
  options.tail_cache_bytes = 32u << 10;
  return options;
}

Process::Process(sim::SimFilesystem& filesystem, sim::SimClock& clock, const Settings& options)
    : disk_(filesystem, clock), rng_(filesystem.operations() + 99), root_(filesystem.root()) {
  // A crash in the middle of making the file leaves anything under its name; the data directory that
  // makes it knows that it was never finished (wal/identity.h). Here: the log's directory says so.
  const bool small = options.small_hard_state;
  const std::string_view name = small ? kSmallHardStateName : kHardStateName;
  if (!filesystem.exists("log")) {
    if (filesystem.exists(name)) (void)root_->remove(name);
    auto made = small ? SmallHardState::create(*root_, name) : HardStateFile::create(*root_, name, kDisk);
    if (!made) {
      error_ = made.error().message;
      return;
    }
  }
  auto hard_state = small ? SmallHardState::open(*root_, name, disk_)
                          : HardStateFile::open(*root_, name, kDisk, Access::direct, disk_);
  if (!hard_state) {
    error_ = hard_state.error().message;
    return;
  }
  hard_state_ = std::move(*hard_state);
  auto directory = root_->subdirectory("log", true);
  if (auto synced = root_->sync(); !directory || !synced) {
    error_ = "the log's directory cannot be made";
    return;
  }
  auto log = Log::open(std::move(*directory), kLog, options, *hard_state_, disk_, clock, rng_);
  if (!log) {
    error_ = log.error().message;
    return;
  }
  log_ = std::move(*log);
}

std::string verify_view(const LogView& view, const Promise& promise) {
  LogReader reader(view);
  Index at = promise.first_asked;
  while (at < view.end_index) {
    std::vector<BatchRef> batches;
    if (auto read = reader.read(at, 20'000, batches); !read) return "read of batch " + text(at) + ": " + read.error().message;
    if (batches.empty()) return "read of batch " + text(at) + " gave nothing";
    for (const BatchRef& ref : batches) {
      if (ref.index != at || !is_promised(promise, ref)) return "batch " + text(at) + " is not what was appended";
      at = at + 1;
    }
  }
  Offset offset = promise.first_offset_asked;
  while (offset < view.end_offset) {
    std::vector<BatchRef> batches;
    if (auto read = reader.read(offset, 100'000, batches); !read) {
      return "read of offset " + std::to_string(offset.value) + ": " + read.error().message;
    }
    if (batches.empty() || batches.front().base_offset > offset) return "offset " + std::to_string(offset.value) + " is not found";
    for (const BatchRef& ref : batches) {
      if (!is_promised(promise, ref)) return "batch " + text(ref.index) + " is not what was appended";
    }
    if (batches.back().next_offset() <= offset) return "offset " + std::to_string(offset.value) + " is not found";
    offset = batches.back().next_offset();
  }
  return {};
}

std::string verify(Process& process, const Promise& promise) {
  if (process.log() == nullptr) return "it does not open: " + process.error();
  Log& log = *process.log();
  const RecoveryReport& report = log.recovery();
  const LogPoint tail = log.tail();
  const std::string where = " (tail " + text(tail.index) + ", durable " + text(promise.durable) + ", appended " +
                            text(promise.end()) + ")" + findings_of(report);
  if (log.suspect() && promise.suspect == false) return "it is suspect" + where;
  if (!log.suspect() && promise.suspect == true) return "it is suspect no longer, and was not settled" + where;
  if (!report.holes.empty()) return "it has a hole" + where;
  if (tail.index < promise.kept_at_least()) return "acknowledged batches are gone" + where;
  if (tail.index > promise.end()) return "there are batches that were never appended" + where;
  if (log.durable() != tail.index) return "the end is not durable" + where;
  if (tail.index > Index()) {
    const BatchHeader& last = promise.batches[tail.index.value - 1]->header;
    const LogPoint expected{last.next_index(), last.next_offset(), last.term, last.timestamp_us, last.digest};
    if (tail != expected) return "the end is " + describe(tail) + ", not " + describe(expected) + where;
  } else if (tail.offset != Offset() || tail.digest != first_digest(kLog.log)) {
    return "the beginning is not that of the log" + where;
  }
  if (log.first_index() < promise.first || log.first_index() > promise.first_asked ||
      log.first_offset() < promise.first_offset || log.first_offset() > promise.first_offset_asked) {
    return "the trim point is " + text(log.first_index()) + "/" + std::to_string(log.first_offset().value) + ", not " + text(promise.first) + ".." + text(promise.first_asked) + "/" + std::to_string(promise.first_offset.value) + ".." + std::to_string(promise.first_offset_asked.value) + where;
  }
  for (const TermRun& run : log.history()) {
    if (run.first_index >= tail.index || promise.batches[run.first_index.value]->header.term != run.term) {
      return "the history of terms is wrong" + where;
    }
  }
  Promise trimmed = promise;
  trimmed.first_asked = log.first_index();
  trimmed.first_offset_asked = log.first_offset();
  if (auto wrong = verify_view(log.view(), trimmed); !wrong.empty()) return wrong + where;
  return {};
}

namespace {

std::vector<std::byte> next_batch(const LogPoint& tail, Index commit, Term term, std::int64_t now_us, std::size_t bytes_max,
                                  bool control, sim::SimRng& rng) {
  const auto text_of_size = [&](std::size_t bytes) {
    std::string text(bytes, 'x');
    for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(rng.next());
    return text;
  };
  std::vector<std::byte> bytes;
  if (control) {
    bytes = make_control_batch(kLog.id, BatchKind::noop, bytes_of(text_of_size(rng.below(40))));
  } else {
    BatchBuilder builder;
    for (std::uint64_t i = rng.between(1, 4); i > 0; --i) CHECK(builder.add(bytes_of(text_of_size(rng.below(bytes_max)))));
    const MutableBytes batch = builder.finish({.log_id = kLog.id});
    bytes.assign(batch.begin(), batch.end());
  }
  stamp_batch(bytes, {tail.index, tail.offset, std::max(term, tail.term), commit, std::max(tail.timestamp_us, now_us)},
              tail.digest);
  return bytes;
}

}  // namespace

Result<void> append_next(Log& log, Promise& promise, Term term, std::int64_t now_us, std::size_t bytes_max, bool control,
                         sim::SimRng& rng) {
  auto bytes = next_batch(log.tail(), promise.commit, term, now_us, bytes_max, control, rng);
  auto header = decode_batch(bytes);
  CHECK(header.has_value());
  auto appended = log.append(bytes, control ? Use::control : Use::data);
  if (appended) promise.batches.push_back(std::make_shared<Promise::Batch>(std::move(bytes), *header));
  return appended;
}

namespace {

// Three batches more, durably; what is wrong, if anything.
std::string go_on(Process& process, Promise& promise, sim::SimClock& clock, sim::SimRng& rng) {
  Log& log = *process.log();
  promise.batches.resize(log.tail().index.value);
  promise.durable = log.durable();  // less than before where a truncation was under way
  promise.truncating.reset();
  for (int i = 0; i < 3; ++i) {
    for (int attempt = 0;; ++attempt) {
      auto appended = append_next(log, promise, Term(1), clock.wall_us(), 6'000, false, rng);
      if (appended) break;
      if (appended.error().code == Code::no_space) return {};
      if (appended.error().code != Code::over_limit || attempt == 200) return "append: " + appended.error().message;
      log.flush();
      process.disk().run_for_us(2'000);
      log.tick();
    }
    log.flush();
    process.disk().settle();
    if (log.durable() != promise.end()) return "an append does not become durable";
  }
  promise.durable = promise.end();
  return verify(process, promise);
}

}  // namespace

std::string verify_after_crash(std::unique_ptr<sim::SimFilesystem> filesystem, const Promise& promise,
                               sim::SimClock clock, const Settings& options, sim::CrashChoice choice,
                               sim::SimRng& rng) {
  filesystem->clear_faults();
  filesystem->crash(choice);
  // A power cut in the middle of what recovery does itself.
  std::unique_ptr<sim::SimFilesystem> twice;
  const std::uint64_t at = filesystem->operations() + rng.between(1, 12);
  if (rng.one_in(3)) {
    filesystem->set_observer([&](const sim::Operation& operation) {
      if (operation.number == at) twice = filesystem->fork();
    });
  }
  auto process = std::make_unique<Process>(*filesystem, clock, options);
  filesystem->set_observer(nullptr);
  if (auto wrong = verify(*process, promise); !wrong.empty()) return wrong;
  const LogPoint tail = process->log()->tail();
  process.reset();
  filesystem->crash(sim::CrashChoice::lose_unsynced());
  process = std::make_unique<Process>(*filesystem, clock, options);
  if (auto wrong = verify(*process, promise); !wrong.empty()) return "after a second recovery: " + wrong;
  if (process->log()->tail() != tail) return "a second recovery ends the log elsewhere";
  if (twice) {
    twice->crash(sim::CrashChoice::keep_random(rng.next()));
    Process again(*twice, clock, options);
    if (auto wrong = verify(again, promise); !wrong.empty()) return "after a power cut in recovery: " + wrong;
  }
  if (rng.one_in(3)) {
    Promise longer = promise;
    if (auto wrong = go_on(*process, longer, clock, rng); !wrong.empty()) return "going on: " + wrong;
    filesystem->crash(sim::CrashChoice::keep_random(rng.next()));
    process = std::make_unique<Process>(*filesystem, clock, options);
    if (auto wrong = verify(*process, longer); !wrong.empty()) return "after appends behind recovery: " + wrong;
  }
  return {};
}

// --- The workload ---

Machine::Profile Machine::profile_of(std::uint64_t seed) {
  sim::SimRng rng(seed * 77 + 5);
  Profile profile;
  profile.options.durable_is_commit = rng.one_in(3);
  profile.truncations = !profile.options.durable_is_commit;
  profile.options.direct = !rng.one_in(4);
  if (rng.one_in(2)) profile.options.segment_bytes = kSegmentBytesMin * (rng.one_in(2) ? 4 : 16);
  profile.options.tail_cache_bytes = rng.one_in(2) ? 1 : 64u << 10;
  profile.faults = rng.one_in(3);
  profile.full_disk = rng.one_in(2);
  profile.options.small_hard_state = !rng.one_in(8);
  profile.steps = rng.between(40, 90);
  profile.suspicions = seed % 2 == 1;
  return profile;
}

Machine::Machine(std::uint64_t seed, const Profile& profile) : profile_(profile), rng_(seed), filesystem_(seed) {}

std::string Machine::run() {
  filesystem_.set_observer([this](const sim::Operation& operation) {
    if (at_operation && wrong_.empty()) at_operation(operation);
  });
  start();
  for (std::uint64_t i = 0; i < profile_.steps && wrong_.empty(); ++i) step();
  held_.clear();
  if (process_ && process_->log() != nullptr) {
    for (const auto& segment : process_->log()->view().segments) done_.segments = segment.file->header.number;
  }
  filesystem_.set_observer(nullptr);
  process_.reset();
  return wrong_;
}

void Machine::start() {
  process_ = std::make_unique<Process>(filesystem_, clock_, profile_.options);
  if (process_->log() == nullptr) {
    stop("it does not open: " + process_->error());
    return;
  }
  process_->disk().set_latency_us(50, 3'000);
  process_->log()->on_durable([this](Index durable) { promise_.durable = std::max(promise_.durable, durable); });
}

void Machine::note_durable() {
  if (!promise_.truncating) promise_.durable = std::max(promise_.durable, process_->log()->durable());
}

void Machine::append(std::size_t bytes_max, bool control) {
  auto appended = append_next(*process_->log(), promise_, term_, clock_.wall_us(), bytes_max, control, rng_);
  note_durable();
  if (appended) {
    ++done_.appends;
  } else if (appended.error().code == Code::over_limit || appended.error().code == Code::no_space) {
    ++done_.refused;
    if (appended.error().code == Code::no_space && !full_) stop("no_space on a disk that is not full");
    if (appended.error().code == Code::no_space && control && bytes_max < 100) stop("no room for a control batch");
  } else {
    stop("append: " + appended.error().message);
  }
}

void Machine::turn() {
  process_->log()->flush();
  if (rng_.one_in(4)) process_->log()->tick();
  process_->hard_state().flush();
  process_->disk().submit();
  for (std::uint64_t i = rng_.below(4); i > 0; --i) {
    clock_.advance_us(rng_.below(1'500));
    process_->disk().step(rng_);
    process_->disk().poll();
  }
  note_durable();
}

void Machine::idle(std::uint64_t us) {
  for (std::uint64_t gone = 0; gone < us && !process_->failed(); gone += 100'000) {
    process_->disk().run_for_us(100'000);
    process_->log()->tick();
    process_->hard_state().flush();
  }
  process_->disk().settle();
  note_durable();
}

void Machine::truncate() {
  Log& log = *process_->log();
  const Index low = std::max({log.first_index(), promise_.commit, promise_.first_asked});
  if (low > log.tail().index) return;
  const Index to(rng_.between(low.value, log.tail().index.value));
  promise_.truncating = to;
  bool done = false;
  log.truncate_suffix(to, [&] { done = true; });
  for (int i = 0; i < 100 && !done && !process_->failed(); ++i) idle(100'000);
  if (process_->failed()) return;
  if (!done) {
    if (!full_) stop("a truncation does not end");
    restart(true);
    return;
  }
  ++done_.truncations;
  promise_.truncating.reset();
  promise_.batches.resize(to.value);
  promise_.durable = to;
  term_ = term_ + 1;
  if (log.tail().index != to || log.durable() != to) stop("a truncation leaves another end than it should");
  held_.clear();
}

// What peers find out, and a leader puts right; at once, or while other things go on.
void Machine::suspect_or_settle() {
  Log& log = *process_->log();
  if (!promise_.suspect) return;
  const bool to = !*promise_.suspect;
  promise_.suspect.reset();
  const auto done = [this, to] {
    promise_.suspect = to;
    ++(to ? done_.suspicions : done_.settled);
    if (process_->log()->suspect() != to) stop(to ? "a suspicion was forgotten" : "a log was settled and is suspect");
  };
  to ? log.mark_suspect(done) : log.settle(done);
  if (rng_.one_in(2)) idle(100'000);
}

void Machine::hold_view() {
  held_.push_back({process_->log()->view(), promise_, {}});
  if (rng_.one_in(2)) return;
  for (const SegmentView& segment : held_.back().view.segments) {
    auto file = segment.file->open();
    if (!file) return stop("a segment of the log cannot be opened: " + file.error().message);
    held_.back().files.push_back(std::move(*file));
  }
}

void Machine::trim() {
  Log& log = *process_->log();
  if (log.durable() <= log.first_index()) return;
  const Index to(rng_.between(log.first_index().value, log.durable().value));
  promise_.commit = std::max(promise_.commit, to);
  Offset offset = log.tail().offset;
  if (to < promise_.end()) {
    const BatchHeader& header = promise_.batches[to.value]->header;
    offset = header.base_offset + (header.record_count == 0 ? 0 : rng_.below(header.record_count));
  }
  promise_.first_asked = to;
  promise_.first_offset_asked = std::max(promise_.first_offset_asked, offset);
  ++done_.trims;
  log.drop_prefix(to, promise_.first_offset_asked, [this, to, asked = promise_.first_offset_asked] {
    promise_.first = std::max(promise_.first, to);
    promise_.first_offset = std::max(promise_.first_offset, asked);
  });
}

// The process ends, or the machine does; what comes back is from now on what the log is.
void Machine::restart(bool power_cut) {
  ++done_.restarts;
  held_.clear();
  filesystem_.clear_faults();
  if (!power_cut) {
    process_.reset();
    filesystem_.crash(sim::CrashChoice::kill_process());
  } else {
    filesystem_.crash(sim::CrashChoice::keep_random(rng_.next()));
    process_.reset();
  }
  start();
  if (!wrong_.empty()) return;
  if (auto wrong = verify(*process_, promise_); !wrong.empty()) {
    stop("after a restart: " + wrong);
    return;
  }
  Log& log = *process_->log();
  promise_.truncating.reset();
  promise_.suspect = log.suspect();
  promise_.batches.resize(log.tail().index.value);
  promise_.durable = log.tail().index;
  promise_.first = promise_.first_asked = log.first_index();
  promise_.first_offset = promise_.first_offset_asked = log.first_offset();
}

std::string Machine::check_reads() {
  Log& log = *process_->log();
  for (const Held& held : held_) {
    Promise promise = held.promise;
    if (held.files.empty()) {  // what was trimmed since is gone for it
      promise.first_asked = std::max(promise.first_asked, log.first_index());
      promise.first_offset_asked = std::max(promise.first_offset_asked, log.first_offset());
    }
    if (auto wrong = verify_view(held.view, promise); !wrong.empty()) return "a reader of an older view: " + wrong;
  }
  Promise now = promise_;
  now.first_asked = log.first_index();
  now.first_offset_asked = log.first_offset();
  if (auto wrong = verify_view(log.view(), now); !wrong.empty()) return wrong;
  std::vector<BatchRef> batches;
  const Index from(rng_.between(log.first_index().value, log.tail().index.value));
  const Index limit(rng_.between(from.value, log.tail().index.value));
  const std::size_t bytes_max = rng_.below(40'000);
  if (log.read_tail(from, limit, bytes_max, batches)) {
    Index at = from;
    std::size_t bytes = 0;
    for (const BatchRef& ref : batches) {
      if (ref.index != at || ref.index >= limit || !is_promised(promise_, ref)) return "the tail cache gives a wrong batch";
      if (bytes > 0 && bytes + ref.bytes.size() > bytes_max) return "the tail cache gives too much";
      bytes += ref.bytes.size();
      at = at + 1;
    }
    if (batches.empty() && from < limit) return "the tail cache gives nothing where there is something";
  }
  return {};
}

void Machine::step() {
  if (process_->failed()) {
    ++done_.failures;
    restart(rng_.one_in(2));
    return;
  }
  if (profile_.suspicions && rng_.one_in(12)) {
    suspect_or_settle();
    return;
  }
  const std::uint64_t chance = rng_.below(100);
  if (chance < 40) {
    static constexpr std::size_t kSizes[] = {60, 400, 3'000, 9'000};
    const std::size_t bytes_max = rng_.one_in(40) ? 150'000 : kSizes[rng_.below(4)];
    for (std::uint64_t i = rng_.between(1, 6); i > 0 && wrong_.empty(); --i) append(bytes_max, false);
    turn();
  } else if (chance < 46) {
    append(0, true);
    turn();
  } else if (chance < 60) {
    turn();
  } else if (chance < 70) {
    process_->log()->flush();
    process_->disk().settle();
    note_durable();
    promise_.commit = std::max(promise_.commit, Index(rng_.below(promise_.durable.value + 1)));
    if (auto wrong = check_reads(); !wrong.empty()) stop(wrong);
  } else if (chance < 78) {
    idle(rng_.one_in(3) ? 2'500'000 : 200'000);
  } else if (chance < 84) {
    if (profile_.truncations) truncate();
  } else if (chance < 89) {
    trim();
    if (rng_.one_in(2)) turn();
  } else if (chance < 92) {
    restart(rng_.one_in(2));
  } else if (chance < 94) {
    if (held_.size() < 3 && !promise_.truncating) hold_view();
  } else if (chance < 97) {
    if (full_) {
      filesystem_.set_capacity(1u << 30);
      full_ = false;
      idle(2'500'000);
    } else if (profile_.full_disk) {
      filesystem_.set_capacity(filesystem_.used_bytes() + rng_.below(100'000));
      full_ = true;
    }
  } else if (profile_.faults) {
    static constexpr sim::FaultKind kKinds[] = {sim::FaultKind::sync_fails, sim::FaultKind::sync_drops,
                                                sim::FaultKind::write_fails};
    filesystem_.inject({.kind = kKinds[rng_.below(3)], .skip = rng_.below(6)});
  }
}

}  // namespace walraft::wal::crash_test
