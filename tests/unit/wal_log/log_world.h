#pragma once

// One node's storage in the simulator: filesystem, disk, hard state and one log, and a model of what
// was appended and acknowledged.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"

namespace walraft::wal {

inline constexpr LogIdentity kIdentity{Uuid{{1, 2, 3}}, Uuid{{4, 5, 6}}, LogId(7)};
inline constexpr Uuid kDiskUuid{{7, 8, 9}};
inline constexpr std::string_view kHardStateName = "hard_state";

inline LogOptions small_options() {
  LogOptions options;
  options.segment_bytes = kSegmentBytesMin;
  options.first_segment_bytes = kSegmentBytesMin;
  options.tail_cache_bytes = 64u << 10;
  options.durable_is_commit = true;
  return options;
}

// A running process on a machine's storage.
class LogProcess {
 public:
  LogProcess(sim::SimFilesystem& filesystem, sim::SimClock& clock, const LogOptions& options)
      : filesystem_(filesystem), clock_(clock), disk_(filesystem, clock), rng_(filesystem.operations() + 99) {
    root_ = filesystem.root();
    const std::string name(kHardStateName);
    if (!filesystem.exists(name)) {
      EXPECT_TRUE(HardStateFile::create(*root_, name, kDiskUuid));
    }
    auto hard_state = HardStateFile::open(*root_, name, kDiskUuid, Access::direct, disk_);
    EXPECT_TRUE(hard_state) << hard_state.error().message;
    hard_state_ = std::move(*hard_state);
    auto directory = root_->subdirectory("log", true);
    EXPECT_TRUE(directory);
    EXPECT_TRUE(root_->sync());
    disk_.on_failure([this](const Error& error) { failure = error.message; });
    auto log = Log::open(std::move(*directory), kIdentity, options, *hard_state_, disk_, clock, rng_);
    if (!log) {
      open_error = log.error();
      return;
    }
    log_ = std::move(*log);
    log_->on_durable([this](Index index) { acknowledged = index; });
  }

  Log& log() { return *log_; }
  void close_log() { log_.reset(); }  // the disk lives on
  bool is_open() const { return log_ != nullptr; }
  sim::SimDisk& disk() { return disk_; }
  HardStateFile& hard_state() { return *hard_state_; }

  // Stamps and appends one batch of these records.
  Result<void> append(const std::vector<std::string>& records, Use use = Use::data, Term term = Term(1)) {
    BatchBuilder builder;
    for (const std::string& record : records) EXPECT_TRUE(builder.add(bytes_of(record)));
    const MutableBytes batch = builder.finish({.log_id = kIdentity.id});
    return append_stamped(batch, use, term);
  }
  Result<void> append_control(BatchKind kind, std::string_view body) {
    auto batch = make_control_batch(kIdentity.id, kind, bytes_of(body));
    return append_stamped(batch, Use::control, log_->tail().term);
  }
  Result<void> append_stamped(MutableBytes batch, Use use, Term term) {
    const LogPoint tail = log_->tail();
    stamp_batch(batch,
                {tail.index, tail.offset, std::max(term, tail.term), log_->durable(),
                 std::max(tail.timestamp_us, clock_.wall_us())},
                tail.digest);
    return log_->append(batch, use);
  }
  // Appends, waits where a segment is being prepared, flushes and settles.
  void append_durably(const std::vector<std::string>& records) {
    auto appended = append(records);
    for (int i = 0; i < 100 && !appended && appended.error().code == Code::over_limit; ++i) {
      log_->flush();
      disk_.run_for_us(1'000);
      log_->tick();
      appended = append(records);
    }
    ASSERT_TRUE(appended) << appended.error().message;
    log_->flush();
    disk_.settle();
  }
  void idle_for_us(std::uint64_t us) {
    for (std::uint64_t gone = 0; gone < us; gone += 100'000) {
      disk_.run_for_us(100'000);
      log_->tick();
      hard_state_->flush();
    }
    disk_.settle();
  }

  // All records from `from` to the end, by the reader over the files.
  Result<std::vector<std::string>> read_all(Offset from) {
    std::vector<std::string> records;
    LogReader reader(log_->view());
    while (from < reader.end_offset()) {
      std::vector<BatchRef> batches;
      if (auto read = reader.read(from, 8'000, batches); !read) return std::unexpected(read.error());
      if (batches.empty()) break;
      for (const BatchRef& ref : batches) {
        auto header = decode_batch(ref.bytes);
        EXPECT_TRUE(header);
        RecordCursor cursor(*header, ref.bytes);
        Offset at = header->base_offset;
        while (auto record = cursor.next()) {
          if (at >= from) records.emplace_back(text_of(*record));
          at = at + 1;
        }
      }
      from = batches.back().next_offset();
    }
    return records;
  }

  Index acknowledged;
  std::string failure;
  Error open_error{Code::ok, "", 0};

 private:
  sim::SimFilesystem& filesystem_;
  sim::SimClock& clock_;
  sim::SimDisk disk_;
  sim::SimRng rng_;
  std::unique_ptr<Directory> root_;
  std::unique_ptr<HardStateFile> hard_state_;
  std::unique_ptr<Log> log_;
};

inline std::string record_text(std::uint64_t offset, std::size_t bytes = 40) {
  std::string text = "record " + std::to_string(offset) + " ";
  while (text.size() < bytes) text.push_back(static_cast<char>('a' + (offset + text.size()) % 26));
  return text;
}

}  // namespace walraft::wal
