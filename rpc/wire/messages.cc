// The fixed half of messages.h. Field positions stand in the header's comments, in order.
#include "rpc/wire/messages.h"

#include <algorithm>

namespace walraft::rpc {
namespace {

Result<void> check_length(ByteView payload, std::size_t bytes, FrameType type, bool exact) {
  if (payload.size() == bytes || (!exact && payload.size() > bytes)) return {};
  return error(Code::invalid, "a frame of type " + std::string(name_of(type)) + " has " +
                                  std::to_string(payload.size()) + " bytes of payload; " +
                                  (exact ? "it must have " : "it must have at least ") + std::to_string(bytes));
}

// Writes and reads fields one after the other.
class Writer {
 public:
  explicit Writer(std::byte* to) : at_(to) {}
  template <class T>
  Writer& put(T value) {
    store_le(at_, value);
    at_ += sizeof(T);
    return *this;
  }

 private:
  std::byte* at_;
};

class Reader {
 public:
  explicit Reader(ByteView from) : at_(from.data()) {}
  template <class T>
  T take() {
    const T value = load_le<T>(at_);
    at_ += sizeof(T);
    return value;
  }

 private:
  const std::byte* at_;
};

std::unexpected<Error> bad_field(FrameType type, const char* field) {
  return error(Code::invalid,
               "a frame of type " + std::string(name_of(type)) + " has a value in " + field + " that version 1 does not know");
}

// Cuts UTF-8 between characters.
std::string_view cut_text(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

std::array<std::byte, Append::kBytes> encode(const Append& message) {
  std::array<std::byte, Append::kBytes> bytes{};
  Writer(bytes.data())
      .put(message.request)
      .put(std::uint32_t{message.expect_offset ? 1u : 0u})
      .put(std::uint32_t{0})
      .put(message.expect_offset.value_or(Offset(0)).value);
  return bytes;
}

Result<Append> decode_append(ByteView payload) {
  if (auto ok = check_length(payload, Append::kBytes, FrameType::append, false); !ok) return std::unexpected(ok.error());
  Reader reader(payload);
  Append message;
  message.request = reader.take<std::uint64_t>();
  const auto flags = reader.take<std::uint32_t>();
  if (flags > 1) return bad_field(FrameType::append, "flags");
  if (reader.take<std::uint32_t>() != 0) return bad_field(FrameType::append, "a zero field");
  const auto expect = reader.take<std::uint64_t>();
  if (flags & 1) message.expect_offset = Offset(expect);
  return message;
}

std::array<std::byte, Appended::kBytes> encode(const Appended& message) {
  std::array<std::byte, Appended::kBytes> bytes{};
  Writer(bytes.data())
      .put(message.request)
      .put(message.first.value)
      .put(message.last.value)
      .put(message.term.value)
      .put(message.queue_us)
      .put(message.own_sync_us)
      .put(message.network_us)
      .put(message.follower_sync_us)
      .put(message.quorum_us)
      .put(message.durable_on.value)
      .put(std::uint16_t{message.duplicate ? std::uint16_t{1} : std::uint16_t{0}});
  return bytes;
}

Result<Appended> decode_appended(ByteView payload) {
  if (auto ok = check_length(payload, Appended::kBytes, FrameType::appended, true); !ok) {
    return std::unexpected(ok.error());
  }
  Reader reader(payload);
  Appended message;
  message.request = reader.take<std::uint64_t>();
  message.first = Offset(reader.take<std::uint64_t>());
  message.last = Offset(reader.take<std::uint64_t>());
  message.term = Term(reader.take<std::uint64_t>());
  message.queue_us = reader.take<std::uint32_t>();
  message.own_sync_us = reader.take<std::uint32_t>();
  message.network_us = reader.take<std::uint32_t>();
  message.follower_sync_us = reader.take<std::uint32_t>();
  message.quorum_us = reader.take<std::uint32_t>();
  message.durable_on = NodeId{reader.take<std::uint16_t>()};
  const auto flags = reader.take<std::uint16_t>();
  if (flags > 1) return bad_field(FrameType::appended, "flags");
  message.duplicate = flags != 0;
  if (message.last < message.first) return bad_field(FrameType::appended, "the offsets");
  return message;
}

std::array<std::byte, Read::kBytes> encode(const Read& message) {
  std::array<std::byte, Read::kBytes> bytes{};
  Writer(bytes.data())
      .put(message.request)
      .put(message.from.value)
      .put(message.until.value)
      .put(message.count)
      .put(message.bytes)
      .put(static_cast<std::uint8_t>(message.from.kind))
      .put(std::uint8_t{0})
      .put(std::uint16_t{0});
  return bytes;
}

Result<Read> decode_read(ByteView payload) {
  if (auto ok = check_length(payload, Read::kBytes, FrameType::read, true); !ok) return std::unexpected(ok.error());
  Reader reader(payload);
  Read message;
  message.request = reader.take<std::uint64_t>();
  message.from.value = reader.take<std::uint64_t>();
  message.until = Offset(reader.take<std::uint64_t>());
  message.count = reader.take<std::uint64_t>();
  message.bytes = reader.take<std::uint32_t>();
  const auto kind = reader.take<std::uint8_t>();
  if (kind > static_cast<std::uint8_t>(From::Kind::timestamp)) return bad_field(FrameType::read, "from_kind");
  message.from.kind = static_cast<From::Kind>(kind);
  if (reader.take<std::uint8_t>() != 0 || reader.take<std::uint16_t>() != 0) {
    return bad_field(FrameType::read, "a zero field");
  }
  return message;
}

std::array<std::byte, Records::kBytes> encode(const Records& message) {
  std::array<std::byte, Records::kBytes> bytes{};
  Writer(bytes.data())
      .put(message.request)
      .put(message.from.value)
      .put(message.next.value)
      .put(message.commit.value)
      .put(std::uint32_t{message.last ? 1u : 0u})
      .put(message.bytes);
  return bytes;
}

Result<Records> decode_records(ByteView payload) {
  if (auto ok = check_length(payload, Records::kBytes, FrameType::records, false); !ok) {
    return std::unexpected(ok.error());
  }
  Reader reader(payload);
  Records message;
  message.request = reader.take<std::uint64_t>();
  message.from = Offset(reader.take<std::uint64_t>());
  message.next = Offset(reader.take<std::uint64_t>());
  message.commit = Offset(reader.take<std::uint64_t>());
  const auto flags = reader.take<std::uint32_t>();
  if (flags > 1) return bad_field(FrameType::records, "flags");
  message.last = flags != 0;
  message.bytes = reader.take<std::uint32_t>();
  if (message.next < message.from) return bad_field(FrameType::records, "the offsets");
  if (message.bytes != payload.size() - Records::kBytes) return bad_field(FrameType::records, "bytes");
  return message;
}

std::array<std::byte, Credit::kBytes> encode(const Credit& message) {
  std::array<std::byte, Credit::kBytes> bytes{};
  Writer(bytes.data()).put(message.bytes);
  return bytes;
}

Result<Credit> decode_credit(ByteView payload) {
  if (auto ok = check_length(payload, Credit::kBytes, FrameType::credit, true); !ok) return std::unexpected(ok.error());
  return Credit{load_le<std::uint64_t>(payload.data())};
}

std::array<std::byte, Ping::kBytes> encode(const Ping& message) {
  std::array<std::byte, Ping::kBytes> bytes{};
  Writer(bytes.data()).put(message.token);
  return bytes;
}

Result<Ping> decode_ping(ByteView payload) {
  if (auto ok = check_length(payload, Ping::kBytes, FrameType::ping, true); !ok) return std::unexpected(ok.error());
  return Ping{load_le<std::uint64_t>(payload.data())};
}

std::vector<std::byte> encode(const ErrorMessage& message) {
  const std::string_view name = outcome_of(message.error.code).name;
  const std::string_view text =
      cut_text(message.error.message, kErrorBytesMax - ErrorMessage::kBytes - name.size());
  std::vector<std::byte> bytes(ErrorMessage::kBytes + name.size() + text.size());
  Writer(bytes.data())
      .put(message.request)
      .put(message.error.detail)
      .put(static_cast<std::uint8_t>(message.error.code))
      .put(static_cast<std::uint8_t>(name.size()))
      .put(static_cast<std::uint16_t>(text.size()))
      .put(std::uint32_t{0});
  const auto tail = std::copy(bytes_of(name).begin(), bytes_of(name).end(), bytes.begin() + ErrorMessage::kBytes);
  std::copy(bytes_of(text).begin(), bytes_of(text).end(), tail);
  return bytes;
}

Result<ErrorMessage> decode_error(ByteView payload) {
  if (auto ok = check_length(payload, ErrorMessage::kBytes, FrameType::error, false); !ok) {
    return std::unexpected(ok.error());
  }
  Reader reader(payload);
  ErrorMessage message;
  message.request = reader.take<std::uint64_t>();
  message.error.detail = reader.take<std::uint64_t>();
  const auto code = reader.take<std::uint8_t>();
  const std::size_t name_bytes = reader.take<std::uint8_t>();
  const std::size_t text_bytes = reader.take<std::uint16_t>();
  if (reader.take<std::uint32_t>() != 0) return bad_field(FrameType::error, "a zero field");
  if (payload.size() != ErrorMessage::kBytes + name_bytes + text_bytes) return bad_field(FrameType::error, "a length");
  const std::string_view text = text_of(payload.subspan(ErrorMessage::kBytes));
  message.error.message = std::string(text.substr(name_bytes));
  // An error of `ok` would read as success; a code of a newer release keeps its name in the message.
  message.error.code = outcome_of(static_cast<Code>(code)).code;
  if (message.error.code == Code::ok) return bad_field(FrameType::error, "code");
  if (code >= outcomes().size()) message.error.message += " (" + std::string(text.substr(0, name_bytes)) + ")";
  return message;
}

Result<void> check_log_name(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const bool good = !name.empty() && name.size() <= 128 && is_alphanumeric(name[0]) &&
                    std::all_of(name.begin(), name.end(), [&](char c) {
                      return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
                    });
  if (good) return {};
  if (name.starts_with('_')) {
    return error(
        Code::invalid,
        "names that start with _ are the system's, not served to clients; others start with a letter or digit");
  }
  return error(Code::invalid, "this is no name of a log: 1 to 128 letters, digits, dots, underscores and dashes, "
                              "the first a letter or a digit");
}

}  // namespace walraft::rpc
