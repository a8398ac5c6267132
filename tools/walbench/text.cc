#include "tools/walbench/text.h"

#include <cstdarg>
#include <cstdio>

namespace walraft::walbench {

std::string text_of(const char* format, ...) {
  char text[400];
  va_list values;
  va_start(values, format);
  std::vsnprintf(text, sizeof text, format, values);
  va_end(values);
  return text;
}

}  // namespace walraft::walbench
