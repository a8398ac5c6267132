// The catalogue in the simulator: logs are made, deleted and made again, over restarts and over a crash at every
// operation of a deletion.
#include "replication/state/catalogue.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"
#include "tests/sim/sim_rng.h"
#include "wal/batch.h"
#include "wal/hard_state.h"

namespace walraft::replication {
namespace {

constexpr Uuid kCluster{{1, 2, 3}};

// A node's logs on a simulated disk, without a loop: settle() takes the turns.
class World {
 public:
  explicit World(sim::SimFilesystem& filesystem, bool is_new = false)
      : filesystem_(filesystem), rng_(is_new ? 11 : 12) {
    if (is_new) {
      EXPECT_TRUE(wal::HardStateFile::create(*root_, "hard_state", Uuid{{7}}));
      EXPECT_TRUE(root_->subdirectory("logs", true) && root_->sync());
    }
    hard_state_ = std::move(*wal::HardStateFile::open(*root_, "hard_state", Uuid{{7}}, wal::Access::direct, disk_));
    shard_ = std::make_unique<Shard>(Self{NodeId{1}, Uuid{{7}}}, Limits{}, Timing{}, disk_, *hard_state_, peers_,
                                     clock_, rng_, [] {});
    wal::LogOptions options;
    options.segment_bytes = options.first_segment_bytes = wal::kSegmentBytesMin;
    auto opened = Catalogue::open(*shard_, std::move(*root_->subdirectory("logs", false)), kCluster, options);
    EXPECT_TRUE(opened) << opened.error().message;
    catalogue_ = std::move(*opened);
    catalogue_->on_removed([this](Replica& replica) { removed_.push_back(replica.name()); });
  }

