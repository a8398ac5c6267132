// dump_file(): one golden file for the segment of wal/FORMAT.md, sound and with damage in each part.
// WALRAFT_REWRITE=1 writes it again.

#include "wal/dump.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

#include "tests/unit/wal_format/example_segment.h"
#include "wal/identity.h"

namespace walraft::wal {
namespace {

using ::testing::HasSubstr;

class Dump : public ::testing::Test {
 protected:
  std::string dump(const std::vector<std::byte>& bytes, bool records = true) {
    sim::SimFilesystem filesystem;
    const auto root = filesystem.root();
    const auto file = root->create("file", Access::write).value();
    EXPECT_TRUE(file->write(0, bytes));
    std::string text;
    auto result = dump_file(*file, {.records = records}, [&](std::string_view line) { text.append(line).append("\n"); });
    if (!result) return "error: " + result.error().message + "\n";
    return text + "damaged places: " + std::to_string(*result) + "\n";
  }
  std::string damaged(const std::function<void(std::vector<std::byte>&)>& damage) {
    std::vector<std::byte> bytes = make_example_segment();
    damage(bytes);
    return dump(bytes);
  }
};

TEST_F(Dump, the_example_segment_sound_and_damaged) {
  const auto flip = [](std::size_t at) { return [at](std::vector<std::byte>& b) { b[at] ^= std::byte{1}; }; };
  const std::pair<std::string_view, std::string> parts[] = {
      {"sound", damaged([](auto&) {})},
      {"header copy A", damaged(flip(70))},
      {"both header copies", damaged([](auto& b) { b[70] ^= std::byte{1}; b[4'170] ^= std::byte{1}; })},
      {"group header", damaged(flip(0x2010))},
      {"header of the first batch", damaged(flip(0x2050))},
      {"a record", damaged(flip(0x2146))},
      {"footer", damaged(flip(0xf010))},
      {"cut off in the second batch", damaged([](auto& b) { b.resize(0x2100); })},
      {"zeros instead of the second batch", damaged([](auto& b) { std::fill(b.begin() + 0x20c0, b.begin() + 0x2200, std::byte{0}); })},
      {"prepared", dump(std::vector<std::byte>(kSegmentBytesMin))},
  };
  std::string text;
  for (const auto& [title, part] : parts) text.append("=== ").append(title).append("\n").append(part);
  const std::string path = std::string(WALRAFT_TEST_DATA) + "/wal/dump_example.txt";
  if (std::getenv("WALRAFT_REWRITE") != nullptr) std::ofstream(path) << text;
  std::ifstream in(path);
  std::stringstream golden;
  golden << in.rdbuf();
  EXPECT_EQ(text, golden.str());
}

TEST_F(Dump, other_files_are_refused) {
  EXPECT_THAT(dump({}), HasSubstr("no file of Walraft's"));
  EXPECT_THAT(dump(std::vector<std::byte>(100'000, std::byte{'x'})), HasSubstr("no file of Walraft's"));
}

TEST_F(Dump, an_identity_with_one_good_copy) {
  const Identity identity{Uuid{{1}}, "orders", NodeId{1}, Uuid{{2}}, 1'700'000'000'000'000};
  std::vector<std::byte> bytes = encode_identity(identity);
  bytes.insert(bytes.end(), bytes.begin(), bytes.begin() + kBlockBytes);
  EXPECT_THAT(dump(bytes), HasSubstr("damaged places: 0"));
  bytes[40] ^= std::byte{1};
  const std::string text = dump(bytes);
  EXPECT_THAT(text, HasSubstr("cluster orders"));
  EXPECT_THAT(text, HasSubstr("damaged places: 1"));
}

TEST_F(Dump, a_hard_state_with_its_damage) {
  sim::SimFilesystem filesystem;
  sim::SimClock clock;
  sim::SimDisk disk(filesystem, clock);
  const auto root = filesystem.root();
  ASSERT_TRUE(HardStateFile::create(*root, "hard_state", kExampleDisk));
  {
    auto file = HardStateFile::open(*root, "hard_state", kExampleDisk, Access::direct, disk);
    ASSERT_TRUE(file);
    HardState state;
    state.term = Term(9);
    ASSERT_TRUE((*file)->write(kExampleLog, state, [] {}));
    (*file)->flush();
    disk.settle();
  }
  filesystem.flip_bit("hard_state", 1'052'672 + 40, 0);
  const auto file = root->open("hard_state", Access::read).value();
  std::string text;
  const auto damages = dump_file(*file, {}, [&](std::string_view line) { text.append(line).append("\n"); });
  ASSERT_TRUE(damages);
  EXPECT_EQ(*damages, 1u) << text;
  EXPECT_THAT(text, HasSubstr("log " + to_string(kExampleLog) + ", seq 3, term 9"));
  EXPECT_THAT(text, HasSubstr("DAMAGED hard_state, byte 1052672 (128 bytes)"));
}

TEST_F(Dump, records_cannot_talk_to_a_terminal) {
  EXPECT_EQ(escape_bytes(bytes_of("a\x1b[31m\r\n\t\\\x7f\xc3\xa4")), "a\\x1b[31m\\x0d\\n\\t\\\\\\x7f\\xc3\\xa4");
}

}  // namespace
}  // namespace walraft::wal
