// The file that bare synced writes are measured with.
#include "tools/synced_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace walraft {
namespace {

using namespace std::chrono_literals;

TEST(SyncedFile, MeasuresAndLeavesNothingBehind) {
  std::string folder = testing::TempDir() + "synced_file.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  {
    const auto file = SyncedFile::make(folder);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    std::uint64_t writes = 0, ns = 0;
    const auto pace = file->write(1u << 20, 100ms, [&](std::uint64_t one) { ++writes, ns += one; });
    ASSERT_TRUE(pace) << pace.error().message;
    EXPECT_GE(writes, 1u);
    EXPECT_GE(ns, 100'000'000u);
    EXPECT_NEAR(*pace, static_cast<double>(writes << 20) / (static_cast<double>(ns) / 1e9), *pace / 1e6);
  }
  std::filesystem::remove(folder);
}

TEST(SyncedFile, NamesTheDirectoryThatItCannotBeMadeIn) {
  const auto file = SyncedFile::make("/nowhere");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::failed);
  EXPECT_EQ(file.error().message, "/nowhere: cannot make a file to measure the disk with: No such file or directory");
}

}  // namespace
}  // namespace walraft
