// What a power cut takes and what it leaves: each promise of tests/sim/sim_filesystem.h, shown to be
// kept, and each allowed loss, shown to happen.

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "tests/unit/sim/sim_test_support.h"

namespace walraft::sim {
namespace {

using wal::Access;

TEST(PowerCut, AnUnsyncedNameVanishesThoughItsBytesAreSynced) {
  SimFilesystem fs;
  auto file = must(fs.root()->create("a", Access::write));
  must(file->write(0, bytes_of("bytes")));
  must(file->sync());
  EXPECT_FALSE(fs.name_survives("a"));
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "(not_found)");
}

TEST(PowerCut, ASyncedNameWithUnsyncedBytesIsEmpty) {
  SimFilesystem fs;
  auto root = fs.root();
  auto file = must(root->create("a", Access::write));
  must(file->write(0, bytes_of("bytes")));
  must(root->sync());
  EXPECT_TRUE(fs.name_survives("a"));
  EXPECT_FALSE(fs.survives("a", 0, bytes_of("bytes")));
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "");
}

TEST(PowerCut, SyncedBytesAndNamesSurviveEveryChoice) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SimFilesystem fs(seed);
    durable_file(fs, "a", "kept");
    EXPECT_TRUE(fs.survives("a", 0, bytes_of("kept")));
    fs.crash(CrashChoice::keep_random(seed));
    EXPECT_EQ(text_in(fs, "a"), "kept");
  }
}

TEST(PowerCut, KeepEverythingKeepsUnsyncedBytesAndNames) {
  SimFilesystem fs;
  auto file = must(fs.root()->create("a", Access::write));
  must(file->write(0, bytes_of("bytes")));
  fs.crash(CrashChoice::keep_everything());
  EXPECT_EQ(text_in(fs, "a"), "bytes");
  fs.crash(CrashChoice::lose_unsynced());  // it is on the medium now
  EXPECT_EQ(text_in(fs, "a"), "bytes");
}

TEST(PowerCut, AKilledProcessLosesNothingUntilThePowerGoesToo) {
  SimFilesystem fs;
  durable_file(fs, "a", "old");
  must(must(fs.root()->open("a", Access::write))->write(0, bytes_of("new")));
  fs.crash(CrashChoice::kill_process());
  EXPECT_EQ(text_in(fs, "a"), "new");
  EXPECT_FALSE(fs.survives("a", 0, bytes_of("new")));
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "old");
}

TEST(PowerCut, ARenameIsOldOrNewAndNeverNothing) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    SimFilesystem fs(seed);
    durable_file(fs, "name", "old");
    durable_file(fs, "name.tmp", "new");
    must(fs.root()->rename("name.tmp", "name"));
    EXPECT_EQ(text_in(fs, "name"), "new");
    EXPECT_FALSE(fs.name_survives("name"));
    fs.crash(CrashChoice::keep_random(seed));
    seen.insert(text_in(fs, "name") + "/" + text_in(fs, "name.tmp"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old/new", "new/(not_found)"}));
}

TEST(PowerCut, ARemovedNameMayComeBackUntilTheDirectoryIsSynced) {
  SimFilesystem fs;
  durable_file(fs, "a", "text");
  must(fs.root()->remove("a"));
  EXPECT_EQ(text_in(fs, "a"), "(not_found)");
  auto cut = fs.fork();
  cut->crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(*cut, "a"), "text");
  must(fs.root()->sync());
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "(not_found)");
}

// Any subset of independent changes; but what was done on one name comes in order.
TEST(PowerCut, NameChangesSurviveInAnySubsetThatKeepsTheOrderOfOneName) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    SimFilesystem fs(seed);
    auto root = fs.root();
    must(root->create("x", Access::write));
    must(root->create("y", Access::write));
    must(root->rename("x", "z"));
    fs.crash(CrashChoice::keep_random(seed));
    std::string names;
    for (const wal::DirectoryEntry& entry : must(fs.root()->list())) names += entry.name;
    seen.insert(names);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"", "x", "y", "z", "xy", "yz"}));
}

