// The body of a catalogue batch: round trip, and what is damaged or newer is refused.
#include "replication/state/catalogue_change.h"

#include <gtest/gtest.h>

namespace walraft::replication {
namespace {

using Operation = CatalogueChange::Operation;

CatalogueEntry some_entry() {
  return {.name = "orders", .id = LogId(7), .uuid = Uuid{{9, 8, 7}},
          .config = {.replicas = 3, .segment_bytes = 1u << 20, .record_bytes_max = 4096}};
}

TEST(CatalogueChange, RoundTrips) {
  const auto change = decode_catalogue_change(encode({Operation::create, some_entry()}));
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_EQ(change->operation, Operation::create);
  EXPECT_EQ(change->entry.name, "orders");
  EXPECT_EQ(change->entry.id, LogId(7));
  EXPECT_EQ(change->entry.uuid, some_entry().uuid);
  EXPECT_EQ(change->entry.config, some_entry().config);
  const auto plain = decode_catalogue_change(encode({Operation::create, {.name = "x", .id = LogId(1)}}));
  EXPECT_EQ(plain->entry.config, LogConfig{});
}

TEST(CatalogueChange, ADeletionSaysWhichLogAndNoOptions) {
  const auto change = decode_catalogue_change(encode({Operation::remove, some_entry()}));
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_EQ(change->operation, Operation::remove);
  EXPECT_EQ(change->entry.name, "orders");
  EXPECT_EQ(change->entry.uuid, some_entry().uuid);
  EXPECT_EQ(change->entry.config, LogConfig{});
}

TEST(CatalogueChange, RefusesCutsAndWhatIsNewer) {
  const auto good = encode({Operation::create, some_entry()});
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(decode_catalogue_change(ByteView(good).first(n))) << n;
  auto newer = good;
  newer[0] = std::byte{2};
  EXPECT_EQ(decode_catalogue_change(newer).error().code, Code::invalid);
  auto operation = good;
  operation[2] = std::byte{9};
  EXPECT_EQ(decode_catalogue_change(operation).error().code, Code::invalid);
  const std::size_t first_key = 32 + 6;
  auto unknown = good;
  unknown[first_key] = std::byte{0x77};  // its high byte says: must be understood
  EXPECT_EQ(decode_catalogue_change(unknown).error().code, Code::invalid);
  unknown[first_key + 1] = std::byte{0};
  const auto skipped = decode_catalogue_change(unknown);
  ASSERT_TRUE(skipped) << skipped.error().message;
  EXPECT_EQ(skipped->entry.config.segment_bytes, 0u);
  auto none = encode({Operation::create, some_entry()});
  store_le(none.data() + none.size() - 8, std::uint64_t{0});  // the last option: replicas
  EXPECT_EQ(decode_catalogue_change(none).error().code, Code::corrupt);
}

}  // namespace
}  // namespace walraft::replication
