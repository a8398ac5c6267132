// The scripts of the protocol, tests/data/raft: each prints what it says, and finds the bugs that its first line names.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tests/datadriven/raft_script.h"
#include "wal/base/mutant.h"

namespace walraft {
namespace {

constexpr std::string_view kMutant = "mutant:";

// The planted bugs that a script says it finds: "mutant:h7_ack_before_sync" in its first line.
std::vector<std::string> mutants_of(const std::filesystem::path& script) {
  std::istringstream words(script_guards(script));
  std::vector<std::string> mutants;
  for (std::string word; words >> word;) {
    while (!word.empty() && (word.back() == ',' || word.back() == ':')) word.pop_back();
    if (word.starts_with(kMutant)) mutants.push_back(word.substr(kMutant.size()));
  }
  return mutants;
}

// What the script finds, in a process of its own: a planted bug may end it by a CHECK. Empty: nothing.
std::string played_apart(const std::filesystem::path& script, Mutant mutant) {
  int ends[2];
  if (::pipe(ends) != 0) return "";
  const pid_t child = ::fork();
  if (child == 0) {
    set_mutant(mutant);
    RaftScript run;
    play_script(script, [&](const std::string& line) { return run.run(line); }, [&] { return !run.failed().empty(); });
    const std::string& found = run.failed();
    const bool told = ::write(ends[1], found.data(), found.size()) == static_cast<ssize_t>(found.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::string found;
  std::array<char, 512> bytes;
  for (ssize_t got = 0; (got = ::read(ends[0], bytes.data(), bytes.size())) > 0;) {
    found.append(bytes.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "a CHECK ended it" : found;
}

TEST(RaftScripts, EachPrintsWhatItSays) {
  for (const auto& path : script_files("raft", "")) {
    SCOPED_TRACE(path.filename());
    RaftScript script;
    expect_script(path, [&](const std::string& line) { return script.run(line); });
    EXPECT_EQ(script.failed(), "");
  }
  std::cout << script_files("raft", "").size() << " scripts\n";
}

// The planted bugs of the core: each is found by a script at least.
constexpr Mutant kOfTheCore[] = {
    Mutant::h1_no_term_check_at_handshake, Mutant::h2_replayed_entries_dropped, Mutant::h3_raw_last_index_counts,
    Mutant::h4_commit_of_older_term,       Mutant::h5_commit_beyond_verified,   Mutant::h6a_vote_not_synced,
    Mutant::h6b_term_not_synced,           Mutant::h7_ack_before_sync,          Mutant::h8_no_step_down,
    Mutant::h9_truncate_on_step_down,      Mutant::h11_stale_session_ack,       Mutant::m17_wiped_node_votes,
    Mutant::m18_rolled_back_node_votes,    Mutant::m24_stale_leader_read,
};

TEST(RaftScripts, EachFindsTheBugsItNames) {
  if (!kHasMutants) GTEST_SKIP() << "NOT RUN planted bugs: they are not compiled in (-DWALRAFT_MUTANTS=ON)";
  std::set<std::string> named;
  for (const auto& path : script_files("raft", "")) {
    for (const std::string& name : mutants_of(path)) {
      named.insert(name);
      const auto mutant = mutant_named(name);
      ASSERT_TRUE(mutant.has_value()) << path << " names no planted bug: " << name;
      const std::string found = played_apart(path, *mutant);
      EXPECT_NE(found, "") << path << " does not find " << name;
      std::cout << name << " found by " << path.stem().string() << ": " << found << "\n";
    }
  }
  for (const Mutant mutant : kOfTheCore) {
    EXPECT_TRUE(named.contains(std::string(to_string(mutant)))) << "no script finds " << to_string(mutant);
  }
}

// A line of SCENARIOS.md: "| bug | what went wrong | guarded by |".
struct Scenario {
  std::string bug;
  std::string guard;
};

std::vector<Scenario> scenarios() {
  std::ifstream in(std::filesystem::path(WALRAFT_TEST_DATA) / "raft" / "SCENARIOS.md");
  std::vector<Scenario> all;
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(" | ");
    const std::size_t last = line.rfind(" | ");
    if (!line.starts_with("| ") || first == last || line.starts_with("| bug ")) continue;
    all.push_back({line.substr(2, first - 2), line.substr(last + 3, line.size() - last - 5)});
  }
  return all;
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool names(const std::string& text, const std::string& bug) {
  const std::size_t at = text.find(bug);
  return at != std::string::npos && (at + bug.size() == text.size() || !std::isalnum(text[at + bug.size()]));
}

TEST(RaftScripts, EveryKnownBugIsGuardedOrNamedNotRun) {
  const std::filesystem::path data = std::filesystem::path(WALRAFT_TEST_DATA) / "raft";
  std::size_t guarded = 0;
  for (const auto& [bug, guard] : scenarios()) {
    std::istringstream words(guard);
    std::string kind, where, name;
    words >> kind >> where >> name;
    if (kind == "script") {
      EXPECT_TRUE(names(script_guards(data / (where + ".txt")), bug))
          << where << ".txt does not say that it guards " << bug;
      ++guarded;
    } else if (kind == "test") {
      const std::string text = text_of(std::filesystem::path(WALRAFT_SOURCE_DIR) / where);
      EXPECT_TRUE(!name.empty() && text.find(name) != std::string::npos)
          << bug << ": there is no " << name << " in " << where;
      ++guarded;
    } else {
      EXPECT_TRUE(guard.starts_with("NOT RUN: ")) << bug << ": guarded by what? " << guard;
      std::cout << "NOT RUN " << bug << guard.substr(guard.find(':')) << "\n";
    }
  }
  std::cout << guarded << " known bugs guarded\n";
  EXPECT_GT(guarded, 0u);
}

}  // namespace
}  // namespace walraft
