// rpc/wire/messages.h: every message round-trips; every cut, every unknown value is refused by name.
#include "rpc/wire/messages.h"

#include <gtest/gtest.h>

namespace walraft::rpc {
namespace {

Uuid some_uuid() {
  Uuid uuid;
  for (std::size_t i = 0; i < uuid.bytes.size(); ++i) uuid.bytes[i] = static_cast<std::uint8_t>(i + 1);
  return uuid;
}

TEST(Messages, HandshakesRoundTrip) {
  const Hello hello{.version_min = 1, .version_max = 3, .kind = PeerKind::node, .cluster_name = "orders",
                    .cluster_uuid = some_uuid(), .node = NodeId{7}, .software = "wald 0.1.0", .features = 5,
                    .token = std::string("secret")};
  const auto h = decode_hello(encode(hello));
  ASSERT_TRUE(h) << h.error().message;
  EXPECT_EQ(h->version_max, 3);
  EXPECT_EQ(h->kind, PeerKind::node);
  EXPECT_EQ(h->cluster_name, "orders");
  EXPECT_EQ(h->cluster_uuid, some_uuid());
  EXPECT_EQ(h->node, NodeId{7});
  EXPECT_EQ(h->token, "secret");
  EXPECT_FALSE(decode_hello(encode(Hello{}))->token);
  EXPECT_TRUE(decode_hello(encode(Hello{}))->cluster_uuid.is_none());

  const auto w = decode_welcome(encode(Welcome{.cluster_name = "c", .cluster_uuid = some_uuid(), .node = NodeId{1},
                                               .software = "s", .features = 0, .record_bytes_max = 1 << 20,
                                               .batch_bytes_max = 4 << 20, .inflight_bytes_max = 64 << 20}));
  ASSERT_TRUE(w) << w.error().message;
  EXPECT_EQ(w->record_bytes_max, 1u << 20);
  EXPECT_EQ(w->inflight_bytes_max, 64u << 20);

  for (const auto kind : {From::Kind::offset, From::Kind::earliest, From::Kind::latest, From::Kind::last,
                          From::Kind::timestamp}) {
    const bool has_value = kind != From::Kind::earliest && kind != From::Kind::latest;
    const auto o = decode_open(encode(Open{.log_name = "log-1", .kind = SessionKind::subscriber, .create = true,
                                           .from = {kind, has_value ? ~7ull : 0}, .credit = 99,
                                           .writer_epoch = Epoch(4)}));
    ASSERT_TRUE(o) << o.error().message;
    EXPECT_EQ(o->log_name, "log-1");
    EXPECT_EQ(o->kind, SessionKind::subscriber);
    EXPECT_TRUE(o->create);
    EXPECT_EQ(o->from.kind, kind);
    EXPECT_EQ(o->from.value, has_value ? ~7ull : 0);
    EXPECT_EQ(o->credit, 99u);
    EXPECT_EQ(o->writer_epoch, Epoch(4));
  }

  const auto opened = decode_opened(encode(Opened{.log_id = LogId(3), .log_uuid = some_uuid(), .trim = Offset(1),
                                                  .commit = Offset(9), .start = Offset(5), .record_bytes_max = 10,
                                                  .batch_bytes_max = 20}));
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->log_id, LogId(3));
  EXPECT_EQ(opened->commit, Offset(9));
  EXPECT_EQ(opened->start, Offset(5));
}

TEST(Messages, FixedStructsRoundTrip) {
  const auto append = decode_append(encode(Append{.request = 8, .expect_offset = Offset(42)}));
  ASSERT_TRUE(append);
  EXPECT_EQ(append->request, 8u);
  EXPECT_EQ(append->expect_offset, Offset(42));
  EXPECT_FALSE(decode_append(encode(Append{.request = 8, .expect_offset = {}}))->expect_offset);

  const auto appended = decode_appended(encode(Appended{.request = 1, .first = Offset(2), .last = Offset(3),
                                                        .term = Term(4), .queue_us = 5, .own_sync_us = 6,
                                                        .network_us = 7, .follower_sync_us = 8, .quorum_us = 9,
                                                        .durable_on = NodeId{10}, .duplicate = true}));
  ASSERT_TRUE(appended);
  EXPECT_EQ(appended->last, Offset(3));
  EXPECT_EQ(appended->own_sync_us, 6u);
  EXPECT_EQ(appended->quorum_us, 9u);
  EXPECT_EQ(appended->durable_on, NodeId{10});
  EXPECT_TRUE(appended->duplicate);

  const auto read = decode_read(encode(Read{.request = 1, .from = {From::Kind::last, 10}, .until = Offset(20),
                                            .count = 30, .bytes = 40}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->from.kind, From::Kind::last);
  EXPECT_EQ(read->from.value, 10u);
  EXPECT_EQ(read->until, Offset(20));
  EXPECT_EQ(read->bytes, 40u);

  const auto records = decode_records(encode(Records{.request = 3, .from = Offset(1), .next = Offset(2),
                                                     .commit = Offset(3), .last = true, .bytes = 0}));
  ASSERT_TRUE(records);
  EXPECT_TRUE(records->last);
  EXPECT_EQ(records->commit, Offset(3));

  EXPECT_EQ(decode_credit(encode(Credit{7}))->bytes, 7u);
  EXPECT_EQ(decode_ping(encode(Ping{~0ull}))->token, ~0ull);
}

TEST(Messages, EveryErrorCodeRoundTrips) {
  for (const Outcome& outcome : outcomes()) {
    if (outcome.code == Code::ok) continue;
    const auto decoded =
        decode_error(encode(ErrorMessage{.request = 9, .error = {outcome.code, "what, where, why", 1234}}));
    ASSERT_TRUE(decoded) << outcome.name;
    EXPECT_EQ(decoded->request, 9u);
    EXPECT_EQ(decoded->error.code, outcome.code);
    EXPECT_EQ(decoded->error.message, "what, where, why");
    EXPECT_EQ(decoded->error.detail, 1234u);
  }
}

TEST(Messages, AnErrorOfANewerReleaseKeepsItsName) {
  auto bytes = encode(ErrorMessage{.request = 0, .error = {Code::failed, "no", 0}});
  bytes[16] = std::byte{250};
  const auto decoded = decode_error(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->error.code, Code::failed);
  EXPECT_EQ(decoded->error.message, "no (failed)");
  bytes[16] = std::byte{0};  // "ok" is no error
  EXPECT_FALSE(decode_error(bytes));
}

TEST(Messages, LongErrorMessagesAreCutBetweenCharacters) {
  std::string text;
  while (text.size() < 2 * kErrorBytesMax) text += "\xe2\x82\xac";  // the euro sign
  const auto bytes = encode(ErrorMessage{.request = 0, .error = {Code::invalid, text, 0}});
  EXPECT_LE(bytes.size(), kErrorBytesMax);
  EXPECT_EQ(decode_error(bytes)->error.message.size() % 3, 0u);
}

// Every prefix of a message is refused, and no byte changed anywhere makes a decoder crash.
template <class Bytes, class Decode>
void refuses_cuts_and_survives_flips(const Bytes& good, Decode decode) {
  for (std::size_t n = 0; n < good.size(); ++n) {
    EXPECT_FALSE(decode(ByteView(good).first(n))) << "cut at " << n;
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int bit : {0, 1, 7}) {
      auto flipped = good;
      flipped[at] ^= std::byte(1u << bit);
      (void)decode(ByteView(flipped));
    }
  }
}

TEST(Messages, RefuseCutsAndSurviveFlips) {
  refuses_cuts_and_survives_flips(encode(Append{}), decode_append);
  refuses_cuts_and_survives_flips(encode(Appended{}), decode_appended);
  refuses_cuts_and_survives_flips(encode(Read{}), decode_read);
  refuses_cuts_and_survives_flips(encode(Records{}), decode_records);
  refuses_cuts_and_survives_flips(encode(Credit{}), decode_credit);
  refuses_cuts_and_survives_flips(encode(Ping{}), decode_ping);
  refuses_cuts_and_survives_flips(encode(ErrorMessage{.request = 1, .error = {Code::failed, "x", 0}}), decode_error);
  refuses_cuts_and_survives_flips(encode(Hello{.cluster_name = "c", .software = "s"}), decode_hello);
  refuses_cuts_and_survives_flips(encode(Welcome{.cluster_name = "c"}), decode_welcome);
  refuses_cuts_and_survives_flips(encode(Open{.log_name = "l"}), decode_open);
  refuses_cuts_and_survives_flips(encode(Opened{.log_uuid = some_uuid()}), decode_opened);
}

TEST(Messages, RefuseValuesOfTheFuture) {
  auto append = encode(Append{});
  append[8] = std::byte{2};
  EXPECT_FALSE(decode_append(append));
  auto read = encode(Read{});
  read[36] = std::byte{5};
  EXPECT_FALSE(decode_read(read));
  EXPECT_FALSE(decode_records(encode(Records{.from = Offset(2), .next = Offset(1)})));
  EXPECT_FALSE(decode_records(encode(Records{.bytes = 1}))) << "the byte is not there";
  EXPECT_FALSE(decode_appended(encode(Appended{.first = Offset(2), .last = Offset(1)})));
}

TEST(Messages, LogNames) {
  for (const char* good : {"a", "0", "Orders-1", "a.b_c-d"}) EXPECT_TRUE(check_log_name(good)) << good;
  EXPECT_TRUE(check_log_name(std::string(128, 'n')));
  for (const char* bad : {"", "_system", ".", "..", "-a", "a/b", "a b", "\xc3\xa4", "a\n"}) {
    EXPECT_FALSE(check_log_name(bad)) << bad;
  }
  EXPECT_FALSE(check_log_name(std::string(129, 'n')));
  EXPECT_FALSE(check_log_name(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace walraft::rpc
