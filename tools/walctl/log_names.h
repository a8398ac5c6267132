#pragma once

// The names of a stopped node's logs: in its files a log is a uuid, and the log `_system` says what it is called.

#include <map>
#include <string>

#include "wal/base/ids.h"
#include "wal/filesystem.h"

namespace walraft::walctl {

// As far as `_system` is intact; empty if nothing of it can be read. Writes nothing. Blocks.
std::map<Uuid, std::string> log_names(wal::Directory& data_directory);

}  // namespace walraft::walctl
