// LD_PRELOAD=libfault_shim.so: calls into libc that write and sync files fail, stall or lie as told. It sees what
// goes through libc: the thread method of storage, the synchronous calls of the posix filesystem. Writes of io_uring
// pass it by; for those there are the file systems of tests/fuse.
//
// FAULT_SHIM holds rules, parted by ';', each of a call, conditions, and one effect:
//   CALL          fsync fdatasync write pwrite pwritev fallocate ftruncate, or sync (fsync and fdatasync), or
//                 any; pwrite and pwritev cover their 64-bit and flag-taking forms, write covers writev
//   path=GLOB     only files whose path matches (fnmatch; '*' crosses '/')
//   nth=N         from the n-th matching call on (default 1)
//   times=N       for so many calls (default 1; 0 is for ever)
//   when=FILE     calls count only while FILE exists: the switch by which a test arms a rule
//   error=NAME    the call is not made and fails with EIO, ENOSPC, EINTR, EROFS or EDQUOT
//   after=NAME    the call is made, then fails with NAME
//   short=BYTES   write, pwrite, pwritev: no more than so many bytes are written
//   delay_ms=N    the call is made later
//   hang          the call never returns
//   drop          the call is not made and succeeds
// Example: FAULT_SHIM='fdatasync path=*.seg nth=3 error=EIO'
//
// FAULT_SHIM_LOG=FILE gets a line for each call that matches a rule's call, path and switch, faulted or not, so that
// a test can show that its fault happened, and that nothing was tried again:
//   PID CALL PATH COUNT EFFECT       with EFFECT "-" for none

#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Rule {
  std::string call;
  std::string path = "*";
  std::string when;
  std::uint64_t nth = 1;
  std::uint64_t times = 1;
  std::string effect;  // its word, for the log
  int error = 0;
  int error_after = 0;
  std::size_t bytes_max = std::numeric_limits<std::size_t>::max();
  unsigned delay_ms = 0;
  bool hang = false;
  bool drop = false;
  std::atomic<std::uint64_t> count = 0;
};

