// rpc/wire/STREAM.md is run: the bytes of its example decode to what its text says.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "wal/batch.h"

namespace walraft::rpc {
namespace {

// The bytes of the block fenced as ```NAME.
std::vector<std::byte> example(const std::string& name) {
  std::ifstream in(std::string(WALRAFT_SOURCE_DIR) + "/rpc/wire/STREAM.md");
  EXPECT_TRUE(in) << "rpc/wire/STREAM.md is missing";
  std::vector<std::byte> bytes;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      inside = line == "```" + name;
      continue;
    }
    if (!inside) continue;
    std::istringstream words(line.substr(0, 54));  // the comment stands behind
    std::size_t position = 0;
    words >> std::hex >> position;
    EXPECT_EQ(position, bytes.size()) << line;
    for (unsigned value; words >> value;) bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

FrameDecoder::Frame decode(FrameDecoder& decoder, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), decoder.space().begin());
  decoder.filled(bytes.size());
  auto frame = decoder.next();
  EXPECT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->has_value()) << (*frame).error().message;
  EXPECT_FALSE(decoder.in_frame());
  return **frame;
}

TEST(StreamDocument, TheAppendIsWhatItSays) {
  FrameDecoder decoder;
  const auto bytes = example("append");
  const auto frame = decode(decoder, bytes);
  EXPECT_EQ(frame.header.type, FrameType::append);
  EXPECT_EQ(frame.header.channel, 3u);
  EXPECT_EQ(frame.header.length, 167u);
  const auto append = decode_append(frame.payload);
  ASSERT_TRUE(append) << append.error().message;
  EXPECT_EQ(append->request, 1u);
  EXPECT_EQ(append->expect_offset, Offset(42));
  const ByteView batch = frame.payload.subspan(Append::kBytes);
  const auto header = wal::decode_unstamped_batch(batch);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->log_id, LogId(1));
  wal::RecordCursor records(*header, batch);
  EXPECT_EQ(text_of(*records.next()), "hello");
  EXPECT_EQ(text_of(*records.next()), "hi");
  EXPECT_FALSE(records.next());

  // And the other way round: what the client makes of these records is these bytes.
  wal::BatchBuilder builder;
  ASSERT_TRUE(builder.add(bytes_of("hello")) && builder.add(bytes_of("hi")));
  const auto again = make_frame(FrameType::append, 3, Term(), encode(Append{.request = 1, .expect_offset = Offset(42)}),
                                builder.finish({.log_id = LogId(1), .writer_epoch = {}, .producer_id = {}}));
  EXPECT_EQ(again, bytes);
}

TEST(StreamDocument, TheAnswerIsWhatItSays) {
  FrameDecoder decoder;
  const auto bytes = example("appended");
  const auto frame = decode(decoder, bytes);
  EXPECT_EQ(frame.header.type, FrameType::appended);
  EXPECT_EQ(frame.header.term, Term(7));
  const auto appended = decode_appended(frame.payload);
  ASSERT_TRUE(appended) << appended.error().message;
  EXPECT_EQ(appended->first, Offset(42));
  EXPECT_EQ(appended->last, Offset(43));
  EXPECT_EQ(appended->queue_us, 35u);
  EXPECT_EQ(appended->own_sync_us, 110u);
  EXPECT_EQ(appended->quorum_us, 145u);
  EXPECT_EQ(appended->durable_on, NodeId{1});
}

}  // namespace
}  // namespace walraft::rpc
