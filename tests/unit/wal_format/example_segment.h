#pragma once

// The segment that wal/FORMAT.md shows: written by a real Log on the simulated disk, with a clock and
// a source of random numbers that stand still, so that it is the same for ever.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"

namespace walraft::wal {

inline constexpr Uuid kExampleCluster{{0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0x4c, 0xc1, 0x8c, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1}};
inline constexpr Uuid kExampleLog{{0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x41, 0x10, 0x81, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10}};
inline constexpr Uuid kExampleDisk{{0xd1}};

class ExampleRng final : public Rng {
 public:
  std::uint64_t next() override { return 0x5eed5eed5eed5eed; }
};

// Group 1: a noop opens term 1, then "first" and "second record" from producer 3, stamped 250 us
// later. Then a batch that needs a segment of its own, so that this one gets its footer.
inline std::vector<std::byte> make_example_segment() {
  sim::SimFilesystem filesystem;
  sim::SimClock clock;
  ExampleRng rng;
  sim::SimDisk disk(filesystem, clock);
  const auto root = filesystem.root();
  EXPECT_TRUE(HardStateFile::create(*root, "hard_state", kExampleDisk));
  auto hard_state = HardStateFile::open(*root, "hard_state", kExampleDisk, Access::direct, disk);
  EXPECT_TRUE(hard_state);
  LogOptions options;
  options.segment_bytes = options.first_segment_bytes = kSegmentBytesMin;
  auto log = Log::open(*root->subdirectory("log", true), {kExampleCluster, kExampleLog, LogId(7)}, options,
                       **hard_state, disk, clock, rng);
  EXPECT_TRUE(log);

  const auto append = [&](MutableBytes batch, Index commit) {
    const LogPoint tail = (*log)->tail();
    stamp_batch(batch, {tail.index, tail.offset, Term(1), commit, clock.wall_us()}, tail.digest);
    auto appended = (*log)->append(batch);
    for (int i = 0; i < 10 && !appended; ++i) {
      disk.run_for_us(1'000);
      appended = (*log)->append(batch);
    }
    EXPECT_TRUE(appended) << appended.error().message;
  };
  auto noop = make_control_batch(LogId(7), BatchKind::noop, {});
  append(noop, Index(0));
  clock.advance_us(250);
  BatchBuilder builder;
  EXPECT_TRUE(builder.add(bytes_of("first")));
  EXPECT_TRUE(builder.add(bytes_of("second record")));
  append(builder.finish({.log_id = LogId(7), .producer_id = ProducerId(3), .sequence = 41}), Index(0));
  (*log)->flush();
  disk.settle();
  builder.clear();
  EXPECT_TRUE(builder.add(std::vector<std::byte>(kSegmentBytesMin)));
  append(builder.finish({.log_id = LogId(7)}), Index(2));
  (*log)->flush();
  disk.settle();

  const std::string path = "log/" + segment_name(1);
  std::vector<std::byte> bytes(filesystem.size_of(path));
  EXPECT_EQ(filesystem.image(path).read(0, bytes), bytes.size());
  return bytes;
}

}  // namespace walraft::wal
