// What the caches of many logs take together, and what makes a log that lost its files SUSPECT.

#include "tests/unit/wal_log/log_world.h"

namespace walraft::wal {
namespace {

TEST(TailMemory, IsKeptToByAllLogsTogetherAndLeftByThoseThatRest) {
  auto memory = std::make_shared<TailMemory>();
  memory->bytes_max = 10 * 16'384;
  TailCache busy(1u << 30, memory);
  std::vector<std::unique_ptr<TailCache>> resting;
  std::vector<Index> next(9);
  const auto append = [&](TailCache& cache, Index& index) {
    BatchHeader header;
    header.kind = BatchKind::noop;
    header.index = index;
    index = index + 1;
    const auto chunk = Chunk::make(16'384);
    cache.begin_group(chunk->size());
    cache.add(header, chunk, chunk->data());
    cache.evict(index);
  };
  for (std::size_t i = 0; i < 8; ++i) {
    resting.push_back(std::make_unique<TailCache>(1u << 30, memory));
    for (int n = 0; n < 4; ++n) append(*resting[i], next[i]);
  }
  for (std::size_t i = 0; i < 8; ++i) resting[i]->rest(next[i]);
  for (int n = 0; n < 100; ++n) append(busy, next[8]);
  EXPECT_LE(memory->bytes, memory->bytes_max);
  std::vector<BatchRef> batches;
  EXPECT_TRUE(busy.read(Index(99), Index(100), 1, batches));
  EXPECT_EQ(batches.size(), 1u);
  resting.clear();
  busy.clear();
  EXPECT_EQ(memory->bytes, 0u);
}

TEST(LostFiles, ALogThatTheHardStateKnowsAndThatHasNoFilesIsSuspect) {
  sim::SimFilesystem filesystem(5);
  sim::SimClock clock;
  {
    LogProcess p(filesystem, clock, small_options());
    HardState voted;
    voted.term = Term(1);
    bool done = false;
    ASSERT_TRUE(p.hard_state().write(kIdentity.log, voted, [&] { done = true; }));
    p.hard_state().flush();
    p.disk().settle();
    ASSERT_TRUE(done);
  }
  {
    LogProcess p(filesystem, clock, small_options());
    EXPECT_FALSE(p.log().suspect());  // a prepared segment is there: nothing was ever written
  }
  filesystem.delete_on_medium("log");
  LogProcess p(filesystem, clock, small_options());
  ASSERT_TRUE(p.is_open()) << p.open_error.message;
  EXPECT_TRUE(p.log().suspect());
}

TEST(LostFiles, AProvenTailIsMissedEvenAfterAnEndWithinTheSecond) {
  sim::SimFilesystem filesystem(6);
  sim::SimClock clock;
  {
    LogProcess p(filesystem, clock, small_options());
    for (int i = 0; i < 100; ++i) p.append_durably({record_text(static_cast<std::uint64_t>(i), 1'000)});
    p.log().prove_tail();
    p.disk().settle();
    ASSERT_TRUE(p.hard_state().idle());
  }
  const auto root = filesystem.root();
  const auto directory = std::move(root->subdirectory("log", false).value());
  const auto entries = std::move(directory->list().value());
  std::string last;
  for (const DirectoryEntry& entry : entries) {
    std::vector<std::byte> head(8);
    const auto file = std::move(directory->open(entry.name, Access::read).value());
    ASSERT_TRUE(file->read(0, head));
    if (load_le<std::uint64_t>(head.data()) == kSegmentMagic) last = entry.name;
  }
  filesystem.delete_on_medium("log/" + last);
  LogProcess p(filesystem, clock, small_options());
  EXPECT_TRUE(p.log().suspect());
}

}  // namespace
}  // namespace walraft::wal
