#include "rpc/wire/administration.h"

#include <limits>

#include "rpc/wire/administration.capnp.h"
#include "rpc/wire/capnp_message.h"

namespace walraft::rpc {

using namespace capnp_message;

namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

template <class... Calls>
struct Overloaded : Calls... {
  using Calls::operator()...;
};

Result<void> check_count(std::size_t count, std::size_t most, const char* what) {
  if (count <= most) return {};
  return error(Code::invalid, "RESPONSE has " + std::to_string(count) + " " + what + "; at most " +
                                  std::to_string(most) + " are allowed");
}

void write(schema::LogConfig::Builder to, const LogConfig& config) {
  to.setReplicas(config.replicas);
  to.setSegmentBytes(config.segment_bytes);
  to.setRecordBytesMax(config.record_bytes_max);
  to.setRetentionBytes(config.retention_bytes);
  to.setRetentionMs(config.retention_ms);
  to.setRequireEpoch(config.require_epoch);
}

LogConfig read(schema::LogConfig::Reader from) {
  return {.replicas = from.getReplicas(),
          .segment_bytes = from.getSegmentBytes(),
          .record_bytes_max = from.getRecordBytesMax(),
          .retention_bytes = from.getRetentionBytes(),
          .retention_ms = from.getRetentionMs(),
          .require_epoch = from.getRequireEpoch()};
}

void write(schema::LogStatus::Builder to, const LogStatus& log) {
  to.setName(log.name);
  to.setUuid(data_of(log.uuid));
  to.setId(log.id.value);
  to.setLeader(log.leader.value_or(NodeId{}).value);
  to.setCommit(log.commit.value);
  to.setDurable(log.durable.value);
  to.setTail(log.tail.value);
  to.setTrim(log.trim.value);
  to.setTerm(log.term.value);
  to.setEpoch(log.epoch.value);
  write(to.initConfig(), log.config);
  auto members = to.initMembers(static_cast<unsigned>(log.members.size()));
  for (unsigned i = 0; i < members.size(); ++i) {
    const LogMember& member = log.members[i];
    members[i].setId(member.id.value);
    members[i].setRole(member.role);
    members[i].setDurable(member.durable.value);
    members[i].setLag(member.lag);
    members[i].setHealth(member.health);
  }
}

Result<LogStatus> read(schema::LogStatus::Reader from) {
  auto uuid = uuid_of(from.getUuid(), "RESPONSE: the log's uuid");
  if (!uuid) return std::unexpected(std::move(uuid.error()));
  LogStatus log{.name = text_of(from.getName()),
                .uuid = *uuid,
                .id = LogId(from.getId()),
                .leader = {},
                .commit = Offset(from.getCommit()),
                .durable = Offset(from.getDurable()),
                .tail = Offset(from.getTail()),
                .trim = Offset(from.getTrim()),
                .term = Term(from.getTerm()),
                .epoch = Epoch(from.getEpoch()),
                .config = read(from.getConfig()),
                .members = {}};
  if (from.getLeader() != 0) log.leader = NodeId{from.getLeader()};
  const auto members = from.getMembers();
  if (auto ok = check_count(members.size(), kMembersMax, "members"); !ok) return std::unexpected(std::move(ok.error()));
  for (const auto member : members) {
    log.members.push_back({.id = NodeId{member.getId()},
                           .role = text_of(member.getRole()),
                           .durable = Offset(member.getDurable()),
                           .lag = member.getLag(),
                           .health = text_of(member.getHealth())});
  }
  return log;
}

void write(schema::ClusterStatus::Builder to, const ClusterStatus& cluster) {
  to.setName(cluster.name);
  to.setUuid(data_of(cluster.uuid));
  auto nodes = to.initNodes(static_cast<unsigned>(cluster.nodes.size()));
  for (unsigned i = 0; i < nodes.size(); ++i) {
    const NodeStatus& node = cluster.nodes[i];
    nodes[i].setId(node.id.value);
    nodes[i].setZone(node.zone);
    nodes[i].setStream(node.stream);
    nodes[i].setControl(node.control);
    nodes[i].setHttp(node.http);
    nodes[i].setState(node.state);
    nodes[i].setVersion(node.version);
    nodes[i].setHealth(node.health);
    nodes[i].setFreeBytes(node.free_bytes);
    nodes[i].setTotalBytes(node.total_bytes);
    nodes[i].setHoursUntilFull(node.hours_until_full.value_or(kNever));
    nodes[i].setSyncUsMean(node.sync_us_mean);
    nodes[i].setSyncUsLast(node.sync_us_last);
    nodes[i].setSyncUsMax(node.sync_us_max);
  }
}

Result<ClusterStatus> read(schema::ClusterStatus::Reader from) {
  auto uuid = uuid_of(from.getUuid(), "RESPONSE: the cluster's uuid");
  if (!uuid) return std::unexpected(std::move(uuid.error()));
  ClusterStatus cluster{.name = text_of(from.getName()), .uuid = *uuid, .nodes = {}};
  const auto nodes = from.getNodes();
  if (auto ok = check_count(nodes.size(), kNodesMax, "nodes"); !ok) return std::unexpected(std::move(ok.error()));
  for (const auto node : nodes) {
    NodeStatus status{.id = NodeId{node.getId()},
                      .zone = text_of(node.getZone()),
                      .stream = text_of(node.getStream()),
                      .control = text_of(node.getControl()),
                      .http = text_of(node.getHttp()),
                      .state = text_of(node.getState()),
                      .version = text_of(node.getVersion()),
                      .health = text_of(node.getHealth()),
                      .free_bytes = node.getFreeBytes(),
                      .total_bytes = node.getTotalBytes(),
                      .hours_until_full = {},
                      .sync_us_mean = node.getSyncUsMean(),
                      .sync_us_last = node.getSyncUsLast(),
                      .sync_us_max = node.getSyncUsMax()};
    if (node.getHoursUntilFull() != kNever) status.hours_until_full = node.getHoursUntilFull();
    cluster.nodes.push_back(std::move(status));
  }
  return cluster;
}

// The name in a request: what is too long is an error, not cut.
Result<std::string> name_of(capnp::Text::Reader text, const char* field) {
  if (text.size() <= kTextBytesMax) return std::string(text.cStr(), text.size());
  return error(Code::invalid, std::string("REQUEST: ") + field + " is too long");
}

using What = decltype(Request::what);

Result<What> read_what(schema::Request::Reader from) {
  switch (from.which()) {
    case schema::Request::STATUS: return What(StatusRequest{});
    case schema::Request::LIST_LOGS: {
      const auto list = from.getListLogs();
      auto prefix = name_of(list.getPrefix(), "the prefix");
      if (!prefix) return std::unexpected(std::move(prefix.error()));
      auto after = name_of(list.getAfter(), "after");
      if (!after) return std::unexpected(std::move(after.error()));
      return What(ListLogs{.prefix = std::move(*prefix), .after = std::move(*after), .limit = list.getLimit()});
    }
    case schema::Request::CREATE_LOG: {
      auto name = name_of(from.getCreateLog().getName(), "the log's name");
      if (!name) return std::unexpected(std::move(name.error()));
      return What(CreateLog{.name = std::move(*name), .config = read(from.getCreateLog().getConfig())});
    }
    case schema::Request::DESCRIBE_LOG: {
      auto name = name_of(from.getDescribeLog(), "the log's name");
      if (!name) return std::unexpected(std::move(name.error()));
      return What(DescribeLog{.name = std::move(*name)});
    }
    case schema::Request::DELETE_LOG: {
      auto name = name_of(from.getDeleteLog().getName(), "the log's name");
      if (!name) return std::unexpected(std::move(name.error()));
      auto uuid = uuid_of(from.getDeleteLog().getUuid(), "REQUEST: the log's uuid");
      if (!uuid) return std::unexpected(std::move(uuid.error()));
      return What(DeleteLog{.name = std::move(*name), .uuid = *uuid});
    }
  }
  return error(Code::invalid, "REQUEST: what it asks for is unknown to this release");
}

using Answer = decltype(Response::what);

template <class T>
Result<Answer> as_answer(Result<T> value) {
  if (!value) return std::unexpected(std::move(value.error()));
  return Answer(std::move(*value));
}

Result<Answer> read_answer(schema::Response::Reader from) {
  switch (from.which()) {
    case schema::Response::CLUSTER: return as_answer(read(from.getCluster()));
    case schema::Response::LOGS: {
      const auto page = from.getLogs().getPage();
      if (auto ok = check_count(page.size(), kLogPageMax, "logs"); !ok) return std::unexpected(std::move(ok.error()));
      LogPage logs{.logs = {}, .more = from.getLogs().getMore()};
      for (const auto one : page) {
        auto log = read(one);
        if (!log) return std::unexpected(std::move(log.error()));
        logs.logs.push_back(std::move(*log));
      }
      return Answer(std::move(logs));
    }
    case schema::Response::CREATED: {
      auto log = read(from.getCreated().getLog());
      if (!log) return std::unexpected(std::move(log.error()));
      return Answer(CreatedLog{.log = std::move(*log), .is_new = from.getCreated().getIsNew()});
    }
    case schema::Response::LOG: return as_answer(read(from.getLog()));
    case schema::Response::DELETED: return Answer(DeletedLog{});
  }
  return error(Code::invalid, "RESPONSE: its kind is unknown to this release");
}

}  // namespace

