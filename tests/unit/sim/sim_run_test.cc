// Whole runs at random: what was acknowledged survives whatever happens, two runs of one seed are the
// same run, and the storage is as fast as the cluster simulator needs it.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/sim/sim_test_support.h"

namespace walraft::sim {
namespace {

using wal::Access;
using wal::kBlockBytes;

constexpr std::array kNames = {"one", "two", "three"};
constexpr std::uint64_t kBlocks = 16;

// One block of a file, written over and over with the next letter, through the disk or the page cache.
struct Block final : wal::DurableWrite {
  Block() : memory(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kBlockBytes))) {
    bytes = ByteView(memory, kBlockBytes);
  }
  ~Block() override { std::free(memory); }
  Block(const Block&) = delete;

  void fill() {
    letter = letter == 'z' ? 'b' : static_cast<char>(letter + 1);
    std::memset(memory, letter, kBlockBytes);
    possible += letter;
  }
  void on_durable() override {
    in_flight = false;
    became_durable();
  }
  void became_durable() {
    durable = letter;
    possible.clear();
  }

  std::byte* memory;
  char letter = 'a';
  char durable = 'a';
  std::string possible;  // letters written after the durable one
  bool in_flight = false;
};

// Lives of a process that writes until it dies, in every way that a CrashChoice knows. After each, each
// sector holds the durable letter of its block or one written after it.
class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : rng_(seed), fs_(seed), blocks_(kNames.size() * kBlocks) {
    for (auto& block : blocks_) block = std::make_unique<Block>();
    for (const char* name : kNames) durable_file(fs_, name, std::string(kBlocks * kBlockBytes, 'a'));
  }

  std::uint64_t run(int lives) {
    for (int life = 0; life < lives && !testing::Test::HasFatalFailure(); ++life) one_life();
    return fs_.trace_hash();
  }
  std::uint64_t torn_blocks() const { return torn_blocks_; }

 private:
  void one_life() {
    SimClock clock;
    SimDisk disk(fs_, clock);
    disk.set_latency_us(0, 100);
    auto root = fs_.root();
    std::array<std::unique_ptr<wal::File>, kNames.size()> files;
    for (std::size_t i = 0; i < kNames.size(); ++i) files[i] = must(root->open(kNames[i], Access::write));
    for (std::uint64_t steps = rng_.below(150); steps > 0; --steps) {
      const std::size_t file = rng_.below(kNames.size());
      const std::uint64_t at = rng_.below(kBlocks);
      Block& block = *blocks_[file * kBlocks + at];
      switch (rng_.below(6)) {
        case 0:
          if (block.in_flight) break;
          block.fill();
          block.in_flight = true;
          block.file = files[file].get();
          block.position = at * kBlockBytes;
          disk.write(block);
          break;
        case 1:
          if (block.in_flight) break;
          block.fill();
          must(files[file]->write(at * kBlockBytes, block.bytes));
          break;
        case 2:
          disk.submit();
          break;
        case 3:
          disk.step(rng_);
          break;
        case 4:
          disk.poll();
          break;
        default:
          if (!rng_.one_in(5)) break;
          if (std::any_of(blocks_.begin() + file * kBlocks, blocks_.begin() + (file + 1) * kBlocks,
                          [](const auto& one) { return one->in_flight; })) {
            break;  // wal/disk.h
          }
          must(files[file]->sync());
          for (std::uint64_t i = 0; i < kBlocks; ++i) {
            Block& synced = *blocks_[file * kBlocks + i];
            if (!synced.in_flight) synced.became_durable();
          }
      }
      clock.advance_us(rng_.below(40));
    }
    disk.poll();
    check_ghost();
    for (int i = 0; i < 3; ++i) {
      auto cut = fs_.fork();
      cut->crash(CrashChoice::keep_random(rng_.next()));
      check(*cut);
    }
    const std::array choices = {CrashChoice::lose_unsynced(),    CrashChoice::keep_everything(),
                                CrashChoice::keep_random(rng_.next()), CrashChoice::keep_only_newest(),
                                CrashChoice::lose_only_newest(), CrashChoice::kill_process()};
    fs_.crash(choices[rng_.below(choices.size())]);
    check(fs_);
    start_afresh();
  }

  // The ghost disk knows what is durable, before any crash shows it.
  void check_ghost() {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const std::string text(kBlockBytes, blocks_[i]->durable);
      const bool survives = fs_.survives(kNames[i / kBlocks], i % kBlocks * kBlockBytes, bytes_of(text));
      ASSERT_TRUE(survives || !blocks_[i]->possible.empty()) << i;
    }
  }

  void check(SimFilesystem& fs) {
    for (std::size_t file = 0; file < kNames.size(); ++file) {
      const std::string text = text_in(fs, kNames[file]);
      ASSERT_EQ(text.size(), kBlocks * kBlockBytes);
      for (std::uint64_t at = 0; at < kBlocks; ++at) {
        const Block& block = *blocks_[file * kBlocks + at];
        const std::string_view bytes = std::string_view(text).substr(at * kBlockBytes, kBlockBytes);
        torn_blocks_ += bytes.find_first_not_of(bytes[0]) != std::string_view::npos;
        for (std::uint64_t sector = 0; sector < kBlockBytes; sector += kSectorBytes) {
          const char got = bytes[sector];
          ASSERT_EQ(bytes.substr(sector, kSectorBytes), std::string(kSectorBytes, got));
          ASSERT_TRUE(got == block.durable || block.possible.find(got) != std::string::npos)
              << kNames[file] << " block " << at << ": " << got << ", durable " << block.durable;
        }
      }
    }
  }

  void start_afresh() {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      Block& block = *blocks_[i];
      block.in_flight = false;
      if (block.possible.empty()) continue;
      auto file = must(fs_.root()->open(kNames[i / kBlocks], Access::write));
      block.fill();
      must(file->write(i % kBlocks * kBlockBytes, block.bytes));
      must(file->sync());
    }
    for (auto& block : blocks_) {
      if (!block->possible.empty()) block->became_durable();
    }
  }

  SimRng rng_;
  SimFilesystem fs_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::uint64_t torn_blocks_ = 0;
};

