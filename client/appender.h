#pragma once

// Inside the client: the session behind an Appender.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/connection.h"
#include "wal/batch.h"

namespace walraft::client_inside {

class AppenderChannel final : public Channel, public std::enable_shared_from_this<AppenderChannel> {
 public:
  AppenderChannel(std::shared_ptr<Connection> connection, std::string log, const AppenderOptions& options);

  // The caller's thread.
  std::future<Result<rpc::Opened>> begin();
  void append(std::span<const ByteView> records, const AppendOptions& options, Appender::Callback done);
  void wait();
  void end();
  const rpc::Opened& opened() const { return opened_; }  // set before begin()'s future is

  // The client's thread.
  void on_ready() override;
  void on_frame(const rpc::FrameDecoder::Frame& frame) override;
  void on_lost(const Error& reason) override;
  void on_expired(const Error& reason) override;
  void on_stop() override;
  void on_tick() override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Outgoing {
    std::vector<std::byte> frame;
    std::optional<Error> refusal;  // it is not sent; answered in its place
    std::size_t bytes = 0;
    Appender::Callback done;
  };
  struct Inflight {
    std::uint64_t request = 0;
    std::optional<Error> refusal;
    std::size_t bytes = 0;
    Clock::time_point sent;  // to the connection, which may not have written it yet
    Appender::Callback done;
  };

  void flush();
  void refuse_outbox();  // any thread, after the client's end: the callbacks run on it
  void answer_refused();
  void answer(Inflight& inflight, Result<Appended> result);
  void on_answer(std::uint64_t request, Result<Appended> result);
  void break_off(const Error& reason, std::size_t unsent = 0);

  const std::shared_ptr<Connection> connection_;
  const std::string log_;
  const AppenderOptions options_;

  wal::BatchBuilder builder_;  // the caller's

  // The client's thread.
  std::promise<Result<rpc::Opened>> opening_;
  bool ready_ = false;  // opening_ is kept
  rpc::Opened opened_;
  std::uint64_t request_next_ = 1;
  std::deque<Inflight> inflight_;
  bool refused_ = false;  // stop_on_refusal: the client itself refused one

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Outgoing> outbox_;
  bool flush_posted_ = false;
  std::uint64_t unanswered_bytes_ = 0;
  std::uint64_t unanswered_ = 0;
  std::optional<Error> broken_;  // every later append ends with it
};

}  // namespace walraft::client_inside