std::vector<std::byte> encode(const Request& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Request>();
  root.setId(message.id);
  root.setTimeoutMs(message.timeout_ms);
  std::visit(Overloaded{[&](const StatusRequest&) { root.setStatus(); },
                        [&](const ListLogs& list) {
                          auto to = root.initListLogs();
                          to.setPrefix(list.prefix);
                          to.setAfter(list.after);
                          to.setLimit(list.limit);
                        },
                        [&](const CreateLog& create) {
                          auto to = root.initCreateLog();
                          to.setName(create.name);
                          write(to.initConfig(), create.config);
                        },
                        [&](const DescribeLog& describe) { root.setDescribeLog(describe.name); },
                        [&](const DeleteLog& remove) {
                          auto to = root.initDeleteLog();
                          to.setName(remove.name);
                          to.setUuid(data_of(remove.uuid));
                        }},
             message.what);
  return bytes_of(builder);
}

Result<Request> decode_request(ByteView payload) {
  return parse<schema::Request>(payload, "REQUEST", [](schema::Request::Reader root) -> Result<Request> {
    auto what = read_what(root);
    if (!what) return std::unexpected(std::move(what.error()));
    return Request{.id = root.getId(), .timeout_ms = root.getTimeoutMs(), .what = std::move(*what)};
  });
}

std::vector<std::byte> encode(const Response& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Response>();
  root.setId(message.id);
  std::visit(Overloaded{[&](const ClusterStatus& cluster) { write(root.initCluster(), cluster); },
                        [&](const LogPage& page) {
                          auto to = root.initLogs();
                          to.setMore(page.more);
                          auto logs = to.initPage(static_cast<unsigned>(page.logs.size()));
                          for (unsigned i = 0; i < logs.size(); ++i) write(logs[i], page.logs[i]);
                        },
                        [&](const CreatedLog& created) {
                          auto to = root.initCreated();
                          to.setIsNew(created.is_new);
                          write(to.initLog(), created.log);
                        },
                        [&](const LogStatus& log) { write(root.initLog(), log); },
                        [&](const DeletedLog&) { root.setDeleted(); }},
             message.what);
  return bytes_of(builder);
}

Result<Response> decode_response(ByteView payload) {
  return parse<schema::Response>(payload, "RESPONSE", [](schema::Response::Reader root) -> Result<Response> {
    auto what = read_answer(root);
    if (!what) return std::unexpected(std::move(what.error()));
    return Response{.id = root.getId(), .what = std::move(*what)};
  });
}

}  // namespace walraft::rpc
