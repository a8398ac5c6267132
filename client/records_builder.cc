#include "client/records_builder.h"

#include "wal/batch.h"

namespace walraft {

Result<void> RecordsBuilder::add(const rpc::Records& message, ByteView batches) {
  const auto wrong = [](const std::string& what) {
    return error(Code::failed, "the server sent records that do not follow one another: " + what);
  };
  if (message.from != records_.next_) {
    return wrong("offset " + std::to_string(message.from.value) + " came, " + std::to_string(records_.next_.value) +
                 " was next");
  }
  const auto memory = std::make_shared<const std::vector<std::byte>>(batches.begin(), batches.end());
  const std::size_t had = records_.all_.size();
  const auto undo = [&](std::unexpected<Error> failure) {
    records_.all_.resize(had);
    return failure;
  };
  Offset next = message.from;
  ByteView rest = *memory;
  while (!rest.empty()) {
    const auto header = wal::decode_batch(rest);
    if (!header) return undo(std::unexpected(Error(header.error()).at("a batch from the server")));
    const ByteView bytes = rest.first(header->total_bytes());
    rest = rest.subspan(header->total_bytes());
    if (header->kind != wal::BatchKind::data) continue;
    Offset offset = header->base_offset;
    if (offset >= message.next) break;  // more than was asked for
    if (offset > next) return undo(wrong("a gap before offset " + std::to_string(offset.value)));
    wal::RecordCursor cursor(*header, bytes);
    while (const auto record = cursor.next()) {
      if (offset >= next && offset < message.next) {
        records_.all_.push_back({.offset = offset, .timestamp_us = header->timestamp_us, .term = header->term,
                                 .data = *record});
        next = offset + 1;
      }
      offset = offset + 1;
    }
  }
  if (next != message.next) return undo(wrong("the frame ends at " + std::to_string(next.value)));
  records_.memory_.push_back(memory);
  records_.next_ = message.next;
  records_.committed_ = message.commit;
  records_.wire_bytes_ += batches.size();
  return {};
}

}  // namespace walraft
