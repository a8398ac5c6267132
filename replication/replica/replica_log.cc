#include "replication/replica/replica_log.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"

namespace walraft::replication {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

}  // namespace

Result<void> ReplicaLog::begin(Index commit) {
  committed_index_ = std::max(commit, log_->first_index());
  committed_offset_ = log_->tail().offset;
  wal::LogReader reader(log_->view());
  for (Index next = committed_index_; next < log_->tail().index;) {
    std::vector<wal::BatchRef> batches;
    if (auto read = reader.read(next, kReadBytes, batches); !read) return read;
    if (batches.empty()) return error(Code::failed, "nothing could be read at batch " + std::to_string(next.value));
    for (const wal::BatchRef& batch : batches) {
      if (batch.index == committed_index_) committed_offset_ = batch.base_offset;
      next = batch.index + 1;
      uncommitted_.push_back({next, batch.next_offset()});
    }
  }
  return {};
}

bool ReplicaLog::advance(Index applicable) {
  const Index before = committed_index_;
  while (!uncommitted_.empty() && uncommitted_.front().index <= applicable) {
    committed_index_ = uncommitted_.front().index;
    committed_offset_ = uncommitted_.front().offset;
    uncommitted_.pop_front();
  }
  return committed_index_ != before;
}

Result<void> ReplicaLog::append_own(MutableBytes batch, const Stamp& stamp, wal::Use use) {
  const wal::LogPoint tail = log_->tail();
  CHECK(stamp.index == tail.index, stamp.index, tail.index);
  // The stamp never decreases, whatever the wall clock does.
  wal::stamp_batch(batch,
                   {.index = tail.index,
                    .base_offset = tail.offset,
                    .term = stamp.term,
                    .commit = stamp.commit,
                    .timestamp_us = std::max(tail.timestamp_us, shard_.clock().wall_us())},
                   tail.digest);
  auto appended = log_->append(batch, use);
  if (appended) remember_end();
  return appended;
}

bool ReplicaLog::continues(const wal::BatchHeader& header, ByteView batch) const {
  const wal::LogPoint tail = log_->tail();
  return header.log_id == identity_.id && header.index == tail.index && header.base_offset == tail.offset &&
         header.term >= tail.term && header.timestamp_us >= tail.timestamp_us &&
         wal::next_digest(tail.digest, batch) == header.digest;
}

void ReplicaLog::append_received(ByteView batch, const wal::BatchHeader& header) {
  const auto appended = log_->append(batch.first(header.total_bytes()), use_of(header));
  CHECK(appended.has_value(), header.index);
  remember_end();
}

void ReplicaLog::truncate(Index to, wal::Log::Done done) {
  ++cuts_;
  while (!uncommitted_.empty() && uncommitted_.back().index > to) uncommitted_.pop_back();
  log_->truncate_suffix(to, std::move(done));
}

void ReplicaLog::find_digest(Index index, std::function<void(const Digest&)> found) {
  if (const auto point = log_->point_in_memory(index)) return found(point->digest);
  auto digest = std::make_shared<Digest>();
  shard_.disk().background(
      0,
      [reader = std::make_shared<wal::LogReader>(log_->view()), index, digest]() -> Result<void> {
        const auto point = reader->point(index);
        if (!point) return std::unexpected(point.error());
        *digest = point->digest;
        return {};
      },
      [this, alive = alive_, cuts = cuts_, digest, found = std::move(found)](const Result<void>& read) {
        // What is not found is nobody's loss: the session is opened anew when nothing follows.
        if (*alive && read && cuts == cuts_) found(*digest);
      });
}

LogTerms ReplicaLog::terms() const {
  const Index first = log_->first_index();
  TermEnd base{Term(), first};
  std::vector<TermEnd> terms;
  const std::vector<wal::TermRun> runs = log_->history();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Index end = i + 1 < runs.size() ? runs[i + 1].first_index : log_->tail().index;
    if (runs[i].first_index < first) base.term = runs[i].term;
    if (end > first) terms.push_back({runs[i].term, end});
  }
  if (base.term == Term() && first > Index()) {
    const auto point = log_->point_in_memory(first);
    CHECK(point.has_value(), first);
    base.term = point->term;
  }
  return {base, std::move(terms)};
}

bool ReplicaLog::read_tail(Offset from, std::size_t bytes_max, std::vector<wal::BatchRef>& out) const {
  const Index limit = mutant(Mutant::m20_read_beyond_commit) ? log_->tail().index : committed_index_;
  return log_->read_tail(from, limit, bytes_max, out);
}

wal::LogView ReplicaLog::view() const {
  wal::LogView view = log_->view();
  if (mutant(Mutant::m20_read_beyond_commit)) return view;
  view.end_index = std::min(view.end_index, committed_index_);
  view.end_offset = std::min(view.end_offset, committed_offset_);
  return view;
}

}  // namespace walraft::replication
