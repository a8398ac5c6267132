// Space in reserve: really held, given back in time, taken again when there is plenty (fault:S8).

#include "wal/ballast.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"

namespace walraft::wal {
namespace {

using sim::CrashChoice;
using sim::SimFilesystem;
using State = Ballast::State;

constexpr std::uint64_t kMiB = 1u << 20;

class BallastTest : public ::testing::Test {
 protected:
  BallastTest() { filesystem_.set_capacity(24 * kMiB); }

  void open(std::uint64_t bytes) {
    ballast_.reset();
    disk_.reset();
    root_ = filesystem_.root();
    disk_ = std::make_unique<sim::SimDisk>(filesystem_, clock_);
    auto ballast = Ballast::open(*root_, "ballast", bytes, *disk_);
    ASSERT_TRUE(ballast) << ballast.error().message;
    ballast_ = std::move(*ballast);
  }
  std::uint64_t free_bytes() { return root_->space()->free_bytes; }
  // Fills the disk up with another file.
  void fill() {
    auto file = root_->create("filler", Access::write);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->allocate((free_bytes() - 4 * kBlockBytes) & ~(kBlockBytes - 1)));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE(root_->sync());
  }
  Ballast::Done note(std::string& into) {
    return [&into](Result<void> result) {
      into += result ? "ok " : std::string(outcome_of(result.error().code).name) + " ";
    };
  }

