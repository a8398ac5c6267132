#pragma once

// A segment file for wal/dump.h. Used by dump.cc only.

#include "wal/dump.h"

namespace walraft::wal {

// `invalid` if nothing in it looks like a segment.
Result<std::uint64_t> dump_segment(File& file, std::uint64_t size, const DumpOptions& options, const LineSink& out);

}  // namespace walraft::wal
