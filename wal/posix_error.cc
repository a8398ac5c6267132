#include "wal/posix_error.h"

#include <string.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

namespace walraft::wal {
namespace {

struct Meaning {
  Code code = Code::failed;
  std::string_view advice = "";
};

Meaning meaning_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return {Code::no_space, "Free space on this filesystem or make it larger."};
    case EDQUOT:
      return {Code::no_space, "The quota is used up: raise it or free space."};
    case EFBIG:
      return {Code::no_space, "The file would exceed the limit of the process (LimitFSIZE, ulimit -f) or filesystem."};
    case EACCES:
    case EPERM:
      return {Code::denied, "Check that the user of this process owns the path and may write there."};
    case EROFS:
      return {Code::denied, "The filesystem is read-only; after an I/O error the kernel makes it so: see dmesg."};
    case ENOENT:
      return {Code::not_found, ""};
    case EEXIST:
      return {Code::exists, ""};
    case EMFILE:
      return {Code::over_limit, "Raise the limit of open files of this process (LimitNOFILE, ulimit -n)."};
    case ENFILE:
      return {Code::over_limit, "Raise the limit of open files of this machine (sysctl fs.file-max)."};
    case EIO:
      return {Code::failed, "The medium failed: see dmesg, and check or replace the disk."};
    case ENOTDIR:
    case EISDIR: return {Code::invalid, ""};
    case ELOOP: return {Code::invalid, "Symbolic links are not followed inside a data directory."};
    default:
      return {};
  }
}

}  // namespace

Error posix_error(int error_number, std::string_view action, std::string_view place) {
  const char* text = strerrordesc_np(error_number);  // unlike strerror, safe in any thread
  const char* name = strerrorname_np(error_number);
  const Meaning meaning = meaning_of(error_number);
  std::string message = "cannot ";
  message.append(action).append(" ").append(place).append(": ");
  message.append(text != nullptr ? text : "unknown error").append(" (");
  message.append(name != nullptr ? std::string(name) : std::to_string(error_number)).append(")");
  if (!meaning.advice.empty()) message.append(". ").append(meaning.advice);
  return {.code = meaning.code, .message = std::move(message), .detail = 0};
}

std::string path_of_descriptor(int descriptor) {
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  std::array<char, PATH_MAX> target;
  const ssize_t length = readlink(link.c_str(), target.data(), target.size());
  if (length <= 0) return "file descriptor " + std::to_string(descriptor);
  return {target.data(), static_cast<std::size_t>(length)};
}

}  // namespace walraft::wal
