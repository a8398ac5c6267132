#pragma once

// What a failed system call means, in the words of the outcome table. Any thread.

#include <string>
#include <string_view>

#include "wal/base/result.h"

namespace walraft::wal {

// "cannot <action> <place>: <text of the errno> (<its name>). <what to do, where that is known>"
// ENOSPC, EDQUOT and EFBIG are no_space; EACCES, EPERM and EROFS denied; ENOENT not_found; EEXIST
// exists; EMFILE and ENFILE over_limit; all others failed.
Error posix_error(int error_number, std::string_view action, std::string_view place);

// The path that a descriptor has now (renames are followed), for messages.
std::string path_of_descriptor(int descriptor);

}  // namespace walraft::wal