TEST(SimRun, WhatIsDurableSurvivesEveryDeathAndTheRestIsTorn) {
  std::uint64_t torn = 0;
  for (std::uint64_t seed = 1; seed <= 40 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun run(seed);
    run.run(12);
    torn += run.torn_blocks();
  }
  EXPECT_GT(torn, 1000u);
}

TEST(SimRun, TheSameSeedIsTheSameRun) {
  const std::uint64_t first = RandomRun(99).run(10);
  EXPECT_EQ(first, RandomRun(99).run(10));
  EXPECT_NE(first, RandomRun(100).run(10));
}

// The cluster simulator wants 50,000 operations a second with room for everything else. The figure is
// printed and not judged, since the machine may be busy; what is checked is that the forks are right.
TEST(SimRun, ForksOfThreeLargeSegmentsUnderLoad) {
  constexpr std::uint64_t kSegmentBytes = 64 << 20;
  SimFilesystem fs;
  SimClock clock;
  SimDisk disk(fs, clock);
  auto root = fs.root();
  std::vector<std::unique_ptr<wal::File>> files;
  std::vector<std::unique_ptr<LetterWrite>> writes;
  for (const char* name : kNames) {
    files.push_back(must(root->create(name, Access::direct)));
    must(files.back()->allocate(kSegmentBytes));
    must(files.back()->sync());
    writes.push_back(std::make_unique<LetterWrite>(*files.back(), 0, 'x'));
  }
  must(root->sync());
  const std::uint64_t first_operation = fs.operations();
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t forks = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    for (auto& write : writes) {
      write->position = i * kBlockBytes % kSegmentBytes;
      disk.write(*write);
    }
    disk.submit();
    if (i % 100 == 0) {
      auto cut = fs.fork();
      cut->crash(CrashChoice::keep_random(i));
      ++forks;
      ASSERT_EQ(cut->image("one").allocated_pages(), kSegmentBytes / kPageBytes);
      if (i > 0 && i < kSegmentBytes / kBlockBytes) {  // the write before is there, the next place is empty
        const Image survived = cut->image("two");
        ASSERT_EQ(survived.page(i - 1)->bytes[0], std::byte{'x'});
        ASSERT_EQ(survived.page(i + 1)->bytes[0], std::byte{0});
      }
    }
    disk.complete_all();
    disk.poll();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double rate = static_cast<double>(fs.operations() - first_operation) / seconds;
  std::printf("%.0f storage operations/s, with %llu forks of 3 x 64 MiB among them\n", rate,
              static_cast<unsigned long long>(forks));
  EXPECT_EQ(fs.operations() - first_operation, 20'000u * kNames.size() * 2);  // issued, completed
}

}  // namespace
}  // namespace walraft::sim
