// wal_writer write DIRECTORY | wal_writer check DIRECTORY: one log on a real disk, for tests that cut the power, break
// the disk or damage files. `write` appends known batches as fast as it can and says on stdout what became durable:
// whoever reads that line was promised the batches. `check` opens the log as a restart would, verifies every byte, and
// says which generation of the writer wrote what.
//
// Lines of `write`, each written at once:
//   opened method=io_uring mutants=1 suspect=0 findings=0 cut_bytes=0 first=INDEX tail=INDEX
//   notice TEXT                              of the data directory, before `opened`
//   finding LETTER VERDICT TEXT              of recovery, before `opened`
//   writing GENERATION INDEX                 what follows from INDEX on is of GENERATION
//   durable INDEX                            everything below survives
//   trimming INDEX, trimmed INDEX            --trim: asked for, and durable
//   truncating INDEX, truncated INDEX        --truncate
//   full INDEX, readable BATCHES             no_space; so many batches can still be read
//   resumed INDEX                            space again; it never stopped trying
// Lines of `check`: opened, finding, then
//   range GENERATION FROM TO                 batches [FROM, TO), every byte as written
//   unreadable OFFSET CODE TEXT
//   checked first=INDEX tail=INDEX first_offset=OFFSET end_offset=OFFSET digest=HEX
// Exit codes: 0; 1 anything else; 2 usage; 3 the log cannot be opened; 5 the disk failed; 11 damage found.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/power/check_log.h"
#include "tests/power/content.h"
#include "tests/power/report.h"
#include "wal/base/check.h"
#include "wal/base/clock.h"
#include "wal/base/mutant.h"
#include "wal/data_directory.h"
#include "wal/disk.h"
#include "wal/filesystem.h"
#include "wal/log.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::power {
namespace {

using namespace wal;

constexpr LogId kLog{7};

struct Options {
  std::string command;
  std::string directory;
  std::uint64_t seed = 1;
  std::uint64_t generation = 1;
  std::uint64_t inflight_bytes = 1u << 20;
  std::uint64_t batch_bytes_max = 1u << 20;
  std::uint64_t segment_bytes = 1u << 20;
  std::uint64_t batches = ~std::uint64_t{0};
  std::uint64_t pause_us = 0;  // after each turn
  std::uint64_t idle_ms = 0;   // after the last batch: time for what a log writes when it is idle
  DiskMethod method = DiskMethod::automatic;
  bool buffered = false;
  bool trim = false;
  bool truncate = false;
};

volatile std::sig_atomic_t stop_asked = 0;

template <class T>
T must(Result<T> result) {
  if (!result) {
    leave(kExitRefused, result.error());
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

Uuid uuid_of(std::uint8_t byte) {
  Uuid uuid;
  uuid.bytes.fill(byte);
  return uuid;
}

// One log in its directory, opened or begun.
class Node {
 public:
  explicit Node(const Options& options) : disk_(make_disk(options.method, system_clock())) {
    if (!disk_) {
      leave(kExitRefused, {Code::failed, "no io_uring here"});
    }
    disk_->on_failure([](const Error& why) { leave(kExitDiskFailed, why); });
    const bool checks = options.command == "check";
    DataDirectoryOptions data_options;
    data_options.cluster_name = "power";
    data_options.node = NodeId{1};
    data_options.sync = options.buffered ? SyncMode::buffered : SyncMode::automatic;
    data_options.may_create = !checks;
    data_ = must(DataDirectory::open(must(open_directory(options.directory, !checks)), *disk_, system_clock(),
                                     system_rng(), data_options));
    for (const std::string& notice : data_->notices()) {
      say("notice " + notice);
    }
    // The log's directory may be there, or not, after a crash while it was begun; its first batch comes later.
    const LogIdentity identity{.cluster = data_->identity().cluster, .log = uuid_of(0x10), .id = kLog};
    auto directory = must(data_->logs().subdirectory(to_string(identity.log), !checks));
    if (!checks) {
      must(data_->logs().sync());
    }
    LogOptions log_options;
    log_options.segment_bytes = options.segment_bytes;
    log_options.first_segment_bytes = std::min(log_options.first_segment_bytes, options.segment_bytes);
    log_options.direct = data_->access() == Access::direct;
    log_options.durable_is_commit = !options.truncate;
    log_ = must(Log::open(std::move(directory), identity, log_options, data_->hard_state(), *disk_, system_clock(),
                          system_rng()));
    for (const Finding& finding : log_->recovery().findings) {
      say(std::string("finding ") + static_cast<char>(finding.letter) + " " + verdict_name(finding.verdict) + " " +
          finding.text);
    }
    say("opened method=" + std::string(disk_->method()) + " mutants=" + (kHasMutants ? "1" : "0") +
        " suspect=" + (log_->suspect() ? "1" : "0") + " findings=" + std::to_string(log_->recovery().findings.size()) +
        " cut_bytes=" + std::to_string(log_->recovery().cut_bytes) + " first=" + text(log_->first_index()) +
        " tail=" + text(log_->tail().index));
    ticked_us_ = system_clock().monotonic_us();
  }

  ~Node() {
    while (!data_->hard_state().idle()) {
      turn(1'000);
    }
  }

  Log& log() { return *log_; }

  // One turn of the loop; waits up to `timeout_us` if there is nothing to do.
  void turn(std::uint64_t timeout_us) {
    log_->flush();
    data_->hard_state().flush();
    disk_->submit();
    if (disk_->poll() == 0 && timeout_us > 0) {
      disk_->wait(timeout_us);
      disk_->poll();
    }
    if (const std::uint64_t now_us = system_clock().monotonic_us(); now_us - ticked_us_ >= 100'000) {
      ticked_us_ = now_us;
      log_->tick();
    }
  }

 private:
  static const char* verdict_name(Verdict verdict) {
    switch (verdict) {
      case Verdict::keep: return "keep";
      case Verdict::cut: return "cut";
      case Verdict::hole: return "hole";
      case Verdict::suspect: return "suspect";
      case Verdict::rebuild: return "rebuild";
      case Verdict::remove: return "remove";
    }
    return "?";
  }

  std::unique_ptr<Disk> disk_;
  std::unique_ptr<DataDirectory> data_;
  std::unique_ptr<Log> log_;
  std::uint64_t ticked_us_ = 0;
};

class Writer {
 public:
  Writer(Node& node, const Options& options)
      : node_(node), options_(options), generation_(options.generation), random_(options.seed + options.generation) {}

  int run() {
    Log& log = node_.log();
    said_ = log.durable();
    log.on_durable([&](Index durable) {
      CHECK(durable == log.durable(), durable, log.durable());
      CHECK(said_ <= durable, said_, durable);
      said_ = durable;
      say("durable " + text(durable));
      places_.push_back({durable, log.durable_offset()});
      if (places_.size() > 64) {
        places_.pop_front();
      }
    });
    say("writing " + std::to_string(generation_) + " " + text(log.tail().index));
    for (std::uint64_t written = 0; stop_asked == 0 && written < options_.batches;) {
      while (!truncating_ && log.pending_bytes() < options_.inflight_bytes && written < options_.batches) {
        if (!append()) {
          break;
        }
        ++written;
      }
      node_.turn(1'000);
      if (readable_due_ && log.durable() == log.tail().index) {  // what was on its way has arrived
        readable_due_ = false;
        say("readable " + std::to_string(readable_batches(log)));
      }
      retain();
      if (options_.pause_us > 0) {
        usleep(static_cast<useconds_t>(options_.pause_us));
      }
    }
    while (log.durable() < log.tail().index || truncating_) {
      node_.turn(10'000);
    }
    const std::uint64_t idle_until_us = system_clock().monotonic_us() + options_.idle_ms * 1000;
    while (stop_asked == 0 && system_clock().monotonic_us() < idle_until_us) {
      node_.turn(10'000);
    }
    return 0;
  }

 private:
  struct Place {
    Index index;
    Offset offset;
  };

  // False: not now.
  bool append() {
    Log& log = node_.log();
    const auto tail = log.tail();
    if (log.suspect()) leave(1, {Code::data_loss, "the log lost what it acknowledged and takes no appends"});
    fill_batch(builder_, {options_.seed, generation_, tail.index.value}, options_.batch_bytes_max);
    const MutableBytes batch = builder_.finish(fields_of(kLog));
    stamp_batch(batch,
                {.index = tail.index,
                 .base_offset = tail.offset,
                 .term = Term(std::max(tail.term.value, generation_)),
                 .commit = commit(),
                 .timestamp_us = std::max(tail.timestamp_us, system_clock().wall_us())},
                tail.digest);
    const auto appended = log.append(batch);
    if (appended) {
      if (full_) {
        full_ = false;
        say("resumed " + text(tail.index));
      }
      return true;
    }
    switch (appended.error().code) {
      case Code::over_limit: return false;
      case Code::no_space:
        CHECK(log.tail().index == tail.index, log.tail().index, tail.index);
        if (!full_) {
          full_ = true;
          readable_due_ = true;
          say("full " + text(tail.index));
        }
        return false;
      default: leave(1, appended.error());
    }
  }

  // What a leader would know to be committed. With truncations it lags, or there would be nothing that may be cut.
  Index commit() const {
    return options_.truncate ? (places_.size() > 32 ? places_[places_.size() - 32].index : Index(0))
                             : node_.log().durable();
  }

  void retain() {
    Log& log = node_.log();
    const bool due = full_ ? !places_.empty() : places_.size() > 40 && random_() % 16 == 0;
    if (options_.trim && due && !trimming_) {
      const Place to = full_ ? places_.back() : places_[random_() % 20];
      if (to.index > log.first_index()) {
        trimming_ = true;
        say("trimming " + text(to.index));
        log.drop_prefix(to.index, to.offset, [this, to] {
          trimming_ = false;
          say("trimmed " + text(to.index));
        });
      }
    }
    if (options_.truncate && places_.size() > 40 && !truncating_ && random_() % 64 == 0) {
      const Index to = places_[places_.size() - 1 - random_() % 16].index;
      truncating_ = true;
      say("truncating " + text(to));
      log.truncate_suffix(to, [this, to] {
        truncating_ = false;
        said_ = std::min(said_, to);
        say("truncated " + text(to));
        while (!places_.empty() && places_.back().index > to) {
          places_.pop_back();
        }
        ++generation_;
        say("writing " + std::to_string(generation_) + " " + text(to));
      });
    }
  }

  Node& node_;
  const Options& options_;
  std::uint64_t generation_;
  std::mt19937_64 random_;
  BatchBuilder builder_;
  Index said_;  // durable
  std::deque<Place> places_;  // between batches, durable
  bool full_ = false;
  bool readable_due_ = false;
  bool trimming_ = false;
  bool truncating_ = false;
};

[[noreturn]] void usage(std::string_view what) {
  std::fprintf(stderr,
               "wal_writer: %.*s\nusage: wal_writer write|check DIRECTORY [--seed=N] [--generation=N] [--method=auto|"
               "io_uring|thread] [--buffered] [--inflight-bytes=N] [--batch-bytes-max=N] [--segment-bytes=N] "
               "[--batches=N] [--pause-us=N] [--idle-ms=N] [--trim] [--truncate]\n",
               static_cast<int>(what.size()), what.data());
  std::exit(2);
}

Options parse(int argc, char** argv) {
  if (argc < 3 || (std::string_view(argv[1]) != "write" && std::string_view(argv[1]) != "check")) {
    usage("expected write or check, and a directory");
  }
  Options options;
  options.command = argv[1];
  options.directory = argv[2];
  const std::array<std::pair<std::string_view, std::uint64_t*>, 8> numbers = {{
      {"--seed=", &options.seed},
      {"--generation=", &options.generation},
      {"--inflight-bytes=", &options.inflight_bytes},
      {"--batch-bytes-max=", &options.batch_bytes_max},
      {"--segment-bytes=", &options.segment_bytes},
      {"--batches=", &options.batches},
      {"--pause-us=", &options.pause_us},
      {"--idle-ms=", &options.idle_ms},
  }};
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    bool known = true;
    if (word == "--buffered") {
      options.buffered = true;
    } else if (word == "--trim") {
      options.trim = true;
    } else if (word == "--truncate") {
      options.truncate = true;
    } else if (word == "--method=auto") {
      options.method = DiskMethod::automatic;
    } else if (word == "--method=io_uring") {
      options.method = DiskMethod::uring;
    } else if (word == "--method=thread") {
      options.method = DiskMethod::thread;
    } else {
      known = false;
      for (const auto& [name, value] : numbers) {
        if (word.starts_with(name)) {
          const auto [end, failure] = std::from_chars(word.data() + name.size(), word.data() + word.size(), *value);
          known = failure == std::errc() && end == word.data() + word.size();
        }
      }
    }
    if (!known) {
      usage(word);
    }
  }
  return options;
}

}  // namespace
}  // namespace walraft::power

int main(int argc, char** argv) {
  using namespace walraft::power;
  const Options options = parse(argc, argv);
  std::signal(SIGTERM, [](int) { stop_asked = 1; });
  std::signal(SIGPIPE, SIG_IGN);
  Node node(options);
  return options.command == "check" ? check_log(node.log(), options.seed) : Writer(node, options).run();
}
