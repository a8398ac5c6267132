// Disks that fail, lie, fill up and rot: each fault that can be injected, shown to happen.

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/sim/sim_test_support.h"
#include "wal/base/mutant.h"

namespace walraft::sim {
namespace {

using wal::Access;
using wal::kBlockBytes;

TEST(StorageFaults, AFailedSyncLeavesEverythingUnsynced) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", "old");
  fs.inject({.kind = FaultKind::sync_fails});
  must(file->write(0, bytes_of("new")));
  EXPECT_EQ(file->sync().error().code, Code::failed);
  EXPECT_FALSE(fs.survives("a", 0, bytes_of("new")));
  EXPECT_EQ(fs.faults_struck(), 1u);
  must(file->sync());
  EXPECT_TRUE(fs.survives("a", 0, bytes_of("new")));
}

// fault:S6: the page cache shows bytes that no later sync writes.
TEST(StorageFaults, ASyncThatDropsMakesTheNextSyncALie) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", "old");
  fs.inject({.kind = FaultKind::sync_drops});
  must(file->write(0, bytes_of("new")));
  EXPECT_FALSE(file->sync());
  must(file->sync());  // success
  EXPECT_EQ(text_in(fs, "a"), "new");
  EXPECT_FALSE(fs.survives("a", 0, bytes_of("new")));
  auto cut = fs.fork();
  cut->crash(CrashChoice::keep_everything());
  EXPECT_EQ(text_in(*cut, "a"), "old");
  file->drop_cache();
  EXPECT_EQ(text_in(fs, "a"), "old");
}

TEST(StorageFaults, BytesWrittenAfterADropAreSyncedAlone) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(1024, 'o'));
  fs.inject({.kind = FaultKind::sync_drops});
  must(file->write(0, bytes_of(std::string(512, 'n'))));
  EXPECT_FALSE(file->sync());
  must(file->write(512, bytes_of(std::string(512, 'm'))));
  must(file->sync());
  fs.crash(CrashChoice::keep_everything());
  EXPECT_EQ(text_in(fs, "a"), std::string(512, 'o') + std::string(512, 'm'));
}

TEST(StorageFaults, ASyncMayLie) {
  SimFilesystem fs;
  auto root = fs.root();
  auto file = durable_file(fs, "a", "old");
  fs.inject({.kind = FaultKind::sync_lies, .times = 2});
  must(file->write(0, bytes_of("new")));
  must(file->sync());
  must(root->create("b", Access::write));
  must(root->sync());
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "old");
  EXPECT_FALSE(fs.exists("b"));
}

TEST(StorageFaults, ADirectorySyncFails) {
  SimFilesystem fs;
  auto root = fs.root();
  must(root->create("a", Access::write));
  fs.inject({.kind = FaultKind::sync_fails});
  EXPECT_EQ(root->sync().error().code, Code::failed);
  EXPECT_FALSE(fs.name_survives("a"));
}

TEST(StorageFaults, AFaultStrikesTheFileItNames) {
  SimFilesystem fs;
  auto a = durable_file(fs, "a", "");
  auto b = durable_file(fs, "b", "");
  fs.inject({.kind = FaultKind::sync_fails, .path = "b", .skip = 1});
  must(a->sync());
  must(b->sync());
  must(a->sync());
  EXPECT_FALSE(b->sync());
  must(b->sync());
}

TEST(StorageFaults, AFailedWriteLeavesAnUnknownPart) {
  bool whole = true, nothing = true;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimFilesystem fs(seed);
    auto file = durable_file(fs, "a", std::string(4, 'o'));
    fs.inject({.kind = FaultKind::write_fails});
    EXPECT_EQ(file->write(0, bytes_of("nnnn")).error().code, Code::failed);
    const std::string text = text_in(fs, "a");
    whole &= text == "nnnn";
    nothing &= text == "oooo";
  }
  EXPECT_FALSE(whole);
  EXPECT_FALSE(nothing);
}

TEST(StorageFaults, ALostWriteIsSeenUntilTheCacheIsDropped) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", "old");
  fs.inject({.kind = FaultKind::write_is_lost});
  must(file->write(0, bytes_of("new")));
  must(file->sync());
  EXPECT_EQ(text_in(fs, "a"), "new");
  EXPECT_FALSE(fs.survives("a", 0, bytes_of("new")));
  file->drop_cache();
  EXPECT_EQ(text_in(fs, "a"), "old");
}

