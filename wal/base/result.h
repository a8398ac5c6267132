#pragma once

// Result<T>: what can be expected to go wrong. Bugs are CHECKs (check.h); a disk that fails stops
// the process (disk.h).

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "wal/base/outcome.h"

namespace walraft {

struct Error {
  Code code = Code::failed;
  std::string message;       // what, where, what was expected, what to do
  std::uint64_t detail = 0;  // meaning by code: outcome.h

  // The same error with its place put in front: at("segment 42") gives "segment 42: …".
  Error at(std::string_view where) && {
    message.insert(0, ": ").insert(0, where);
    return std::move(*this);
  }
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> error(Code code, std::string message, std::uint64_t detail = 0) {
  return std::unexpected(Error{code, std::move(message), detail});
}

}  // namespace walraft
