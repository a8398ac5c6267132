#pragma once

// A throw-away wald on the loopback interface, with the limits of a real node, and a data directory that is removed
// with it. Thread: destroy() any; else one.

#include <sys/types.h>

#include <memory>
#include <string>

#include "wal/base/result.h"

namespace walraft::walbench {

class LocalServer {
 public:
  // `wald` is the program. Makes a directory walbench-XXXXXX in `directory`. Errors: failed, with the last lines of
  // what the server said; no_space.
  static Result<std::unique_ptr<LocalServer>> start(const std::string& wald, const std::string& directory);
  ~LocalServer() { destroy(); }

  const std::string& endpoint() const { return endpoint_; }
  pid_t pid() const { return pid_; }
  // How it writes, in its own words: "io_uring, direct".
  std::string method() const;
  // What it said last, for when it died.
  std::string last_words() const;

  // Ends the process and removes the directory. Idempotent.
  void destroy();

 private:
  LocalServer() = default;
  Result<void> launch(const std::string& wald, int port);
  bool listens(int port) const;
  std::string log_text() const;

  std::string directory_;
  std::string endpoint_;
  pid_t pid_ = 0;
};

}  // namespace walraft::walbench
