// The body of a catalogue batch: round trip, and what is damaged or newer is refused.
#include <gtest/gtest.h>

#include "replication/state/catalogue.h"

namespace walraft::replication {
namespace {

CatalogueEntry some_entry() {
  return {.name = "orders", .id = LogId(7), .uuid = Uuid{{9, 8, 7}}, .segment_bytes = 1u << 20, .record_bytes_max = 4096};
}

TEST(CatalogueEntry, RoundTrips) {
  const auto entry = decode_catalogue_entry(encode(some_entry()));
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(entry->name, "orders");
  EXPECT_EQ(entry->id, LogId(7));
  EXPECT_EQ(entry->uuid, some_entry().uuid);
  EXPECT_EQ(entry->segment_bytes, 1u << 20);
  EXPECT_EQ(entry->record_bytes_max, 4096u);
  EXPECT_EQ(decode_catalogue_entry(encode({.name = "x", .id = LogId(1)}))->segment_bytes, 0u);
}

TEST(CatalogueEntry, RefusesCutsAndWhatIsNewer) {
  const auto good = encode(some_entry());
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(decode_catalogue_entry(ByteView(good).first(n))) << n;
  auto newer = good;
  newer[0] = std::byte{2};
  EXPECT_EQ(decode_catalogue_entry(newer).error().code, Code::invalid);
  auto operation = good;
  operation[2] = std::byte{9};
  EXPECT_EQ(decode_catalogue_entry(operation).error().code, Code::invalid);
  const std::size_t first_key = 32 + 6;
  auto unknown = good;
  unknown[first_key] = std::byte{0x77};  // its high byte says: must be understood
  EXPECT_EQ(decode_catalogue_entry(unknown).error().code, Code::invalid);
  unknown[first_key + 1] = std::byte{0};
  const auto skipped = decode_catalogue_entry(unknown);
  ASSERT_TRUE(skipped) << skipped.error().message;
  EXPECT_EQ(skipped->segment_bytes, 0u);
}

}  // namespace
}  // namespace walraft::replication
