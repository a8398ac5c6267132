#pragma once

// What clients of the stream channel may see, and what they must not: the other half of tests/fuzz/session_fuzz.cc. A
// violation fails a CHECK. Thread: one.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"
#include "tests/sim/sim_stream.h"
#include "wal/base/check.h"
#include "wal/batch.h"

namespace walraft::fuzz {

// The records that were sent in whole, good frames, by all clients; each has a number. What is in a log must be one of
// them, once, and stay where it is.
class Ledger {
 public:
  std::string next_text(LogId log, std::size_t padding) {
    sent_.push_back({log, {}, 0});
    std::string text = "g" + std::to_string(sent_.size() - 1) + ":";
    text.append(padding, 'x');
    sent_.back().bytes = text.size();
    return text;
  }
  // What is sent damaged, and so must not come back.
  static std::string bad_text() { return "BAD!"; }
  // Somebody sends bytes that nobody looks at: whatever has good checksums may be in a log.
  void anything_goes() { anything_goes_ = true; }

  // A record that the server said is at this place.
  void found(LogId log, Offset offset, ByteView record) {
    const std::string_view text = text_of(record);
    CHECK(!text.starts_with("BAD"));
    std::size_t number = 0;
    const bool ours =
        text.starts_with("g") &&
        std::from_chars(text.data() + 1, text.data() + std::min<std::size_t>(text.size(), 20), number).ec ==
            std::errc() &&
        number < sent_.size();
    if (!ours && anything_goes_) return;
    CHECK(ours);
    CHECK(sent_[number].log == log && sent_[number].bytes == text.size(), number);
    place(number, offset);
  }
  void place(std::size_t number, Offset offset) {
    Sent& sent = sent_[number];
    CHECK(!sent.offset || *sent.offset == offset, number, offset.value);
    sent.offset = offset;
    if (anything_goes_) return;
    const auto [at, is_new] = by_place_.emplace(std::pair(sent.log, offset), number);
    CHECK(is_new || at->second == number, number, at->second);
  }
  std::size_t sent() const { return sent_.size(); }
  // Where record `number` was said to be.
  std::optional<std::pair<LogId, Offset>> place_of(std::size_t number) const {
    if (!sent_[number].offset) return std::nullopt;
    return std::pair(sent_[number].log, *sent_[number].offset);
  }

 private:
  struct Sent {
    LogId log;
    std::optional<Offset> offset;
    std::size_t bytes = 0;
  };
  std::vector<Sent> sent_;
  std::map<std::pair<LogId, Offset>, std::size_t> by_place_;
  bool anything_goes_ = false;
};

// One connection, as its client knows it. It keeps to the protocol unless it is told to go wild.
class Client {
 public:
  Client(Ledger& ledger, std::shared_ptr<sim::Wire> wire, const std::array<LogId, 2>& logs)
      : ledger_(ledger), wire_(std::move(wire)), logs_(logs) {}

  static constexpr std::uint32_t kChannels = 6;  // 1 to 5 are used