  void settle() {
    for (int i = 0; i < 6; ++i) {
      shard_->turn();
      disk_.settle();
      shard_->disk_turn();
    }
  }
  void pass_us(std::uint64_t us) {
    for (std::uint64_t at = 0; at < us; at += 100'000) {
      shard_->tick();
      disk_.run_for_us(100'000);
      shard_->disk_turn();
    }
    settle();
  }

  Code create(const std::string& name, const LogConfig& config = {}) {
    std::optional<Code> code;
    catalogue_->create({.name = name, .config = config},
                       [&](Result<Catalogue::MadeLog> made) { code = made ? Code::ok : made.error().code; });
    for (int i = 0; i < 80 && !code; ++i) pass_us(100'000);
    return code.value_or(Code::unknown);
  }
  Code remove(const std::string& name, const Uuid& uuid = {}) {
    std::optional<Code> code;
    catalogue_->remove(name, uuid, [&](const Result<void>& done) { code = done ? Code::ok : done.error().code; });
    for (int i = 0; i < 80 && !code; ++i) pass_us(100'000);
    return code.value_or(Code::unknown);
  }
  void start_append(const std::string& name, std::string_view record, Replica::AppendTerms terms = {}) {
    Replica* replica = catalogue_->find(name);
    ASSERT_NE(replica, nullptr);
    wal::BatchBuilder builder;
    ASSERT_TRUE(builder.add(bytes_of(record)));
    const MutableBytes batch = builder.finish({.log_id = replica->identity().id});
    const auto header = wal::decode_unstamped_batch(batch);
    replica->append(batch, *header, terms, [this](Result<Committed> answer) {
      answers_.push_back(answer ? Code::ok : answer.error().code);
    });
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const CatalogueEntry* entry : catalogue_->list()) names.push_back(entry->name);
    return names;
  }
  std::size_t folders() const {  // but that of `_system`
    const auto logs = root_->subdirectory("logs", false);
    return (*logs)->list()->size() - 1;
  }

  sim::SimFilesystem& filesystem_;
  sim::SimClock clock_;
  sim::SimRng rng_;  // another one after a restart: uuids must differ
  std::unique_ptr<wal::Directory> root_ = filesystem_.root();
  sim::SimDisk disk_{filesystem_, clock_};
  std::unique_ptr<wal::HardStateFile> hard_state_;
  NoPeers peers_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Catalogue> catalogue_;
  std::vector<std::string> removed_;
  std::vector<Code> answers_;
};

TEST(Catalogue, KeepsTheConfigurationOfALogOverRestarts) {
  sim::SimFilesystem filesystem(3);
  const LogConfig config{.replicas = 1, .segment_bytes = 2 * wal::kSegmentBytesMin, .record_bytes_max = 10};
  {
    World world(filesystem, true);
    EXPECT_EQ(world.create("small", config), Code::ok);
    EXPECT_EQ(world.create("plain"), Code::ok);
  }
  World world(filesystem);
  EXPECT_EQ(world.names(), (std::vector<std::string>{"plain", "small"}));
  EXPECT_EQ(world.catalogue_->entry("small")->config, config);
  EXPECT_EQ(world.catalogue_->entry("plain")->config, LogConfig{});
  EXPECT_EQ(world.catalogue_->entry("none"), nullptr);
  world.start_append("small", "ten bytes!");
  world.start_append("small", "eleven byte");
  world.start_append("plain", "eleven byte");
  world.settle();
  EXPECT_EQ(world.answers_, (std::vector{Code::ok, Code::too_large, Code::ok}));
}

TEST(Catalogue, DeletesALogWithItsFilesAndItsHardState) {
  sim::SimFilesystem filesystem(3);
  World world(filesystem, true);
  ASSERT_EQ(world.create("gone"), Code::ok);
  ASSERT_EQ(world.create("stays"), Code::ok);
  world.start_append("gone", "a");
  world.start_append("stays", "a");
  world.pass_us(2'000'000);
  const Uuid uuid = world.catalogue_->entry("gone")->uuid;
  ASSERT_TRUE(world.hard_state_->find(uuid));
  ASSERT_EQ(world.folders(), 2u);
  EXPECT_EQ(world.remove("gone", Uuid{{9}}), Code::not_found) << "that is another log's uuid";
  EXPECT_EQ(world.remove("gone", uuid), Code::ok);
  EXPECT_EQ(world.removed_, std::vector<std::string>{"gone"});
  EXPECT_EQ(world.names(), std::vector<std::string>{"stays"});
  EXPECT_EQ(world.catalogue_->find("gone"), nullptr);
  world.pass_us(2'000'000);
  EXPECT_EQ(world.folders(), 1u);
  EXPECT_FALSE(world.hard_state_->find(uuid));
  EXPECT_EQ(world.remove("gone"), Code::not_found);
  EXPECT_EQ(world.remove("_system"), Code::not_found);
  EXPECT_FALSE(world.catalogue_->busy());
}

// It used to give up without a word.
TEST(Catalogue, SaysWhatOfADeletedLogItCouldNotRemove) {
  sim::SimFilesystem filesystem(3);
  World world(filesystem, true);
  ASSERT_EQ(world.create("log"), Code::ok);
  world.pass_us(1'000'000);
  const std::string folder = to_string(world.catalogue_->entry("log")->uuid);
  const auto logs = world.root_->subdirectory("logs", false);
  const auto its = (*logs)->subdirectory(folder, false);
  const auto foreign = (*its)->subdirectory("foreign", true);
  ASSERT_TRUE(foreign && (*foreign)->subdirectory("in it", true));
  std::vector<std::string> said;
  world.catalogue_->on_left_behind([&](const Error& error) { said.push_back(error.message); });
  EXPECT_EQ(world.remove("log"), Code::ok);
  world.pass_us(15'000'000);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find(folder), std::string::npos) << said[0];
}

TEST(Catalogue, GivesAFreedNameToANewLog) {
  sim::SimFilesystem filesystem(3);
  Uuid first, second;
  {
    World world(filesystem, true);
    ASSERT_EQ(world.create("log"), Code::ok);
    first = world.catalogue_->entry("log")->uuid;
    world.start_append("log", "of the first");
    world.settle();
    // All at once: the second one waits for the name.
    std::vector<std::string> order;
    world.catalogue_->remove("log", {}, [&](const Result<void>& done) { order.push_back(done ? "removed" : "failed"); });
    world.catalogue_->remove("log", {}, [&](const Result<void>& done) { order.push_back(done ? "removed" : "failed"); });
    world.catalogue_->create({.name = "log"},
                             [&](Result<Catalogue::MadeLog> made) { order.push_back(made ? "made" : "failed"); });
    world.pass_us(1'000'000);
    EXPECT_EQ(order, (std::vector<std::string>{"removed", "removed", "made"}));
    second = world.catalogue_->entry("log")->uuid;
    EXPECT_NE(first, second);
    EXPECT_EQ(world.catalogue_->find("log")->committed(), Offset(0));
  }
  World world(filesystem);
  EXPECT_EQ(world.catalogue_->entry("log")->uuid, second);
  EXPECT_EQ(world.catalogue_->find("log")->committed(), Offset(0));
  EXPECT_TRUE(world.catalogue_->findings().empty());
}

// Who asked second was told so too, and who asked behind a removal was not.
TEST(Catalogue, TellsOneOfThoseWhoWantALogThatItIsNew) {
  sim::SimFilesystem filesystem(3);
  World world(filesystem, true);
  std::vector<bool> is_new;
  const auto create = [&] {
    world.catalogue_->create({.name = "log"}, [&](Result<Catalogue::MadeLog> made) { is_new.push_back(made->is_new); });
  };
  create();
  create();
  world.pass_us(1'000'000);
  create();
  world.catalogue_->remove("log", {}, [](const Result<void>&) {});
  create();
  world.pass_us(1'000'000);
  EXPECT_EQ(is_new, (std::vector<bool>{true, false, false, true}));
}

TEST(Catalogue, AnswersWhatWaitsForADeletedLog) {
  sim::SimFilesystem filesystem(3);
  World world(filesystem, true);
  ASSERT_EQ(world.create("log"), Code::ok);
  std::optional<Code> removed;
  world.catalogue_->remove("log", {}, [&](const Result<void>& done) { removed = done ? Code::ok : done.error().code; });
  world.shard_->turn();
  for (int i = 0; i < 3; ++i) world.start_append("log", "x");  // its vote is not on the disk yet
  EXPECT_TRUE(world.answers_.empty());
  for (int i = 0; i < 20 && !removed; ++i) world.pass_us(100'000);
  EXPECT_EQ(removed, Code::ok);
  EXPECT_EQ(world.answers_.size(), 3u);
  EXPECT_EQ(world.shard_->inflight_bytes(), 0u);
}

// A deletion is cut off at every operation of the disk. What was answered stays so, and in the end no file is left.
TEST(Catalogue, SurvivesACrashAtEveryStepOfADeletion) {
  sim::SimFilesystem filesystem(3);
  struct Moment {
    std::unique_ptr<sim::SimFilesystem> disk;
    bool answered;
  };
  std::vector<Moment> moments;
  Uuid uuid;
  {
    World world(filesystem, true);
    ASSERT_EQ(world.create("log"), Code::ok);
    world.start_append("log", "record");
    world.pass_us(2'000'000);
    uuid = world.catalogue_->entry("log")->uuid;
    bool answered = false;
    filesystem.set_observer([&](const sim::Operation&) { moments.push_back({filesystem.fork(), answered}); });
    world.catalogue_->remove("log", {}, [&](const Result<void>& done) { answered = done.has_value(); });
    world.pass_us(3'000'000);
    filesystem.set_observer({});
    EXPECT_TRUE(answered);
    EXPECT_EQ(world.folders(), 0u);
  }
  ASSERT_GT(moments.size(), 5u);
  std::size_t there = 0, gone = 0;
  for (std::size_t i = 0; i < moments.size(); ++i) {
    SCOPED_TRACE(i);
    moments[i].disk->crash({});
    World world(*moments[i].disk);
    const CatalogueEntry* entry = world.catalogue_->entry("log");
    if (entry != nullptr) {
      ++there;
      EXPECT_FALSE(moments[i].answered) << "it was deleted, and is back";
      EXPECT_EQ(entry->uuid, uuid);
      EXPECT_EQ(world.catalogue_->find("log")->committed(), Offset(1));
      continue;
    }
    ++gone;
    world.pass_us(12'000'000);
    EXPECT_EQ(world.folders(), 0u);
    EXPECT_FALSE(world.hard_state_->find(uuid));
    EXPECT_EQ(world.create("log"), Code::ok);
    EXPECT_NE(world.catalogue_->entry("log")->uuid, uuid);
  }
  EXPECT_GT(there, 0u);
  EXPECT_GT(gone, 0u);
}

// It used to be refused with no_space and to be there afterwards.
TEST(Catalogue, ALogThatFoundNoSpaceIsNotThere) {
  sim::SimFilesystem filesystem(3);
  {
    World world(filesystem, true);
    ASSERT_EQ(world.create("first"), Code::ok);
    world.pass_us(1'000'000);
    filesystem.set_capacity(filesystem.used_bytes());
    EXPECT_EQ(world.create("second"), Code::no_space);
    EXPECT_EQ(world.names(), std::vector<std::string>{"first"});
    world.pass_us(15'000'000);
    EXPECT_EQ(world.folders(), 1u);
  }
  filesystem.set_capacity(1u << 30);
  World world(filesystem);
  EXPECT_EQ(world.names(), std::vector<std::string>{"first"});
  EXPECT_EQ(world.create("second"), Code::ok);
}

// Clients were told that there was no such log.
TEST(Catalogue, ALogWithoutFilesGetsThemWhenThereIsRoom) {
  sim::SimFilesystem filesystem(3);
  {
    World world(filesystem, true);
    ASSERT_EQ(world.create("log"), Code::ok);
    world.pass_us(1'000'000);
    const auto logs = world.root_->subdirectory("logs", false);
    const auto folder = (*logs)->subdirectory(to_string(world.catalogue_->entry("log")->uuid), false);
    ASSERT_TRUE(folder);
    const auto files = (*folder)->list();
    for (const auto& file : *files) ASSERT_TRUE((*folder)->remove(file.name));
  }
  filesystem.set_capacity(filesystem.used_bytes());
  World world(filesystem);
  ASSERT_NE(world.catalogue_->entry("log"), nullptr);
  EXPECT_EQ(world.catalogue_->find("log"), nullptr) << "the test is about a log without files";
  const auto refused = world.catalogue_->open_log("log");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::no_space) << refused.error().message;
  EXPECT_EQ(world.catalogue_->open_log("other").error().code, Code::not_found);
  filesystem.set_capacity(1u << 30);
  const auto opened = world.catalogue_->open_log("log");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(*opened, world.catalogue_->find("log"));
}

TEST(Catalogue, LeavesFoldersAloneThatNoLogEverHad) {
  sim::SimFilesystem filesystem(3);
  {
    World world(filesystem, true);
    ASSERT_EQ(world.create("log"), Code::ok);
    auto foreign = world.root_->subdirectory("logs", false);
    ASSERT_TRUE((*foreign)->subdirectory("00000000-0000-4000-8000-000000000001", true));
  }
  World world(filesystem);
  ASSERT_EQ(world.catalogue_->findings().size(), 1u);
  EXPECT_NE(world.catalogue_->findings()[0].find("belongs to no log"), std::string::npos);
  world.pass_us(2'000'000);
  EXPECT_EQ(world.folders(), 2u);
}

// --- Chains -----------------------------------------------------------------------------------------------------------

TEST(Chain, NothingIsWrittenBehindWhatWasRefused) {
  sim::SimFilesystem filesystem(3);
  World world(filesystem, true);
  ASSERT_EQ(world.create("log", {.record_bytes_max = 5}), Code::ok);
  const auto chain = std::make_shared<Replica::Chain>();
  world.start_append("log", "1", {.chain = chain});
  world.start_append("log", "too large", {.chain = chain});
  world.start_append("log", "2", {.chain = chain});
  world.start_append("log", "3");  // another session's
  world.settle();
  EXPECT_EQ(world.answers_, (std::vector{Code::ok, Code::too_large, Code::unavailable, Code::ok}));
  EXPECT_EQ(world.catalogue_->find("log")->committed(), Offset(2));

  const auto other = std::make_shared<Replica::Chain>();
  world.answers_.clear();
  world.start_append("log", "4", {.expect_offset = Offset(2), .chain = other});
  world.start_append("log", "5", {.expect_offset = Offset(7), .chain = other});
  world.start_append("log", "6", {.expect_offset = Offset(3), .chain = other});
  world.settle();
  EXPECT_EQ(world.answers_, (std::vector{Code::ok, Code::condition_failed, Code::unavailable}));
}

}  // namespace
}  // namespace walraft::replication
