#pragma once

// A file to measure bare synced writes with, as the server writes: O_DIRECT and O_DSYNC over blocks that were written
// before. It has no name, and so goes with its descriptor.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "wal/base/result.h"

namespace walraft {

class SyncedFile {
 public:
  static constexpr std::size_t kBytes = 32u << 20;

  // Writes kBytes into a file of the directory. Errors: `no_space`, `failed`.
  static Result<SyncedFile> make(const std::string& directory);
  SyncedFile(SyncedFile&& other) noexcept;
  SyncedFile& operator=(SyncedFile&&) = delete;
  ~SyncedFile();

  // False: there is no O_DIRECT here, and the writes are buffered and synced.
  bool direct() const { return direct_; }

  // For `duration`, one write of `bytes` after the other, from the first block on; `latency` gets the nanoseconds of
  // each. Returns bytes a second. `bytes` is a multiple of 4096 that divides kBytes. Errors: `no_space`, `failed`.
  // Thread: one at a time.
  Result<double> write(std::size_t bytes, std::chrono::microseconds duration,
                       const std::function<void(std::uint64_t)>& latency) const;

 private:
  SyncedFile(int descriptor, bool direct) : descriptor_(descriptor), direct_(direct) {}

  int descriptor_;
  bool direct_;
};

}  // namespace walraft
