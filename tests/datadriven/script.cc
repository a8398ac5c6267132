#include "tests/datadriven/script.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

namespace walraft {
namespace {

constexpr std::string_view kGuards = "# Guards ";

std::vector<std::string> lines_of(const std::filesystem::path& script) {
  std::ifstream in(script);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

std::uint64_t Command::number(const std::string& key, std::uint64_t otherwise) const {
  const auto found = options.find(key);
  return found == options.end() ? otherwise : std::stoull(found->second);
}

std::string Command::text(const std::string& key) const {
  const auto found = options.find(key);
  return found == options.end() ? "" : found->second;
}

Command parse_command(const std::string& line) {
  std::istringstream in(line);
  Command command;
  in >> command.verb;
  for (std::string word; in >> word;) {
    command.all.push_back(word);
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) {
      command.words.push_back(word);
    } else {
      command.options[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return command;
}

std::vector<std::filesystem::path> script_files(const std::string& folder, const std::string& prefix) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(WALRAFT_TEST_DATA) / folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".txt")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string script_guards(const std::filesystem::path& script) {
  const auto lines = lines_of(script);
  return !lines.empty() && lines[0].starts_with(kGuards) ? lines[0].substr(kGuards.size()) : "";
}

std::string play_script(const std::filesystem::path& script, const std::function<std::string(const std::string&)>& run,
                        const std::function<bool()>& stop) {
  std::string played;
  std::vector<std::string> commands;
  bool in_output = false;
  for (const std::string& line : lines_of(script)) {
    if (in_output) {
      in_output = !line.empty();
      if (!in_output) played += "\n";
      continue;
    }
    played += line + "\n";
    if (line == "----") {
      for (const std::string& command : std::exchange(commands, {})) {
        played += run(command);
        if (stop && stop()) return played;
      }
      in_output = true;
    } else if (!line.empty() && line[0] != '#') {
      commands.push_back(line);
    }
  }
  EXPECT_TRUE(commands.empty()) << "commands without ---- behind them: " << script;
  return played;
}

void expect_script(const std::filesystem::path& script, const std::function<std::string(const std::string&)>& run) {
  EXPECT_NE(script_guards(script), "") << script << ": the first line says what it guards: \"# Guards ...\"";
  const std::string played = play_script(script, run);
  std::string written;
  for (const std::string& line : lines_of(script)) written += line + "\n";
  if (std::getenv("WALRAFT_REWRITE") != nullptr) {
    std::ofstream(script) << played;
  } else {
    EXPECT_EQ(played, written) << script << "\nWALRAFT_REWRITE=1 writes the new output";
  }
}

}  // namespace walraft
