// Making and opening data directories on the simulated filesystem: whole, half-made, damaged, and
// other people's (fault:O2, O6, O9, S13, S17, P12); power cuts at every operation.

#include "wal/data_directory.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"

namespace walraft::wal {
namespace {

using sim::CrashChoice;
using sim::SimFilesystem;

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes.fill(n);
  return id;
}

// One process on a machine's storage.
struct Process {
  explicit Process(SimFilesystem& filesystem_of, std::uint64_t seed = 1) : filesystem(filesystem_of), rng(seed) {}

  Result<std::unique_ptr<DataDirectory>> open(const DataDirectoryOptions& options) {
    return DataDirectory::open(filesystem.root(), disk, clock, rng, options);
  }

  SimFilesystem& filesystem;
  sim::SimClock clock;
  sim::SimDisk disk{filesystem, clock};
  sim::SimRng rng;
};

DataDirectoryOptions orders_7() {
  DataDirectoryOptions options;
  options.cluster_name = "orders";
  options.node = NodeId{7};
  options.reserve_bytes = 1u << 20;
  return options;
}

void expect_refused(const Result<std::unique_ptr<DataDirectory>>& result, Code code,
                    std::initializer_list<std::string_view> parts) {
  ASSERT_FALSE(result);
  EXPECT_EQ(outcome_of(result.error().code).name, outcome_of(code).name) << result.error().message;
  for (const std::string_view part : parts) {
    EXPECT_NE(result.error().message.find(part), std::string::npos)
        << "\"" << part << "\" is not in: " << result.error().message;
  }
}

class DataDirectoryTest : public ::testing::Test {
 protected:
  // Makes a directory and gives one log a vote; returns its identity.
  Identity make() {
    Process process(filesystem_);
    auto data = process.open(orders_7());
    CHECK(data.has_value(), data.error().message);
    CHECK((*data)->is_new());
    CHECK((*data)->hard_state().write(uuid(1), {.term = Term(3), .voted_for = NodeId{2}}, nullptr).has_value());
    (*data)->hard_state().flush();
    process.disk.settle();
    return (*data)->identity();
  }
  Result<std::unique_ptr<DataDirectory>> open(const DataDirectoryOptions& options = orders_7()) {
    process_ = std::make_unique<Process>(filesystem_, 99);
    return process_->open(options);
  }

