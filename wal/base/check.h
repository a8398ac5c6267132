#pragma once

// CHECK(condition, values...): a bug if the condition is false. Always on; prints the condition and
// the values, then aborts. DCHECK is the same in builds without NDEBUG only.
// A fault of the disk or of the operator is not a CHECK: those are Results or Disk failures.

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "wal/base/ids.h"

namespace walraft {

inline std::string describe(std::string_view text) { return std::string(text); }
inline std::string describe(bool value) { return value ? "true" : "false"; }
template <std::integral T>
std::string describe(T value) {
  return std::to_string(value);
}
template <class Tag>
std::string describe(Number<Tag> number) {
  return std::to_string(number.value);
}
inline std::string describe(NodeId node) { return std::to_string(node.value); }
inline std::string describe(const Uuid& uuid) { return to_string(uuid); }
inline std::string describe(const Digest& digest) { return to_string(digest); }

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::initializer_list<std::string> values);

}  // namespace walraft

#define CHECK(condition, ...)                                                               \
  do {                                                                                      \
    if (!(condition)) [[unlikely]] {                                                        \
      using ::walraft::describe;                                                            \
      ::walraft::check_failed(__FILE__, __LINE__, #condition,                               \
                              {__VA_OPT__(WALRAFT_DESCRIBE_EACH(__VA_ARGS__))});            \
    }                                                                                       \
  } while (false)

// Up to six values, named in the message.
#define WALRAFT_DESCRIBE_ONE(x) std::string(#x " = ") + describe(x)
#define WALRAFT_DESCRIBE_1(a) WALRAFT_DESCRIBE_ONE(a)
#define WALRAFT_DESCRIBE_2(a, ...) WALRAFT_DESCRIBE_ONE(a), WALRAFT_DESCRIBE_1(__VA_ARGS__)
#define WALRAFT_DESCRIBE_3(a, ...) WALRAFT_DESCRIBE_ONE(a), WALRAFT_DESCRIBE_2(__VA_ARGS__)
#define WALRAFT_DESCRIBE_4(a, ...) WALRAFT_DESCRIBE_ONE(a), WALRAFT_DESCRIBE_3(__VA_ARGS__)
#define WALRAFT_DESCRIBE_5(a, ...) WALRAFT_DESCRIBE_ONE(a), WALRAFT_DESCRIBE_4(__VA_ARGS__)
#define WALRAFT_DESCRIBE_6(a, ...) WALRAFT_DESCRIBE_ONE(a), WALRAFT_DESCRIBE_5(__VA_ARGS__)
#define WALRAFT_DESCRIBE_PICK(_1, _2, _3, _4, _5, _6, name, ...) name
#define WALRAFT_DESCRIBE_EACH(...)                                                       \
  WALRAFT_DESCRIBE_PICK(__VA_ARGS__, WALRAFT_DESCRIBE_6, WALRAFT_DESCRIBE_5,             \
                        WALRAFT_DESCRIBE_4, WALRAFT_DESCRIBE_3, WALRAFT_DESCRIBE_2,      \
                        WALRAFT_DESCRIBE_1)                                              \
  (__VA_ARGS__)

#ifdef NDEBUG
#define DCHECK(condition, ...) \
  do {                         \
  } while (false && (condition))
#else
#define DCHECK(condition, ...) CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
