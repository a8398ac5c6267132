// A log that lost something it acknowledged: mark_suspect() and settle() of log.h.
//
// Recovery knows such a log by its files: they end below what they, or the hard state, say was durable. What a
// leader then appends takes that evidence away. So, in this order:
//   mark        the hard state says that the log is suspect, durably; its durable bound is from now on the truth
//               again. What is appended meanwhile waits, in memory or at the caller.
//   new segment what is written goes into a segment that recovery did not know: it starts where the log ends, so
//               all that the older ones hold behind (damage, and what may lie behind the damage) is void (case G)
//   settle      with that segment durable the files are sound; the hard state takes the mark off, durably

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/log_on_disk.h"

namespace walraft::wal {

void LogOnDisk::mark_suspect(Done done) {
  write_mark(std::move(done));
  hard_state_.flush();
}

void LogOnDisk::write_mark(Done done) {
  CHECK(!settling_);
  suspect_ = true;
  if (mark_ == Mark::durable) {
    done();
    return;
  }
  if (mutant(Mutant::s1_suspicion_not_durable)) {
    mark_ = Mark::durable;
    done();
    return;
  }
  mark_ = Mark::asked;
  HardState state = hard_state_.find(identity_.log).value_or(HardState{});
  state.suspect = true;
  state.durable_bound = bound_written_ = std::min(bound_written_, durable_.index);
  auto written = hard_state_.write(identity_.log, state, [this, alive = alive_, done = std::move(done)] {
    if (!*alive) return;
    if (mark_ == Mark::asked) mark_ = Mark::durable;
    flush();
    advance_settling();
    done();
  });
  if (!written) disk_.fail(written.error());
}

void LogOnDisk::settle(Done done) {
  CHECK(!settling_);
  if (!suspect_) {
    done();
    return;
  }
  if (damage_shows_) mark_before_writing();
  settling_ = Settling{.done = std::move(done)};
  advance_settling();
}

// Waits for the new segment, then takes the mark off.
void LogOnDisk::advance_settling() {
  if (!settling_ || settling_->writing) return;
  if (damage_shows_) {
    if (mark_ != Mark::durable) return;  // comes back here; not even an empty file is made before
    const bool opening = truncation_ || (!segments_.empty() && !segments_.back()->on_disk);
    if (!opening) {
      if (pool_.front(kSegmentBytesMin) == nullptr) return;  // it is waited for: tick() comes back here
      writer_.append_empty(open_next_segment(kSegmentBytesMin));
    }
    flush();
    return;  // group_durable() comes back here
  }
  settling_->writing = true;
  mark_ = Mark::none;
  HardState state = hard_state_.find(identity_.log).value_or(HardState{});
  state.suspect = false;
  const auto settled = [this, alive = alive_] {
    if (!*alive) return;
    suspect_ = false;
    const Done told = std::move(settling_->done);
    settling_.reset();
    flush();
    told();
  };
  if (mutant(Mutant::s2_settle_not_durable)) {
    settled();
    return;
  }
  if (auto written = hard_state_.write(identity_.log, state, settled); !written) disk_.fail(written.error());
  hard_state_.flush();
}

}  // namespace walraft::wal
