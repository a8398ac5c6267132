#pragma once

#include <fcntl.h>

namespace walraft {

// Keeps the descriptors 0, 1 and 2 taken. A program started with one of them closed would get that number for the next
// file or socket it opens, and read its own ring as input or write its messages into its data. What was closed goes on
// to fail: the stand-in can be neither read as stdin nor written as stdout or stderr. For the first lines of main(),
// while there is one thread.
inline void hold_standard_descriptors() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest free number, so this one.
    (void)!::open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace walraft
