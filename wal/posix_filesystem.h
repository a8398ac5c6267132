#pragma once

// The real filesystem (filesystem.h), for Linux.
//
// Everything is opened relative to a directory's descriptor, closed on exec, and never through a
// symbolic link. A name is one component: neither empty, "." nor "..", without '/' and NUL, at most
// 255 bytes; others are `invalid`. Modes do not depend on the umask. Interrupted and partial calls
// are completed here.
//
// A program that may reach its file size limit (RLIMIT_FSIZE) ignores SIGXFSZ, so that it gets
// no_space instead of the signal.

#include <memory>
#include <string>

#include "wal/filesystem.h"

namespace walraft::wal {

// Opens the directory at `path`, which may go through symbolic links. With `create`, a missing last
// component is made (mode 0700) and its name made durable before this returns.
// not_found if it, or its parent, is missing. Any thread; blocks.
Result<std::unique_ptr<Directory>> open_directory(const std::string& path, bool create);

}  // namespace walraft::wal