  SimFilesystem filesystem_{1, "/data"};
  std::unique_ptr<Process> process_;
};

TEST_F(DataDirectoryTest, IsMadeOnceAndFoundAgain) {
  const Identity identity = make();
  EXPECT_EQ(identity.cluster_name, "orders");
  EXPECT_EQ(identity.node, NodeId{7});
  EXPECT_EQ(identity.created_us, 1'700'000'001'000'000);
  for (const char* name : {"LOCK", "identity", "hard_state", "ballast", "logs"})
    EXPECT_TRUE(filesystem_.exists(name)) << name;
  EXPECT_FALSE(filesystem_.exists("identity.new"));
  for (int i = 0; i < 2; ++i) {
    filesystem_.crash(i == 0 ? CrashChoice::kill_process() : CrashChoice::lose_unsynced());
    auto data = open();
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_FALSE((*data)->is_new());
    EXPECT_EQ((*data)->identity(), identity);
    EXPECT_EQ((*data)->hard_state().find(uuid(1))->voted_for, NodeId{2});
    EXPECT_EQ((*data)->access(), Access::direct);
    EXPECT_EQ((*data)->ballast().state(), Ballast::State::held);
    EXPECT_TRUE((*data)->notices().empty());
    EXPECT_TRUE((*data)->logs().list()->empty());
    data->reset();
    process_.reset();
  }
}

TEST_F(DataDirectoryTest, LostAndFoundIsNobodys) {
  {
    auto root = filesystem_.root();
    ASSERT_TRUE(root->subdirectory("lost+found", true));
  }
  EXPECT_TRUE(open());
}

TEST_F(DataDirectoryTest, GivenClusterIsTaken) {
  DataDirectoryOptions options = orders_7();
  options.cluster = uuid(0xc7);
  {
    auto data = open(options);
    ASSERT_TRUE(data);
    EXPECT_EQ((*data)->identity().cluster, uuid(0xc7));
  }
  EXPECT_TRUE(open(options));
}

// --- Refusals --------------------------------------------------------------------------------------

TEST_F(DataDirectoryTest, SecondProcessIsRefused) {  // fault:P12; two real ones: data_directory_posix_test.cc
  auto first = open();
  ASSERT_TRUE(first);
  Process second(filesystem_);
  expect_refused(second.open(orders_7()), Code::unavailable, {"/data", "process"});
}

TEST_F(DataDirectoryTest, OtherClusterIsRefused) {  // fault:O2, O6
  make();
  DataDirectoryOptions options = orders_7();
  options.cluster_name = "payments";
  expect_refused(open(options), Code::denied, {"/data", "\"orders\"", "\"payments\"", "cluster.name"});
  options = orders_7();
  options.cluster = uuid(0xee);
  expect_refused(open(options), Code::denied, {"eeeeeeee-eeee", "orders"});
}

TEST_F(DataDirectoryTest, OtherNodeIsRefused) {
  make();
  DataDirectoryOptions options = orders_7();
  options.node = NodeId{8};
  expect_refused(open(options), Code::denied, {"node 7", "node 8", "node.id"});
}

TEST_F(DataDirectoryTest, ForeignDirectoryIsRefusedAndLeftAlone) {
  {
    auto root = filesystem_.root();
    ASSERT_TRUE(root->create("thesis.tex", Access::write));
  }
  expect_refused(open(), Code::denied, {"not empty", "\"thesis.tex\""});
  EXPECT_FALSE(filesystem_.exists("LOCK"));
}

TEST_F(DataDirectoryTest, EmptyDirectoryWhereDataIsExpected) {  // fault:O9, the empty mount point
  DataDirectoryOptions options = orders_7();
  options.may_create = false;
  expect_refused(open(options), Code::not_found, {"is empty", "mounted"});
  EXPECT_FALSE(filesystem_.exists("LOCK"));
}

TEST_F(DataDirectoryTest, MissingIdentityIsNeverAsNew) {  // fault:O9
  make();
  filesystem_.delete_on_medium("identity");
  for (const char* gone : {"", "hard_state", "logs", "LOCK"}) {  // whatever else is missing; at last, of what
    if (*gone != '\0') filesystem_.delete_on_medium(gone);   // we made, only the ballast is left
    expect_refused(open(), Code::corrupt, {"no identity"});
  }
}

TEST_F(DataDirectoryTest, LostIdentityIsNotTakenForHalfMade) {
  make();
  filesystem_.delete_on_medium("identity");
  {
    auto root = filesystem_.root();
    ASSERT_TRUE(root->create("identity.new", Access::write));
  }
  expect_refused(open(), Code::corrupt, {"no identity"});
  filesystem_.delete_on_medium("ballast");
  {
    auto logs = filesystem_.root()->subdirectory("logs", false);
    ASSERT_TRUE((*logs)->create("a-log", Access::write));
  }
  expect_refused(open(), Code::corrupt, {"logs/ is not empty", "a-log"});
  EXPECT_TRUE(filesystem_.exists("hard_state")) << "nothing was removed";
}

TEST_F(DataDirectoryTest, MissingPartsAreRefused) {  // fault:S17
  for (const char* part : {"hard_state", "logs"}) {
    SimFilesystem& filesystem = filesystem_;
    if (!filesystem.exists("identity")) make();
    const auto saved = std::string(part) == "hard_state" ? filesystem.image(part) : sim::Image{};
    filesystem.delete_on_medium(part);
    expect_refused(open(), Code::corrupt, {part, "missing", "vote twice"});
    EXPECT_FALSE(filesystem.exists(part)) << "not made anew";
    if (std::string(part) == "hard_state") {
      ASSERT_TRUE(filesystem.root()->create(part, Access::write));
      filesystem.restore(part, saved);
      EXPECT_TRUE(open());
      process_.reset();
    }
  }
}

TEST_F(DataDirectoryTest, HardStateOfAnotherDiskIsRefused) {
  make();
  SimFilesystem other(2, "/other");
  sim::Image foreign;
  {
    Process process(other, 77);
    ASSERT_TRUE(process.open(orders_7()));
    foreign = other.image("hard_state");
  }
  filesystem_.restore("hard_state", foreign);
  expect_refused(open(), Code::denied, {"hard_state", "another node"});
}

TEST_F(DataDirectoryTest, DirectModeThatIsMissing) {
  filesystem_.set_has_direct(false);
  DataDirectoryOptions options = orders_7();
  options.sync = SyncMode::direct;
  expect_refused(open(options), Code::invalid, {"storage.sync", "O_DIRECT", "buffered"});
  options.sync = SyncMode::automatic;
  {
    auto data = open(options);
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ((*data)->access(), Access::write);
    ASSERT_EQ((*data)->notices().size(), 1u);
    EXPECT_NE((*data)->notices()[0].find("writes are buffered"), std::string::npos);
  }
  filesystem_.set_has_direct(true);
  options.sync = SyncMode::buffered;
  auto data = open(options);
  EXPECT_EQ((*data)->access(), Access::write);
  EXPECT_TRUE((*data)->notices().empty());
}

TEST_F(DataDirectoryTest, BadNamesMakeNothing) {
  DataDirectoryOptions options = orders_7();
  options.cluster_name = "";
  expect_refused(open(options), Code::invalid, {"cluster.name"});
  options = orders_7();
  options.node = NodeId{};
  expect_refused(open(options), Code::invalid, {"node.id"});
  EXPECT_FALSE(filesystem_.exists("identity.new"));
}

TEST_F(DataDirectoryTest, DiskTooSmallToMakeOne) {
  filesystem_.set_capacity(3u << 20);
  expect_refused(open(), Code::no_space, {"making the data directory /data"});
  filesystem_.set_capacity(64u << 20);
  auto data = open();
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_TRUE((*data)->is_new());
}

TEST_F(DataDirectoryTest, FullDiskOpens) {  // fault:S8: a restart at 0 bytes free
  make();
  filesystem_.delete_on_medium("ballast");
  filesystem_.set_capacity(filesystem_.used_bytes());
  auto data = open();
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)->ballast().state(), Ballast::State::released);
  ASSERT_EQ((*data)->notices().size(), 1u);
  EXPECT_NE((*data)->notices()[0].find("no room for the ballast"), std::string::npos);
  ASSERT_TRUE((*data)->hard_state().write(uuid(2), {.term = Term(9)}, nullptr));
  (*data)->hard_state().flush();
  process_->disk.settle();
  EXPECT_TRUE((*data)->hard_state().idle());
}

