#include "client/connection.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <optional>

#include "wal/base/check.h"

namespace walraft::client_inside {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto kBackOffMin = 20ms;
constexpr auto kBackOffMax = 1000ms;
constexpr auto kTick = 100ms;
constexpr auto kSilenceMin = 1000ms;  // before a PING, and from there to the end of the connection
constexpr std::size_t kWritePieces = 512;

}  // namespace

struct Connection::Inside {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  tcp::resolver resolver{context};
  std::optional<tcp::socket> socket;
  asio::steady_timer deadline{context};  // of connecting and of the handshake; between rounds, the pause
  asio::steady_timer ticker{context};
};

Connection::Connection(const ClientOptions& options)
    : options_(options), inside_(std::make_unique<Inside>()), thread_([this] { run(); }) {
  if (options_.endpoints.empty()) options_.endpoints = ClientOptions().endpoints;
}

Connection::~Connection() { stop(); }

void Connection::run() { inside_->context.run(); }

void Connection::stop() {
  if (stopped_.exchange(true)) return;
  asio::post(inside_->context, [this] {
    each_channel([](Channel& channel) { channel.on_stop(); });
    channels_.clear();
    inside_->context.stop();
  });
  CHECK(!on_client_thread());  // a Client must not be destroyed in a callback
  thread_.join();
}

void Connection::post(std::function<void()> task) {
  if (!stopped_) asio::post(inside_->context, std::move(task));
}

template <class Call>
void Connection::each_channel(Call call) {
  // Channels come and go while they are called.
  std::vector<std::shared_ptr<Channel>> channels;
  for (const auto& [number, channel] : channels_) channels.push_back(channel);
  for (const auto& channel : channels) {
    if (channels_.contains(channel->number)) call(*channel);
  }
}

void Connection::attach(const std::shared_ptr<Channel>& channel) {
  if (stopped_) return channel->on_stop();
  channel->number = number_next_++;
  channels_.emplace(channel->number, channel);
  if (state_ == State::ready) {
    channel->on_ready();
  } else if (state_ == State::idle || state_ == State::pausing) {  // the pause is for those who have tried
    connect();
  }
}

void Connection::detach(Channel& channel) {
  if (channels_.erase(channel.number) > 0 && state_ == State::ready) send(rpc::FrameType::close, channel, {});
}

// --- Connecting -------------------------------------------------------------------------------------------------------

void Connection::connect() {
  state_ = State::connecting;
  tried_ = 0;
  round_reasons_.clear();
  try_endpoint(endpoint_);
}

void Connection::try_endpoint(std::size_t at) {
  endpoint_ = at % options_.endpoints.size();
  state_ = State::connecting;
  const std::uint64_t round = ++round_;
  const std::string& endpoint = options_.endpoints[endpoint_];
  const auto colon = endpoint.rfind(':');
  std::string host = endpoint.substr(0, colon);
  const std::string port = colon == std::string::npos ? "7400" : endpoint.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  // Each has its share of the timeout: a request whose first endpoint is a machine that is gone still reaches the last.
  inside_->deadline.expires_after(options_.timeout / static_cast<std::int64_t>(options_.endpoints.size()));
  inside_->deadline.async_wait([this, round](ErrorCode failed) {
    if (!failed && round == round_) failed_to_connect("no answer in time");
  });
  inside_->resolver.async_resolve(host, port, [this, round](ErrorCode failed, tcp::resolver::results_type found) {
    if (round != round_) return;
    if (failed) return failed_to_connect(failed.message());
    inside_->socket.emplace(inside_->context);
    asio::async_connect(*inside_->socket, found, [this, round](ErrorCode not_connected, const tcp::endpoint&) {
      if (round != round_) return;
      if (not_connected) return failed_to_connect(not_connected.message());
      on_connected();
    });
  });
}

