#pragma once

#include <string>

namespace walraft::walbench {

// As printf; up to 400 bytes of it. Any thread.
[[gnu::format(printf, 1, 2)]] std::string text_of(const char* format, ...);

}  // namespace walraft::walbench
