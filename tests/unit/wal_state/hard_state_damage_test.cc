// Damage of every kind to every structure of the hard-state file (fault:S13, S17): it is read
// correctly or reported, and an older vote is never taken for the last one. Reaches every letter of
// the tables in hard_state_format.h.

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/wal_state/crash_filesystem.h"
#include "wal/base/crc32c.h"
#include "wal/hard_state_format.h"

namespace walraft::wal {
namespace {

using namespace crash;
using namespace hard_state;

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes.fill(n);
  return id;
}

const Uuid kDisk = uuid(0xd1);
const Uuid kLog = uuid(1);

HardState vote(std::uint64_t term, std::uint16_t node) { return {.term = Term(term), .voted_for = NodeId{node}}; }

std::vector<std::byte> encoded(const Slot& slot, std::uint16_t number) {
  std::vector<std::byte> bytes(kSlotBytes);
  encode_slot(slot, number, kDisk, bytes);
  return bytes;
}

// Gives a changed slot the CRC that it needs to be looked at.
void fix_crc(std::vector<std::byte>& slot, const Uuid& disk = kDisk) {
  const auto crc = crc32c_extend(crc32c(std::as_bytes(std::span(disk.bytes))), ByteView(slot).first(kSlotBytes - 4));
  store_le(slot.data() + kSlotBytes - 4, crc);
}

class DamageTest : public ::testing::Test {
 protected:
  DamageTest() {
    EXPECT_TRUE(HardStateFile::create(directory_, "hard_state", kDisk));
    open();
    // Slot 0 holds kLog: term 1 in pair 1 (seq 3), term 2 in pair 0 (seq 4), term 3 in pair 1 (seq 5).
    for (const std::uint64_t term : {1, 2, 3}) write(kLog, vote(term, static_cast<std::uint16_t>(term)));
    write(uuid(2), vote(9, 9));  // slot 1: seq 3
  }
  void open() {
    file_.reset();
    auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::direct, disk_);
    ASSERT_TRUE(file) << file.error().message;
    file_ = std::move(*file);
  }
  void write(const Uuid& log, const HardState& state) {
    ASSERT_TRUE(file_->write(log, state, nullptr));
    settle();
  }
  void settle() {
    file_->flush();
    while (!file_->idle()) disk_.poll();
  }
  std::vector<std::byte>& bytes() { return medium_.root->names.at("hard_state")->now; }
  std::byte* slot(int pair, int twin, std::uint16_t number) {
    return bytes().data() + region_position(pair, twin) + number * kSlotBytes;
  }
  void put(int pair, int twin, std::uint16_t number, const Slot& value) {
    encode_slot(value, number, kDisk, {slot(pair, twin, number), kSlotBytes});
  }
  void wreck(int pair, int twin, std::uint16_t number) { slot(pair, twin, number)[40] ^= std::byte{0x10}; }

  std::optional<LogHardState> reopened(const Uuid& log) {
    open();
    for (const auto& found : file_->contents().logs) {
      if (found.log == log) return found;
    }
    return std::nullopt;
  }
  bool reported(std::string_view text) const {
    for (const auto& line : file_->contents().damage) {
      if (line.find(text) != std::string::npos) return true;
    }
    return false;
  }

  Medium medium_;
  MemoryDirectory directory_{medium_};
  MemoryDisk disk_;
  std::unique_ptr<HardStateFile> file_;
};

// --- Single copies -------------------------------------------------------------------------------

TEST(HardStateSlotTest, RoundTrip) {
  const Slot used{.seq = 77,
                  .log = kLog,
                  .state = {.term = Term(1),
                            .voted_for = NodeId{2},
                            .durable_bound = Index(3),
                            .commit_bound = Index(4),
                            .trim_index = Index(5),
                            .trim_offset = Offset(6),
                            .suspect = true}};
  const Slot free{.seq = 2, .log = {}, .state = {}};
  EXPECT_EQ(**decode_slot(encoded(used, 8191), 8191, 1, kDisk), used);
  EXPECT_EQ(**decode_slot(encoded(free, 0), 0, 0, kDisk), free);
}

TEST(HardStateSlotTest, EveryFlippedBitIsSeen) {
  const auto good = encoded({.seq = 5, .log = kLog, .state = vote(3, 3)}, 7);
  for (std::size_t bit = 0; bit < kSlotBytes * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto slot = decode_slot(bad, 7, 1, kDisk);
    ASSERT_TRUE(slot);
    EXPECT_FALSE(*slot) << "bit " << bit;
  }
}