TEST(StorageFaults, ALostAndAMisdirectedDiskWriteAreAcknowledged) {
  SimFilesystem fs;
  SimClock clock;
  SimDisk disk(fs, clock);
  auto file = durable_file(fs, "a", std::string(3 * kBlockBytes, 'o'), Access::direct);
  fs.inject({.kind = FaultKind::write_is_lost});
  fs.inject({.kind = FaultKind::write_is_misdirected, .misdirected_by = 2 * kBlockBytes});
  LetterWrite lost(*file, kBlockBytes, 'x');
  LetterWrite misdirected(*file, 0, 'y');
  disk.write(lost);
  disk.write(misdirected);
  disk.settle();
  EXPECT_EQ(lost.durable + misdirected.durable, 2);
  EXPECT_EQ(fs.faults_struck(), 2u);
  EXPECT_EQ(text_in(fs, "a"), std::string(2 * kBlockBytes, 'o') + std::string(kBlockBytes, 'y'));
}

TEST(StorageFaults, AMisdirectedBufferedWriteLandsElsewhere) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(2 * kPageBytes, 'o'));
  fs.inject({.kind = FaultKind::write_is_misdirected, .misdirected_by = kPageBytes});
  must(file->write(0, bytes_of("xxx")));
  must(file->sync());
  EXPECT_EQ(text_in(fs, "a").substr(0, 3), "xxx");
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a").substr(0, 3), "ooo");
  EXPECT_EQ(text_in(fs, "a").substr(kPageBytes, 4), "xxxo");
}

// Mutant M31 in the medium: without durable writes, what was acknowledged dies.
TEST(StorageFaults, AVolatileCacheLosesCompletedWritesUnlessSynced) {
  for (const bool synced : {false, true}) {
    SimFilesystem fs;
    SimClock clock;
    SimDisk disk(fs, clock);
    auto file = durable_file(fs, "a", std::string(kBlockBytes, 'o'), Access::direct);
    fs.set_volatile_cache(true);
    LetterWrite write(*file, 0, 'x');
    disk.write(write);
    disk.settle();
    EXPECT_EQ(write.durable, 1);
    if (synced) must(file->sync());
    EXPECT_EQ(fs.survives("a", 0, write.bytes), synced);
    fs.crash(CrashChoice::lose_unsynced());
    EXPECT_EQ(text_in(fs, "a"), std::string(kBlockBytes, synced ? 'x' : 'o'));
  }
}

// The planted bugs below the log: what they acknowledge is not on the medium, so that a checker of
// acknowledged records must find them.
TEST(StorageFaults, TheMutantsOfTheMachineAcknowledgeWhatIsNotThere) {
#ifdef WALRAFT_MUTANTS
  for (const Mutant which : {Mutant::m26_sync_error_retried, Mutant::m31_no_dsync}) {
    SimFilesystem fs(3);
    SimClock clock;
    SimDisk disk(fs, clock);
    auto file = durable_file(fs, "a", std::string(8 * kBlockBytes, 'o'), Access::direct);
    if (which == Mutant::m26_sync_error_retried) fs.inject({.kind = FaultKind::write_fails});
    set_mutant(which);
    LetterWrite write(*file, 0, 'x', 8);
    disk.write(write);
    disk.settle();
    set_mutant(std::nullopt);
    EXPECT_EQ(write.durable, 1) << to_string(which);
    EXPECT_FALSE(fs.survives("a", 0, write.bytes)) << to_string(which);
  }
#else
  GTEST_SKIP() << "NOT RUN: built without WALRAFT_MUTANTS";
#endif
}