[[noreturn]] void refuse(std::string_view what, std::string_view word) {
  std::fprintf(stderr, "fault_shim: FAULT_SHIM: %.*s '%.*s'\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(word.size()), word.data());
  _exit(97);
}

int errno_named(std::string_view name) {
  if (name == "EIO") return EIO;
  if (name == "ENOSPC") return ENOSPC;
  if (name == "EINTR") return EINTR;
  if (name == "EROFS") return EROFS;
  if (name == "EDQUOT") return EDQUOT;
  refuse("unknown error", name);
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      refuse("not a number", text);
    }
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) {
      parts.push_back(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::unique_ptr<Rule> parse(std::string_view text) {
  constexpr std::string_view kCalls[] = {"fsync",   "fdatasync", "sync",      "write", "pwrite",
                                         "pwritev", "fallocate", "ftruncate", "any"};
  const auto words = split(text, ' ');
  auto rule = std::make_unique<Rule>();
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = equals == word.npos ? std::string_view() : word.substr(equals + 1);
    if (i == 0) {
      bool known = false;
      for (const std::string_view call : kCalls) {
        known = known || call == word;
      }
      if (!known) {
        refuse("unknown call", word);
      }
      rule->call = word;
      continue;
    }
    if (key == "path") {
      rule->path = value;
    } else if (key == "when") {
      rule->when = value;
    } else if (key == "nth") {
      rule->nth = number(value);
    } else if (key == "times") {
      rule->times = number(value);
    } else {
      rule->effect = word;
      if (key == "error") {
        rule->error = errno_named(value);
      } else if (key == "after") {
        rule->error_after = errno_named(value);
      } else if (key == "short") {
        rule->bytes_max = number(value);
      } else if (key == "delay_ms") {
        rule->delay_ms = static_cast<unsigned>(number(value));
      } else if (word == "hang") {
        rule->hang = true;
      } else if (word == "drop") {
        rule->drop = true;
      } else {
        refuse("unknown word", word);
      }
    }
  }
  if (rule->effect.empty()) {
    refuse("no effect in", text);
  }
  return rule;
}

struct Rules {
  std::vector<std::unique_ptr<Rule>> rules;
  int log = -1;
};

const Rules& rules() {
  static const Rules& instance = *[] {  // never destroyed: the last calls come from other destructors
    auto* made = new Rules;
    if (const char* text = std::getenv("FAULT_SHIM")) {
      for (const std::string_view rule : split(text, ';')) {
        made->rules.push_back(parse(rule));
      }
    }
    if (const char* path = std::getenv("FAULT_SHIM_LOG")) {
      made->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return made;
  }();
  return instance;
}

template <class Function>
Function* real(const char* name) {
  static_assert(sizeof(Function*) == sizeof(void*));
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// The rule that this call must obey, or null.
const Rule* faulted(std::string_view call, int fd) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  char path[4096];
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) {
    return nullptr;
  }
  path[length] = '\0';
  for (const auto& rule : rules().rules) {
    const bool is_sync = call == "fsync" || call == "fdatasync";
    if (!(rule->call == call || rule->call == "any" || (rule->call == "sync" && is_sync)) ||
        fnmatch(rule->path.c_str(), path, 0) != 0 || (!rule->when.empty() && access(rule->when.c_str(), F_OK) != 0)) {
      continue;
    }
    const std::uint64_t count = ++rule->count;
    const bool hit = count >= rule->nth && (rule->times == 0 || count < rule->nth + rule->times);
    if (rules().log >= 0) {
      char line[4300];
      const int bytes =
          std::snprintf(line, sizeof line, "%d %.*s %s %llu %s\n", getpid(), static_cast<int>(call.size()), call.data(),
                        path, static_cast<unsigned long long>(count), hit ? rule->effect.c_str() : "-");
      real<ssize_t(int, const void*, std::size_t)>("write")(rules().log, line, static_cast<std::size_t>(bytes));
    }
    if (hit) {
      return rule.get();
    }
  }
  return nullptr;
}

// Makes the call as the first matching rule wants it. `dropped` is what a call returns that was not made.
template <class Call>
auto carry_out(std::string_view name, int fd, decltype(std::declval<Call>()(std::size_t{})) dropped, Call call) {
  using Answer = decltype(dropped);
  const int errno_before = errno;
  const Rule* rule = faulted(name, fd);
  errno = errno_before;
  if (rule == nullptr) {
    return call(std::numeric_limits<std::size_t>::max());
  }
  while (rule->hang) {
    pause();
  }
  if (rule->delay_ms > 0) {
    usleep(rule->delay_ms * 1000);
  }
  if (rule->error != 0) {
    errno = rule->error;
    return Answer{-1};
  }
  if (rule->drop) {
    return dropped;
  }
  const Answer answer = call(rule->bytes_max);
  if (rule->error_after != 0) {
    errno = rule->error_after;
    return Answer{-1};
  }
  return answer;
}

std::vector<iovec> shortened(const iovec* parts, int count, std::size_t bytes_max) {
  std::vector<iovec> kept;
  for (int i = 0; i < count && bytes_max > 0; ++i) {
    kept.push_back({parts[i].iov_base, std::min(parts[i].iov_len, bytes_max)});
    bytes_max -= kept.back().iov_len;
  }
  return kept;
}

ssize_t total(const iovec* parts, int count) {
  ssize_t bytes = 0;
  for (int i = 0; i < count; ++i) {
    bytes += static_cast<ssize_t>(parts[i].iov_len);
  }
  return bytes;
}

int sync_call(const char* name, int fd) {
  return carry_out(name, fd, 0, [&](std::size_t) { return real<int(int)>(name)(fd); });
}

ssize_t pwrite_call(const char* name, int fd, const void* bytes, std::size_t count, off_t position) {
  return carry_out("pwrite", fd, static_cast<ssize_t>(count), [&](std::size_t bytes_max) {
    return real<ssize_t(int, const void*, std::size_t, off_t)>(name)(fd, bytes, std::min(count, bytes_max), position);
  });
}

ssize_t pwritev2_call(int fd, const iovec* parts, int count, off_t position, int flags) {
  return carry_out("pwritev", fd, total(parts, count), [&](std::size_t bytes_max) {
    const auto kept = shortened(parts, count, bytes_max);
    return real<ssize_t(int, const iovec*, int, off_t, int)>("pwritev2")(fd, kept.data(), static_cast<int>(kept.size()),
                                                                         position, flags);
  });
}

int fallocate_call(int fd, int mode, off_t position, off_t bytes) {
  return carry_out("fallocate", fd, 0, [&](std::size_t) {
    return real<int(int, int, off_t, off_t)>("fallocate")(fd, mode, position, bytes);
  });
}

int posix_fallocate_call(int fd, off_t position, off_t bytes) {
  const int outcome = carry_out("fallocate", fd, 0, [&](std::size_t) {
    return real<int(int, off_t, off_t)>("posix_fallocate")(fd, position, bytes);
  });
  return outcome == -1 ? errno : outcome;  // unlike the others it returns the error
}

int ftruncate_call(int fd, off_t bytes) {
  return carry_out("ftruncate", fd, 0, [&](std::size_t) { return real<int(int, off_t)>("ftruncate")(fd, bytes); });
}

}  // namespace

