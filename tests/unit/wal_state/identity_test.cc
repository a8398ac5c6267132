// The identity file: every damage of one copy is mended, none is believed (fault:S13).

#include "wal/identity.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/sim_filesystem.h"
#include "wal/base/crc32c.h"

namespace walraft::wal {
namespace {

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes.fill(n);
  return id;
}

Identity sample() {
  return {.cluster = uuid(0xc1),
          .cluster_name = "orders",
          .node = NodeId{7},
          .disk = uuid(0xd1),
          .created_us = 1'795'453'201'000'042};
}

void fix_crc(std::vector<std::byte>& copy) {
  char line[17];
  std::snprintf(line, sizeof(line), "crc32c %08x\n", crc32c(ByteView(copy).first(kBlockBytes - 16)));
  std::ranges::copy(bytes_of(std::string_view(line, 16)), copy.end() - 16);
}

TEST(IdentityTest, IsReadableText) {
  const auto copy = encode_identity(sample());
  ASSERT_EQ(copy.size(), kBlockBytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(copy.data())),
            "walraft data directory, format 1\n"
            "cluster c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1 orders\n"
            "node 7\n"
            "disk d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1\n"
            "created 2026-11-23T17:00:01.000042Z\n");
  EXPECT_EQ(**decode_identity(copy), sample());
}

TEST(IdentityTest, RoundTripsWhatMayBeInIt) {
  for (const std::string& name :
       {std::string("x"), std::string(128, 'y'), std::string("spaces and ünïcode"), std::string("a b")}) {
    for (const std::int64_t us :
         {std::int64_t{0}, std::int64_t{951'782'399'999'999}, std::int64_t{253'402'300'799'999'999}}) {
      for (const std::uint16_t node : {1, 65'535}) {
        Identity identity = sample();
        identity.cluster_name = name;
        identity.created_us = us;
        identity.node = NodeId{node};
        ASSERT_TRUE(check_identity(identity));
        const auto decoded = decode_identity(encode_identity(identity));
        ASSERT_TRUE(decoded && *decoded) << name;
        EXPECT_EQ(**decoded, identity);
      }
    }
  }
}

TEST(IdentityTest, RefusesWhatMayNot) {
  const auto code = [](auto change) {
    Identity identity = sample();
    change(identity);
    const auto result = check_identity(identity);
    return result ? Code::ok : result.error().code;
  };
  EXPECT_EQ(code([](Identity& i) { i.cluster_name = ""; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.cluster_name = std::string(129, 'x'); }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.cluster_name = "a\nnode 8"; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.node = NodeId{}; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.disk = Uuid{}; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.cluster = Uuid{}; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.created_us = -1; }), Code::invalid);
  EXPECT_EQ(code([](Identity& i) { i.created_us = 253'402'300'800'000'000; }), Code::invalid);
}

TEST(IdentityTest, EveryFlippedBitIsSeen) {
  const auto good = encode_identity(sample());
  for (std::size_t bit = 0; bit < kBlockBytes * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto identity = decode_identity(bad);
    ASSERT_TRUE(identity) << bit;
    EXPECT_FALSE(*identity) << "bit " << bit;
  }
}

TEST(IdentityTest, OnlyTheExactTextIsValid) {
  const auto changed = [](std::string_view from, std::string_view to) {
    auto copy = encode_identity(sample());
    std::string text(reinterpret_cast<const char*>(copy.data()));
    const auto at = text.find(from);
    CHECK(at != text.npos);
    text.replace(at, from.size(), to);
    std::fill(copy.begin(), copy.end(), std::byte{0});
    std::ranges::copy(bytes_of(text), copy.begin());
    fix_crc(copy);
    return copy;
  };
  EXPECT_TRUE(*decode_identity(changed("orders", "other")));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"node 7", "node 07"},
                                                                                 {"node 7", "node 70000"},
                                                                                 {"node 7", "node 0"},
                                                                                 {"node 7", "node -7"},
                                                                                 {"disk d1", "disk D1"},
                                                                                 {"disk d1d1", "disk d1-d1"},
                                                                                 {"created 2026", "created 3"},
                                                                                 {"T17:", "T41:"},
                                                                                 {"2026-11-23", "2026-11-31"},
                                                                                 {"format 1", "format 0"},
                                                                                 {"format 1", "format 01"},
                                                                                 {"000042Z\n", "000042Z\nmore\n"},
                                                                                 {"cluster", "Cluster"},
                                                                                 {"orders", ""}}) {
    const auto identity = decode_identity(changed(from, to));
    ASSERT_TRUE(identity) << from << " -> " << to;
    EXPECT_FALSE(*identity) << from << " -> " << to;
  }
  const auto newer = decode_identity(changed("format 1", "format 2"));
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::invalid);
  EXPECT_NE(newer.error().message.find("written by a newer release (format 2; this release reads format 1)"),
            std::string::npos)
      << newer.error().message;
}

class IdentityFileTest : public ::testing::Test {
 protected:
  IdentityFileTest() {
    EXPECT_TRUE(create_identity(*root_, "identity", sample()));
    EXPECT_TRUE(root_->sync());
  }
  sim::SimFilesystem filesystem_;
  std::unique_ptr<Directory> root_ = filesystem_.root();
};

TEST_F(IdentityFileTest, OneDamagedCopyIsMended) {
  for (const int copy : {0, 1}) {
    for (const int how : {0, 1, 2}) {
      const std::uint64_t at = copy * kBlockBytes;
      if (how == 0) filesystem_.flip_bit("identity", at + 50, 3);
      if (how == 1) filesystem_.make_unreadable("identity", at, kBlockBytes);
      if (how == 2 && copy == 1) filesystem_.truncate_on_medium("identity", kBlockBytes + 100);
      if (how == 2 && copy == 0) continue;
      const auto reading = read_identity(*root_, "identity");
      ASSERT_TRUE(reading) << reading.error().message;
      EXPECT_EQ(reading->identity, sample());
      ASSERT_EQ(reading->damage.size(), 1u);
      EXPECT_NE(reading->damage[0].find("copy " + std::to_string(copy + 1) + " of 2 is damaged"), std::string::npos);
      ASSERT_TRUE(repair_identity(*root_, "identity", sample()));
      const auto again = read_identity(*root_, "identity");
      ASSERT_TRUE(again);
      EXPECT_TRUE(again->damage.empty());
      filesystem_.crash(sim::CrashChoice::lose_unsynced());
      root_ = filesystem_.root();
      EXPECT_TRUE(read_identity(*root_, "identity")->damage.empty()) << "mended durably";
    }
  }
}

TEST_F(IdentityFileTest, BothCopiesDamagedIsCorrupt) {
  filesystem_.flip_bit("identity", 3, 0);
  filesystem_.flip_bit("identity", kBlockBytes + 4000, 0);
  const auto reading = read_identity(*root_, "identity");
  ASSERT_FALSE(reading);
  EXPECT_EQ(reading.error().code, Code::corrupt);
  EXPECT_NE(reading.error().message.find("both copies are damaged"), std::string::npos);
}

TEST_F(IdentityFileTest, TruncationToNothingIsCorrupt) {
  filesystem_.truncate_on_medium("identity", 0);
  EXPECT_EQ(read_identity(*root_, "identity").error().code, Code::corrupt);
}

TEST_F(IdentityFileTest, ContradictingCopiesAreCorrupt) {
  Identity other = sample();
  other.disk = uuid(0xd2);
  auto file = root_->open("identity", Access::write);
  ASSERT_TRUE((*file)->write(kBlockBytes, encode_identity(other)));
  const auto reading = read_identity(*root_, "identity");
  ASSERT_FALSE(reading);
  EXPECT_EQ(reading.error().code, Code::corrupt);
  EXPECT_NE(reading.error().message.find("contradict"), std::string::npos);
}

}  // namespace
}  // namespace walraft::wal
