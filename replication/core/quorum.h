#pragma once

// The arithmetic of majorities, on plain values.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace walraft::replication {

// How many of `voters` make a majority. Any two majorities share a member.
constexpr std::size_t quorum_size(std::size_t voters) { return voters / 2 + 1; }

// The largest value that a majority reaches; `values` has one for each voter, and at least one.
template <class T>
T quorum_value(std::vector<T> values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(quorum_size(values.size()) - 1);
  std::nth_element(values.begin(), at, values.end(), std::greater<>());
  return *at;
}

}  // namespace walraft::replication
