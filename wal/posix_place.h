#pragma once

// Where a directory lies (filesystem.h, Place). Any thread; blocks.

#include <string>

#include "wal/filesystem.h"

namespace walraft::wal {

// `descriptor` is an open directory. A directory above it in which others may write counts only if
// it has no sticky bit (which /tmp has).
Result<Place> place_of(int descriptor, const std::string& path);

}  // namespace walraft::wal
