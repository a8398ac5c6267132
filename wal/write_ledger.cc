#include "wal/write_ledger.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/posix_error.h"

namespace walraft::wal {

void WriteLedger::add(DurableWrite& write) {
  CHECK(write.file != nullptr);
  const int descriptor = write.file->descriptor();
  CHECK(descriptor >= 0);  // a simulated file on a real disk
  const auto address = reinterpret_cast<std::uintptr_t>(write.bytes.data());
  CHECK(write.position % kBlockBytes == 0, write.position);
  CHECK(!write.bytes.empty() && write.bytes.size() % kBlockBytes == 0, write.bytes.size());
  CHECK(address % kBlockBytes == 0, address);

  if (free_ == kNone) {
    CHECK(entries_.size() < kNone);
    free_ = static_cast<Slot>(entries_.size());
    entries_.emplace_back();
  }
  const Slot slot = free_;
  free_ = entries_[slot].next;
  entries_[slot] = {.write = &write,
                    .started_us = clock_.monotonic_us(),
                    .written_bytes = 0,
                    .descriptor = descriptor,
                    .buffered = (fcntl(descriptor, F_GETFL) & O_DIRECT) == 0,
                    .older = newest_,
                    .newer = kNone,
                    .next = kNone,
                    .behind = kNone};
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = slot;
  newest_ = slot;
  if (entries_[slot].buffered) {
    const auto [newest, is_first] = newest_of_buffered_.try_emplace(descriptor, slot);
    if (!is_first) {
      entries_[std::exchange(newest->second, slot)].behind = slot;
      return;
    }
  }
  enqueue(slot);
}

void WriteLedger::enqueue(Slot slot) {
  (queue_tail_ == kNone ? queue_head_ : entries_[queue_tail_].next) = slot;
  queue_tail_ = slot;
}

std::optional<WriteLedger::Slot> WriteLedger::take_queued() {
  if (queue_head_ == kNone) return std::nullopt;
  const Slot slot = queue_head_;
  queue_head_ = std::exchange(entries_[slot].next, kNone);
  if (queue_head_ == kNone) queue_tail_ = kNone;
  return slot;
}

std::uint64_t WriteLedger::position(Slot slot) const {
  const Entry& entry = entries_[slot];
  return entry.write->position + entry.written_bytes;
}

ByteView WriteLedger::bytes(Slot slot) const {
  const Entry& entry = entries_[slot];
  return entry.write->bytes.subspan(entry.written_bytes);
}

bool WriteLedger::advance(Slot slot, std::size_t written) {
  Entry& entry = entries_[slot];
  entry.written_bytes += written;
  CHECK(entry.written_bytes <= entry.write->bytes.size(), entry.written_bytes, entry.write->bytes.size());
  return entry.written_bytes == entry.write->bytes.size();
}

void WriteLedger::requeue(Slot slot) {
  entries_[slot].next = queue_head_;
  if (queue_head_ == kNone) queue_tail_ = slot;
  queue_head_ = slot;
}

DurableWrite& WriteLedger::finish(Slot slot) {
  Entry& entry = entries_[slot];
  const std::uint64_t took_us = clock_.monotonic_us() - entry.started_us;
  ++stats_.writes;
  stats_.written_bytes += entry.write->bytes.size();
  stats_.sync_us_total += took_us;
  stats_.sync_us_max = std::max(stats_.sync_us_max, took_us);
  stats_.sync_us_last = took_us;
  (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
  (entry.newer == kNone ? newest_ : entries_[entry.newer].older) = entry.older;
  if (entry.behind != kNone) {
    enqueue(entry.behind);
  } else if (entry.buffered) {
    newest_of_buffered_.erase(entry.descriptor);
  }
  entry.next = free_;
  free_ = slot;
  return *std::exchange(entry.write, nullptr);
}

Error WriteLedger::error_of(Slot slot, int error_number) const {
  const std::string action = "write and sync " + std::to_string(bytes(slot).size()) + " bytes at position " +
                             std::to_string(position(slot)) + " of";
  return posix_error(error_number, action, path_of_descriptor(descriptor(slot)));
}

std::uint64_t WriteLedger::oldest_age_us() const {
  return oldest_ == kNone ? 0 : clock_.monotonic_us() - entries_[oldest_].started_us;
}

void WriteLedger::fail(const Error& error) {
  if (failure_) return;
  failure_ = error;
  tell();
}

void WriteLedger::on_failure(Disk::FailureHandler handler) {
  if (failure_told_) return;
  failure_handler_ = std::move(handler);
  if (failure_) tell();
}

void WriteLedger::tell() {
  if (failure_told_ || !failure_handler_) return;
  failure_told_ = true;
  const auto handler = std::exchange(failure_handler_, nullptr);
  handler(*failure_);
}

}  // namespace walraft::wal
