#include "wal/tail_cache.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_rng.h"

namespace walraft::wal {
namespace {

// Batches whose bytes say which they are, in a cache and in a list of all that were added.
class TailCacheTest : public ::testing::Test {
 protected:
  void begin_group(std::size_t bytes) {
    chunk_ = Chunk::make(bytes);
    used_ = 0;
    cache_->begin_group(chunk_->size());
  }
  void add(std::uint32_t records, std::uint32_t body_bytes = 32) {
    BatchHeader header;
    header.index = Index(all_.size());
    header.base_offset = all_.empty() ? Offset() : all_.back().next_offset();
    header.record_count = records;
    header.body_bytes = body_bytes;
    std::fill_n(chunk_->data() + used_, header.total_bytes(), static_cast<std::byte>(header.index.value));
    cache_->add(header, chunk_, chunk_->data() + used_);
    used_ += header.total_bytes();
    all_.push_back(header);
  }
  // Reads and compares with the list; false if the cache says that it lacks `from`.
  bool read(Index from, Index limit, std::size_t bytes_max) {
    std::vector<BatchRef> got;
    if (!cache_->read(from, limit, bytes_max, got)) return false;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const BatchHeader& header = all_.at(from.value + i);
      EXPECT_EQ(got[i].index, header.index);
      EXPECT_EQ(got[i].base_offset, header.base_offset);
      EXPECT_EQ(got[i].bytes.size(), header.total_bytes());
      EXPECT_EQ(got[i].bytes[0], static_cast<std::byte>(header.index.value));
      EXPECT_LT(got[i].index, limit);
      bytes += got[i].bytes.size();
    }
    EXPECT_TRUE(bytes <= bytes_max || got.size() == 1) << bytes;
    const Index next(from.value + got.size());
    if (next < limit && next.value < all_.size() && !got.empty()) {
      EXPECT_GT(bytes + all_[next.value].total_bytes(), bytes_max) << "more would have fitted";
    }
    EXPECT_TRUE(!got.empty() || from >= limit || from.value >= all_.size());
    return true;
  }

  std::unique_ptr<TailCache> cache_ = std::make_unique<TailCache>(24u << 10);
  std::shared_ptr<Chunk> chunk_;
  std::size_t used_ = 0;
  std::vector<BatchHeader> all_;
};

TEST_F(TailCacheTest, finds_the_batch_that_holds_an_offset_and_no_control_batch_before_it) {
  begin_group(8'000);
  add(3);
  add(0);
  add(2);
  for (const auto& [offset, index] : {std::pair{0u, 0u}, {2u, 0u}, {3u, 2u}, {4u, 2u}}) {
    std::vector<BatchRef> got;
    ASSERT_TRUE(cache_->read(Offset(offset), Index(3), 1, got));
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].index, Index(index)) << offset;
  }
}

TEST_F(TailCacheTest, keeps_what_is_not_durable_however_large) {
  for (int i = 0; i < 10; ++i) {
    begin_group(8u << 10);
    add(1);
  }
  cache_->evict(Index(0));
  EXPECT_TRUE(read(Index(0), Index(10), 1u << 20));
  cache_->evict(Index(4));
  EXPECT_FALSE(read(Index(3), Index(10), 1u << 20));
  EXPECT_TRUE(read(Index(4), Index(10), 1u << 20));
  cache_->evict(Index(10));
  EXPECT_FALSE(read(Index(6), Index(10), 1u << 20));
  EXPECT_TRUE(read(Index(7), Index(10), 1u << 20)) << "three chunks fit";
}

TEST_F(TailCacheTest, a_batch_that_is_read_outlives_the_cache) {
  begin_group(8'000);
  add(1);
  std::vector<BatchRef> got;
  ASSERT_TRUE(cache_->read(Index(0), Index(1), 1, got));
  cache_->clear();
  chunk_.reset();
  for (int i = 0; i < 20; ++i) std::fill_n(Chunk::make(8'000)->data(), 8'000, std::byte{0xee});
  EXPECT_EQ(got[0].bytes[0], std::byte{0});
}

TEST_F(TailCacheTest, agrees_with_a_list_under_random_operations) {
  sim::SimRng rng(4);
  std::uint64_t durable = 0, first = 0, hits = 0;
  begin_group(8u << 10);
  for (int step = 0; step < 20'000; ++step) {
    switch (rng.below(8)) {
      case 0:
        if (used_ > 0 || rng.one_in(5)) begin_group(rng.one_in(3) ? 16u << 10 : 8u << 10);
        break;
      case 1: {  // the open group moves
        auto larger = Chunk::make(chunk_->size() + 1);
        std::copy_n(chunk_->data(), used_, larger->data());
        chunk_ = larger;
        cache_->move_group(chunk_);
        break;
      }
      case 2:
        durable = rng.between(durable, all_.size());
        cache_->evict(Index(durable));
        break;
      case 3:
        if (rng.one_in(20)) {
          const std::uint64_t to = rng.between(std::min(first, all_.size()), all_.size());
          cache_->cut(Index(to));
          all_.resize(to);
          durable = std::min(durable, to);
          begin_group(8u << 10);
        }
        break;
      case 4:
      case 5: {
        const Index from(all_.size() - rng.below(std::min<std::uint64_t>(all_.size(), 80) + 1));
        const bool is_there = read(from, Index(rng.below(all_.size() + 2)), rng.below(4'000));
        hits += is_there;
        if (cache_->empty()) break;
        EXPECT_EQ(is_there, from >= cache_->first_index());
        EXPECT_LE(cache_->first_index(), Index(durable)) << "what is not durable stays";
        break;
      }
      default:
        if (used_ + 400 < chunk_->size()) add(static_cast<std::uint32_t>(rng.below(3)), static_cast<std::uint32_t>(rng.below(200)));
    }
    first = cache_->empty() ? all_.size() : cache_->first_index().value;
    if (HasFailure()) FAIL() << "step " << step;
  }
  EXPECT_GT(hits, 300u);
}

}  // namespace
}  // namespace walraft::wal
