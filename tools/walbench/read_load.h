#pragma once

// Reading: bounded reads, the end-to-end path of a record, and readers that catch up.

#include "tools/walbench/append_load.h"

namespace walraft::walbench {

class Meter;

// All commands that need a filled log fill it before `meter` starts. Errors: those of the client; `failed` if records
// that were acknowledged do not come, or come twice.
//
// Each connection reads the log from its start to its end in reads of batch_bytes (256 KiB unless told), again and
// again. Latency is of a read.
Result<Tally> run_read(const Target& target, const Work& work, Meter& meter);

// Appends, and a subscription on a connection of its own. Latency is from the start of an append (in an open loop: when
// it was due) until the record was in the subscriber's hands. Ends when every acknowledged record was delivered.
Result<Tally> run_tail(const Target& target, const Work& work, Meter& meter);

// Rounds of appends alone and appends beside readers that go through the whole log again and again.
struct MixedResult {
  Tally tally;  // of the appends beside the readers
  MixedTally mixed;
};
Result<MixedResult> run_mixed(const Target& target, const Work& work, Meter& meter);

}  // namespace walraft::walbench
