#pragma once

// Inside the client: one connection to whichever endpoint answers, made again when it is lost, and the channels on it.
// Thread: "client" is the thread that the connection owns; everything runs there but what says otherwise.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "rpc/wire/frame.h"
#include "rpc/wire/messages.h"

namespace walraft::client_inside {

class Connection;

// One session, or the wish for one.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual void on_ready() = 0;                                    // a handshake is done: send OPEN
  virtual void on_frame(const rpc::FrameDecoder::Frame& frame) = 0;
  virtual void on_lost(const Error& reason) = 0;                  // the connection that on_ready() spoke of is gone
  virtual void on_expired(const Error& reason) = 0;  // the caller of wait_for() waits no longer
  virtual void on_stop() = 0;                                     // the client ends
  virtual void on_tick() {}                                       // every 100 ms while connected

  std::uint32_t number = 0;  // on the wire; set by attach()
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(const ClientOptions& options);
  ~Connection();

  void stop();  // any thread but the client's; ends it. Idempotent.
  void post(std::function<void()> task);  // any thread; in order. Dropped after stop().
  bool on_client_thread() const { return std::this_thread::get_id() == thread_.get_id(); }
  bool stopped() const { return stopped_; }  // any thread

  // Connects if need be; on_ready() may come from within.
  void attach(const std::shared_ptr<Channel>& channel);
  void detach(Channel& channel);  // no more calls; tells the server if it knows the channel

  void send(rpc::FrameType type, const Channel& channel, ByteView payload);
  void send_frame(std::vector<std::byte> frame);  // made by make_frame()

  // In on_lost(): how many of the channel's appends, the last ones, were not yet handed to the socket.
  std::size_t unsent_appends(const Channel& channel) const;

  // What the server does makes no sense, or nothing at all: drop it, connect again.
  void drop(Error reason);

  const rpc::Welcome& welcome() const { return welcome_; }  // of the connection in use
  const ClientOptions& options() const { return options_; }

  // Why a request that got no answer in time got none. The client's thread.
  Error expired(const char* what) const;

 private:
  struct Inside;  // everything of Asio
  enum class State : std::uint8_t { idle, pausing, connecting, greeting, ready };

  void run();
  void connect();
  void try_endpoint(std::size_t at);
  void on_connected();
  void failed_to_connect(std::string reason);
  void retry_later();
  void read_more();
  void on_read(std::size_t bytes);
  void take(const rpc::FrameDecoder::Frame& frame);
  void become_ready(const rpc::FrameDecoder::Frame& frame);
  void schedule_write();
  void write_more();
  void tick();
  void watch_silence();
  void close_socket();
  template <class Call>
  void each_channel(Call call);

  ClientOptions options_;
  std::unique_ptr<Inside> inside_;
  State state_ = State::idle;
  std::size_t endpoint_ = 0;         // being tried, or in use
  std::size_t tried_ = 0;            // in this round
  std::string round_reasons_;        // why each endpoint of the round failed
  std::string trouble_;  // why there is no connection; empty once there is one
  std::chrono::milliseconds back_off_{0};
  rpc::Welcome welcome_;
  Uuid cluster_;                     // of the first server that answered; others are refused
  rpc::FrameDecoder decoder_;
  std::map<std::uint32_t, std::shared_ptr<Channel>> channels_;
  std::uint32_t number_next_ = 1;
  std::vector<std::vector<std::byte>> queue_;    // to be written
  std::vector<std::vector<std::byte>> writing_;  // by the operation under way
  std::vector<std::vector<std::byte>> unsent_;  // queue_ of the connection that was lost; while channels are told
  std::uint64_t round_ = 0;          // of the socket: what an older one still delivers is void
  bool write_scheduled_ = false;
  std::chrono::steady_clock::time_point heard_;  // last time that anything came
  std::optional<std::chrono::steady_clock::time_point> pinged_;  // since then
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

// The same request may succeed later: nothing was done.
inline bool may_pass(const Error& error) {
  const Retry retry = outcome_of(error.code).retry;
  return retry == Retry::yes || retry == Retry::later;
}

// Result of a blocking call: connecting, lost connections and the request itself share one timeout. A channel that has
// no result then gets on_expired(), and ends.
template <class T>
Result<T> wait_for(Connection& connection, const std::shared_ptr<Channel>& channel, std::future<Result<T>> result,
                   const char* what) {
  if (result.wait_for(connection.options().timeout) == std::future_status::ready) return result.get();
  connection.post([self = connection.shared_from_this(), channel, what] { channel->on_expired(self->expired(what)); });
  while (result.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
    if (connection.stopped()) return error(Code::unavailable, "the client was closed");
  }
  return result.get();
}

}  // namespace walraft::client_inside
