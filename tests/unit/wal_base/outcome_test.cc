// The outcome table is a contract with users: these names, exit codes and HTTP statuses do not change.

#include "wal/base/outcome.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

namespace walraft {
namespace {

TEST(Outcome, names_exit_codes_and_statuses_are_these) {
  const std::map<std::string, std::tuple<int, int, std::string>> expected = {
      {"ok", {0, 200, ""}},
      {"failed", {1, 500, ""}},
      {"usage", {2, 400, ""}},
      {"invalid", {2, 400, ""}},
      {"unsupported_media_type", {2, 415, ""}},
      {"not_found", {3, 404, ""}},
      {"condition_failed", {4, 412, "tail"}},
      {"fenced", {5, 409, "epoch"}},
      {"trimmed", {6, 410, "first"}},
      {"unknown", {7, 504, ""}},
      {"denied", {8, 403, ""}},
      {"unavailable", {9, 503, ""}},
      {"no_space", {10, 503, ""}},
      {"too_large", {10, 413, ""}},
      {"over_limit", {10, 429, ""}},
      {"corrupt", {11, 500, ""}},
      {"data_loss", {11, 500, "offset"}},
      {"sealed", {12, 409, ""}},
      {"deleted", {12, 409, ""}},
      {"exists", {12, 409, ""}},
      {"unknown_producer", {13, 409, ""}},
      {"sequence_gap", {13, 409, ""}},
  };
  EXPECT_EQ(outcomes().size(), expected.size());
  for (const Outcome& outcome : outcomes()) {
    const auto found = expected.find(std::string(outcome.name));
    ASSERT_NE(found, expected.end()) << outcome.name;
    EXPECT_EQ(std::tuple(outcome.exit_code, outcome.http_status, std::string(outcome.detail_name)), found->second)
        << outcome.name;
    EXPECT_EQ(&outcome_of(outcome.code), &outcome);
  }
}

// An append has three outcomes: ok, unknown, and codes that promise that nothing was written.
TEST(Outcome, only_unknown_asks_for_the_same_sequence_again) {
  for (const Outcome& outcome : outcomes()) {
    EXPECT_EQ(outcome.retry == Retry::same_sequence, outcome.code == Code::unknown) << outcome.name;
  }
}

TEST(Outcome, a_code_of_a_newer_release_reads_as_failed) {
  EXPECT_EQ(outcome_of(static_cast<Code>(200)).code, Code::failed);
}

}  // namespace
}  // namespace walraft
