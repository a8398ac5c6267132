// The append path asks for no memory for a record or a batch: what it asks for, it asks once a group. Counts
// every operator new of the process, so it is a program of its own.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/log.h"

namespace {
std::atomic<std::uint64_t> allocations = 0;

void* count_and_get(std::size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

// g++ 12 takes new and delete for a pair only where it inlines both.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(std::size_t bytes) { return count_and_get(bytes); }
void* operator new[](std::size_t bytes) { return count_and_get(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace walraft::wal {
namespace {

// Durable at the next poll(), in memory of its own from the start.
class InstantDisk final : public Disk {
 public:
  InstantDisk() { writes_.reserve(1'000); }
  void write(DurableWrite& write) override { writes_.push_back(&write); }
  void submit() override {}
  std::size_t poll() override {
    std::size_t delivered = 0;
    while (!writes_.empty()) {
      DurableWrite* write = writes_.front();
      writes_.erase(writes_.begin());
      write->on_durable();
      ++delivered;
    }
    for (auto& [work, done] : std::exchange(jobs_, {})) {
      done(work());
      ++delivered;
    }
    return delivered;
  }
  void wait(std::uint64_t) override {}
  int event_descriptor() const override { return -1; }
  void background(std::uint64_t, Work work, Done done) override { jobs_.emplace_back(std::move(work), std::move(done)); }
  void background_slowly(Work, Done) override {}
  void fail(const Error& error) override { ADD_FAILURE() << error.message; }
  bool failed() const override { return false; }
  void on_failure(FailureHandler) override {}
  std::uint64_t oldest_write_age_us() const override { return 0; }
  const DiskStats& stats() const override { return stats_; }
  std::string_view method() const override { return "instant"; }

 private:
  std::vector<DurableWrite*> writes_;
  std::vector<std::pair<Work, Done>> jobs_;
  DiskStats stats_;
};

constexpr LogIdentity kIdentity{Uuid{{1}}, Uuid{{2}}, LogId(7)};

class AppendMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = filesystem_.root();
    ASSERT_TRUE(HardStateFile::create(*root_, "hard_state", Uuid{{3}}));
    hard_state_ = std::move(*HardStateFile::open(*root_, "hard_state", Uuid{{3}}, Access::direct, disk_));
    LogOptions options;
    options.first_segment_bytes = options.segment_bytes = 256u << 20;  // none is opened while we count
    options.tail_cache_bytes = 1u << 20;
    log_ = std::move(*Log::open(*root_->subdirectory("log", true), kIdentity, options, *hard_state_, disk_, clock_, rng_));
    batches_.reserve(64);
  }

  // What `groups` groups of so many batches of so many records ask for.
  std::uint64_t allocations_of(int groups, int batches, int records) {
    const std::uint64_t before = allocations;
    for (int group = 0; group < groups; ++group) {
      for (int i = 0; i < batches; ++i) {
        builder_.clear();
        for (int k = 0; k < records; ++k) {
          if (!builder_.add(bytes_of("a record of the usual kind"))) return UINT64_MAX;
        }
        const MutableBytes batch = builder_.finish({.log_id = kIdentity.id});
        const LogPoint tail = log_->tail();
        stamp_batch(batch, {tail.index, tail.offset, Term(1), log_->durable(), clock_.wall_us()}, tail.digest);
        if (!log_->append(batch)) return UINT64_MAX;
      }
      log_->flush();
      disk_.poll();
    }
    return allocations - before;
  }

  sim::SimFilesystem filesystem_;
  sim::SimClock clock_;
  sim::SimRng rng_{1};
  InstantDisk disk_;
  std::unique_ptr<Directory> root_;
  std::unique_ptr<HardStateFile> hard_state_;
  std::unique_ptr<Log> log_;
  BatchBuilder builder_;
  std::vector<BatchRef> batches_;
};

TEST_F(AppendMemory, is_asked_for_by_the_group_not_by_the_record_or_batch) {
  allocations_of(300, 16, 64);  // warm: rings, buffers and pools have grown
  constexpr int kGroups = 200;
  const std::uint64_t one = allocations_of(kGroups, 1, 1);
  const std::uint64_t many_records = allocations_of(kGroups, 1, 64);
  const std::uint64_t many_batches = allocations_of(kGroups, 16, 64);
  std::printf("allocations a group: %.2f with one record, %.2f with 64, %.2f with 16 batches of 64\n",
              static_cast<double>(one) / kGroups, static_cast<double>(many_records) / kGroups,
              static_cast<double>(many_batches) / kGroups);
  ASSERT_NE(many_batches, UINT64_MAX);
  EXPECT_LE(one, 6u * kGroups);
  EXPECT_LE(many_records, one + kGroups / 4);
  EXPECT_LE(many_batches, one + 2u * kGroups);  // a chunk that grows, and what the footer's index takes
}

}  // namespace
}  // namespace walraft::wal