  void hello() {
    if (greeted_) wild_ = true;
    greeted_ = true;
    send(rpc::FrameType::hello, 0, encode(rpc::Hello{}));
  }
  void raw(ByteView bytes) {
    wild_ = true;
    ledger_.anything_goes();
    wire_->send(bytes);
  }
  void open(std::uint32_t number, const rpc::Open& open, std::optional<std::size_t> log) {
    Channel& channel = channels_[number];
    if (channel.state != State::free || !greeted_) wild_ = true;
    channel = Channel();
    channel.state = State::opening;
    channel.kind = open.kind;
    channel.log = log;
    channel.credit = open.credit;
    send(rpc::FrameType::open, number, encode(open));
  }
  // What comes of an older session comes before the answer to the PING: then the channel is free.
  void close(std::uint32_t number) {
    Channel& channel = channels_[number];
    if (!greeted_) wild_ = true;
    if (channel.state != State::opening && channel.state != State::open) return;
    channel.state = State::closing;
    channel.free_at = ++pings_;
    send(rpc::FrameType::close, number, {});
    send(rpc::FrameType::ping, 0, encode(rpc::Ping{pings_}));
  }
  void ping() {
    if (!greeted_) wild_ = true;
    send(rpc::FrameType::ping, 0, encode(rpc::Ping{++pings_}));
  }
  enum class Flaw : std::uint8_t { none, damaged, control_batch, other_log, request_skipped };
  void append(std::uint32_t number, std::size_t padding, std::optional<Offset> expect, Flaw flaw) {
    Channel& channel = channels_[number];
    if (!may_use(channel, rpc::SessionKind::appender)) return;
    const LogId log = logs_[*channel.log];
    const bool good = flaw == Flaw::none;
    const std::string text = good ? ledger_.next_text(log, padding) : Ledger::bad_text();
    wal::BatchBuilder builder;
    CHECK(builder.add(bytes_of(text)));
    const auto built = builder.finish({.log_id = flaw == Flaw::other_log ? LogId(log.value + 100) : log,
                                       .kind = wal::BatchKind::data,
                                       .writer_epoch = {},
                                       .producer_id = {}});
    std::vector<std::byte> batch(built.begin(), built.end());
    if (flaw == Flaw::damaged) batch.back() ^= std::byte{1};
    if (flaw == Flaw::control_batch) batch = wal::make_control_batch(log, wal::BatchKind::trim, bytes_of(text));
    if (flaw == Flaw::request_skipped) ++channel.requests;
    if (flaw == Flaw::damaged || flaw == Flaw::request_skipped)
      wild_ = true;  // it must end; nothing more is asked of it
    channel.appends.push_back(good ? std::optional(ledger_.sent() - 1) : std::nullopt);
    send(rpc::FrameType::append, number, encode(rpc::Append{.request = ++channel.requests, .expect_offset = expect}),
         batch);
  }
  void read(std::uint32_t number, rpc::Read read) {
    Channel& channel = channels_[number];
    if (!may_use(channel, rpc::SessionKind::reader)) return;
    read.request = ++channel.requests;
    channel.reads.emplace(read.request, std::nullopt);
    send(rpc::FrameType::read, number, encode(read));
  }
  void credit(std::uint32_t number, std::uint64_t bytes) {
    Channel& channel = channels_[number];
    if (!may_use(channel, rpc::SessionKind::subscriber)) return;
    channel.credit += bytes;
    send(rpc::FrameType::credit, number, encode(rpc::Credit{bytes}));
  }
  void end() {
    ended_ = true;
    wire_->end();
  }
  void time_passes() {
    if (!greeted_) wild_ = true;  // the deadline of the handshake
  }

  // Takes so many bytes of what the server sent, and looks at them; returns whether there were any.
  bool take(std::size_t bytes) {
    bool any = false;
    while (bytes > 0) {
      const MutableBytes space = decoder_.space();
      const auto taken = wire_->take(std::min(bytes, space.size()));
      if (taken.empty()) break;
      any = true;
      bytes -= taken.size();
      std::copy(taken.begin(), taken.end(), space.begin());
      decoder_.filled(taken.size());
      while (const auto frame = decoder_.next()) {
        CHECK(frame->has_value());  // a server speaks the protocol, whatever it is told
        look_at(**frame);
      }
    }
    return any;
  }

  bool wild() const { return wild_; }
  bool ended() const { return ended_; }
  sim::Wire& wire() { return *wire_; }

 private:
  enum class State : std::uint8_t { free, opening, open, closing };
  struct Channel {
    State state = State::free;
    rpc::SessionKind kind = rpc::SessionKind::reader;
    std::optional<std::size_t> log;  // none: one whose id is not known
    std::uint64_t credit = 0;        // ever given
    std::uint64_t pushed = 0;        // bytes of batches
    std::uint64_t free_at = 0;       // the PONG
    bool opened = false;
    std::uint64_t requests = 0;
    std::uint64_t answered = 0;
    std::vector<std::optional<std::size_t>> appends;           // numbers in the ledger; none: flawed
    std::map<std::uint64_t, std::optional<Offset>> reads;      // unanswered, and where the next RECORDS goes on
    std::optional<Offset> next;                                // of a subscription
    std::optional<Offset> last_appended;
  };

  bool may_use(const Channel& channel, rpc::SessionKind kind) {
    if (channel.kind != kind || !channel.log) return false;
    if (channel.state == State::opening) wild_ = true;  // it may be too early
    return channel.state == State::open || channel.state == State::opening;
  }

  void send(rpc::FrameType type, std::uint32_t channel, ByteView payload, ByteView more = {}) {
    if (ended_) return;
    wire_->send(rpc::make_frame(type, channel, Term(), payload, more));
  }

  void look_at(const rpc::FrameDecoder::Frame& frame) {
    if (frame.header.channel != 0) {
      // A wild client has lost count of what its sessions are; what is in the logs is checked all the same.
      if (wild_) return look_at_wild(frame);
      CHECK(frame.header.channel < kChannels, frame.header.channel);
      return look_at(frame, channels_[frame.header.channel]);
    }
    switch (frame.header.type) {
      case rpc::FrameType::welcome: CHECK(rpc::decode_welcome(frame.payload).has_value()); return;
      case rpc::FrameType::ping: return send(rpc::FrameType::pong, 0, frame.payload);
      case rpc::FrameType::pong: {
        const auto pong = rpc::decode_ping(frame.payload);
        CHECK(pong.has_value());
        for (Channel& channel : channels_) {
          if (channel.state == State::closing && channel.free_at == pong->token) channel.state = State::free;
        }
        return;
      }
      case rpc::FrameType::error:
        CHECK(rpc::decode_error(frame.payload).has_value());
        CHECK(wild_);  // who keeps to the protocol is not thrown out
        return;
      default: CHECK(false, static_cast<int>(frame.header.type));
    }
  }

