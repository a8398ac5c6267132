#include "client/client.h"

#include "client/appender.h"
#include "client/connection.h"
#include "client/records_builder.h"
#include "client/subscriber.h"
#include "client/wire_from.h"

namespace walraft {
namespace client_inside {
namespace {

// One OPEN and at most one READ: what open(), tail() and read() need.
class ReaderChannel final : public Channel, public std::enable_shared_from_this<ReaderChannel> {
 public:
  ReaderChannel(std::shared_ptr<Connection> connection, std::string log, bool create, std::optional<rpc::Read> read)
      : connection_(std::move(connection)), log_(std::move(log)), create_(create), read_(std::move(read)) {}

  struct Answer {
    rpc::Opened opened;
    Records records;
  };

  Result<Answer> run() {
    connection_->post([self = shared_from_this()] { self->connection_->attach(self); });
    if (connection_->stopped()) return error(Code::unavailable, "the client was closed");
    auto result = wait_for(*connection_, shared_from_this(), answer_.get_future(), "the request");
    if (!result) return std::unexpected(std::move(result.error()));
    return result;
  }

  void on_ready() override {
    builder_.reset();
    connection_->send(rpc::FrameType::open, *this,
                      rpc::encode(rpc::Open{.log_name = log_, .kind = rpc::SessionKind::reader, .create = create_}));
    // A log that is there is open at once, so the request need not wait for the answer.
    if (read_) connection_->send(rpc::FrameType::read, *this, rpc::encode(*read_));
  }

  void on_frame(const rpc::FrameDecoder::Frame& frame) override {
    switch (frame.header.type) {
      case rpc::FrameType::opened: {
        auto opened = rpc::decode_opened(frame.payload);
        if (!opened) return connection_->drop(opened.error());
        opened_ = *opened;
        if (!read_) finish(Answer{opened_, {}});
        return;
      }
      case rpc::FrameType::records: {
        const auto message = rpc::decode_records(frame.payload);
        if (!message) return connection_->drop(message.error());
        if (!builder_) builder_.emplace(message->from);
        if (auto ok = builder_->add(*message, frame.payload.subspan(rpc::Records::kBytes)); !ok) return finish_with(ok.error());
        if (message->last) return finish(Answer{opened_, builder_->take()});
        if (builder_->records().wire_bytes() >
            std::size_t{read_->bytes} + rpc::kBatchBytesMax + rpc::kRecordsFrameBytes) {
          finish_with({Code::failed, "the server sends more than was asked for", 0});
        }
        return;
      }
      case rpc::FrameType::error: {
        auto message = rpc::decode_error(frame.payload);
        if (!message) return connection_->drop(message.error());
        // What came before the damage is good: the read that starts in the damage says so.
        const bool damage = message->error.code == Code::corrupt || message->error.code == Code::data_loss;
        if (damage && builder_ && !builder_->records().empty()) return finish(Answer{opened_, builder_->take()});
        return finish_with(std::move(message->error));
      }
      default: return connection_->drop({Code::invalid, "the server sent a reader a frame of another session", 0});
    }
  }

  void on_lost(const Error& reason) override {
    if (reason.code != Code::unavailable) finish_with(reason);
  }
  void on_expired(const Error& reason) override { finish_with(reason); }
  void on_stop() override { finish_with({Code::unavailable, "the client was closed", 0}); }

 private:
  void finish(Result<Answer> answer) {
    const auto self = shared_from_this();
    connection_->detach(*this);
    if (std::exchange(done_, true)) return;
    answer_.set_value(std::move(answer));
  }
  void finish_with(Error error) { finish(std::unexpected(std::move(error))); }

  const std::shared_ptr<Connection> connection_;
  const std::string log_;
  const bool create_;
  const std::optional<rpc::Read> read_;
  std::promise<Result<Answer>> answer_;
  bool done_ = false;
  rpc::Opened opened_;
  std::optional<RecordsBuilder> builder_;
};

}  // namespace
}  // namespace client_inside

using client_inside::AppenderChannel;
using client_inside::ReaderChannel;
using client_inside::SubscriberChannel;

Client::Client(ClientOptions options)
    : options_(std::move(options)), connection_(std::make_shared<client_inside::Connection>(options_)) {}

Client::~Client() { connection_->stop(); }

Result<Log> Client::open(const std::string& name, const OpenOptions& options) {
  if (auto good = rpc::check_log_name(name); !good) {
    return std::unexpected(std::move(good.error()).at("log \"" + name + "\""));
  }
  const auto channel = std::make_shared<ReaderChannel>(connection_, name, options.create, std::nullopt);
  if (auto opened = channel->run(); !opened) return std::unexpected(std::move(opened.error()));
  return Log(connection_, name);
}

Result<Appender> Log::appender(const AppenderOptions& options) {
  const auto channel = std::make_shared<AppenderChannel>(connection_, name_, options);
  auto opened = client_inside::wait_for(*connection_, channel, channel->begin(), "opening the appender");
  if (!opened) return std::unexpected(std::move(opened.error()));
  return Appender(channel);
}

Result<Subscription> Log::subscribe(const SubscribeOptions& options) {
  const auto channel = std::make_shared<SubscriberChannel>(connection_, name_, options);
  auto opened = client_inside::wait_for(*connection_, channel, channel->begin(), "opening the subscription");
  if (!opened) return std::unexpected(std::move(opened.error()));
  return Subscription(channel);
}

Result<Records> Log::read(const From& from, const ReadOptions& options) {
  const rpc::Read read{.request = 1, .from = client_inside::to_wire(from), .until = options.until,
                       .count = options.count, .bytes = options.bytes};
  auto answer = std::make_shared<ReaderChannel>(connection_, name_, false, read)->run();
  if (!answer) return std::unexpected(std::move(answer.error()));
  return std::move(answer->records);
}

Result<Offset> Log::tail() {
  auto answer = std::make_shared<ReaderChannel>(connection_, name_, false, std::nullopt)->run();
  if (!answer) return std::unexpected(std::move(answer.error()));
  return answer->opened.commit;
}

}  // namespace walraft
