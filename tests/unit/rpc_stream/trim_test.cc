// Reads beside trims: of what is gone a reader is told so, of what is kept it sees nothing of the trim. (fault:K3)

#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/rpc_stream/peer.h"

namespace walraft::rpc {
namespace {

using sim::ServerWorld;

constexpr std::uint64_t kRecords = 80;

// Clients cannot trim in this release: the log does it by itself.
void trim(ServerWorld& world, std::uint64_t offset) {
  auto& log = const_cast<wal::Log&>(world.catalogue().find("a")->log());
  const auto at = wal::LogReader(log.view()).find(Index(offset + 1));  // batch 0 is the leader's first
  ASSERT_TRUE(at);
  ASSERT_EQ(at->header.base_offset, Offset(offset));
  log.drop_prefix(at->header.index, Offset(offset), [] {});
  world.pass_s(3);
}

std::size_t files_of(ServerWorld& world) { return world.catalogue().find("a")->log().view().segments.size(); }

std::optional<Records> next_records(Peer& peer) {
  const auto frame = peer.next();
  if (!frame || frame->header.type != FrameType::records) return std::nullopt;
  return decode_records(frame->payload).value_or(Records{});
}

TEST(Trim, OffsetsBelowAreRefusedWithTheFirstKept) {
  ServerWorld world({"a"});
  fill(world, kRecords, 40'000);
  trim(world, 60);
  Peer peer(world);
  peer.open(1, {.log_name = "a", .kind = SessionKind::reader});
  peer.open(2, {.log_name = "a", .kind = SessionKind::subscriber, .from = {From::Kind::offset, 59}, .credit = 1000});
  peer.open(3, {.log_name = "a", .kind = SessionKind::subscriber, .from = {From::Kind::earliest, 0}, .credit = 1});
  peer.send(FrameType::read, 1, encode(Read{.request = 1, .from = {From::Kind::offset, 0}, .bytes = 1}));
  world.settle();
  std::size_t refused = 0, served = 0;
  while (const auto frame = peer.next()) {
    if (frame->header.type == FrameType::error) {
      const auto error = decode_error(frame->payload)->error;
      EXPECT_EQ(error.code, Code::trimmed) << error.message;
      EXPECT_EQ(error.detail, 60u);
      ++refused;
    } else if (frame->header.type == FrameType::records) {
      EXPECT_EQ(frame->header.channel, 3u);
      EXPECT_EQ(decode_records(frame->payload)->from, Offset(60));
      ++served;
    }
  }
  EXPECT_EQ(refused, 2u);
  EXPECT_EQ(served, 1u);
}

TEST(Trim, AReaderThatRestedGoesOnOrIsToldWhatIsGone) {
  ServerWorld world({"a"});
  fill(world, kRecords, 40'000);
  const std::size_t before = files_of(world);
  Peer resting(world), behind(world);
  for (Peer* peer : {&resting, &behind}) {
    peer->open(1, {.log_name = "a",
                   .kind = SessionKind::subscriber,
                   .from = {From::Kind::offset, peer == &resting ? 30u : 2u},
                   .credit = 1});
    world.settle();
    ASSERT_EQ(peer->next()->header.type, FrameType::opened);
    ASSERT_TRUE(next_records(*peer));
  }
  trim(world, 31);
  EXPECT_LT(files_of(world), before);
  for (Peer* peer : {&resting, &behind}) peer->send(FrameType::credit, 1, encode(Credit{50'000}));
  world.settle();
  const auto frame = resting.next();
  ASSERT_TRUE(frame);
  ASSERT_EQ(frame->header.type, FrameType::records)
      << (frame->header.type == FrameType::error ? decode_error(frame->payload)->error.message : "");
  const auto records = decode_records(frame->payload);
  ASSERT_TRUE(records) << "its next record is kept";
  EXPECT_EQ(records->from, Offset(31));
  const auto told = behind.next_error();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->code, Code::trimmed) << told->message;
  EXPECT_EQ(told->detail, 31u);
}

TEST(Trim, BetweenAReadAndTheReaderThread) {
  ServerWorld world({"a"});
  fill(world, kRecords, 40'000);
  Peer peer(world);
  world.readers().hold(true);
  peer.open(1, {.log_name = "a", .kind = SessionKind::subscriber, .from = {From::Kind::timestamp, 1}, .credit = 1});
  peer.open(2, {.log_name = "a", .kind = SessionKind::reader});
  peer.send(FrameType::read, 2, encode(Read{.request = 1, .from = {From::Kind::offset, 2}, .bytes = 1}));
  world.settle();
  EXPECT_EQ(world.readers().waiting, 2u);
  trim(world, 50);
  world.readers().hold(false);
  world.settle();
  std::optional<Offset> start;
  std::optional<Error> told;
  while (const auto frame = peer.next()) {
    if (frame->header.type == FrameType::opened && frame->header.channel == 1)
      start = decode_opened(frame->payload)->start;
    if (frame->header.type == FrameType::error) told = decode_error(frame->payload)->error;
  }
  EXPECT_EQ(start, Offset(50)) << "the first record at or after that time that is kept";
  ASSERT_TRUE(told);
  EXPECT_EQ(told->code, Code::trimmed) << told->message;
}

TEST(MissingSegment, IsSaidAndTheRestIsServed) {
  ServerWorld world({"a"});
  fill(world, kRecords, 40'000);
  const auto& replica = *world.catalogue().find("a");
  const auto view = replica.log().view();
  ASSERT_GE(view.segments.size(), 3u);
  const wal::SegmentView& second = view.segments[1];
  world.filesystem().delete_on_medium("logs/" + to_string(replica.identity().log) + "/" +
                                      wal::segment_name(second.file->header.number));
  Peer peer(world);
  peer.open(1, {.log_name = "a", .kind = SessionKind::reader});
  peer.send(FrameType::read, 1,
            encode(Read{.request = 1, .from = {From::Kind::offset, second.start().offset.value}, .bytes = 1}));
  peer.send(FrameType::read, 1,
            encode(Read{.request = 2, .from = {From::Kind::offset, second.end.offset.value}, .bytes = 1}));
  world.settle();
  ASSERT_EQ(peer.next()->header.type, FrameType::opened);
  const auto told = peer.next_error();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->code, Code::data_loss) << told->message;
  EXPECT_EQ(told->detail, second.start().offset.value);
  EXPECT_TRUE(next_records(peer));
}

}  // namespace
}  // namespace walraft::rpc