// --- Damage ----------------------------------------------------------------------------------------

TEST_F(DataDirectoryTest, DamageOfOneCopyIsMendedAndSaid) {
  const Identity identity = make();
  filesystem_.flip_bit("identity", 5, 1);
  filesystem_.flip_bit("hard_state", 17, 1);
  {
    auto data = open();
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ((*data)->identity(), identity);
    EXPECT_EQ((*data)->notices().size(), 2u);
  }
  auto data = open();
  EXPECT_TRUE((*data)->notices().empty());
}

TEST_F(DataDirectoryTest, DamagedIdentityIsRefused) {
  make();
  filesystem_.flip_bit("identity", 5, 1);
  filesystem_.flip_bit("identity", kBlockBytes + 5, 1);
  expect_refused(open(), Code::corrupt, {"identity", "both copies"});
}

// --- Offline ---------------------------------------------------------------------------------------

TEST_F(DataDirectoryTest, OfflineLooksWithoutTouching) {
  const Identity identity = make();
  filesystem_.flip_bit("identity", 5, 1);
  const auto image = filesystem_.image("identity");
  {
    const auto data = OfflineDataDirectory::open(filesystem_.root());
    ASSERT_TRUE(data) << data.error().message;
    EXPECT_EQ(data->identity, identity);
    EXPECT_EQ(data->damage.size(), 1u);
    ASSERT_EQ(data->hard_state.logs.size(), 1u);
    EXPECT_EQ(data->hard_state.logs[0].state.term, Term(3));
    expect_refused(open(), Code::unavailable, {});
  }
  EXPECT_EQ(OfflineDataDirectory::open(filesystem_.root())->damage.size(), 1u) << "not mended";
  filesystem_.delete_on_medium("hard_state");
  filesystem_.delete_on_medium("logs");
  const auto data = OfflineDataDirectory::open(filesystem_.root());
  ASSERT_TRUE(data);
  EXPECT_EQ(data->damage.size(), 3u);
  EXPECT_EQ(data->logs, nullptr);
}

TEST_F(DataDirectoryTest, OfflineRefusals) {
  const auto nothing = OfflineDataDirectory::open(filesystem_.root());
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Code::not_found);
  EXPECT_FALSE(filesystem_.exists("LOCK"));
  {
    auto data = open();
    const auto busy = OfflineDataDirectory::open(filesystem_.root());
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().code, Code::unavailable);
  }
  filesystem_.delete_on_medium("identity");
  EXPECT_EQ(OfflineDataDirectory::open(filesystem_.root()).error().code, Code::corrupt);
}

