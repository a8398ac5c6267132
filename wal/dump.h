#pragma once

// Prints one file of a data directory for people: a segment of any state, a hard-state file, an
// identity. Reads only. Judges nothing but bytes: what is damaged is shown and gone past, and so is
// what a recovery would not take (batches behind a cut, groups that are not this use's).
// Blocks; any thread.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "wal/base/result.h"
#include "wal/filesystem.h"

namespace walraft::wal {

struct DumpOptions {
  bool records = false;  // the records too, escaped, each whole
};

using LineSink = std::function<void(std::string_view line)>;  // without the newline

// How many damaged places were shown. `invalid` if it is no file of Walraft's, or a newer release's;
// `failed` if it cannot be read at all.
Result<std::uint64_t> dump_file(File& file, const DumpOptions& options, const LineSink& out);

// Printable ASCII as it is; a backslash, control characters and everything else as \n, \t, \\ or \xNN,
// so that no record can talk to a terminal.
std::string escape_bytes(ByteView bytes);

}  // namespace walraft::wal
