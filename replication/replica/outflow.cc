#include "replication/replica/outflow.h"

#include <algorithm>
#include <utility>

namespace walraft::replication {
namespace {

constexpr std::size_t kFrameBytes = 1u << 20;      // unless one batch is larger
constexpr std::uint64_t kReadAgainUs = 1'000'000;  // after a read that failed

}  // namespace

void Outflow::send() {
  if (core_.role() != Role::leader) return fetched_.clear();
  for (const auto& [peer, flow] : core_.leading()->peers()) send_to(peer);
}

void Outflow::send_to(NodeId peer) {
  while (const auto sending = core_.next_send(peer)) {
    const std::size_t bytes_max = std::min<std::uint64_t>(sending->bytes_max, kFrameBytes);
    std::vector<wal::BatchRef> batches;
    const auto fetched = fetched_.find(peer);
    if (fetched != fetched_.end() && !fetched->second.reading) {
      batches = std::move(fetched->second.batches);
      fetched_.erase(fetched);
      if (batches.empty() || batches.front().index != sending->head.from || batches.back().index >= sending->end) {
        continue;  // of a session, or a log, that is no more
      }
    } else if (!log_.wal().read_tail(sending->head.from, sending->end, bytes_max, batches)) {
      return read(peer, *sending);
    }
    if (batches.empty()) return;
    std::uint64_t bytes = 0;
    for (const wal::BatchRef& batch : batches) bytes += batch.bytes.size();
    const Index end = batches.back().index + 1;
    shard_.peers().send(peer, log_.identity().log, sending->head, std::move(batches));
    core_.on_sent(peer, sending->head.session, end, bytes);
  }
}

void Outflow::read(NodeId peer, const Sending& sending) {
  Fetched& fetched = fetched_[peer];
  if (fetched.reading) return;
  fetched.reading = true;
  const auto batches = std::make_shared<std::vector<wal::BatchRef>>();
  const std::size_t bytes_max = std::min<std::uint64_t>(sending.bytes_max, kFrameBytes);
  shard_.disk().background(
      0,
      [reader = std::make_shared<wal::LogReader>(log_.wal().view()), from = sending.head.from, bytes_max,
       batches]() -> Result<void> { return reader->read(from, bytes_max, *batches); },
      [this, alive = alive_, peer, batches](const Result<void>& result) {
        if (!*alive) return;
        const auto at = fetched_.find(peer);
        if (at == fetched_.end()) return;  // the role ended meanwhile
        if (result) {
          at->second.reading = false;
          at->second.batches = std::move(*batches);
          return go_on_();
        }
        // Damaged here, or no descriptors left: it is tried again, as others may lead meanwhile, or mend it.
        shard_.disk().background(
            kReadAgainUs, []() -> Result<void> { return {}; },
            [this, alive, peer](const Result<void>&) {
              if (!*alive) return;
              fetched_.erase(peer);
              go_on_();
            });
      });
}

}  // namespace walraft::replication
