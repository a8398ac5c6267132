#pragma once

// The numbers and names that the whole system counts in. Each is its own type, so that an index
// (counts batches) cannot be passed where an offset (counts records) is meant.
// All positions are half-open: a `tail`, `commit` or `durable` is the next one, not the last one.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace walraft {

static_assert(sizeof(std::size_t) == 8, "Walraft runs on 64-bit machines only");

// A counted thing: compares, moves on by a plain number, and mixes with no other count.
template <class Tag>
struct Number {
  std::uint64_t value = 0;

  constexpr Number() = default;
  constexpr explicit Number(std::uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Number&) const = default;
  constexpr Number operator+(std::uint64_t n) const { return Number(value + n); }
  constexpr std::uint64_t operator-(Number other) const { return value - other.value; }
};

using Offset = Number<struct OffsetTag>;          // of a record in its log; dense, from 0; users see it
using Index = Number<struct IndexTag>;            // of a batch in its log; what Raft counts; from 0
using Term = Number<struct TermTag>;              // of a Raft leader; 0 before the first election
using LogId = Number<struct LogIdTag>;            // of a log within its cluster; 0 is _system
using ProducerId = Number<struct ProducerIdTag>;  // of a producer within its log; 0 is none
using Epoch = Number<struct EpochTag>;            // of a log's writer; 0 is none

struct NodeId {
  std::uint16_t value = 0;  // 1..65535; 0 is none
  constexpr auto operator<=>(const NodeId&) const = default;
};

// 128 random bits. All zero means "none".
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};
  constexpr auto operator<=>(const Uuid&) const = default;
  constexpr bool is_none() const { return *this == Uuid{}; }
};

// 8-4-4-4-12 lower-case hex digits.
std::string to_string(const Uuid& uuid);
// The reverse, exactly: nothing for any other text.
std::optional<Uuid> parse_uuid(std::string_view text);

// A digest of everything in a log up to a batch (wal/batch.h).
struct Digest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  constexpr auto operator<=>(const Digest&) const = default;
};

// 32 lower-case hex digits, high half first.
std::string to_string(const Digest& digest);

}  // namespace walraft
