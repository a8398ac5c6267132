#include "wal/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace walraft {

void check_failed(const char* file, int line, const char* condition,
                  std::initializer_list<std::string> values) {
  std::string text = std::string(file) + ":" + std::to_string(line) + ": CHECK failed: " + condition;
  const char* separator = " with ";
  for (const std::string& value : values) {
    text += separator + value;
    separator = ", ";
  }
  text += "\nThis is a bug in Walraft; what was acknowledged is on disk. Please report this line.\n";
  std::fputs(text.c_str(), stderr);
  std::abort();
}

}  // namespace walraft