// The names that programs call. The 64-bit forms are what libc's headers turn the others into.
extern "C" {

int fsync(int fd) { return sync_call("fsync", fd); }
int fdatasync(int fd) { return sync_call("fdatasync", fd); }

ssize_t write(int fd, const void* bytes, std::size_t count) {
  return carry_out("write", fd, static_cast<ssize_t>(count), [&](std::size_t bytes_max) {
    return real<ssize_t(int, const void*, std::size_t)>("write")(fd, bytes, std::min(count, bytes_max));
  });
}
ssize_t writev(int fd, const iovec* parts, int count) {
  return carry_out("write", fd, total(parts, count), [&](std::size_t bytes_max) {
    const auto kept = shortened(parts, count, bytes_max);
    return real<ssize_t(int, const iovec*, int)>("writev")(fd, kept.data(), static_cast<int>(kept.size()));
  });
}
ssize_t pwrite(int fd, const void* bytes, std::size_t count, off_t position) {
  return pwrite_call("pwrite", fd, bytes, count, position);
}
ssize_t pwrite64(int fd, const void* bytes, std::size_t count, off64_t position) {
  return pwrite_call("pwrite", fd, bytes, count, position);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t position) {
  return pwritev2_call(fd, parts, count, position, 0);
}
ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t position) {
  return pwritev2_call(fd, parts, count, position, 0);
}
ssize_t pwritev2(int fd, const iovec* parts, int count, off_t position, int flags) {
  return pwritev2_call(fd, parts, count, position, flags);
}
ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t position, int flags) {
  return pwritev2_call(fd, parts, count, position, flags);
}
int fallocate(int fd, int mode, off_t position, off_t bytes) { return fallocate_call(fd, mode, position, bytes); }
int fallocate64(int fd, int mode, off64_t position, off64_t bytes) { return fallocate_call(fd, mode, position, bytes); }
int posix_fallocate(int fd, off_t position, off_t bytes) { return posix_fallocate_call(fd, position, bytes); }
int posix_fallocate64(int fd, off64_t position, off64_t bytes) { return posix_fallocate_call(fd, position, bytes); }
int ftruncate(int fd, off_t bytes) noexcept { return ftruncate_call(fd, bytes); }
int ftruncate64(int fd, off64_t bytes) noexcept { return ftruncate_call(fd, bytes); }

}  // extern "C"
