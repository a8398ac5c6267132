#include "rpc/stream/administration.h"

#include <algorithm>
#include <utility>

#include "rpc/stream/server.h"
#include "rpc/wire/administration.h"
#include "rpc/wire/messages.h"
#include "wal/batch.h"
#include "wal/segment_format.h"

namespace walraft::rpc {
namespace {

constexpr std::uint64_t kSlowWriteUs = 5'000'000;  // a disk that has not finished a write for so long is not well

std::string place(const std::string& log) { return "log \"" + log + "\""; }

Error no_such_log(const std::string& log) { return {Code::not_found, place(log) + ": there is no such log", 0}; }

// The answer to one request. Counted among the connection's unanswered ones until it is given or dropped.
class Answer : public std::enable_shared_from_this<Answer> {
 public:
  Answer(Connection& connection, std::uint32_t channel, std::uint64_t id, std::size_t bytes)
      : connection_(connection.weak_from_this()),
        channel_(channel),
        id_(id),
        bytes_(bytes),
        timer_(connection.server().loop()) {
    connection.add_unanswered(bytes);
  }
  ~Answer() { close(); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  void start_deadline(std::uint32_t timeout_ms) {
    if (timeout_ms == 0) return;
    timer_.start(std::chrono::milliseconds(timeout_ms), [weak = weak_from_this(), timeout_ms] {
      const auto self = weak.lock();
      if (!self) return;
      self->give(error(Code::unknown, "not committed within " + std::to_string(timeout_ms) +
                                          " ms; it may still be done. Look, and ask again"));
    });
  }

  void give(Result<Response> response) {
    const auto connection = connection_.lock();
    if (!connection || std::exchange(given_, true)) return;
    timer_.cancel();
    if (response) {
      response->id = id_;
      connection->send(FrameType::response, channel_, Term(), encode(*response));
    } else {
      connection->send_error(channel_, id_, response.error());
    }
    close();
  }

 private:
  void close() {
    if (const auto connection = connection_.lock()) connection->answered(bytes_);
    connection_.reset();
  }

  std::weak_ptr<Connection> connection_;
  std::uint32_t channel_;
  std::uint64_t id_;
  std::size_t bytes_;
  Loop::Timer timer_;
  bool given_ = false;
};

// --- What there is ---------------------------------------------------------------------------------------------------

LogConfig config_in_force(Server& server, const replication::LogConfig& config) {
  const replication::Limits& limits = server.shard().limits();
  return {
      .replicas = config.replicas,
      .segment_bytes = config.segment_bytes != 0 ? config.segment_bytes : server.catalogue().defaults().segment_bytes,
      .record_bytes_max = config.record_bytes_max != 0 ? config.record_bytes_max : limits.record_bytes_max,
      .retention_bytes = 0,
      .retention_ms = 0,
      .require_epoch = false};
}

LogStatus status_of(Server& server, const replication::CatalogueEntry& entry) {
  LogStatus status{
      .name = entry.name, .uuid = entry.uuid, .id = entry.id, .config = config_in_force(server, entry.config)};
  LogMember self{.id = server.options().node, .role = "none", .health = "no_space"};
  if (const replication::Replica* replica = server.catalogue().find(entry.name)) {
    const wal::Log& log = replica->log();
    const wal::LogPoint tail = replica->tail();
    status.commit = replica->committed();
    status.durable = self.durable = log.durable_offset();
    status.tail = tail.offset;
    status.trim = replica->first_offset();
    status.term = std::max(replica->term(), tail.term);
    self.lag = status.tail - status.durable;
    self.health = log.suspect() ? "suspect" : !log.recovery().holes.empty() ? "damaged" : "ok";
    if (!log.suspect()) {  // a sole voter leads, though it takes its term with the first append only
      self.role = "leader";
      status.leader = self.id;
    }
  }
  status.members.push_back(std::move(self));
  return status;
}

ClusterStatus cluster_status(Server& server) {
  const wal::Disk& disk = server.shard().disk();
  const wal::DiskStats& stats = disk.stats();
  NodeStatus node{.id = server.options().node,
                  .stream = server.options().address,
                  .state = server.draining() ? "draining" : "up",
                  .version = server.options().software,
                  .health = disk.oldest_write_age_us() > kSlowWriteUs ? "slow_disk"
                            : !server.shard().reserve_held()          ? "no_space"
                                                                      : "ok",
                  .sync_us_mean = stats.writes == 0 ? 0 : stats.sync_us_total / stats.writes,
                  .sync_us_last = stats.sync_us_last,
                  .sync_us_max = stats.sync_us_max};
  if (server.options().describe_node) server.options().describe_node(node);
  return {.name = server.options().cluster_name, .uuid = server.options().cluster_uuid, .nodes = {std::move(node)}};
}

LogPage page_of(Server& server, const ListLogs& request) {
  const std::uint32_t limit = request.limit == 0 ? kLogPageMax : std::min(request.limit, kLogPageMax);
  const auto above = [](const std::string& name) { return name + '\0'; };  // the next name there can be
  LogPage page;
  const replication::CatalogueEntry* entry =
      server.catalogue().entry_from(request.after < request.prefix ? request.prefix : above(request.after));
  for (; entry != nullptr && entry->name.starts_with(request.prefix);
       entry = server.catalogue().entry_from(above(entry->name))) {
    if (page.logs.size() == limit) {
      page.more = true;
      break;
    }
    page.logs.push_back(status_of(server, *entry));
  }
  return page;
}

// --- Changes ---------------------------------------------------------------------------------------------------------

// What this release cannot keep is refused, never ignored.
Result<replication::LogConfig> checked(const LogConfig& config, const replication::Limits& limits) {
  const auto refuse = [](const std::string& option, const std::string& why) {
    return error(Code::invalid, option + ": " + why);
  };
  if (config.replicas > 1) {
    return refuse("replicas", "is " + std::to_string(config.replicas) +
                                  "; this cluster has 1 node, and so at most 1 replica of a log");
  }
  if (config.retention_bytes != 0 || config.retention_ms != 0) {
    return refuse(config.retention_bytes != 0 ? "retention_bytes" : "retention_time",
                  "is not supported by this release, which keeps every record; leave it out");
  }
  if (config.require_epoch)
    return refuse("require_epoch", "is not supported by this release, which has no writer epochs");
  const std::uint64_t segment = config.segment_bytes;
  if (segment != 0 && !wal::is_segment_size(segment)) {
    return refuse("segment_bytes", "is " + std::to_string(segment) + "; it must be a power of two from 64KiB to 1GiB");
  }
  const std::uint32_t record_max = std::min(wal::kRecordBytesMax, limits.batch_bytes_max);
  if (config.record_bytes_max > record_max) {
    return refuse("max_record_bytes", "is " + std::to_string(config.record_bytes_max) + "; it must be at most " +
                                          std::to_string(record_max) + " (limits.batch_bytes_max of the node)");
  }
  return replication::LogConfig{.replicas = 1, .segment_bytes = segment, .record_bytes_max = config.record_bytes_max};
}

void create(Server& server, const CreateLog& request, const std::shared_ptr<Answer>& answer) {
  if (auto good = check_log_name(request.name); !good) {
    return answer->give(std::unexpected(std::move(good.error()).at(place(request.name))));
  }
  const auto config = checked(request.config, server.shard().limits());
  if (!config) return answer->give(std::unexpected(Error(config.error()).at(place(request.name))));
  const auto on_made = [&server, answer, name = request.name,
                        wanted = *config](Result<replication::Catalogue::MadeLog> made) {
    if (!made) return answer->give(std::unexpected(std::move(made.error())));
    const replication::CatalogueEntry& entry = *server.catalogue().entry(name);
    if (config_in_force(server, entry.config) != config_in_force(server, wanted)) {
      return answer->give(error(Code::exists, place(name) + ": it exists with other options; describe it to see them"));
    }
    answer->give(Response{.what = CreatedLog{.log = status_of(server, entry), .is_new = made->is_new}});
  };
  server.catalogue().create({.name = request.name, .config = *config}, on_made);
}

void remove(Server& server, const DeleteLog& request, const std::shared_ptr<Answer>& answer) {
  server.catalogue().remove(request.name, request.uuid, [answer](const Result<void>& removed) {
    answer->give(removed ? Result<Response>(Response{.what = DeletedLog{}}) : std::unexpected(removed.error()));
  });
}

}  // namespace

Result<void> administer(Connection& connection, const FrameDecoder::Frame& frame) {
  if (frame.header.channel == 0) return error(Code::invalid, "REQUEST names channel 0, which is the connection itself");
  const auto request = decode_request(frame.payload);
  if (!request) return std::unexpected(request.error());
  if (request->id == 0) return error(Code::invalid, "REQUEST has the id 0, which means no request");
  Server& server = connection.server();
  const auto answer = std::make_shared<Answer>(connection, frame.header.channel, request->id, frame.payload.size());
  if (std::holds_alternative<StatusRequest>(request->what)) {
    answer->give(Response{.what = cluster_status(server)});
  } else if (const auto* list = std::get_if<ListLogs>(&request->what)) {
    answer->give(Response{.what = page_of(server, *list)});
  } else if (const auto* describe = std::get_if<DescribeLog>(&request->what)) {
    const replication::CatalogueEntry* entry = server.catalogue().entry(describe->name);
    answer->give(entry != nullptr ? Result<Response>(Response{.what = status_of(server, *entry)})
                                  : std::unexpected(no_such_log(describe->name)));
  } else if (server.draining()) {
    answer->give(error(Code::unavailable, "this node is shutting down"));
  } else {
    answer->start_deadline(request->timeout_ms);
    if (const auto* made = std::get_if<CreateLog>(&request->what)) create(server, *made, answer);
    if (const auto* removed = std::get_if<DeleteLog>(&request->what)) remove(server, *removed, answer);
  }
  return {};
}

}  // namespace walraft::rpc