  void look_at(const rpc::FrameDecoder::Frame& frame, Channel& channel) {
    CHECK(channel.state != State::free);  // after the end of a session nothing more comes of it
    switch (frame.header.type) {
      case rpc::FrameType::opened: {
        const auto opened = rpc::decode_opened(frame.payload);
        CHECK(opened.has_value() && !channel.opened);
        channel.opened = true;
        if (channel.state == State::opening) channel.state = State::open;
        if (channel.kind == rpc::SessionKind::subscriber) channel.next = opened->start;
        return;
      }
      case rpc::FrameType::error: {
        const auto message = rpc::decode_error(frame.payload);
        CHECK(message.has_value());
        CHECK(message->error.code != Code::unknown);  // a server knows
        if (message->request == 0) {
          CHECK(!channel.opened || channel.kind == rpc::SessionKind::subscriber);
          if (channel.state != State::closing) channel.state = State::free;
          return;
        }
        if (channel.kind == rpc::SessionKind::appender) return answer(channel, message->request);
        CHECK(channel.reads.erase(message->request) == 1, message->request);
        return;
      }
      case rpc::FrameType::appended: {
        const auto appended = rpc::decode_appended(frame.payload);
        CHECK(appended.has_value() && channel.kind == rpc::SessionKind::appender && appended->first == appended->last);
        answer(channel, appended->request);
        const auto number = channel.appends[static_cast<std::size_t>(appended->request - 1)];
        CHECK(number.has_value());  // what was flawed is never appended
        CHECK(!channel.last_appended || *channel.last_appended < appended->first);  // in the order of the requests
        channel.last_appended = appended->first;
        ledger_.place(*number, appended->first);
        return;
      }
      case rpc::FrameType::records: return look_at_records(frame, channel);
      default: CHECK(false, static_cast<int>(frame.header.type));
    }
  }

  // Each request once, in order.
  static void answer(Channel& channel, std::uint64_t request) {
    CHECK(request == channel.answered + 1 && request <= channel.requests, request, channel.answered);
    channel.answered = request;
  }

  void look_at_records(const rpc::FrameDecoder::Frame& frame, Channel& channel) {
    const auto records = rpc::decode_records(frame.payload);
    CHECK(records.has_value() && records->from <= records->next);
    CHECK(records->next <= records->commit || records->bytes == 0);
    if (channel.kind == rpc::SessionKind::subscriber) {
      CHECK(records->request == 0 && !records->last && channel.next == records->from);
      channel.next = records->next;
      CHECK(channel.pushed < channel.credit, channel.pushed, channel.credit);  // one frame may overdraw it
      channel.pushed += records->bytes;
    } else {
      const auto read = channel.reads.find(records->request);
      CHECK(read != channel.reads.end(), records->request);
      CHECK(!read->second || *read->second == records->from);
      read->second = records->next;
      if (records->last) channel.reads.erase(read);
    }
    look_at_batches(frame.payload.subspan(rpc::Records::kBytes), channel.log);
  }

  void look_at_wild(const rpc::FrameDecoder::Frame& frame) {
    if (frame.header.type != rpc::FrameType::records) return;
    CHECK(rpc::decode_records(frame.payload).has_value());
    look_at_batches(frame.payload.subspan(rpc::Records::kBytes), std::nullopt);
  }

  void look_at_batches(ByteView batches, std::optional<std::size_t> log) {
    while (!batches.empty()) {
      const auto header = wal::decode_batch(batches);
      CHECK(header.has_value());  // every checksum is right
      CHECK(!log || header->log_id == logs_[*log]);
      wal::RecordCursor cursor(*header, batches);
      for (Offset offset = header->base_offset; const auto record = cursor.next(); offset = offset + 1) {
        ledger_.found(header->log_id, offset, *record);
      }
      batches = batches.subspan(static_cast<std::size_t>(header->total_bytes()));
    }
  }

  Ledger& ledger_;
  std::shared_ptr<sim::Wire> wire_;
  std::array<LogId, 2> logs_;
  std::array<Channel, kChannels> channels_;
  rpc::FrameDecoder decoder_;
  std::uint64_t pings_ = 0;
  bool greeted_ = false;
  bool wild_ = false;
  bool ended_ = false;
};

}  // namespace walraft::fuzz