void Connection::on_connected() {
  ErrorCode ignored;
  inside_->socket->set_option(tcp::no_delay(true), ignored);
  inside_->socket->set_option(asio::socket_base::keep_alive(true), ignored);
  // A server that vanished without a word is noticed in half a minute, also by one who only listens.
  for (const auto& [name, value] : {std::pair{TCP_USER_TIMEOUT, 30'000}, {TCP_KEEPIDLE, 10}, {TCP_KEEPINTVL, 5},
                                    {TCP_KEEPCNT, 4}}) {
    ::setsockopt(inside_->socket->native_handle(), IPPROTO_TCP, name, &value, sizeof value);
  }
  state_ = State::greeting;
  decoder_ = {};
  queue_.clear();
  send_frame(rpc::make_frame(rpc::FrameType::hello, 0, Term(),
                             rpc::encode(rpc::Hello{.cluster_name = options_.cluster_name, .cluster_uuid = cluster_,
                                                    .software = options_.software})));
  read_more();
}

void Connection::failed_to_connect(std::string reason) {
  close_socket();
  round_reasons_ += (round_reasons_.empty() ? "" : "; ") + options_.endpoints[endpoint_] + ": " + reason;
  if (++tried_ < options_.endpoints.size()) return try_endpoint(endpoint_ + 1);
  ++endpoint_;
  state_ = State::idle;
  trouble_ = round_reasons_;
  if (!channels_.empty()) retry_later();
}

void Connection::retry_later() {
  state_ = State::pausing;
  back_off_ = std::clamp<std::chrono::milliseconds>(2 * back_off_, kBackOffMin, kBackOffMax);
  const std::uint64_t round = ++round_;
  inside_->deadline.expires_after(back_off_);
  inside_->deadline.async_wait([this, round](ErrorCode failed) {
    if (failed || round != round_) return;
    state_ = State::idle;
    if (!channels_.empty()) connect();
  });
}

void Connection::become_ready(const rpc::FrameDecoder::Frame& frame) {
  if (frame.header.type == rpc::FrameType::error) {
    const auto refused = rpc::decode_error(frame.payload);
    return drop(refused ? refused->error : refused.error());
  }
  if (frame.header.type != rpc::FrameType::welcome) return drop({Code::invalid, "the server did not say WELCOME", 0});
  auto welcome = rpc::decode_welcome(frame.payload);
  if (!welcome) return drop(welcome.error());
  if (welcome->version != rpc::kProtocolVersion) return drop({Code::invalid, "the server speaks another version", 0});
  welcome_ = std::move(*welcome);
  cluster_ = welcome_.cluster_uuid;
  inside_->deadline.cancel();
  trouble_.clear();
  pinged_.reset();
  state_ = State::ready;
  tick();
  each_channel([](Channel& channel) { channel.on_ready(); });
}

void Connection::drop(Error reason) {
  const State was = state_;
  unsent_ = std::exchange(queue_, {});
  close_socket();
  state_ = State::idle;
  if (was == State::greeting && may_pass(reason)) {
    return failed_to_connect(reason.message);  // another endpoint may take us, or this one later
  }
  trouble_ = reason.message;
  each_channel([&](Channel& channel) { channel.on_lost(reason); });
  unsent_.clear();
  if (!channels_.empty() && state_ == State::idle) retry_later();
}

Error Connection::expired(const char* what) const {
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(options_.timeout).count();
  return {Code::unavailable,
          std::string(what) + ": no answer within " + std::to_string(waited) + " ms" +
              (trouble_.empty() ? "" : "; " + trouble_),
          0};
}

std::size_t Connection::unsent_appends(const Channel& channel) const {
  return static_cast<std::size_t>(std::ranges::count_if(unsent_, [&](const std::vector<std::byte>& frame) {
    const auto header = rpc::decode_frame_header(frame);
    return header->type == rpc::FrameType::append && header->channel == channel.number;
  }));
}

void Connection::close_socket() {
  ++round_;
  queue_.clear();
  write_scheduled_ = false;
  inside_->deadline.cancel();
  inside_->ticker.cancel();
  ErrorCode ignored;
  if (inside_->socket) inside_->socket->close(ignored);
}

void Connection::tick() {
  inside_->ticker.expires_after(kTick);
  inside_->ticker.async_wait([this, round = round_](ErrorCode failed) {
    if (failed || round != round_) return;
    back_off_ = {};  // not at the handshake: a server that fails right after it is not to be asked without a pause
    each_channel([](Channel& channel) { channel.on_tick(); });
    if (round == round_) watch_silence();
    if (round == round_) tick();
  });
}

// A server that hangs, or a machine behind which the network goes on, is noticed by those who only listen, too.
void Connection::watch_silence() {
  const auto now = std::chrono::steady_clock::now();
  const auto patience = std::max<std::chrono::microseconds>(options_.timeout, kSilenceMin);
  if (pinged_) {
    if (now - *pinged_ > patience) drop({Code::unavailable, options_.endpoints[endpoint_] + ": no sign of life", 0});
  } else if (now - heard_ > patience) {
    pinged_ = now;
    send_frame(rpc::make_frame(rpc::FrameType::ping, 0, Term(), rpc::encode(rpc::Ping{})));
  }
}

// --- Frames -----------------------------------------------------------------------------------------------------------

void Connection::read_more() {
  const MutableBytes space = decoder_.space();
  inside_->socket->async_read_some(asio::buffer(space.data(), space.size()),
                                   [this, round = round_](ErrorCode failed, std::size_t bytes) {
                                     if (round != round_) return;
                                     if (failed) {
                                       return drop({Code::unavailable,
                                                    options_.endpoints[endpoint_] + ": the connection was lost (" +
                                                        failed.message() + ")", 0});
                                     }
                                     on_read(bytes);
                                   });
}

void Connection::on_read(std::size_t bytes) {
  decoder_.filled(bytes);
  heard_ = std::chrono::steady_clock::now();
  pinged_.reset();
  const std::uint64_t round = round_;
  while (const auto frame = decoder_.next()) {
    if (!*frame) return drop(Error(frame->error()).at(options_.endpoints[endpoint_]));
    take(**frame);
    if (round != round_) return;
  }
  read_more();
}

void Connection::take(const rpc::FrameDecoder::Frame& frame) {
  if (state_ == State::greeting) return become_ready(frame);
  if (frame.header.channel != 0) {
    const auto channel = channels_.find(frame.header.channel);
    if (channel == channels_.end()) return;  // closed by us, while this was on its way
    const auto keep = channel->second;
    return keep->on_frame(frame);
  }
  switch (frame.header.type) {
    case rpc::FrameType::ping: return send_frame(rpc::make_frame(rpc::FrameType::pong, 0, Term(), frame.payload));
    case rpc::FrameType::pong: return;
    case rpc::FrameType::error: {
      const auto message = rpc::decode_error(frame.payload);
      return drop(message ? message->error : message.error());
    }
    default:
      return drop({Code::invalid, "the server sent " + std::string(rpc::name_of(frame.header.type)) + " on channel 0", 0});
  }
}

void Connection::send(rpc::FrameType type, const Channel& channel, ByteView payload) {
  send_frame(rpc::make_frame(type, channel.number, Term(), payload));
}

void Connection::send_frame(std::vector<std::byte> frame) {
  queue_.push_back(std::move(frame));
  schedule_write();
}

// What one turn of the loop produces goes out in one write.
void Connection::schedule_write() {
  if (write_scheduled_ || !writing_.empty()) return;
  write_scheduled_ = true;
  asio::post(inside_->context, [this, round = round_] {
    if (round != round_) return;
    write_scheduled_ = false;
    write_more();
  });
}

void Connection::write_more() {
  if (!writing_.empty() || queue_.empty()) return;
  if (queue_.size() <= kWritePieces) {
    writing_.swap(queue_);
  } else {
    const auto end = queue_.begin() + kWritePieces;
    writing_.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
    queue_.erase(queue_.begin(), end);
  }
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(writing_.size());
  for (const auto& frame : writing_) buffers.emplace_back(frame.data(), frame.size());
  asio::async_write(*inside_->socket, buffers, [this, round = round_](ErrorCode failed, std::size_t) {
    writing_.clear();
    if (round != round_) {
      if (!queue_.empty() && state_ >= State::greeting) schedule_write();  // of the next connection, which had to wait
      return;
    }
    // What failed is told by the read that fails too, after the reason that the server may have sent.
    if (!failed) write_more();
  });
}

}  // namespace walraft::client_inside
