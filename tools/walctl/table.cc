#include "tools/walctl/table.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>

#include "tools/walctl/options.h"

namespace walraft::walctl {
namespace {

// "12", "3.4 ms"; no address.
bool is_number(const std::string& cell) {
  return !cell.empty() && std::isdigit(static_cast<unsigned char>(cell[0])) != 0 && cell.find(':') == std::string::npos;
}

std::string scaled(double value, double step, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  for (; value >= step && unit + 1 != units.end(); ++unit) value /= step;
  char text[64];
  std::snprintf(text, sizeof text, unit == units.begin() ? "%.0f %s" : "%.1f %s", value, *unit);
  return text;
}

}  // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_[0].size());
  std::vector<Row> rows = rows_;
  for (Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      row[i] = printable(row[i]);
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const bool right = rows.size() > 1 && is_number(rows[1][i]);
      const std::string fill(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (right ? fill + row[i] : row[i] + fill);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string human_bytes(std::uint64_t bytes) {
  return scaled(static_cast<double>(bytes), 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string human_us(std::uint64_t us) { return scaled(static_cast<double>(us), 1000, {"us", "ms", "s"}); }

}  // namespace walraft::walctl
