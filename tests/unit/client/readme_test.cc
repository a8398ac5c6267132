// client/README.md says what is so: its code stands in an example, its table of outcomes is the table of outcomes.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "wal/base/outcome.h"

namespace walraft {
namespace {

const std::filesystem::path kClient = std::filesystem::path(WALRAFT_SOURCE_DIR) / "client";

// The lines of a file, without the blanks before them.
std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    lines.push_back(line.substr(std::min(line.find_first_not_of(' '), line.size())));
  return lines;
}

TEST(ClientReadme, ItsCodeStandsInTheExamples) {
  std::vector<std::vector<std::string>> examples;
  for (const auto& entry : std::filesystem::directory_iterator(kClient / "examples")) {
    examples.push_back(lines_of(entry.path()));
  }
  std::vector<std::string> block;
  bool inside = false;
  int blocks = 0;
  for (const std::string& line : lines_of(kClient / "README.md")) {
    if (line == "```cpp") {
      inside = true;
      block.clear();
    } else if (inside && line == "```") {
      inside = false;
      ++blocks;
      ASSERT_FALSE(block.empty());
      bool found = false;
      for (const auto& example : examples) {
        found |= std::search(example.begin(), example.end(), block.begin(), block.end()) != example.end();
      }
      EXPECT_TRUE(found) << "no file of client/examples has the lines that begin with: " << block.front();
    } else if (inside) {
      block.push_back(line);
    }
  }
  EXPECT_GE(blocks, 4);
}

TEST(ClientReadme, ItsOutcomesAreThoseOfTheTable) {
  const auto retry = [](const Outcome& outcome) -> std::string {
    if (outcome.code == Code::ok) return "";
    switch (outcome.retry) {
      case Retry::no: return "no";
      case Retry::yes: return "yes";
      case Retry::later: return "later";
      case Retry::same_sequence: return "same sequence";
    }
    return "?";
  };
  std::string expected, found;
  for (const Outcome& outcome : outcomes()) {
    std::ostringstream row;
    row << "| `" << outcome.name;
    if (!outcome.detail_name.empty()) row << "{" << outcome.detail_name << "}";
    row << "` | " << outcome.meaning << " | " << retry(outcome) << " | " << outcome.exit_code << " | "
        << outcome.http_status << " |\n";
    expected += row.str();
  }
  bool inside = false;
  for (const std::string& line : lines_of(kClient / "README.md")) {
    if (line == "| code | meaning | retry | exit | HTTP |") {
      inside = true;
    } else if (inside && line.starts_with("| `")) {
      found += line + "\n";
    } else if (!line.starts_with("|")) {
      inside = false;
    }
  }
  EXPECT_EQ(found, expected) << "the table of client/README.md should be this";
}

}  // namespace
}  // namespace walraft
