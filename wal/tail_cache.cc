#include "wal/tail_cache.h"

#include <utility>

#include "wal/base/check.h"

namespace walraft::wal {

void TailCache::begin_group(std::size_t chunk_bytes) {
  groups_.push_back({chunk_bytes, 0});
  count(chunk_bytes, 0);
}

void TailCache::add(const BatchHeader& header, const std::shared_ptr<Chunk>& owner, const std::byte* at_byte) {
  CHECK(!groups_.empty());
  CHECK(size_ == 0 || at(size_ - 1).index + 1 == header.index, header.index);
  if (size_ == ring_.size()) grow();
  ++size_;
  ++groups_.back().batches;
  Entry& entry = at(size_ - 1);
  entry.owner = owner;
  entry.at = static_cast<std::size_t>(at_byte - owner->data());
  entry.index = header.index;
  entry.base_offset = header.base_offset;
  entry.bytes = static_cast<std::uint32_t>(header.total_bytes());
  entry.record_count = header.record_count;
}

void TailCache::move_group(const std::shared_ptr<Chunk>& to) {
  Group& group = groups_.back();
  count(to->size(), group.chunk_bytes);
  group.chunk_bytes = to->size();
  for (std::size_t i = size_ - group.batches; i < size_; ++i) at(i).owner = to;
}

void TailCache::evict(Index durable) {
  while (bytes_ > bytes_max_ || memory_->bytes > memory_->bytes_max) {
    if (!pop_durable_group(durable)) return;
  }
}

void TailCache::rest(Index durable) {
  while (memory_->bytes > memory_->bytes_max / 2) {
    if (!pop_durable_group(durable)) return;
  }
}

bool TailCache::pop_durable_group(Index durable) {
  if (groups_.size() <= 1) return false;
  const std::size_t batches = groups_.front().batches;
  if (batches > 0 && at(batches - 1).index >= durable) return false;
  pop_group();
  return true;
}

void TailCache::count(std::size_t more, std::size_t less) {
  bytes_ += more - less;
  memory_->bytes += more - less;
}

void TailCache::cut(Index to) {
  while (size_ > 0 && at(size_ - 1).index >= to) {
    while (groups_.back().batches == 0) {
      count(0, groups_.back().chunk_bytes);
      groups_.pop_back();
    }
    at(size_ - 1).owner.reset();
    --groups_.back().batches;
    --size_;
  }
}

void TailCache::clear() {
  while (!groups_.empty()) pop_group();
}

template <class Position>
bool TailCache::read(Position from, Index limit, std::size_t bytes_max, std::vector<BatchRef>& out) const {
  if (size_ == 0) return false;
  const auto behind = [](const Entry& entry) {
    if constexpr (std::is_same_v<Position, Index>) {
      return entry.index + 1;
    } else {
      return entry.base_offset + entry.record_count;
    }
  };
  const auto start = [](const Entry& entry) {
    if constexpr (std::is_same_v<Position, Index>) {
      return entry.index;
    } else {
      return entry.base_offset;
    }
  };
  if (from < start(at(0))) return false;
  // The first batch that ends behind `from`.
  std::size_t low = 0, high = size_;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (behind(at(middle)) <= from) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  std::size_t bytes = 0;
  for (std::size_t i = low; i < size_; ++i) {
    const Entry& entry = at(i);
    if (entry.index >= limit || (bytes > 0 && bytes + entry.bytes > bytes_max)) break;
    bytes += entry.bytes;
    out.push_back({entry.owner, entry.owner->bytes().subspan(entry.at, entry.bytes), entry.index, entry.base_offset,
                   entry.record_count});
  }
  return true;
}

template bool TailCache::read(Index, Index, std::size_t, std::vector<BatchRef>&) const;
template bool TailCache::read(Offset, Index, std::size_t, std::vector<BatchRef>&) const;

void TailCache::grow() {
  std::vector<Entry> larger(ring_.size() * 2);
  for (std::size_t i = 0; i < size_; ++i) larger[i] = std::move(at(i));
  ring_ = std::move(larger);
  head_ = 0;
}

void TailCache::pop_group() {
  const Group group = groups_.front();
  groups_.pop_front();
  count(0, group.chunk_bytes);
  for (std::size_t i = 0; i < group.batches; ++i) at(i).owner.reset();
  head_ = (head_ + group.batches) & (ring_.size() - 1);
  size_ -= group.batches;
}

}  // namespace walraft::wal
