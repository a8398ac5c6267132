#pragma once

// What Cap'n Proto messages of the stream protocol have in common. Private to the .cc files of rpc/wire: its headers
// are slow to compile.

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "wal/base/bytes.h"
#include "wal/base/ids.h"
#include "wal/base/result.h"

namespace walraft::rpc::capnp_message {

// A message is small: what is nested deeper or counts more words than this is an attack on the parser.
inline constexpr capnp::ReaderOptions kReaderOptions{.traversalLimitInWords = 64 * 1024, .nestingLimit = 16};
inline constexpr std::size_t kTextBytesMax = 256;

inline std::vector<std::byte> bytes_of(capnp::MallocMessageBuilder& message) {
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  return {bytes.begin(), bytes.end()};
}

inline capnp::Data::Reader data_of(const Uuid& uuid) {
  return uuid.is_none() ? capnp::Data::Reader() : capnp::Data::Reader(uuid.bytes.data(), uuid.bytes.size());
}

inline Result<Uuid> uuid_of(capnp::Data::Reader data, const char* field) {
  Uuid uuid;
  if (data.size() == 0) return uuid;
  if (data.size() != uuid.bytes.size()) return error(Code::invalid, std::string(field) + " is not 16 bytes long");
  std::copy(data.begin(), data.end(), uuid.bytes.begin());
  return uuid;
}

inline std::string text_of(capnp::Text::Reader text) { return {text.cStr(), std::min(text.size(), kTextBytesMax)}; }

// Runs `read` on the message's root. Cap'n Proto reports malformed messages by exceptions; they end here.
template <class Struct, class Read>
auto parse(ByteView payload, const char* what, Read read) -> decltype(read(std::declval<typename Struct::Reader>())) {
  if (payload.empty() || payload.size() % sizeof(capnp::word) != 0) {
    return error(Code::invalid,
                 std::string(what) + " is not a Cap'n Proto message: its length is " + std::to_string(payload.size()));
  }
  auto words = kj::heapArray<capnp::word>(payload.size() / sizeof(capnp::word));  // the payload may be unaligned
  std::memcpy(words.begin(), payload.data(), payload.size());
  try {
    capnp::FlatArrayMessageReader reader(words, kReaderOptions);
    return read(reader.getRoot<Struct>());
  } catch (const kj::Exception& exception) {
    return error(Code::invalid, std::string(what) + " is malformed: " + exception.getDescription().cStr());
  }
}

}  // namespace walraft::rpc::capnp_message