TEST(HardStateSlotTest, EveryFlippedBitOfTheHeaderIsSeen) {
  std::vector<std::byte> good(kBlockBytes);
  encode_header(kDisk, good);
  ASSERT_EQ(**decode_header(good), kDisk);
  for (std::size_t bit = 0; bit < kBlockBytes * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto header = decode_header(bad);
    ASSERT_TRUE(header);
    EXPECT_FALSE(*header) << "bit " << bit;
  }
}

TEST(HardStateSlotTest, RightCrcInTheWrongPlaceIsDamage) {
  const auto good = encoded({.seq = 5, .log = kLog, .state = vote(3, 3)}, 7);
  EXPECT_FALSE(*decode_slot(good, 8, 1, kDisk)) << "another slot's";
  EXPECT_FALSE(*decode_slot(good, 7, 0, kDisk)) << "the other pair's";
  EXPECT_FALSE(*decode_slot(good, 7, 1, uuid(0xd2))) << "another disk's";
  EXPECT_FALSE(*decode_slot(std::vector<std::byte>(kSlotBytes), 7, 1, kDisk)) << "blank";
}

TEST(HardStateSlotTest, RightCrcWithContradictionsIsDamage) {
  const auto good = encoded({.seq = 5, .log = kLog, .state = vote(3, 3)}, 7);
  for (const std::size_t at : {std::size_t{42}, std::size_t{47}, std::size_t{80}, std::size_t{123}}) {
    auto bad = good;
    bad[at] = std::byte{1};
    fix_crc(bad);
    EXPECT_FALSE(*decode_slot(bad, 7, 1, kDisk)) << "reserved byte " << at;
  }
  auto nobody = good;
  std::fill_n(nobody.begin() + 16, 16, std::byte{0});
  fix_crc(nobody);
  EXPECT_FALSE(*decode_slot(nobody, 7, 1, kDisk)) << "used, by no log";
  auto unused = good;
  unused[5] = std::byte{0};
  fix_crc(unused);
  EXPECT_FALSE(*decode_slot(unused, 7, 1, kDisk)) << "free, with a log";
  auto version_0 = good;
  version_0[4] = std::byte{0};
  fix_crc(version_0);
  EXPECT_FALSE(*decode_slot(version_0, 7, 1, kDisk));
}

TEST(HardStateSlotTest, NewerReleasesAreRefused) {
  for (const auto& [at, value] : {std::pair{4, 2}, std::pair{5, 5}}) {
    auto newer = encoded({.seq = 5, .log = kLog, .state = vote(3, 3)}, 7);
    newer[at] = std::byte(value);
    fix_crc(newer);
    const auto slot = decode_slot(newer, 7, 1, kDisk);
    ASSERT_FALSE(slot);
    EXPECT_EQ(slot.error().code, Code::invalid);
    EXPECT_NE(slot.error().message.find("newer release"), std::string::npos);
  }
  std::vector<std::byte> header(kBlockBytes);
  encode_header(kDisk, header);
  header[4] = std::byte{2};
  store_le(header.data() + kBlockBytes - 4, crc32c(ByteView(header).first(kBlockBytes - 4)));
  const auto newer = decode_header(header);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::invalid);
}

// --- The letters ---------------------------------------------------------------------------------

TEST_F(DamageTest, A_SoundFile) {
  const auto log = reopened(kLog);
  EXPECT_EQ(log->state, vote(3, 3));
  EXPECT_FALSE(log->lost || log->repaired);
  EXPECT_TRUE(file_->contents().damage.empty());
}

TEST_F(DamageTest, B_TornWriteGivesTheHigher) {
  for (const int twin : {0, 1}) {
    put(0, twin, 0, {.seq = 6, .log = kLog, .state = vote(4, 4)});
    const auto log = reopened(kLog);
    EXPECT_EQ(log->state, vote(4, 4));
    EXPECT_TRUE(log->repaired);
    EXPECT_FALSE(log->lost);
    EXPECT_TRUE(reported("@B"));
    EXPECT_TRUE(std::equal(slot(0, 0, 0), slot(0, 0, 0) + kSlotBytes, slot(0, 1, 0))) << "both twins have it now";
    put(0, 0, 0, {.seq = 4, .log = kLog, .state = vote(2, 2)});
    put(0, 1, 0, {.seq = 4, .log = kLog, .state = vote(2, 2)});
  }
}

