#pragma once

// Inside the client: the session behind a Subscription.

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/client.h"
#include "client/connection.h"

namespace walraft::client_inside {

class SubscriberChannel final : public Channel, public std::enable_shared_from_this<SubscriberChannel> {
 public:
  SubscriberChannel(std::shared_ptr<Connection> connection, std::string log, const SubscribeOptions& options);

  // The caller's thread.
  std::future<Result<rpc::Opened>> begin();
  Result<Event> next(std::optional<std::chrono::microseconds> timeout);
  void end();
  Offset position();
  Offset committed();

  // The client's thread.
  void on_ready() override;
  void on_frame(const rpc::FrameDecoder::Frame& frame) override;
  void on_lost(const Error& reason) override;
  void on_expired(const Error& reason) override;
  void on_stop() override;
  void on_tick() override;

 private:
  std::int64_t owed() const;  // with mutex_ held: credit to be given back
  bool may_give() const { return owed() >= std::max<std::int64_t>(credit_bytes_ / 4, 1); }
  void give_credit();
  void on_opened(const rpc::Opened& opened);
  void on_error(Error error);
  void finish(Error error);
  void deliver(Event event, std::size_t bytes);

  const std::shared_ptr<Connection> connection_;
  const std::string log_;
  const From from_;
  const std::int64_t credit_bytes_;

  // The client's thread.
  std::promise<Result<rpc::Opened>> opening_;
  bool began_ = false;    // opening_ is kept
  bool active_ = false;   // the session is open on the connection in use
  bool refused_ = false;  // for now, on a connection that goes on: OPEN again at the next tick
  Offset expected_;       // must come next; once began_
  Uuid log_uuid_;         // of the log that it follows; a name can pass to another one
  bool positioned_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  struct Queued {
    Event event;
    std::size_t bytes = 0;
  };
  std::deque<Queued> events_;
  std::uint64_t queued_bytes_ = 0;  // of events_
  // What the server may still send, by what it was told; below 0 is what it overdrew. Together with queued_bytes_ it is
  // credit_bytes, but for what next() took and was not given back yet.
  std::int64_t window_bytes_ = 0;
  std::optional<Error> final_error_;
  Offset position_;
  Offset committed_;
};

}  // namespace walraft::client_inside
