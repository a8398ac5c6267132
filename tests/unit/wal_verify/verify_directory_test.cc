// verify_data_directory(): identity, hard state and logs of a whole node.

#include <gmock/gmock.h>

#include "tests/unit/wal_log/log_world.h"
#include "wal/data_directory.h"
#include "wal/hard_state_format.h"
#include "wal/verify.h"

namespace walraft::wal {
namespace {

using ::testing::HasSubstr;

class VerifyDirectory : public ::testing::Test {
 protected:
  static constexpr Uuid kLogs[] = {Uuid{{0x10, 1}}, Uuid{{0x20, 2}}};

  void SetUp() override {
    {
      sim::SimDisk disk(filesystem_, clock_);
      sim::SimRng rng(3);
      auto data = open(disk, rng);
      ASSERT_TRUE(data) << data.error().message;
      for (const Uuid& uuid : kLogs) write_log(**data, disk, rng, uuid);
    }
    filesystem_.crash(sim::CrashChoice::kill_process());
  }

  Result<std::unique_ptr<DataDirectory>> open(sim::SimDisk& disk, Rng& rng) {
    DataDirectoryOptions options;
    options.cluster_name = "orders";
    options.node = NodeId{1};
    options.reserve_bytes = 1u << 20;
    return DataDirectory::open(filesystem_.root(), disk, clock_, rng, options);
  }