TEST_F(DamageTest, C_RotOfOneTwinLeavesTheOther) {
  for (const int pair : {0, 1}) {
    for (const int twin : {0, 1}) {
      wreck(pair, twin, 0);
      const auto log = reopened(kLog);
      EXPECT_EQ(log->state, vote(3, 3));
      EXPECT_TRUE(log->repaired);
      EXPECT_FALSE(log->lost);
      EXPECT_TRUE(reported("@C"));
      open();
      EXPECT_TRUE(file_->contents().damage.empty()) << "repaired for good";
    }
  }
}

TEST_F(DamageTest, D_TwinsThatContradictAreUnreadable) {
  put(1, 0, 0, {.seq = 5, .log = kLog, .state = vote(3, 1)});
  const auto log = reopened(kLog);
  EXPECT_TRUE(log->lost);
  EXPECT_EQ(log->state, vote(2, 2));
  EXPECT_TRUE(reported("@D"));
}

// Found by fuzzing: mending or writing a neighbour in the same block blanked one of two copies that
// contradict each other, and the next start believed the other one.
TEST_F(DamageTest, RegressionD_NeighboursLeaveContradictingTwinsAlone) {
  for (const bool neighbour_is_damaged : {false, true}) {
    put(1, 0, 0, {.seq = 5, .log = kLog, .state = vote(3, 1)});
    put(1, 1, 0, {.seq = 5, .log = kLog, .state = vote(3, 3)});
    if (neighbour_is_damaged) wreck(1, 0, 1);
    EXPECT_TRUE(reopened(kLog)->lost);
    write(uuid(2), vote(10, 1));
    write(uuid(2), vote(11, 1));
    const auto log = reopened(kLog);
    EXPECT_TRUE(log->lost);
    EXPECT_EQ(log->state, vote(2, 2));
    // Nor does a power cut between the two twins of such a neighbour's write.
    ASSERT_TRUE(file_->write(uuid(2), vote(12, 1), nullptr));
    file_->flush();
    disk_.complete_one(0);
    auto medium = medium_.survive([](std::size_t) { return false; });
    MemoryDirectory directory(*medium);
    const auto after = HardStateFile::read(directory, "hard_state", kDisk);
    ASSERT_TRUE(after);
    EXPECT_TRUE(after->logs.at(0).lost);
    settle();
  }
}

TEST_F(DamageTest, H_NewerPairUnreadableIsLostUntilWritten) {
  wreck(1, 0, 0);
  wreck(1, 1, 0);
  for (int restart = 0; restart < 3; ++restart) {
    const auto log = reopened(kLog);
    EXPECT_TRUE(log->lost);
    EXPECT_EQ(log->state, vote(2, 2));
    EXPECT_TRUE(reported("@E") && reported("@H"));
    write(uuid(2), vote(10 + restart, 1));  // a neighbour in the same block
  }
  const HardState settled{.term = Term(3), .suspect = true};
  write(kLog, settled);
  const auto log = reopened(kLog);
  EXPECT_EQ(log->state, settled);
  EXPECT_FALSE(log->lost);
  EXPECT_TRUE(file_->contents().damage.empty());
}

TEST_F(DamageTest, H_OlderPairUnreadableIsLostToo) {
  wreck(0, 0, 0);
  wreck(0, 1, 0);
  const auto log = reopened(kLog);
  EXPECT_TRUE(log->lost) << "nobody can tell that it was the older one";
  EXPECT_EQ(log->state, vote(3, 3));
}

TEST_F(DamageTest, H_UnreadableVoteThatComesBackIsTheOlderOne) {
  const std::vector<std::byte> last(slot(1, 0, 0), slot(1, 0, 0) + kSlotBytes);  // seq 5, the last vote
  wreck(1, 0, 0);
  wreck(1, 1, 0);
  open();
  write(kLog, vote(8, 1));
  std::copy(last.begin(), last.end(), slot(1, 1, 0));  // one twin of it is readable again
  EXPECT_EQ(reopened(kLog)->state, vote(8, 1));
}

TEST_F(DamageTest, G_I_J_FreeAndNamelessSlots) {
  ASSERT_TRUE(file_->remove(kLog, nullptr));
  settle();
  EXPECT_FALSE(reopened(kLog));
  EXPECT_EQ(file_->contents().nameless, 0u);  // @G
  wreck(1, 0, 0);
  wreck(1, 1, 0);
  EXPECT_FALSE(reopened(kLog));
  EXPECT_EQ(file_->contents().nameless, 1u);
  EXPECT_TRUE(reported("@I"));
  wreck(0, 0, 0);
  wreck(0, 1, 0);
  open();
  EXPECT_EQ(file_->contents().nameless, 1u);
  EXPECT_TRUE(reported("@J"));
  write(uuid(3), vote(1, 1));  // takes another slot
  EXPECT_EQ(reopened(uuid(3))->state, vote(1, 1));
  EXPECT_EQ(file_->contents().nameless, 1u);
}