// --- Power cuts ------------------------------------------------------------------------------------

std::vector<CrashChoice> choices() {
  std::vector<CrashChoice> all{CrashChoice::lose_unsynced(), CrashChoice::keep_everything(),
                               CrashChoice::keep_only_newest(), CrashChoice::lose_only_newest(),
                               CrashChoice::kill_process()};
  for (std::uint64_t seed = 1; seed <= 3; ++seed) all.push_back(CrashChoice::keep_random(seed));
  return all;
}

// Opens after a crash and checks that it is whole; once it was made for good, it stays the same.
void expect_whole(SimFilesystem& filesystem, std::optional<Identity>& known, std::uint64_t seed) {
  Process process(filesystem, seed);
  auto data = process.open(orders_7());
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_TRUE(!known || (*data)->identity() == *known) << "made anew over a whole one";
  known = (*data)->identity();
  EXPECT_TRUE((*data)->hard_state().contents().damage.empty());
  EXPECT_FALSE(filesystem.exists("identity.new"));
}

TEST(DataDirectoryCrashTest, FirstCreationAtEveryOperation) {
  std::uint64_t operations = 0;
  int cuts = 0;
  for (std::uint64_t at = 1; at == 1 || at <= operations; ++at) {
    SimFilesystem filesystem(at, "/data");
    std::optional<Identity> made;
    {
      Process process(filesystem);
      filesystem.crash_at(at);
      try {
        auto data = process.open(orders_7());
        ASSERT_TRUE(data);
        operations = filesystem.operations();
        made = (*data)->identity();
      } catch (const sim::SimCrash&) {
        operations = at + 1;
      }
    }
    for (const CrashChoice& choice : choices()) {
      auto after = filesystem.fork();
      after->crash(choice);
      std::optional<Identity> known = made;
      // Some starts are cut again, at every operation of their own.
      for (std::uint64_t second = 1; second <= (cuts % 19 == 0 ? 25u : 0u); ++second) {
        auto twice = after->fork();
        twice->crash(CrashChoice::keep_everything());
        {
          Process process(*twice, 5);
          twice->crash_at(twice->operations() + second);
          try {
            auto data = process.open(orders_7());
            ASSERT_TRUE(data) << data.error().message;
          } catch (const sim::SimCrash&) {
          }
        }
        twice->crash(choice);
        std::optional<Identity> known_then = made;
        expect_whole(*twice, known_then, 6);
      }
      expect_whole(*after, known, 7);
      // What the process that opened it relied on is durable.
      after->crash(CrashChoice::lose_unsynced());
      expect_whole(*after, known, 8);
      ++cuts;
    }
  }
  std::printf("%d power cuts at %llu operations\n", cuts, static_cast<unsigned long long>(operations));
  EXPECT_GT(operations, 10u);
}

// A process that is killed right after the rename has told nobody, but the next one finds the name,
// and may vote: a power cut must then not bring back the half-made directory.
TEST(DataDirectoryCrashTest, RegressionIdentityIsSyncedBeforeItIsRelied) {
  SimFilesystem filesystem(1, "/data");
  std::uint64_t rename_at = 0;
  filesystem.set_observer([&](const sim::Operation& operation) {
    if (operation.kind == sim::OperationKind::rename) rename_at = operation.number;
  });
  {
    SimFilesystem probe(1, "/data");
    probe.set_observer([&](const sim::Operation& operation) {
      if (operation.kind == sim::OperationKind::rename) rename_at = operation.number;
    });
    Process process(probe);
    ASSERT_TRUE(process.open(orders_7()));
  }
  ASSERT_GT(rename_at, 0u);
  filesystem.set_observer(nullptr);
  {
    Process process(filesystem);
    filesystem.crash_at(rename_at, sim::CrashMoment::after);
    EXPECT_THROW((void)process.open(orders_7()), sim::SimCrash);
  }
  filesystem.crash(CrashChoice::kill_process());
  std::optional<Identity> known;
  expect_whole(filesystem, known, 3);
  filesystem.crash(CrashChoice::lose_unsynced());
  expect_whole(filesystem, known, 4);
}

}  // namespace
}  // namespace walraft::wal
