// Client's administration: one REQUEST, one RESPONSE.
#include <chrono>
#include <limits>
#include <variant>

#include "client/client.h"
#include "client/connection.h"

namespace walraft {
namespace client_inside {
namespace {

constexpr std::uint64_t kRequestId = 1;  // each channel carries one

// Asks again on another connection when the one it was sent on is lost, until the timeout: every request may be sent
// twice. (Making a log that is there with the same configuration is done; deleting goes by uuid.)
class RequestChannel final : public Channel, public std::enable_shared_from_this<RequestChannel> {
 public:
  RequestChannel(std::shared_ptr<Connection> connection, rpc::Request request)
      : connection_(std::move(connection)), request_(std::move(request)) {}

  Result<rpc::Response> run() {
    connection_->post([self = shared_from_this()] { self->connection_->attach(self); });
    if (connection_->stopped()) return error(Code::unavailable, "the client was closed");
    return wait_for(*connection_, shared_from_this(), answer_.get_future(), "the request");
  }

  void on_ready() override {
    sent_before_ = sent_;
    sent_ = true;
    connection_->send(rpc::FrameType::request, *this, rpc::encode(request_));
  }

  void on_frame(const rpc::FrameDecoder::Frame& frame) override {
    if (frame.header.type == rpc::FrameType::error) {
      auto message = rpc::decode_error(frame.payload);
      if (!message) return connection_->drop(message.error());
      // The first try did it, and its answer was lost.
      const bool deleted = sent_before_ && std::holds_alternative<rpc::DeleteLog>(request_.what) &&
                           message->error.code == Code::not_found;
      if (deleted) return finish(rpc::Response{.id = kRequestId, .what = rpc::DeletedLog{}});
      return finish(std::unexpected(std::move(message->error)));
    }
    if (frame.header.type != rpc::FrameType::response) {
      return connection_->drop({Code::invalid, "the server answered a request with a frame of a session", 0});
    }
    auto response = rpc::decode_response(frame.payload);
    if (!response) return connection_->drop(response.error());
    finish(std::move(*response));
  }

  void on_lost(const Error& reason) override {
    if (reason.code != Code::unavailable) end_with(reason);
  }
  void on_expired(const Error& reason) override { end_with(reason); }
  void on_stop() override { end_with({Code::unavailable, "the client was closed", 0}); }

 private:
  // Without an answer: a change that was sent may have been made.
  void end_with(const Error& reason) {
    const bool changes =
        std::holds_alternative<rpc::CreateLog>(request_.what) || std::holds_alternative<rpc::DeleteLog>(request_.what);
    if (!sent_ || !changes) return finish(std::unexpected(reason));
    finish(error(Code::unknown, "the request may or may not have been done: " + reason.message));
  }

  void finish(Result<rpc::Response> answer) {
    const auto self = shared_from_this();
    connection_->detach(*this);
    if (std::exchange(done_, true)) return;
    answer_.set_value(std::move(answer));
  }

  const std::shared_ptr<Connection> connection_;
  const rpc::Request request_;
  std::promise<Result<rpc::Response>> answer_;
  bool sent_ = false;
  bool sent_before_ = false;
  bool done_ = false;
};

// The kind of answer that belongs to the question.
template <class Wanted>
Result<Wanted> ask(const std::shared_ptr<Connection>& connection, decltype(rpc::Request::what) what) {
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(connection->options().timeout).count();
  const auto most = static_cast<std::int64_t>(std::numeric_limits<std::uint32_t>::max());
  auto answer =
      std::make_shared<RequestChannel>(
          connection, rpc::Request{.id = kRequestId,
                                   .timeout_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(timeout, 1, most)),
                                   .what = std::move(what)})
          ->run();
  if (!answer) return std::unexpected(std::move(answer.error()));
  if (auto* wanted = std::get_if<Wanted>(&answer->what)) return std::move(*wanted);
  return error(Code::failed, "the server answered another question than the one that was asked");
}

}  // namespace
}  // namespace client_inside

using client_inside::ask;

Result<ClusterStatus> Client::status() { return ask<ClusterStatus>(connection_, rpc::StatusRequest{}); }

Result<std::vector<LogStatus>> Client::list_logs(const std::string& prefix) {
  std::vector<LogStatus> logs;
  for (std::string after;;) {
    auto page = ask<rpc::LogPage>(connection_, rpc::ListLogs{.prefix = prefix, .after = after, .limit = 0});
    if (!page) return std::unexpected(std::move(page.error()));
    std::move(page->logs.begin(), page->logs.end(), std::back_inserter(logs));
    if (!page->more || page->logs.empty()) return logs;
    after = logs.back().name;
  }
}

Result<LogStatus> Client::describe_log(const std::string& name) {
  return ask<LogStatus>(connection_, rpc::DescribeLog{.name = name});
}

Result<CreatedLog> Client::create_log(const std::string& name, const LogConfig& config) {
  return ask<CreatedLog>(connection_, rpc::CreateLog{.name = name, .config = config});
}

Result<void> Client::delete_log(const std::string& name) {
  const auto log = describe_log(name);
  if (!log) return std::unexpected(log.error());
  const auto deleted = ask<rpc::DeletedLog>(connection_, rpc::DeleteLog{.name = name, .uuid = log->uuid});
  if (!deleted) return std::unexpected(deleted.error());
  return {};
}

}  // namespace walraft