TEST(StorageFaults, AFullDiskRefusesNewBlocksAndNamesAndTakesOverwrites) {
  SimFilesystem fs;
  SimClock clock;
  SimDisk disk(fs, clock);
  auto root = fs.root();
  auto file = durable_file(fs, "a", "");
  must(file->allocate(4 * kBlockBytes));
  must(file->sync());
  fs.set_capacity(fs.used_bytes() + 2 * kBlockBytes);
  EXPECT_EQ(must(root->space()).free_bytes, 2 * kBlockBytes);
  EXPECT_EQ(file->allocate(16 * kBlockBytes).error().code, Code::no_space);
  EXPECT_EQ(must(file->size()), 6 * kBlockBytes);  // longer, by what there was
  EXPECT_EQ(must(root->space()).free_bytes, 0u);
  EXPECT_EQ(root->create("b", Access::write).error().code, Code::no_space);
  EXPECT_EQ(root->subdirectory("d", true).error().code, Code::no_space);
  EXPECT_EQ(file->write(6 * kBlockBytes, bytes_of("x")).error().code, Code::no_space);
  must(file->write(3 * kBlockBytes, bytes_of("overwritten")));
  must(file->sync());
  LetterWrite write(*file, 0, 'x');
  disk.write(write);
  disk.settle();
  EXPECT_EQ(write.durable, 1);
  must(root->rename("a", "renamed"));
  must(file->truncate(kBlockBytes));
  EXPECT_EQ(must(root->space()).free_bytes, 5 * kBlockBytes);
  must(root->create("b", Access::write));
}

TEST(StorageFaults, ARemovedFileGivesItsSpaceBackWhenItIsClosed) {
  SimFilesystem fs;
  auto root = fs.root();
  const std::uint64_t before = fs.used_bytes();
  auto file = must(root->create("a", Access::write));
  must(file->allocate(1 << 20));
  must(root->remove("a"));
  must(file->write(0, bytes_of("still usable")));
  EXPECT_GT(fs.used_bytes(), std::uint64_t{1} << 20);
  file.reset();
  EXPECT_EQ(fs.used_bytes(), before);
}

TEST(StorageFaults, UnreadableSectorsFailUntilTheyAreOverwritten) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(4 * kPageBytes, 'o'));
  fs.make_unreadable("a", kPageBytes + 512, 512);
  std::byte bytes[512];
  must(file->read(kPageBytes, bytes));
  EXPECT_EQ(file->read(kPageBytes + 512, bytes).error().code, Code::failed);
  EXPECT_EQ(file->read(kPageBytes + 500, bytes).error().code, Code::failed);
  must(file->read(kPageBytes + 1024, bytes));
  EXPECT_FALSE(fs.survives("a", kPageBytes + 512, ByteView(bytes)));
  must(file->write(kPageBytes, bytes_of(std::string(kPageBytes, 'n'))));
  must(file->sync());
  must(file->read(kPageBytes + 512, bytes));
  EXPECT_EQ(bytes[0], std::byte{'n'});
}

TEST(StorageFaults, RotOnTheMedium) {
  SimFilesystem fs;
  durable_file(fs, "a", "abcd");
  const Image backup = fs.image("a");
  fs.flip_bit("a", 1, 5);
  EXPECT_EQ(text_in(fs, "a"), "aBcd");
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "aBcd");
  fs.truncate_on_medium("a", 2);
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "aB");
  fs.restore("a", backup);
  fs.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(text_in(fs, "a"), "abcd");
  fs.delete_on_medium("a");
  EXPECT_EQ(text_in(fs, "a"), "(not_found)");
  fs.crash(CrashChoice::keep_everything());
  EXPECT_EQ(text_in(fs, "a"), "(not_found)");
}

TEST(StorageFaults, WithoutDirectAccessOpeningForItFails) {
  SimFilesystem fs;
  fs.set_has_direct(false);
  durable_file(fs, "a", "");
  EXPECT_FALSE(fs.root()->has_direct());
  EXPECT_EQ(fs.root()->open("a", Access::direct).error().code, Code::failed);
}

TEST(StorageFaultsDeathTest, UnalignedDirectAccessIsABug) {
  SimFilesystem fs;
  auto file = durable_file(fs, "a", std::string(kBlockBytes, 'o'), Access::direct);
  alignas(4096) static std::byte memory[2 * kBlockBytes];
  must(file->read(0, MutableBytes(memory, kBlockBytes)));
  EXPECT_DEATH((void)file->read(512, MutableBytes(memory, kBlockBytes)), "CHECK failed");
  EXPECT_DEATH((void)file->read(0, MutableBytes(memory, 512)), "CHECK failed");
  EXPECT_DEATH((void)file->read(0, MutableBytes(memory + 512, kBlockBytes)), "CHECK failed");
  EXPECT_DEATH((void)file->write(0, bytes_of("short")), "CHECK failed");
}

}  // namespace
}  // namespace walraft::sim
