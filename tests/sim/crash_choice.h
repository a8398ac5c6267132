#pragma once

// Which of the unsynced changes outlive a power cut. Every change (a write, a rename, …) carries the
// number of the operation that made it, its `sequence`; larger is newer. A write in flight on a disk
// is a change like any other.

#include <cstdint>
#include <limits>

#include "tests/sim/sim_rng.h"

namespace walraft::sim {

struct CrashChoice {
  enum class Kind : std::uint8_t {
    lose_unsynced,      // the worst medium: only what was promised
    keep_everything,    // all of it reached the medium in time
    keep_random,        // a subset; by the seed, in one of several styles (Fate)
    keep_only_newest,   // one change overtook all others
    lose_only_newest,   // all but the last
    kill_process,       // no power cut: the process ends, the kernel lives on (SimFilesystem::crash)
  };
  Kind kind = Kind::lose_unsynced;
  std::uint64_t seed = 0;  // of keep_random

  static CrashChoice lose_unsynced() { return {Kind::lose_unsynced}; }
  static CrashChoice keep_everything() { return {Kind::keep_everything}; }
  static CrashChoice keep_random(std::uint64_t seed) { return {Kind::keep_random, seed}; }
  static CrashChoice keep_only_newest() { return {Kind::keep_only_newest}; }
  static CrashChoice lose_only_newest() { return {Kind::lose_only_newest}; }
  static CrashChoice kill_process() { return {Kind::kill_process}; }
};

// Decides, change by change, for one power cut. The same questions in the same order get the same
// answers for the same choice.
class Fate {
 public:
  // `oldest` and `newest`: sequences among everything that is not durable.
  Fate(CrashChoice choice, std::uint64_t oldest, std::uint64_t newest)
      : choice_(choice), newest_(newest), rng_(mix64(choice.seed)) {
    if (choice.kind != CrashChoice::Kind::keep_random) return;
    style_ = static_cast<Style>(rng_.below(5));
    static constexpr std::uint64_t kPercents[] = {2, 12, 50, 88, 98};
    percent_ = kPercents[rng_.below(5)];
    if (newest >= oldest) pivot_ = rng_.between(oldest, newest);
  }

  // One sector of a change that wrote bytes.
  bool keeps_sector(std::uint64_t sequence) {
    switch (style_) {
      case Style::sectors: return chance();
      case Style::whole_changes: return keeps_by_coin_of(sequence);
      case Style::torn_in_time: return sequence < pivot_ || (sequence == pivot_ && rng_.one_in(2));
      case Style::torn_prefix:  // the sectors of the torn change arrive in order and stop somewhere
        if (sequence == pivot_ && rng_.one_in(4)) stopped_ = true;
        return sequence < pivot_ || (sequence == pivot_ && !stopped_);
      case Style::one_missing: return sequence != pivot_;
      case Style::none: break;
    }
    return keeps_change(sequence);
  }

  // A change that is whole or not there: of a name, or of a size.
  bool keeps_change(std::uint64_t sequence) {
    switch (choice_.kind) {
      case CrashChoice::Kind::lose_unsynced: return false;
      case CrashChoice::Kind::keep_everything:
      case CrashChoice::Kind::kill_process: return true;
      case CrashChoice::Kind::keep_only_newest: return sequence == newest_;
      case CrashChoice::Kind::lose_only_newest: return sequence != newest_;
      case CrashChoice::Kind::keep_random: break;
    }
    if (style_ == Style::torn_in_time || style_ == Style::torn_prefix) return sequence <= pivot_;
    if (style_ == Style::one_missing) return sequence != pivot_;
    return keeps_by_coin_of(sequence);
  }

 private:
  enum class Style : std::uint8_t { sectors, whole_changes, torn_in_time, torn_prefix, one_missing, none };

  bool chance() { return rng_.below(100) < percent_; }
  bool keeps_by_coin_of(std::uint64_t sequence) const {
    return mix64(choice_.seed * 31 + sequence) % 100 < percent_;
  }

  CrashChoice choice_;
  std::uint64_t newest_;
  SimRng rng_;
  Style style_ = Style::none;
  std::uint64_t percent_ = 0;
  std::uint64_t pivot_ = std::numeric_limits<std::uint64_t>::max();
  bool stopped_ = false;
};

}  // namespace walraft::sim
