#pragma once

// One machine with one log on the disk that forgets, and what the log promised so far: what a power cut
// at any instant must leave. Used by the crash, damage, fault and mutant tests.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"

namespace walraft::wal::crash_test {

inline constexpr LogIdentity kLog{Uuid{{1, 2, 3}}, Uuid{{4, 5, 6}}, LogId(7)};
inline constexpr Uuid kDisk{{7, 8, 9}};

// All that was appended and not truncated, from index 0 on, and what was said about it.
struct Promise {
  struct Batch {
    std::vector<std::byte> bytes;
    BatchHeader header;
  };
  std::vector<std::shared_ptr<const Batch>> batches;
  Index durable;                    // acknowledged up to here
  Index commit;                     // nothing below is ever truncated
  Index first, first_asked;         // trimmed up to here; asked for, perhaps not done
  Offset first_offset, first_offset_asked;
  std::optional<Index> truncating;  // asked for, not done
  // Nothing: a change was asked for, and is not done.
  std::optional<bool> suspect = false;

  Index end() const { return Index(batches.size()); }
  Index kept_at_least() const { return truncating ? std::min(durable, *truncating) : durable; }
};

struct Settings : LogOptions {
  bool small_hard_state = true;  // small_hard_state.h; else the real one, which takes most of the time
};

// A process that has opened the log.
class Process {
 public:
  Process(sim::SimFilesystem& filesystem, sim::SimClock& clock, const Settings& options);

  Log* log() { return log_.get(); }  // null: it did not open, error() says why
  const std::string& error() const { return error_; }
  bool failed() const { return disk_.failed(); }
  sim::SimDisk& disk() { return disk_; }
  HardStateFile& hard_state() { return *hard_state_; }

 private:
  sim::SimDisk disk_;
  sim::SimRng rng_;
  std::unique_ptr<Directory> root_;
  std::unique_ptr<HardStateFile> hard_state_;
  std::unique_ptr<Log> log_;
  std::string error_;
};

// Small enough that a few dozen appends cross several segments.
Settings small_log();

// Appends a random batch that continues the log, data of up to four records of `bytes_max` or a control batch, and
// promises it.
Result<void> append_next(Log& log, Promise& promise, Term term, std::int64_t now_us, std::size_t bytes_max,
                         bool control, sim::SimRng& rng);

// An empty string if the log is what was promised, else what is wrong.
std::string verify(Process& process, const Promise& promise);
// The same for a snapshot that a reader holds.
std::string verify_view(const LogView& view, const Promise& promise);

// Cuts the power of the copy `filesystem` as `choice` says, opens it, verifies; once more; and, as `rng`
// decides, once more after a power cut within recovery, and with appends behind it.
std::string verify_after_crash(std::unique_ptr<sim::SimFilesystem> filesystem, const Promise& promise,
                               sim::SimClock clock, const Settings& options, sim::CrashChoice choice,
                               sim::SimRng& rng);

// Runs a random workload, and calls `at_operation` before each operation of its filesystem.
class Machine {
 public:
  // `faults`: writes and syncs fail now and then, and the process then ends.
  struct Profile {
    Settings options = small_log();
    bool truncations = true;  // not with durable_is_commit
    bool suspicions = true;   // the log is suspect now and then, and settled again
    bool faults = false;
    bool full_disk = true;
    std::uint64_t steps = 60;
  };
  static Profile profile_of(std::uint64_t seed);

  Machine(std::uint64_t seed, const Profile& profile);

  // Empty if all went well. Stops at the first thing that is wrong.
  std::string run();

  std::function<void(const sim::Operation&)> at_operation;
  const sim::SimFilesystem& filesystem() const { return filesystem_; }
  const Promise& promise() const { return promise_; }
  const sim::SimClock& clock() const { return clock_; }
  const Settings& options() const { return profile_.options; }
  void stop(std::string why) {
    if (wrong_.empty()) wrong_ = std::move(why);
  }
  // Coverage, to see that the workload does what it should.
  struct Done {
    std::uint64_t appends = 0, truncations = 0, trims = 0, restarts = 0, refused = 0, failures = 0, segments = 0,
                  suspicions = 0, settled = 0;
  };
  const Done& done() const { return done_; }

 private:
  void start();
  void step();
  void append(std::size_t bytes_max, bool control);
  void turn();
  void truncate();
  void suspect_or_settle();
  void hold_view();
  void trim();
  void idle(std::uint64_t us);
  void restart(bool power_cut);
  void note_durable();
  std::string check_reads();

  Profile profile_;
  sim::SimRng rng_;
  sim::SimFilesystem filesystem_;
  sim::SimClock clock_;
  std::unique_ptr<Process> process_;
  Promise promise_;
  Term term_ = Term(1);
  std::string wrong_;
  struct Held {
    LogView view;
    Promise promise;
    std::vector<std::shared_ptr<File>> files;  // of a reader in the middle of a read; of one that rests, none
  };
  std::vector<Held> held_;
  bool full_ = false;
  Done done_;
};

}  // namespace walraft::wal::crash_test
