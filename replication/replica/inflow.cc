#include "replication/replica/inflow.h"

#include <algorithm>
#include <utility>

#include "wal/base/probe.h"
#include "wal/batch.h"

namespace walraft::replication {
namespace {

SessionId session_of(const StreamMessage& message) {
  return std::visit([](const auto& m) { return m.session; }, message);
}

}  // namespace

void Inflow::receive(NodeId from, const StreamMessage& message) {
  const SessionId session = session_of(message);
  // Only what comes down from the leader has batches before it.
  if (!held_.empty() && core_.upstream().is_session(from, session)) {
    held_.push_back({from, session, message});
  } else {
    core_.receive(from, message, shard_.clock().monotonic_us());
  }
}

void Inflow::receive(NodeId from, const EntriesHead& head, std::shared_ptr<const wal::Chunk> owner, ByteView bytes) {
  if (!core_.upstream().is_session(from, head.session)) {
    PROBE("batches of a session that is over");
    return;
  }
  Frame frame{head, std::move(owner), bytes};
  if (!held_.empty() || !take(from, frame)) {
    held_bytes_ += frame.bytes.size();
    held_.push_back({from, head.session, std::move(frame)});
  }
}

bool Inflow::take(NodeId from, Frame& frame) {
  const std::uint64_t now = shard_.clock().monotonic_us();
  while (!frame.bytes.empty()) {
    const auto header = wal::decode_batch(frame.bytes);
    Entry entry{.index = frame.head.from, .term = frame.head.term, .chained = false, .configuration = {}};
    if (header) {
      if (!core_.upstream().takes_entries()) return false;
      const auto room = log_.room(*header);
      if (!room) {
        // proto:H5: a full disk stops the stream, not the follower.
        core_.set_window(room.error().code == Code::no_space ? 0 : shard_.limits().follower_window_bytes);
        return false;
      }
      entry = {.index = header->index,
               .term = header->term,
               .chained = log_.continues(*header, frame.bytes),
               .configuration = {}};
    } else {
      PROBE("a batch was damaged on its way");
    }
    switch (core_.receive_entries(from, frame.head, std::span(&entry, 1), now)) {
      case Core::Frame::drop: return true;
      case Core::Frame::wait: return false;
      case Core::Frame::append: break;
    }
    log_.append_received(frame.bytes, *header);
    frame.bytes = frame.bytes.subspan(header->total_bytes());
    frame.head.from = header->next_index();
    frame.head.from_term = header->term;
  }
  return true;
}

void Inflow::go_on() {
  while (!held_.empty()) {
    Held& first = held_.front();
    if (auto* frame = std::get_if<Frame>(&first.content)) {
      const std::uint64_t before = frame->bytes.size();
      const bool taken = take(first.from, *frame);
      held_bytes_ -= before - (taken ? 0 : frame->bytes.size());
      if (!taken) return;
      held_.pop_front();
    } else {
      const Held message = std::move(first);
      held_.pop_front();
      core_.receive(message.from, std::get<StreamMessage>(message.content), shard_.clock().monotonic_us());
    }
  }
  core_.set_window(shard_.limits().follower_window_bytes);
}

void Inflow::forget(NodeId from, const SessionId& session) {
  std::erase_if(held_, [&](const Held& held) {
    if (held.from != from || held.session != session) return false;
    if (const auto* frame = std::get_if<Frame>(&held.content)) held_bytes_ -= frame->bytes.size();
    return true;
  });
}

}  // namespace walraft::replication