TEST_F(DamageTest, K_OneLogInTwoSlots) {
  for (const bool first_is_higher : {false, true}) {
    const std::uint64_t term = first_is_higher ? 1 : 6;
    for (const int twin : {0, 1}) put(0, twin, 5, {.seq = 4, .log = kLog, .state = vote(term, 7)});
    for (int restart = 0; restart < 2; ++restart) {
      const auto log = reopened(kLog);
      EXPECT_TRUE(log->lost);
      EXPECT_EQ(log->state.term, Term(first_is_higher ? 8 : 6));
      EXPECT_TRUE(reported("@K"));
      EXPECT_EQ(file_->contents().nameless, 0u);
    }
    write(kLog, vote(8, 8));
    const auto log = reopened(kLog);
    EXPECT_FALSE(log->lost) << "settled";
    EXPECT_EQ(log->state, vote(8, 8));
    // Now slot 5 rules in the first round: make slot 0 the only one again.
    ASSERT_TRUE(file_->remove(kLog, nullptr));
    settle();
    write(kLog, vote(8, 8));
  }
}

TEST_F(DamageTest, K_RemovalFreesBoth) {
  for (const int twin : {0, 1}) put(0, twin, 5, {.seq = 4, .log = kLog, .state = vote(6, 7)});
  open();
  ASSERT_TRUE(file_->remove(kLog, nullptr));
  settle();
  EXPECT_FALSE(reopened(kLog));
}

TEST(HardStateTableTest, EveryCaseOfTheTablesIsJudged) {
  const Slot log_4{.seq = 4, .log = kLog, .state = vote(1, 1)};
  const Slot log_4b{.seq = 4, .log = kLog, .state = vote(1, 2)};
  const Slot log_2{.seq = 2, .log = kLog, .state = vote(1, 1)};
  const Slot free_4{.seq = 4, .log = {}, .state = {}};
  const Slot free_3{.seq = 3, .log = {}, .state = {}};
  const Slot log_5{.seq = 5, .log = kLog, .state = vote(2, 2)};
  std::set<std::string_view> letters;
  const std::vector<std::optional<Slot>> even{std::nullopt, log_4, log_4b, log_2, free_4};
  const std::vector<std::optional<Slot>> odd{std::nullopt, free_3, log_5};
  for (const auto& a : even) {
    for (const auto& b : even) {
      for (const auto& c : odd) {
        for (const auto& d : odd) {
          const auto pair_0 = judge_pair(a, b);
          const auto pair_1 = judge_pair(c, d);
          const auto slot = judge_slot(pair_0, pair_1);
          letters.insert(kPairCases[static_cast<std::size_t>(pair_0.kind)].letter);
          letters.insert(slot.letter);
          // The rule behind the tables: no state is called good while a pair is unreadable, and none
          // is passed over for one with a lower seq.
          if (!pair_0.slot || !pair_1.slot) {
            EXPECT_TRUE(slot.verdict == Verdict::lost || slot.verdict == Verdict::nameless);
          }
          for (const auto& reading : {pair_0, pair_1}) {
            if (reading.slot) {
              EXPECT_GE(slot.slot.seq, reading.slot->seq);
            }
          }
        }
      }
    }
  }
  for (const auto& row : kPairCases) EXPECT_TRUE(letters.contains(row.letter)) << row.letter;
  for (const auto& row : kSlotCases) {
    EXPECT_TRUE(row.letter == "@K" || letters.contains(row.letter)) << row.letter;  // @K: above, over two slots
  }
}

// --- Sweeps --------------------------------------------------------------------------------------

// One damaged place, whatever its size up to a whole region, never changes what is read: its twin
// is elsewhere.
TEST_F(DamageTest, AnyOneDamagedSectorOrBlockIsRepaired) {
  const auto good = bytes();
  int swept = 0;
  for (const std::size_t unit : {kSectorBytes, kBlockBytes, std::size_t{1} << 20}) {
    for (const std::uint64_t base : {header_position(0), header_position(1), region_position(0, 0),
                                     region_position(1, 0), region_position(0, 1), region_position(1, 1)}) {
      for (std::uint64_t at = base; at < base + kBlockBytes; at += unit) {
        for (const std::byte with : {std::byte{0}, std::byte{0xff}, std::byte{0x57}}) {
          bytes() = good;
          std::fill_n(bytes().begin() + at, std::min<std::uint64_t>(unit, good.size() - at), with);
          if (bytes() == good) continue;  // zeros over zeros
          const auto log = reopened(kLog);
          ASSERT_TRUE(log);
          EXPECT_EQ(log->state, vote(3, 3)) << at;
          EXPECT_FALSE(log->lost) << at;
          EXPECT_FALSE(file_->contents().damage.empty()) << "unreported damage at " << at;
          EXPECT_EQ(bytes(), good) << "not repaired at " << at;
          ++swept;
        }
      }
    }
  }
  std::printf("%d damaged places, all repaired\n", swept);
  EXPECT_GT(swept, 150);
}

