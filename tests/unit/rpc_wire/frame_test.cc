// rpc/wire/frame.h: frames survive any fragmentation, and no malformed header gets past the decoder or makes it
// allocate (fault:K8).
#include "rpc/wire/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "rpc/wire/messages.h"
#include "wal/base/crc32c.h"

namespace walraft::rpc {
namespace {

std::vector<std::byte> bytes(std::string_view text) {
  const ByteView view = bytes_of(text);
  return {view.begin(), view.end()};
}

// Puts `input` in, at most `piece` bytes at a time, and takes out what comes.
std::vector<std::string> decode_in_pieces(ByteView input, std::size_t piece, FrameDecoder& decoder) {
  std::vector<std::string> frames;
  while (!input.empty()) {
    const MutableBytes space = decoder.space();
    const std::size_t n = std::min({piece, space.size(), input.size()});
    std::copy_n(input.begin(), n, space.begin());
    decoder.filled(n);
    input = input.subspan(n);
    while (auto frame = decoder.next()) {
      if (!*frame) return frames;
      frames.push_back(std::string(name_of((*frame)->header.type)) + "/" + std::to_string((*frame)->header.channel) +
                       "/" + std::to_string((*frame)->header.term.value) + "/" +
                       std::string(text_of((*frame)->payload)));
    }
  }
  return frames;
}

// A header with one field replaced and a CRC that fits.
std::vector<std::byte> forged_header(std::size_t at, std::uint8_t value) {
  const auto good = encode({.type = FrameType::ping, .length = 8, .channel = 0});
  std::vector<std::byte> header(good.begin(), good.end());
  header[at] = std::byte{value};
  store_le(header.data() + 28, crc32c(ByteView(header).first(28)));
  return header;
}

TEST(Frame, HeaderRoundTrips) {
  const FrameHeader header{.type = FrameType::records, .length = 77, .channel = 0xfffffffe, .term = Term(1ull << 63)};
  const auto encoded = encode(header);
  const auto decoded = decode_frame_header(encoded);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->type, header.type);
  EXPECT_EQ(decoded->length, header.length);
  EXPECT_EQ(decoded->channel, header.channel);
  EXPECT_EQ(decoded->term, header.term);
}

TEST(Frame, DecodesWhateverTheFragmentation) {
  std::vector<std::byte> stream;
  for (int i = 0; i < 5; ++i) {
    const auto frame = make_frame(FrameType::error, static_cast<std::uint32_t>(i), Term(7), bytes("payload"),
                                  bytes(std::string(static_cast<std::size_t>(i) * 13, 'x')));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  FrameDecoder whole;
  const auto expected = decode_in_pieces(stream, stream.size(), whole);
  ASSERT_EQ(expected.size(), 5u);
  EXPECT_EQ(expected[1], "error/1/7/payload" + std::string(13, 'x'));
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameDecoder decoder;
    EXPECT_EQ(decode_in_pieces(stream, piece, decoder), expected) << "in pieces of " << piece;
    EXPECT_FALSE(decoder.in_frame());
  }
}

TEST(Frame, DecodesTheLargestFrame) {
  std::vector<std::byte> payload(payload_bytes_max(FrameType::append), std::byte{0x5a});
  const auto frame = make_frame(FrameType::append, 3, Term(), payload);
  FrameDecoder decoder;
  ByteView rest = frame;
  while (!rest.empty()) {
    const MutableBytes space = decoder.space();
    const std::size_t n = std::min<std::size_t>({space.size(), rest.size(), 30'000});
    std::memcpy(space.data(), rest.data(), n);
    decoder.filled(n);
    rest = rest.subspan(n);
    if (!rest.empty()) {
      ASSERT_FALSE(decoder.next());
    }
  }
  const auto decoded = decoder.next();
  ASSERT_TRUE(decoded && *decoded);
  EXPECT_TRUE(std::ranges::equal((*decoded)->payload, payload));
  decoder.space();
  EXPECT_LE(decoder.capacity(), 1u << 20) << "a large buffer is not kept";
}

TEST(Frame, RefusesEveryMalformedHeaderField) {
  struct Case {
    const char* field;
    std::size_t at;
    std::uint8_t value;
    const char* says;
  };
  for (const Case& c : {Case{"magic", 0, 'X', "magic"}, Case{"magic", 3, 0, "magic"},
                        Case{"version", 4, 0, "version 0"}, Case{"version", 4, 2, "version 2"},
                        Case{"type", 5, 0, "type 0"}, Case{"type", 5, 11, "type 11"}, Case{"type", 5, 255, "type 255"},
                        Case{"zero", 6, 1, "zero"}, Case{"zero", 7, 128, "zero"}, Case{"length", 8, 65, "65 bytes"},
                        Case{"length", 11, 255, "bytes"}, Case{"zero", 24, 1, "zero"}, Case{"zero", 27, 1, "zero"}}) {
    const auto decoded = decode_frame_header(forged_header(c.at, c.value));
    ASSERT_FALSE(decoded) << c.field << " at " << c.at;
    EXPECT_NE(decoded.error().message.find(c.says), std::string::npos) << decoded.error().message;
  }
}

TEST(Frame, RefusesEveryFlippedHeaderBit) {
  const auto good = encode({.type = FrameType::append, .length = 200, .channel = 5, .term = Term(9)});
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto flipped = good;
    flipped[bit / 8] ^= std::byte(1u << (bit % 8));
    EXPECT_FALSE(decode_frame_header(flipped)) << "bit " << bit;
  }
}

TEST(Frame, AllocatesNothingForAClaimedLength) {
  for (const FrameType type : {FrameType::append, FrameType::records}) {
    const auto header = encode({.type = type, .length = static_cast<std::uint32_t>(payload_bytes_max(type)), .channel = 1});
    FrameDecoder decoder;
    const MutableBytes space = decoder.space();
    std::copy(header.begin(), header.end(), space.begin());
    decoder.filled(header.size());
    EXPECT_FALSE(decoder.next());
    decoder.space();
    EXPECT_LE(decoder.capacity(), 3 * FrameDecoder::kReadBytes) << "8 MiB were claimed, 32 bytes came";
  }
}

// After a large frame its buffer is kept for a while: all the room in it used to be offered, a megabyte of small
// frames.
TEST(Frame, OffersNoMoreRoomThanItSays) {
  const auto large = make_frame(FrameType::append, 1, Term(), std::vector<std::byte>(600'000));
  const auto small = make_frame(FrameType::ping, 0, Term(), encode(Ping{1}));
  FrameDecoder decoder;
  for (const ByteView frame : {ByteView(small), ByteView(large), ByteView(small)}) {
    for (ByteView rest = frame; !rest.empty();) {
      const MutableBytes space = decoder.space();
      const std::size_t lacking = decoder.in_frame() ? rest.size() : 0;
      ASSERT_LE(space.size(), std::max(FrameDecoder::kReadBytes, lacking)) << rest.size() << " of " << frame.size();
      const std::size_t n = std::min(space.size(), rest.size());
      std::copy_n(rest.begin(), n, space.begin());
      decoder.filled(n);
      rest = rest.subspan(n);
      ASSERT_EQ(decoder.next().has_value(), rest.empty());
    }
  }
  EXPECT_GE(decoder.capacity(), 600'000u) << "the test is about a buffer that was kept";
}

TEST(Frame, StaysBrokenAfterAnError) {
  FrameDecoder decoder;
  const auto bad = forged_header(5, 200);
  std::copy(bad.begin(), bad.end(), decoder.space().begin());
  decoder.filled(bad.size());
  const auto first = decoder.next();
  ASSERT_TRUE(first && !*first);
  const auto good = make_frame(FrameType::ping, 0, Term(), encode(Ping{1}));
  std::copy(good.begin(), good.end(), decoder.space().begin());
  decoder.filled(good.size());
  const auto second = decoder.next();
  ASSERT_TRUE(second && !*second);
  EXPECT_EQ((*second).error().message, (*first).error().message);
}

}  // namespace
}  // namespace walraft::rpc
