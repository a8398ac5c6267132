// Arbitrary bytes as a stream: the first byte chooses the fragmentation, the rest is what arrives. Every frame that
// the decoder lets through goes to its message's decoder, and what decodes must encode to the same meaning.
// Corpus: tests/data/fuzz/frame.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "rpc/wire/administration.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "wal/base/check.h"
#include "wal/batch.h"

namespace {

using namespace walraft;
using namespace walraft::rpc;

void decode_payload(const FrameDecoder::Frame& frame) {
  const ByteView payload = frame.payload;
  switch (frame.header.type) {
    case FrameType::hello:
      if (auto message = decode_hello(payload)) CHECK(decode_hello(encode(*message)).has_value());
      break;
    case FrameType::welcome:
      if (auto message = decode_welcome(payload)) CHECK(decode_welcome(encode(*message)).has_value());
      break;
    case FrameType::open:
      if (auto message = decode_open(payload)) CHECK(decode_open(encode(*message)).has_value());
      break;
    case FrameType::opened:
      if (auto message = decode_opened(payload)) CHECK(decode_opened(encode(*message)).has_value());
      break;
    case FrameType::request:
      if (auto message = decode_request(payload)) CHECK(decode_request(encode(*message)).has_value());
      break;
    case FrameType::response:
      if (auto message = decode_response(payload)) CHECK(decode_response(encode(*message)).has_value());
      break;
    case FrameType::error:
      if (auto message = decode_error(payload)) CHECK(decode_error(encode(*message)).has_value());
      break;
    case FrameType::ping:
    case FrameType::pong: (void)decode_ping(payload); break;
    case FrameType::append:
      if (decode_append(payload)) (void)wal::decode_unstamped_batch(payload.subspan(Append::kBytes));
      break;
    case FrameType::appended: (void)decode_appended(payload); break;
    case FrameType::read: (void)decode_read(payload); break;
    case FrameType::records:
      if (decode_records(payload)) (void)wal::decode_batch(payload.subspan(Records::kBytes));
      break;
    case FrameType::credit: (void)decode_credit(payload); break;
    case FrameType::close: break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{data[0]} + 1;
  ++data;
  --size;
  FrameDecoder decoder;
  std::size_t arrived = 0;
  while (size > 0) {
    const MutableBytes space = decoder.space();
    const std::size_t n = std::min({piece, space.size(), size});
    std::memcpy(space.data(), data, n);
    decoder.filled(n);
    data += n;
    size -= n;
    arrived += n;
    CHECK(decoder.capacity() <= 4 * arrived + 4 * FrameDecoder::kReadBytes, decoder.capacity(), arrived);
    while (auto frame = decoder.next()) {
      if (!*frame) return 0;
      decode_payload(**frame);
    }
  }
  return 0;
}