// Any two damaged copies of a slot: right, or said to be lost; never an older vote for the last one.
TEST_F(DamageTest, AnyTwoDamagedCopies) {
  const auto good = bytes();
  for (int subset = 0; subset < 16; ++subset) {
    bytes() = good;
    for (int copy = 0; copy < 4; ++copy) {
      if ((subset >> copy & 1) != 0) wreck(copy & 1, copy >> 1, 0);
    }
    const auto log = reopened(kLog);
    if (log && !log->lost) {
      EXPECT_EQ(log->state, vote(3, 3)) << subset;
    } else if (!log) {
      EXPECT_EQ(file_->contents().nameless, 1u) << subset;
    }
    EXPECT_EQ(file_->contents().damage.empty(), subset == 0);
    EXPECT_EQ(file_->find(uuid(2)), vote(9, 9)) << "a neighbour is not touched";
  }
}

TEST_F(DamageTest, UnreadableBlocksAreLikeDamagedOnes) {
  bool refused = false;
  medium_.fault = [&](std::string_view what, std::string_view) -> std::optional<Error> {
    if (what == "read" && std::exchange(refused, true) == false) return Error{Code::failed, "medium error"};
    return std::nullopt;
  };
  const auto log = reopened(kLog);  // the first read, of header copy 0, fails once
  ASSERT_TRUE(log);
  EXPECT_EQ(log->state, vote(3, 3));
}

TEST_F(DamageTest, TruncatedFile) {
  const auto good = bytes();
  for (const std::size_t size :
       {good.size() - 1, good.size() - kBlockBytes, std::size_t{3'153'920}, std::size_t{2'101'248}}) {
    bytes() = good;
    bytes().resize(size);
    const auto log = reopened(kLog);
    ASSERT_TRUE(log) << size;
    EXPECT_EQ(log->state, vote(3, 3)) << size;
    EXPECT_FALSE(log->lost);
    EXPECT_FALSE(file_->contents().damage.empty());
    EXPECT_EQ(bytes(), good);
  }
  // Pair 1, which held the last vote, is gone in both twins.
  bytes().resize(kBlockBytes + kRegionBytes);
  const auto log = reopened(kLog);
  ASSERT_TRUE(log);
  EXPECT_TRUE(log->lost);
  EXPECT_EQ(file_->contents().nameless, HardStateFile::kLogsMax - 1) << "the second log's only state was there, too";
  bytes().resize(0);
  EXPECT_EQ(HardStateFile::open(directory_, "hard_state", kDisk, Access::write, disk_).error().code, Code::corrupt);
}

TEST_F(DamageTest, BothHeadersDamaged) {
  bytes()[header_position(0)] ^= std::byte{1};
  bytes()[header_position(1) + 100] ^= std::byte{1};
  const auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::write, disk_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::corrupt);
}

TEST_F(DamageTest, NewerSlotRefusesTheFile) {
  std::vector<std::byte> newer(slot(1, 0, 0), slot(1, 0, 0) + kSlotBytes);
  newer[4] = std::byte{2};
  fix_crc(newer);
  std::copy(newer.begin(), newer.end(), slot(1, 0, 0));
  const auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::write, disk_);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::invalid);
}

TEST_F(DamageTest, FailedRepairIsSaid) {
  wreck(0, 0, 0);
  file_.reset();
  for (const std::string_view what : {"write", "sync"}) {
    int n = 0;
    medium_.fault = [&](std::string_view operation, std::string_view) -> std::optional<Error> {
      // The first sync is the one before reading.
      if (operation == what && ++n == (what == "sync" ? 2 : 1)) return Error{Code::failed, "medium error"};
      return std::nullopt;
    };
    const auto file = HardStateFile::open(directory_, "hard_state", kDisk, Access::write, disk_);
    ASSERT_FALSE(file) << what;
    EXPECT_NE(file.error().message.find("medium error"), std::string::npos);
  }
}

}  // namespace
}  // namespace walraft::wal
