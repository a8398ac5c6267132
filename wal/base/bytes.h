#pragma once

// Views of bytes, and the one byte order of every format: little endian.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace walraft {

using ByteView = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

static_assert(std::endian::native == std::endian::little, "the formats are read in place");

// The caller has checked that sizeof(T) bytes are there.
template <class T>
T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void store_le(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

// `alignment` is a power of two.
constexpr std::uint64_t align_down(std::uint64_t n, std::uint64_t alignment) {
  return n & ~(alignment - 1);
}
constexpr std::uint64_t align_up(std::uint64_t n, std::uint64_t alignment) {
  return (n + alignment - 1) & ~(alignment - 1);
}

inline ByteView bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace walraft
