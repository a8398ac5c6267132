#pragma once

// The form of all scripts with golden output: a first line "# Guards ...", then blocks: commands, a line "----", what
// they print, an empty line. Lines that begin with "#" are for the reader. WALRAFT_REWRITE=1 writes what the commands
// print now into the scripts; read the difference before committing it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace walraft {

// One line of a script: "append 3 bytes=10" has the verb "append", the word "3" and the option bytes.
struct Command {
  std::string verb;
  std::vector<std::string> all;                // of the line, behind the verb
  std::vector<std::string> words;              // without "="
  std::map<std::string, std::string> options;  // with

  std::uint64_t number(std::size_t i) const { return std::stoull(words.at(i)); }
  std::uint64_t number(const std::string& key, std::uint64_t otherwise) const;
  std::string text(const std::string& key) const;
};

Command parse_command(const std::string& line);

// tests/data/FOLDER/PREFIX*.txt, by name.
std::vector<std::filesystem::path> script_files(const std::string& folder, const std::string& prefix);
// The first line, without "# Guards ".
std::string script_guards(const std::filesystem::path& script);
// Runs the commands, each through `run`, which says what it prints (whole lines), and ends before the next one if
// `stop` says so. The script with that output in it.
std::string play_script(const std::filesystem::path& script, const std::function<std::string(const std::string&)>& run,
                        const std::function<bool()>& stop = {});
// A failure of the running test if what it prints is not what is written in it; or writes it (WALRAFT_REWRITE=1).
void expect_script(const std::filesystem::path& script, const std::function<std::string(const std::string&)>& run);

}  // namespace walraft
