#pragma once

// How often a node has started on its disk. Sessions are named by it (message.h), so that bytes of an earlier life are
// known for what they are; and peers that remember a higher one know that this disk is an older state of itself.
// Kept in the hard-state file, under the disk's own uuid, as the term of a log that there is not.

#include <cstdint>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/hard_state.h"

namespace walraft::replication {

// One more than at the last start, durable before this returns. Blocks: before the shard runs. Errors: those of
// HardStateFile::write(), and `failed` if the disk fails.
Result<std::uint64_t> begin_incarnation(wal::HardStateFile& hard_state, const Uuid& disk_uuid, wal::Disk& disk);

// The next start gets one above `incarnation` at least: others know that one of this disk already. Durable with what is
// written next.
void skip_incarnations(wal::HardStateFile& hard_state, const Uuid& disk_uuid, std::uint64_t incarnation);

// The same number again: the least write that shows whether the disk still takes any (proto:H1).
void probe_disk(wal::HardStateFile& hard_state, const Uuid& disk_uuid);

}  // namespace walraft::replication