  void write_log(DataDirectory& data, sim::SimDisk& disk, Rng& rng, const Uuid& uuid) {
    auto directory = data.logs().subdirectory(to_string(uuid), true);
    ASSERT_TRUE(directory);
    ASSERT_TRUE(data.logs().sync());
    auto log = Log::open(std::move(*directory), {data.identity().cluster, uuid, LogId(7)}, small_options(),
                         data.hard_state(), disk, clock_, rng);
    ASSERT_TRUE(log) << log.error().message;
    for (int i = 0; i < 20; ++i) {
      BatchBuilder builder;
      ASSERT_TRUE(builder.add(bytes_of(record_text(static_cast<std::uint64_t>(i), 500))));
      const MutableBytes batch = builder.finish({.log_id = LogId(7)});
      const LogPoint tail = (*log)->tail();
      stamp_batch(batch, {tail.index, tail.offset, Term(1), tail.index, clock_.wall_us()}, tail.digest);
      ASSERT_TRUE((*log)->append(batch));
      (*log)->flush();
      disk.settle();
    }
    for (int i = 0; i < 25; ++i) {
      disk.run_for_us(100'000);
      (*log)->tick();
      data.hard_state().flush();
    }
    disk.settle();
  }

  Result<Verification> verify(const VerifyOptions& options = {}) {
    const std::uint64_t operations = filesystem_.operations();
    auto result = verify_data_directory(*filesystem_.root(), options);
    EXPECT_EQ(filesystem_.operations(), operations) << "it wrote";
    return result;
  }
  std::vector<VerifyFinding> damage() {
    auto result = verify();
    EXPECT_TRUE(result) << result.error().message;
    std::vector<VerifyFinding> found;
    if (!result) return found;
    for (const VerifyFinding& f : result->findings) {
      if (f.is_damage) found.push_back(f);
    }
    for (const LogVerification& log : result->logs) {
      for (const VerifyFinding& f : log.findings) {
        if (f.is_damage) found.push_back(f);
      }
    }
    EXPECT_EQ(result->is_damaged(), !found.empty());
    return found;
  }
  std::uint16_t slot_of(const Uuid& log) {
    std::vector<std::byte> bytes(hard_state::kFileBytes);
    filesystem_.image("hard_state").read(0, bytes);
    for (std::uint16_t slot = 0; slot < 16; ++slot) {
      for (const int pair : {0, 1}) {
        const auto at = bytes.data() + hard_state::region_position(pair, 0) + slot * hard_state::kSlotBytes + 16;
        if (std::memcmp(at, log.bytes.data(), log.bytes.size()) == 0) return slot;
      }
    }
    ADD_FAILURE() << "no slot";
    return 0;
  }

  sim::SimFilesystem filesystem_{21};
  sim::SimClock clock_;
};

TEST_F(VerifyDirectory, a_sound_node_is_clean) {
  const auto result = verify();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_FALSE(result->is_damaged()) << render(*result);
  ASSERT_EQ(result->logs.size(), 2u);
  for (const LogVerification& log : result->logs) EXPECT_EQ(log.records, 20u);
  EXPECT_THAT(render(*result), HasSubstr("cluster orders"));
  EXPECT_THAT(render(*result), ::testing::EndsWith("clean\n"));
}

TEST_F(VerifyDirectory, one_log_alone) {
  VerifyOptions options;
  options.only = kLogs[1];
  const auto result = verify(options);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->logs.size(), 1u);
  EXPECT_EQ(result->logs[0].log, kLogs[1]);
  options.only = Uuid{{9}};
  EXPECT_EQ(verify(options).error().code, Code::not_found);
}

TEST_F(VerifyDirectory, a_running_server_is_named_and_left_alone) {
  const auto lock = filesystem_.root()->lock("LOCK");
  ASSERT_TRUE(lock);
  EXPECT_EQ(verify().error().code, Code::unavailable);
}

TEST_F(VerifyDirectory, something_else_is_no_data_directory) {
  auto other = filesystem_.root()->subdirectory("logs", false);
  EXPECT_EQ(verify_data_directory(**other, {}).error().code, Code::not_found);
}

TEST_F(VerifyDirectory, each_copy_of_the_identity) {
  for (const std::uint64_t copy : {0u, 4096u}) {
    filesystem_.flip_bit("identity", copy + 30, 2);
    const auto found = damage();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].file, "identity");
    EXPECT_EQ(found[0].position, copy);
    filesystem_.flip_bit("identity", copy + 30, 2);
  }
  filesystem_.flip_bit("identity", 30, 2);
  filesystem_.flip_bit("identity", 4'126, 2);
  EXPECT_EQ(verify().error().code, Code::corrupt);
}

TEST_F(VerifyDirectory, each_copy_of_a_slot_and_of_the_header) {
  const std::uint16_t slot = slot_of(kLogs[1]);
  std::vector<std::uint64_t> places = {hard_state::header_position(0), hard_state::header_position(1)};
  for (const int pair : {0, 1}) {
    for (const int twin : {0, 1}) places.push_back(hard_state::region_position(pair, twin) + slot * hard_state::kSlotBytes);
  }
  for (const std::uint64_t place : places) {
    SCOPED_TRACE(place);
    filesystem_.flip_bit("hard_state", place + 9, 1);
    const auto found = damage();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].file, "hard_state");
    EXPECT_EQ(found[0].position, place);
    EXPECT_FALSE(found[0].acknowledged);
    filesystem_.flip_bit("hard_state", place + 9, 1);
  }
}

TEST_F(VerifyDirectory, a_pair_of_twins_makes_the_log_suspect) {
  const std::uint16_t slot = slot_of(kLogs[0]);
  for (const int twin : {0, 1}) filesystem_.flip_bit("hard_state", hard_state::region_position(0, twin) + slot * hard_state::kSlotBytes + 40, 1);
  bool says_suspect = false;
  for (const VerifyFinding& f : damage()) says_suspect = says_suspect || (f.letter == "@H" && f.acknowledged);
  EXPECT_TRUE(says_suspect);
}

TEST_F(VerifyDirectory, a_missing_log_is_case_N) {
  filesystem_.delete_on_medium("logs/" + to_string(kLogs[0]));
  const auto found = damage();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].letter, "N");
  EXPECT_EQ(found[0].file, "logs/" + to_string(kLogs[0]));
  EXPECT_TRUE(found[0].acknowledged);
}

TEST_F(VerifyDirectory, damage_in_a_log_carries_its_path) {
  const std::string file = "logs/" + to_string(kLogs[1]) + "/" + segment_name(1);
  filesystem_.flip_bit(file, 9'000, 0);
  const auto found = damage();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].file, file);
  EXPECT_THAT(describe(found[0]), HasSubstr(file + ", byte "));
}

}  // namespace
}  // namespace walraft::wal
