#pragma once

// The stream protocol's frames: a 32-byte header, then `length` bytes of payload. STREAM.md explains; this file rules.
//
//   0  u32 magic "WFRM"     8  u32 length of the payload     24 u32 zero
//   4  u8  version = 1      12 u32 channel                   28 u32 header_crc
//   5  u8  type             16 u64 term
//   6  u16 zero
//
// Little endian. header_crc = CRC-32C of bytes [0, 28). The payload carries checks of its own: batches have their
// body_crc and header_crc; everything else is a fixed struct or a Cap'n Proto message, checked when it is decoded.
// All functions: any thread.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/batch.h"

namespace walraft::rpc {

inline constexpr std::uint32_t kFrameMagic = 0x4d524657;  // "WFRM" on the wire
inline constexpr std::uint8_t kFrameVersion = 1;
inline constexpr std::size_t kFrameHeaderBytes = 32;

enum class FrameType : std::uint8_t {
  hello = 1,     // client -> server, channel 0: Cap'n Proto Hello
  welcome = 2,   // server -> client, channel 0: Cap'n Proto Welcome
  error = 3,     // server -> client: a request, a channel or the connection failed (messages.h)
  ping = 4,      // either way, channel 0
  pong = 5,      // its answer
  open = 6,      // client -> server: Cap'n Proto Open; makes a session on the channel it names
  opened = 7,    // server -> client: Cap'n Proto Opened
  close = 8,     // either way: the session of the channel ends
  request = 9,   // client -> server: Cap'n Proto Request (administration.h); needs no session
  response = 10, // server -> client: Cap'n Proto Response, on the request's channel
  append = 16,   // client -> server: Append, then one unstamped batch
  appended = 17, // server -> client: Appended
  read = 18,     // client -> server: Read
  records = 19,  // server -> client: Records, then whole stamped batches
  credit = 20,   // client -> server: Credit
};
bool is_known(FrameType type);
std::string_view name_of(FrameType type);  // "hello", …; "unknown" for the rest

// The largest payload of each type; what is longer is refused before a byte of it is stored. A frame of records holds
// one batch of any size, or several up to kRecordsFrameBytes.
inline constexpr std::size_t kHandshakeBytesMax = 64u << 10;
inline constexpr std::size_t kResponseBytesMax = 256u << 10;
inline constexpr std::size_t kErrorBytesMax = 4u << 10;
inline constexpr std::size_t kFixedBytesMax = 64;
inline constexpr std::size_t kBatchBytesMax = wal::kBatchHeaderBytes + wal::kBodyBytesMax;
inline constexpr std::size_t kRecordsFrameBytes = 1u << 20;
std::size_t payload_bytes_max(FrameType type);

struct FrameHeader {
  FrameType type = FrameType::ping;
  std::uint32_t length = 0;
  std::uint32_t channel = 0;  // 0 is the connection itself
  Term term{};                  // of the log's leader, in what servers send; 0 from clients
};

std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header);

// `bytes` holds at least kFrameHeaderBytes. `invalid`, naming the field, if the magic, version, CRC, type or a zero
// field is wrong; `too_large` if the length is above its type's limit. Nothing is allocated for a good header.
Result<FrameHeader> decode_frame_header(ByteView bytes);

// A whole frame in one buffer, for sending: the header, then what the pieces hold.
std::vector<std::byte> make_frame(FrameType type, std::uint32_t channel, Term term, ByteView payload,
                                  ByteView more = {});

// Cuts a byte stream into frames. Bytes come in pieces of any size; memory grows with the bytes that arrive, never by
// a length that was only claimed, and never beyond one frame and one read.
//
//   auto space = decoder.space(); n = read(socket, space); decoder.filled(n);
//   while (auto frame = decoder.next()) { if (!*frame) fail(frame->error()); use(**frame); }
//
// After an error the decoder repeats it: the stream has no frame boundary left to go on from.
// Thread: one at a time.
class FrameDecoder {
 public:
  struct Frame {
    FrameHeader header;
    MutableBytes payload;  // valid until the next call of space(); batches may be stamped in place
  };

  // Room for at least one byte, at most kReadBytes or what the frame under way still lacks, whichever is more.
  MutableBytes space();
  void filled(std::size_t bytes);

  // Nothing if no whole frame is there yet.
  std::optional<Result<Frame>> next();

  // Bytes of an unfinished frame are waiting.
  bool in_frame() const { return end_ > begin_; }
  // Its length, as far as it is known: of its header before that has come.
  std::size_t frame_bytes() const { return kFrameHeaderBytes + (header_ ? header_->length : 0); }
  std::size_t capacity() const { return buffer_.size(); }  // memory held

  static constexpr std::size_t kReadBytes = 64u << 10;

 private:
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of the frame under way
  std::size_t end_ = 0;    // of the bytes that arrived
  std::optional<FrameHeader> header_;  // of the frame under way, once checked
  std::optional<Error> error_{};
};

}  // namespace walraft::rpc
