// A log whose disk lost what it had acknowledged, and what a leader then does with it: it cuts, appends, and settles.
// The power goes before every operation on the way. Until settle() is asked for, whatever comes back is suspect,
// though what was appended reaches further by then than what was lost; when settle() is done, it never is again. What
// was acknowledged since the damage is there. (inv:D6; mutants S1 and S2 are found in mutants_test.cc)

#include <gtest/gtest.h>

#include <cstdio>

#include "tests/crash/log_machine.h"

namespace walraft::wal::crash_test {
namespace {

enum class Loss : std::uint8_t {
  last_batch,       // case D: rot at the end
  middle_batch,     // case D: rot above the known commit, sound segments behind it
  last_segment,     // case D: a footer says that another one follows
  last_header,      // case J
  all_segments,     // case N
  truncated_file,   // case D: the hard state alone knows that there was more
  known_to_peers,   // nothing shows here
};

constexpr Loss kLosses[] = {Loss::last_batch,   Loss::middle_batch,   Loss::last_segment,  Loss::last_header,
                            Loss::all_segments, Loss::truncated_file, Loss::known_to_peers};

class SuspectLog {
 public:
  SuspectLog(std::uint64_t seed, Loss loss) : rng_(seed), loss_(loss), filesystem_(seed) {
    settings_.direct = rng_.one_in(2);
    settings_.small_hard_state = !rng_.one_in(4);
  }

