#pragma once

// The parts of Log behind its interface: segments in use (here), the group that is being written
// (group_writer.h), segments ahead of need (segment_pool.h), recent batches (tail_cache.h).
// Private to log.cc, log_cut.cc and log_suspect.cc.
// Thread: shard.

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "wal/group_writer.h"
#include "wal/log.h"
#include "wal/recovery.h"
#include "wal/segment_pool.h"
#include "wal/tail_cache.h"

namespace walraft::wal {

inline constexpr std::uint64_t kIdleUs = 1'000'000;  // without a write: the log rests
inline constexpr std::uint64_t kRetryUs = 1'000'000;  // after a want of descriptors

class LogOnDisk final : public Log {
 public:
  LogOnDisk(std::shared_ptr<Directory> directory, std::shared_ptr<OpenFiles> open_files, const LogIdentity& identity,
            const LogOptions& options, HardStateFile& hard_state, Disk& disk, Clock& clock, Rng& rng,
            RecoveredLog recovered, Access access);
  ~LogOnDisk() override { *alive_ = false; }

  Result<void> begin(const std::vector<std::uint64_t>& unused);

  const RecoveryReport& recovery() const override { return report_; }
  bool suspect() const override { return suspect_; }
  LogPoint tail() const override { return tail_; }
  Index durable() const override { return durable_.index; }
  Offset durable_offset() const override { return durable_.offset; }
  Index first_index() const override { return first_index_; }
  Offset first_offset() const override { return first_offset_; }
  std::vector<TermRun> history() const override;
  std::optional<LogPoint> point_in_memory(Index at) const override;
  Result<void> append(ByteView batch, Use use) override;
  Result<void> room(std::uint64_t batch_bytes, Term term, Use use) override;
  void flush() override;
  void on_durable(DurableHandler handler) override { handler_ = std::move(handler); }
  void tick() override;
  void prove_tail() override;
  bool read_tail(Offset from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const override;
  bool read_tail(Index from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const override;
  LogView view() const override;
  void mark_suspect(Done done) override;
  void settle(Done done) override;
  void truncate_suffix(Index to, Done done) override;
  void drop_prefix(Index to, Offset offset, Done done) override;
  std::uint64_t pending_bytes() const override { return writer_.pending_bytes(); }
  std::uint64_t disk_bytes() const override;

 private:
  enum class Place : std::uint8_t { last_segment, next_segment };
  Result<Place> find_place(std::uint64_t frame, Term term, Use use);
  std::shared_ptr<LiveSegment> open_next_segment(std::uint64_t segment_bytes_min);
  void group_durable(const std::shared_ptr<LiveSegment>& segment);
  void seal(const std::shared_ptr<LiveSegment>& segment);
  void write_footer(const std::shared_ptr<LiveSegment>& segment, const SegmentFooter& footer, std::uint64_t delay_us);
  void write_bound(Index bound, Done done);
  void retire_trimmed();
  // No group became durable for a second, or none need be waited for.
  bool rested(std::uint64_t now_us) const { return last_durable_us_ == 0 || now_us >= last_durable_us_ + kIdleUs; }

  // truncate_suffix(), step by step (log_cut.cc).
  struct Truncation {
    enum class Step : std::uint8_t { drain, lower_bound, find_point, open_segment, remove_newer };
    Step step = Step::drain;
    Index to;
    LogPoint point;                   // the log at `to`
    std::uint64_t end_position = 0;   // of what stays in the segment that holds the batch before it
    std::vector<std::uint64_t> newer; // segments that go, newest first
    Done done;
  };
  void advance_truncation();
  void find_truncation_point(std::uint64_t delay_us = 0);
  void cut_segments();
  void open_segment_at_truncation();
  void remove_newer_segments();
  void finish_truncation();

  // SUSPECT (log_suspect.cc). Nothing is written to a suspect log before the hard state says durably that it is
  // one: what is written may hide from the next recovery that something was lost.
  enum class Mark : std::uint8_t { none, asked, durable };
  struct Settling {
    Done done;
    bool writing = false;  // the mark is being taken off
  };
  void mark_before_writing() {
    if (suspect_ && mark_ == Mark::none && !settling_) mark_suspect([] {});
  }
  void write_mark(Done done);
  void advance_settling();

  std::shared_ptr<Directory> directory_;
  std::shared_ptr<OpenFiles> open_files_;
  const LogIdentity identity_;
  const LogOptions options_;
  const Access access_;
  HardStateFile& hard_state_;
  Disk& disk_;
  Clock& clock_;
  Rng& rng_;
  RecoveryReport report_;
  bool suspect_ = false;
  Mark mark_ = Mark::none;     // that the log is suspect, in the hard state
  bool damage_shows_ = false;  // the files are as recovery found them to be suspect: no new segment stands behind yet
  std::optional<Settling> settling_;

  std::deque<std::shared_ptr<LiveSegment>> segments_;  // in use or about to be, oldest first; the last one takes appends
  LogPoint tail_, durable_;
  Index first_index_;
  Index durable_trim_;  // segments below may go: the hard state says so durably
  Offset first_offset_;
  TailCache cache_;
  GroupWriter writer_;
  SegmentPool pool_;
  DurableHandler handler_;

  bool seal_recovered_ = true;     // recovery may have found segments without a footer
  bool last_group_proven_ = true;  // an empty group stands behind the last batch
  std::uint64_t last_durable_us_ = 0;
  Index bound_written_;
  std::uint64_t bound_written_us_ = 0;

  std::optional<Truncation> truncation_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace walraft::wal