  SimFilesystem filesystem_{1, "/data"};
  sim::SimClock clock_;
  std::unique_ptr<Directory> root_;
  std::unique_ptr<sim::SimDisk> disk_;
  std::unique_ptr<Ballast> ballast_;
};

TEST(BallastSizeTest, AutomaticSize) {
  EXPECT_EQ(automatic_ballast_bytes({.free_bytes = 0, .total_bytes = 24 * kMiB}), kMiB);
  EXPECT_EQ(automatic_ballast_bytes({.free_bytes = 0, .total_bytes = 1'000 * kMiB}), 20 * kMiB);
  EXPECT_EQ(automatic_ballast_bytes({.free_bytes = 0, .total_bytes = std::uint64_t{1} << 40}), 256 * kMiB);
  EXPECT_EQ(automatic_ballast_bytes({.free_bytes = 0, .total_bytes = 1'000'000'007}) % kBlockBytes, 0u);
}

TEST_F(BallastTest, HoldsSpaceDurably) {
  open(2 * kMiB);
  EXPECT_EQ(ballast_->state(), State::held);
  EXPECT_LE(free_bytes(), 22 * kMiB);
  filesystem_.crash(CrashChoice::lose_unsynced());
  EXPECT_EQ(filesystem_.size_of("ballast"), 2 * kMiB);
}

TEST_F(BallastTest, GivesBackAtZeroBytesFreeAndTakesAgain) {
  open(2 * kMiB);
  fill();
  std::string said;
  ballast_->release(note(said));
  EXPECT_EQ(ballast_->state(), State::releasing);
  disk_->settle();
  EXPECT_EQ(said, "ok ");
  EXPECT_EQ(ballast_->state(), State::released);
  EXPECT_GE(free_bytes(), 2 * kMiB);
  ballast_->release(note(said));
  EXPECT_EQ(said, "ok ok ") << "at once";

  ballast_->restore(note(said));
  EXPECT_EQ(said, "ok ok no_space ") << "just enough is not plenty: it would be let go again at once";
  EXPECT_EQ(ballast_->state(), State::released);
  ASSERT_TRUE(root_->remove("filler"));
  ballast_->restore(note(said));
  EXPECT_EQ(ballast_->state(), State::restoring);
  disk_->settle();
  EXPECT_EQ(said, "ok ok no_space ok ");
  EXPECT_EQ(ballast_->state(), State::held);
  ballast_->restore(note(said));
  EXPECT_EQ(said, "ok ok no_space ok ok ") << "at once";
  EXPECT_EQ(filesystem_.size_of("ballast"), 2 * kMiB);
}

TEST_F(BallastTest, SpaceThatRunsOutMeanwhile) {
  open(2 * kMiB);
  std::string said;
  ballast_->release(note(said));
  disk_->settle();
  ballast_->restore(note(said));
  fill();  // before the job has its turn
  disk_->settle();
  EXPECT_EQ(said, "ok no_space ");
  EXPECT_EQ(ballast_->state(), State::released);
  EXPECT_EQ(filesystem_.size_of("ballast"), 0u) << "half a ballast is none";
}

TEST_F(BallastTest, ReleaseOverrulesARestoreInProgress) {
  open(2 * kMiB);
  std::string said;
  ballast_->release(note(said));
  disk_->settle();
  ballast_->restore(note(said));
  ballast_->release(note(said));
  EXPECT_EQ(ballast_->state(), State::releasing);
  disk_->settle();
  EXPECT_EQ(said, "ok ok ok ");
  EXPECT_EQ(ballast_->state(), State::released);
  EXPECT_EQ(filesystem_.size_of("ballast"), 0u);
}

TEST_F(BallastTest, OtherSizeAtTheNextStart) {
  open(4 * kMiB);
  open(kMiB);
  EXPECT_EQ(filesystem_.size_of("ballast"), kMiB);
  EXPECT_GE(free_bytes(), 22 * kMiB);
  open(5 * kMiB);
  EXPECT_EQ(filesystem_.size_of("ballast"), 5 * kMiB);
  EXPECT_EQ(ballast_->state(), State::held);
  open(64 * kMiB);  // more than the disk has
  EXPECT_EQ(ballast_->state(), State::released);
  open(0);
  EXPECT_EQ(ballast_->state(), State::held);
}

TEST_F(BallastTest, NoRoomForTheFileItself) {
  root_ = filesystem_.root();
  auto file = root_->create("filler", Access::write);
  ASSERT_TRUE((*file)->allocate(23 * kMiB));
  filesystem_.set_capacity(filesystem_.used_bytes());
  open(kMiB);
  EXPECT_EQ(ballast_->state(), State::released);
  std::string said;
  ballast_->restore(note(said));
  EXPECT_EQ(said, "no_space ");
  filesystem_.set_capacity(64 * kMiB);
  ballast_->restore(note(said));
  disk_->settle();
  EXPECT_EQ(said, "no_space ok ");
  EXPECT_EQ(ballast_->state(), State::held);
}

TEST_F(BallastTest, MediumErrorStopsTheNode) {
  open(kMiB);
  filesystem_.inject({.kind = sim::FaultKind::sync_fails, .path = "ballast"});
  std::string said;
  ballast_->release(note(said));
  disk_->settle();
  EXPECT_EQ(filesystem_.faults_struck(), 1u);
  EXPECT_TRUE(disk_->failed());
  EXPECT_EQ(said, "");
}

TEST_F(BallastTest, GoneBeforeItsJobIsDone) {
  open(kMiB);
  std::string said;
  ballast_->release(note(said));
  ballast_.reset();
  disk_->settle();
  EXPECT_EQ(said, "");
}

TEST_F(BallastTest, PowerCutsAtEveryOperation) {
  int cuts = 0;
  for (std::uint64_t at = 1;; ++at) {
    SimFilesystem filesystem(at, "/data");
    filesystem.set_capacity(24 * kMiB);
    bool released = false;
    bool ended = false;
    {
      sim::SimClock clock;
      auto root = filesystem.root();
      sim::SimDisk disk(filesystem, clock);
      filesystem.crash_at(at);
      try {
        auto ballast = Ballast::open(*root, "ballast", 2 * kMiB, disk);
        ASSERT_TRUE(ballast);
        (*ballast)->release([&](Result<void>) { released = true; });
        disk.settle();
        (*ballast)->restore([&](Result<void>) { released = false; });
        released = false;
        disk.settle();
        ended = true;
      } catch (const sim::SimCrash&) {
      }
    }
    for (const auto& choice :
         {CrashChoice::lose_unsynced(), CrashChoice::keep_everything(), CrashChoice::keep_random(at),
          CrashChoice::keep_only_newest(), CrashChoice::kill_process()}) {
      auto after = filesystem.fork();
      after->crash(choice);
      sim::SimClock clock;
      auto root = after->root();
      sim::SimDisk disk(*after, clock);
      auto ballast = Ballast::open(*root, "ballast", 2 * kMiB, disk);
      ASSERT_TRUE(ballast) << ballast.error().message;
      EXPECT_EQ((*ballast)->state(), State::held);
      EXPECT_LE(root->space()->free_bytes, 22 * kMiB) << "really held";
      ++cuts;
    }
    if (ended) break;
  }
  std::printf("%d power cuts\n", cuts);
  EXPECT_GT(cuts, 40);
}

}  // namespace
}  // namespace walraft::wal