  // Empty if all went well.
  std::string run() {
    start();
    for (int i = 0; i < 18 && wrong_.empty(); ++i) append(9'000);
    idle(2'500'000);
    promise_.durable = promise_.end();
    lose();
    if (!wrong_.empty()) return wrong_;
    filesystem_.set_observer([this](const sim::Operation& operation) { cut_power(operation); });
    const Index lost_end = before_loss_;
    if (loss_ != Loss::known_to_peers && rng_.one_in(3)) restart();
    if (!rng_.one_in(3)) {  // else it is settled as it is
      if (rng_.one_in(3)) truncate();
      for (std::uint64_t i = rng_.below(4); i > 0 && wrong_.empty(); --i) append(3'000);
      if (rng_.one_in(3)) restart();
      if (rng_.one_in(2)) {
        while (promise_.end() < lost_end + 2 && wrong_.empty()) append(3'000);
      }
      if (rng_.one_in(3)) restart();
    }
    settle();
    if (rng_.one_in(2)) idle(1'500'000);
    restart();
    for (int i = 0; i < 3 && wrong_.empty(); ++i) append(3'000);
    restart();
    filesystem_.set_observer(nullptr);
    process_.reset();
    return wrong_;
  }

  std::uint64_t cuts() const { return cuts_; }

 private:
  void start() {
    process_ = std::make_unique<Process>(filesystem_, clock_, settings_);
    if (process_->log() == nullptr) return stop("it does not open: " + process_->error());
    process_->disk().set_latency_us(50, rng_.one_in(2) ? 1'000 : 100'000);  // files are made faster, or slower
    process_->log()->on_durable([this](Index durable) { promise_.durable = std::max(promise_.durable, durable); });
  }

  void stop(const std::string& why) {
    if (wrong_.empty()) wrong_ = why;
  }

  void idle(std::uint64_t us) {
    for (std::uint64_t gone = 0; gone < us; gone += 50'000) {
      process_->disk().run_for_us(50'000);
      process_->log()->tick();
      process_->hard_state().flush();
    }
    process_->disk().settle();
  }

  void append(std::size_t bytes_max) {
    Log& log = *process_->log();
    for (int attempt = 0; attempt < 100; ++attempt) {
      const auto appended = append_next(log, promise_, Term(2), clock_.wall_us(), bytes_max, false, rng_);
      if (appended) {
        log.flush();
        if (rng_.one_in(2)) process_->disk().settle();
        return;
      }
      if (appended.error().code != Code::over_limit) return stop("append: " + appended.error().message);
      idle(50'000);
    }
    stop("an append is refused for ever");
  }

  void truncate() {
    Log& log = *process_->log();
    const Index to(rng_.between(log.first_index().value, log.tail().index.value));
    bool done = false;
    promise_.truncating = to;
    log.truncate_suffix(to, [&] { done = true; });
    for (int i = 0; i < 100 && !done; ++i) idle(50'000);
    if (!done) return stop("a truncation does not end");
    promise_.truncating.reset();
    promise_.batches.resize(to.value);
    promise_.durable = to;
    if (!log.suspect()) stop("a truncation settles the log");
  }

  void settle() {
    Log& log = *process_->log();
    promise_.suspect.reset();
    bool done = false;
    log.settle([&] {
      done = true;
      promise_.suspect = false;
    });
    for (int i = 0; i < 100 && !done && wrong_.empty(); ++i) {
      if (rng_.one_in(4)) append(1'000);
      idle(50'000);
    }
    if (!done) stop("settling does not end");
    if (log.suspect()) stop("it is suspect after it was settled");
  }

  // Ends the process, or the machine.
  void restart() {
    if (!wrong_.empty()) return;
    process_.reset();
    filesystem_.crash(rng_.one_in(2) ? sim::CrashChoice::kill_process() : sim::CrashChoice::keep_random(rng_.next()));
    start();
    if (!wrong_.empty()) return;
    if (const auto wrong = verify(*process_, promise_); !wrong.empty()) return stop("after a restart: " + wrong);
    promise_.batches.resize(process_->log()->tail().index.value);
    promise_.durable = process_->log()->tail().index;
  }

  void lose() {
    const LogView view = process_->log()->view();
    if (view.segments.size() < 3) return stop("the workload is too short");
    LogReader reader(view);
    const auto place_of = [&](std::uint64_t index) { return reader.find(Index(index)).value(); };
    const BatchPlace last = place_of(view.end_index.value - 1),
                     middle = place_of(view.segments[1].start().index.value + 1);
    const auto name = [](std::uint64_t number) { return "log/" + segment_name(number); };
    const std::string last_name = name(view.segments.back().file->header.number);
    const std::uint64_t segment_bytes = view.segments[1].file->header.segment_bytes;
    before_loss_ = view.end_index;
    process_.reset();
    filesystem_.crash(sim::CrashChoice::lose_unsynced());
    switch (loss_) {
      case Loss::last_batch: filesystem_.flip_bit(name(last.segment), last.position + 30, 3); break;
      case Loss::middle_batch:  // and the footer, without which the segment is read when the log is opened
        filesystem_.flip_bit(name(middle.segment), middle.position + 200, 3);
        filesystem_.flip_bit(name(middle.segment), footer_position(segment_bytes) + 100, 3);
        break;
      case Loss::last_segment: filesystem_.delete_on_medium(last_name); break;
      case Loss::last_header:
        for (const std::uint64_t copy : {0u, 1u}) filesystem_.flip_bit(last_name, copy * kBlockBytes + 30, 3);
        break;
      case Loss::all_segments: {
        const auto root = filesystem_.root();
        const auto directory = std::move(root->subdirectory("log", false).value());
        const auto entries = std::move(directory->list().value());
        for (const DirectoryEntry& entry : entries) filesystem_.delete_on_medium("log/" + entry.name);
        break;
      }
      case Loss::truncated_file: filesystem_.truncate_on_medium(last_name, kFramesPosition + kBlockBytes); break;
      case Loss::known_to_peers: break;
    }
    start();
    if (!wrong_.empty()) return;
    Log& log = *process_->log();
    if (loss_ == Loss::known_to_peers) {
      if (log.suspect()) return stop("it is suspect without a reason");
      bool done = false;
      log.mark_suspect([&] { done = true; });
      if (!log.suspect()) return stop("it is not suspect at once");
      while (!done) idle(50'000);
    }
    if (!log.suspect()) return stop("nothing was noticed");
    promise_.batches.resize(log.tail().index.value);
    promise_.durable = log.tail().index;
    promise_.suspect = true;
  }

  void cut_power(const sim::Operation& operation) {
    if (!wrong_.empty()) return;
    const sim::CrashChoice choices[] = {sim::CrashChoice::lose_unsynced(), sim::CrashChoice::keep_everything(),
                                        sim::CrashChoice::keep_random(rng_cut_.next())};
    for (const sim::CrashChoice& choice : choices) {
      ++cuts_;
      const auto wrong = verify_after_crash(filesystem_.fork(), promise_, clock_, settings_, choice, rng_cut_);
      if (!wrong.empty()) return stop("cut before " + describe(operation) + ": " + wrong);
    }
  }

  sim::SimRng rng_;
  sim::SimRng rng_cut_{7};
  const Loss loss_;
  Settings settings_ = small_log();
  sim::SimFilesystem filesystem_;
  sim::SimClock clock_;
  std::unique_ptr<Process> process_;
  Promise promise_;
  Index before_loss_;
  std::string wrong_;
  std::uint64_t cuts_ = 0;
};

TEST(SuspectPoints, a_log_that_lost_something_is_suspect_until_it_is_settled_and_never_after) {
  std::uint64_t cuts = 0, runs = 0;
  for (const Loss loss : kLosses) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      SuspectLog log(seed, loss);
      ASSERT_EQ(log.run(), "") << "loss " << static_cast<int>(loss) << ", seed " << seed;
      cuts += log.cuts();
      ++runs;
    }
  }
  EXPECT_GT(cuts, 1'000u);
  std::printf("%llu logs, %llu power cuts\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(cuts));
}

}  // namespace
}  // namespace walraft::wal::crash_test
