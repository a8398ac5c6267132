#pragma once

// A table for people: columns as wide as their widest cell, numbers to the right.

#include <cstdint>
#include <string>
#include <vector>

namespace walraft::walctl {

class Table {
 public:
  using Row = std::vector<std::string>;

  explicit Table(Row head) : rows_{std::move(head)} {}
  void add(Row row) { rows_.push_back(std::move(row)); }  // as long as the head
  std::string text() const;                               // lines; control characters are escaped

 private:
  std::vector<Row> rows_;
};

// "3.2 GiB", "512 B".
std::string human_bytes(std::uint64_t bytes);
// "85 us", "1.2 ms", "3.4 s".
std::string human_us(std::uint64_t us);

}  // namespace walraft::walctl