// A name that is taken again survives only with what was done to free it: else its old file were lost.
TEST(PowerCut, ANameTakenAgainNeverSurvivesWithoutTheRenameThatFreedIt) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SimFilesystem fs(seed);
    durable_file(fs, "x", "old");
    must(fs.root()->rename("x", "y"));
    must(must(fs.root()->create("x", Access::write))->sync());
    fs.crash(CrashChoice::keep_random(seed));
    seen.insert(text_in(fs, "x") + "/" + text_in(fs, "y"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old/(not_found)", "(not_found)/old", "/old"}));
}

TEST(PowerCut, TheGhostDiskSeesWhatAnOverwriteMayTake) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(1024, 'o'));
  const std::string old(512, 'o');
  must(file->write(600, bytes_of("n")));
  EXPECT_TRUE(fs.survives("a", 0, bytes_of(old)));
  EXPECT_FALSE(fs.survives("a", 512, bytes_of(old)));
  EXPECT_FALSE(fs.survives("a", 600, bytes_of("n")));
  EXPECT_TRUE(fs.survives("a", 601, bytes_of(std::string(10, 'o'))));    // the same in both
  EXPECT_FALSE(fs.survives("a", 1000, bytes_of(std::string(25, 'o'))));  // past the end
  must(file->sync());
  EXPECT_TRUE(fs.survives("a", 600, bytes_of("n")));
  must(file->truncate(512));
  EXPECT_TRUE(fs.survives("a", 0, bytes_of(old)));
  EXPECT_FALSE(fs.survives("a", 600, bytes_of("n")));
  must(fs.root()->rename("a", "b"));
  EXPECT_FALSE(fs.survives("b", 0, bytes_of(old)));
}

TEST(PowerCut, ASubdirectoryIsANameLikeAnyOther) {
  SimFilesystem fs;
  auto root = fs.root();
  auto inner = must(root->subdirectory("logs", true));
  auto file = must(inner->create("a", Access::write));
  must(file->sync());
  must(inner->sync());
  EXPECT_TRUE(fs.exists("logs/a"));
  EXPECT_FALSE(fs.name_survives("logs/a"));  // the name above it is not durable
  auto cut = fs.fork();
  cut->crash(CrashChoice::lose_unsynced());
  EXPECT_TRUE(must(cut->root()->list()).empty());
  must(root->sync());
  EXPECT_TRUE(fs.name_survives("logs/a"));
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_TRUE(fs.exists("logs/a"));
}

TEST(PowerCut, AllocationAndSizeAreDurableOnlyWithSync) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", "");
  must(file->allocate(1 << 20));
  EXPECT_EQ(must(file->size()), 1u << 20);
  auto cut = fs.fork();
  cut->crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(cut->size_of("a"), 0u);
  must(file->sync());
  std::byte block[600];
  std::memset(block, 0xee, sizeof(block));
  ASSERT_EQ(must(file->read(5000, block)), sizeof(block));
  for (std::byte byte : block) ASSERT_EQ(byte, std::byte{0});  // allocated, never written
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(fs.size_of("a"), 1u << 20);
}

TEST(PowerCut, ACutFileIsWholeAgainOrCutAndNeverOldBytesBehindTheCut) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SimFilesystem fs(seed);
    auto file = durable_file(fs, "a", std::string(1024, 'o') + std::string(1024, 'p'));
    must(file->truncate(512));
    must(file->truncate(2048));
    must(file->write(1024, bytes_of(std::string(512, 'n'))));
    fs.crash(CrashChoice::keep_random(seed));
    std::string short_form;
    const std::string text = text_in(fs, "a");
    for (std::size_t i = 0; i < text.size(); i += 512) short_form += text[i] == '\0' ? '0' : text[i];
    seen.insert(short_form);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"oopp", "o", "o000", "o0n0"}));
}

// One stamp a sector: after a cut each sector holds its durable stamp or any later one, sectors are
// independent, and over the seeds every allowed stamp is met.
TEST(PowerCut, UnsyncedSectorsSurviveInAnySubsetAndAnyVersion) {
  constexpr std::size_t kSectors = 24;
  std::set<std::string> seen;
  std::map<std::size_t, std::set<char>> stamps;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    SimFilesystem fs(seed);
    auto file = durable_file(fs, "a", std::string(kSectors * 512, 'd'));
    must(file->write(0, bytes_of(std::string(16 * 512, '1'))));
    must(file->write(4 * 512, bytes_of(std::string(8 * 512, '2'))));
    must(file->write(2 * 512 + 100, bytes_of(std::string(50, '3'))));  // inside one sector
    fs.crash(CrashChoice::keep_random(seed));
    const std::string text = text_in(fs, "a");
    ASSERT_EQ(text.size(), kSectors * 512);
    std::string line;
    for (std::size_t sector = 0; sector < kSectors; ++sector) {
      const std::string_view bytes = std::string_view(text).substr(sector * 512, 512);
      const bool torn_inside = bytes.find_first_not_of(bytes.front()) != std::string_view::npos;
      ASSERT_TRUE(!torn_inside || (sector == 2 && bytes.substr(100, 50) == std::string(50, '3'))) << sector;
      stamps[sector].insert(bytes[100]);
      line += bytes[100];
    }
    seen.insert(line);
  }
  EXPECT_EQ(stamps[0], (std::set<char>{'d', '1'}));
  EXPECT_EQ(stamps[2], (std::set<char>{'d', '1', '3'}));
  EXPECT_EQ(stamps[5], (std::set<char>{'d', '1', '2'}));
  EXPECT_EQ(stamps[20], (std::set<char>{'d'}));
  EXPECT_GT(seen.size(), 200u);
}

