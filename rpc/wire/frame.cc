#include "rpc/wire/frame.h"

#include <algorithm>
#include <cstring>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"

namespace walraft::rpc {
namespace {

constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kTypeAt = 5;
constexpr std::size_t kZero16At = 6;
constexpr std::size_t kLengthAt = 8;
constexpr std::size_t kChannelAt = 12;
constexpr std::size_t kTermAt = 16;
constexpr std::size_t kZero32At = 24;
constexpr std::size_t kCrcAt = 28;
static_assert(kCrcAt + sizeof(std::uint32_t) == kFrameHeaderBytes);

// Once drained, a buffer that a large frame made is given back.
constexpr std::size_t kKeptBytes = 1u << 20;

}  // namespace

bool is_known(FrameType type) { return name_of(type) != "unknown"; }

std::string_view name_of(FrameType type) {
  switch (type) {
    case FrameType::hello: return "hello";
    case FrameType::welcome: return "welcome";
    case FrameType::error: return "error";
    case FrameType::ping: return "ping";
    case FrameType::pong: return "pong";
    case FrameType::open: return "open";
    case FrameType::opened: return "opened";
    case FrameType::close: return "close";
    case FrameType::request: return "request";
    case FrameType::response: return "response";
    case FrameType::append: return "append";
    case FrameType::appended: return "appended";
    case FrameType::read: return "read";
    case FrameType::records: return "records";
    case FrameType::credit: return "credit";
  }
  return "unknown";
}

std::size_t payload_bytes_max(FrameType type) {
  switch (type) {
    case FrameType::hello:
    case FrameType::welcome:
    case FrameType::open:
    case FrameType::opened:
    case FrameType::request: return kHandshakeBytesMax;
    case FrameType::response: return kResponseBytesMax;
    case FrameType::error: return kErrorBytesMax;
    case FrameType::append:
    case FrameType::records: return kFixedBytesMax + std::max(kBatchBytesMax, kRecordsFrameBytes);
    case FrameType::ping:
    case FrameType::pong:
    case FrameType::close:
    case FrameType::appended:
    case FrameType::read:
    case FrameType::credit: return kFixedBytesMax;
  }
  return 0;
}

std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header) {
  CHECK(is_known(header.type), static_cast<int>(header.type));
  CHECK(header.length <= payload_bytes_max(header.type), header.length);
  std::array<std::byte, kFrameHeaderBytes> bytes{};
  store_le(bytes.data() + kMagicAt, kFrameMagic);
  store_le(bytes.data() + kVersionAt, kFrameVersion);
  store_le(bytes.data() + kTypeAt, static_cast<std::uint8_t>(header.type));
  store_le(bytes.data() + kLengthAt, header.length);
  store_le(bytes.data() + kChannelAt, header.channel);
  store_le(bytes.data() + kTermAt, header.term.value);
  store_le(bytes.data() + kCrcAt, crc32c(ByteView(bytes).first(kCrcAt)));
  return bytes;
}

Result<FrameHeader> decode_frame_header(ByteView bytes) {
  CHECK(bytes.size() >= kFrameHeaderBytes, bytes.size());
  const std::byte* at = bytes.data();
  if (load_le<std::uint32_t>(at + kMagicAt) != kFrameMagic) {
    return error(Code::invalid, "no frame starts here: the magic number is wrong. Is this Walraft's stream port?");
  }
  const auto version = load_le<std::uint8_t>(at + kVersionAt);
  if (version != kFrameVersion) {
    return error(Code::invalid, "the frame has version " + std::to_string(version) + "; this release speaks version 1");
  }
  if (load_le<std::uint32_t>(at + kCrcAt) != crc32c(bytes.first(kCrcAt))) {
    return error(Code::invalid, "the CRC of the frame header is wrong");
  }
  if (load_le<std::uint16_t>(at + kZero16At) != 0 || load_le<std::uint32_t>(at + kZero32At) != 0) {
    return error(Code::invalid, "a frame header field that version 1 keeps zero is not zero");
  }
  FrameHeader header;
  header.type = static_cast<FrameType>(load_le<std::uint8_t>(at + kTypeAt));
  if (!is_known(header.type)) {
    return error(Code::invalid,
                 "frame type " + std::to_string(static_cast<int>(header.type)) + " is unknown to this release");
  }
  header.length = load_le<std::uint32_t>(at + kLengthAt);
  if (header.length > payload_bytes_max(header.type)) {
    return error(Code::too_large, "a frame of type " + std::string(name_of(header.type)) + " claims " +
                                      std::to_string(header.length) + " bytes; at most " +
                                      std::to_string(payload_bytes_max(header.type)) + " are allowed");
  }
  header.channel = load_le<std::uint32_t>(at + kChannelAt);
  header.term = Term(load_le<std::uint64_t>(at + kTermAt));
  return header;
}

std::vector<std::byte> make_frame(FrameType type, std::uint32_t channel, Term term, ByteView payload, ByteView more) {
  const auto header =
      encode({.type = type, .length = static_cast<std::uint32_t>(payload.size() + more.size()), .channel = channel,
              .term = term});
  std::vector<std::byte> frame;
  frame.reserve(header.size() + payload.size() + more.size());
  frame.assign(header.begin(), header.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  frame.insert(frame.end(), more.begin(), more.end());
  return frame;
}

MutableBytes FrameDecoder::space() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kKeptBytes) buffer_ = {};
  } else if (begin_ > 0 && buffer_.size() - end_ < kReadBytes) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  // Doubling keeps the copying linear; the claimed length only bounds it. So a peer makes us hold at most about twice
  // what it sent.
  if (buffer_.size() - end_ < kReadBytes) {
    const std::size_t whole =
        header_ ? begin_ + kFrameHeaderBytes + header_->length : begin_ + kFrameHeaderBytes;
    const std::size_t wanted = std::max(end_ + kReadBytes, std::min(whole, 2 * end_));
    if (wanted > buffer_.size()) buffer_.resize(wanted);
  }
  const std::size_t lacking = header_ ? begin_ + kFrameHeaderBytes + header_->length - end_ : 0;
  return MutableBytes(buffer_).subspan(end_, std::min(buffer_.size() - end_, std::max(kReadBytes, lacking)));
}

void FrameDecoder::filled(std::size_t bytes) {
  CHECK(bytes <= buffer_.size() - end_, bytes);
  end_ += bytes;
}

std::optional<Result<FrameDecoder::Frame>> FrameDecoder::next() {
  if (error_) return std::unexpected(*error_);
  const std::size_t there = end_ - begin_;
  if (!header_) {
    if (there < kFrameHeaderBytes) return std::nullopt;
    auto header = decode_frame_header(ByteView(buffer_).subspan(begin_, kFrameHeaderBytes));
    if (!header) {
      error_ = header.error();
      return std::unexpected(*error_);
    }
    header_ = *header;
  }
  const std::size_t whole = kFrameHeaderBytes + header_->length;
  if (there < whole) return std::nullopt;
  Frame frame{.header = *header_,
              .payload = MutableBytes(buffer_).subspan(begin_ + kFrameHeaderBytes, header_->length)};
  header_.reset();
  begin_ += whole;
  return frame;
}

}  // namespace walraft::rpc
