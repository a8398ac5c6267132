#pragma once

// Where sessions get committed batches from: the log's memory if they are there, else its files by way of the reader
// thread. One fetch at a time. Thread: shard.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "replication/replica/replica.h"
#include "rpc/stream/connection.h"
#include "rpc/wire/messages.h"
#include "wal/base/result.h"
#include "wal/chunk.h"
#include "wal/log_view.h"

namespace walraft::rpc {

class RecordSource {
 public:
  using Batches = std::vector<wal::BatchRef>;

  RecordSource(replication::Replica& replica, Connection& connection);
  ~RecordSource();  // no callback runs any more

  // The offset that `from` means now. `done` may run from within the call.
  // Errors: trimmed {first kept} for an offset below the first one kept.
  void resolve(const From& from, std::function<void(Result<Offset>)> done);

  // Whole batches from the one that holds `from` on: at least one, about `bytes_max` at most. `from` is below
  // committed(). `done` may run from within the call. Errors: those of wal::LogReader::read(), but `not_found`: then a
  // newer view is taken, and a segment that is missing there is `data_loss`.
  void fetch(Offset from, std::size_t bytes_max, std::function<void(Result<Batches>)> done);

 private:
  Error trimmed(Offset offset) const;
  static Error lost(Error missing, Offset offset);

  replication::Replica& replica_;
  Connection& connection_;  // outlives us
  std::shared_ptr<wal::LogReader> reader_;  // used by the pool's thread while a fetch is under way
  // Read by the pool's thread too: what nobody waits for any more is not read.
  std::shared_ptr<std::atomic<bool>> alive_ = std::make_shared<std::atomic<bool>>(true);
};

}  // namespace walraft::rpc