// Of very many versions of a page some are forgotten, never the newest of a sector.
TEST(PowerCut, APageWrittenOftenKeepsItsNewestSectors) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(kPageBytes, 'd'));
  must(file->write(0, bytes_of(std::string(512, '1'))));
  for (int i = 0; i < 50; ++i) must(file->write(512, bytes_of(std::string(512, '2'))));
  fs.crash(CrashChoice::keep_everything());
  EXPECT_EQ(text_in(fs, "a"), std::string(512, '1') + std::string(512, '2') + std::string(3072, 'd'));
}

TEST(PowerCut, OnlyTheNewestOrAllButTheNewest) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(1536, 'd'));
  for (int i = 0; i < 3; ++i) must(file->write(512 * static_cast<unsigned>(i), bytes_of(std::string(512, 'n'))));
  auto other = fs.fork();
  fs.crash(CrashChoice::keep_only_newest());
  EXPECT_EQ(text_in(fs, "a"), std::string(1024, 'd') + std::string(512, 'n'));
  other->crash(CrashChoice::lose_only_newest());
  EXPECT_EQ(text_in(*other, "a"), std::string(1024, 'n') + std::string(512, 'd'));
}

TEST(PowerCut, ObjectsOfBeforeAreDead) {
  SimFilesystem fs;
  auto root = fs.root();
  auto file = durable_file(fs, "a", "text");
  auto lock = must(root->lock("LOCK"));
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(file->write(0, bytes_of("no")).error().code, Code::failed);
  EXPECT_EQ(file->sync().error().code, Code::failed);
  EXPECT_EQ(root->list().error().code, Code::failed);
  EXPECT_EQ(root->create("b", Access::write).error().code, Code::failed);
  EXPECT_EQ(text_in(fs, "a"), "text");
  auto again = must(fs.root()->lock("LOCK"));  // the dead process holds nothing
  EXPECT_EQ(fs.root()->lock("LOCK").error().code, Code::unavailable);
  lock.reset();
  EXPECT_EQ(fs.root()->lock("LOCK").error().code, Code::unavailable);
  again.reset();
  must(fs.root()->lock("LOCK"));
}

TEST(PowerCut, WhatIsNoFileNameIsRefused) {
  SimFilesystem fs;
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("a\0b", 3), std::string(256, 'a')}) {
    EXPECT_EQ(fs.root()->create(name, Access::write).error().code, Code::invalid) << name;
    EXPECT_EQ(fs.root()->open(name, Access::read).error().code, Code::invalid) << name;
    EXPECT_EQ(fs.root()->remove(name).error().code, Code::invalid) << name;
    EXPECT_EQ(fs.root()->rename("a", name).error().code, Code::invalid) << name;
  }
  EXPECT_EQ(fs.operations(), 0u);
}

TEST(PowerCut, CrashAtEndsTheProcessBeforeOrAfterTheOperation) {
  for (const CrashMoment moment : {CrashMoment::before, CrashMoment::after}) {
    SimFilesystem fs;
    auto file = durable_file(fs, "a", "old");
    fs.crash_at(fs.operations() + 2, moment);
    must(file->write(0, bytes_of("new")));
    EXPECT_THROW((void)file->sync(), SimCrash);
    EXPECT_FALSE(file->write(0, bytes_of("xxx")));  // what destructors still do has no effect
    fs.crash(CrashChoice::lose_unsynced());
    EXPECT_EQ(text_in(fs, "a"), moment == CrashMoment::before ? "old" : "new");
  }
}

TEST(PowerCut, ForksShareNothingWithTheirOrigin) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", "one");
  auto copy = fs.fork();
  must(file->write(0, bytes_of("two")));
  must(file->sync());
  copy->crash(CrashChoice::keep_everything());
  must(must(copy->root()->open("a", Access::write))->write(0, bytes_of("six")));
  EXPECT_EQ(text_in(*copy, "a"), "six");
  EXPECT_EQ(text_in(fs, "a"), "two");
}

TEST(PowerCut, OneRunCanBeCutAtEveryOperation) {
  SimFilesystem fs;
  std::set<std::string> seen;
  fs.set_observer([&](const Operation&) {
    auto cut = fs.fork();
    cut->crash(CrashChoice::lose_unsynced());
    seen.insert(text_in(*cut, "a"));
  });
  auto file = durable_file(fs, "a", "one");  // create, write, sync, directory sync
  must(file->write(0, bytes_of("two")));
  must(file->sync());
  must(file->write(0, bytes_of("six")));
  EXPECT_EQ(fs.operations(), 7u);
  EXPECT_EQ(seen, (std::set<std::string>{"(not_found)", "one", "two"}));
}

}  // namespace
}  // namespace walraft::sim
