// The handshakes of messages.h.
#include <algorithm>

#include "rpc/wire/capnp_message.h"
#include "rpc/wire/messages.h"
#include "rpc/wire/stream.capnp.h"

namespace walraft::rpc {

using namespace capnp_message;

namespace {

constexpr std::size_t kTokenBytesMax = 256;

}  // namespace

std::vector<std::byte> encode(const Hello& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Hello>();
  root.setVersionMin(message.version_min);
  root.setVersionMax(message.version_max);
  root.setKind(message.kind == PeerKind::node ? schema::PeerKind::NODE : schema::PeerKind::CLIENT);
  root.setClusterName(message.cluster_name);
  root.setClusterUuid(data_of(message.cluster_uuid));
  root.setNodeId(message.node.value);
  root.setSoftware(message.software);
  root.setFeatures(message.features);
  if (message.token) {
    root.getCredentials().setToken(
        {reinterpret_cast<const kj::byte*>(message.token->data()), message.token->size()});
  }
  return bytes_of(builder);
}

Result<Hello> decode_hello(ByteView payload) {
  return parse<schema::Hello>(payload, "HELLO", [](schema::Hello::Reader root) -> Result<Hello> {
    Hello message;
    message.version_min = root.getVersionMin();
    message.version_max = root.getVersionMax();
    switch (root.getKind()) {
      case schema::PeerKind::CLIENT: message.kind = PeerKind::client; break;
      case schema::PeerKind::NODE: message.kind = PeerKind::node; break;
      default: return error(Code::invalid, "HELLO: the kind of peer is unknown to this release");
    }
    message.cluster_name = text_of(root.getClusterName());
    auto uuid = uuid_of(root.getClusterUuid(), "HELLO: clusterUuid");
    if (!uuid) return std::unexpected(uuid.error());
    message.cluster_uuid = *uuid;
    message.node = NodeId{root.getNodeId()};
    message.software = text_of(root.getSoftware());
    message.features = root.getFeatures();
    const auto credentials = root.getCredentials();
    switch (credentials.which()) {
      case schema::Hello::Credentials::NONE: break;
      case schema::Hello::Credentials::TOKEN: {
        const auto token = credentials.getToken();
        if (token.size() > kTokenBytesMax) return error(Code::invalid, "HELLO: the token is too long");
        message.token = std::string(reinterpret_cast<const char*>(token.begin()), token.size());
        break;
      }
      default: return error(Code::invalid, "HELLO: the kind of credentials is unknown to this release");
    }
    return message;
  });
}

std::vector<std::byte> encode(const Welcome& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Welcome>();
  root.setVersion(message.version);
  root.setClusterName(message.cluster_name);
  root.setClusterUuid(data_of(message.cluster_uuid));
  root.setNodeId(message.node.value);
  root.setSoftware(message.software);
  root.setFeatures(message.features);
  root.setRecordBytesMax(message.record_bytes_max);
  root.setBatchBytesMax(message.batch_bytes_max);
  root.setInflightBytesMax(message.inflight_bytes_max);
  return bytes_of(builder);
}

Result<Welcome> decode_welcome(ByteView payload) {
  return parse<schema::Welcome>(payload, "WELCOME", [](schema::Welcome::Reader root) -> Result<Welcome> {
    Welcome message;
    message.version = root.getVersion();
    message.cluster_name = text_of(root.getClusterName());
    auto uuid = uuid_of(root.getClusterUuid(), "WELCOME: clusterUuid");
    if (!uuid) return std::unexpected(uuid.error());
    message.cluster_uuid = *uuid;
    message.node = NodeId{root.getNodeId()};
    message.software = text_of(root.getSoftware());
    message.features = root.getFeatures();
    message.record_bytes_max = root.getRecordBytesMax();
    message.batch_bytes_max = root.getBatchBytesMax();
    message.inflight_bytes_max = root.getInflightBytesMax();
    return message;
  });
}

std::vector<std::byte> encode(const Open& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Open>();
  root.setLogName(message.log_name);
  switch (message.kind) {
    case SessionKind::appender: root.setKind(schema::SessionKind::APPENDER); break;
    case SessionKind::reader: root.setKind(schema::SessionKind::READER); break;
    case SessionKind::subscriber: root.setKind(schema::SessionKind::SUBSCRIBER); break;
  }
  root.setCreate(message.create);
  root.setCredit(message.credit);
  root.setWriterEpoch(message.writer_epoch.value);
  root.setStopOnRefusal(message.stop_on_refusal);
  auto from = root.initFrom();
  switch (message.from.kind) {
    case From::Kind::offset: from.setOffset(message.from.value); break;
    case From::Kind::earliest: from.setEarliest(); break;
    case From::Kind::latest: from.setLatest(); break;
    case From::Kind::last: from.setLast(message.from.value); break;
    case From::Kind::timestamp: from.setTimestamp(static_cast<std::int64_t>(message.from.value)); break;
  }
  return bytes_of(builder);
}

Result<Open> decode_open(ByteView payload) {
  return parse<schema::Open>(payload, "OPEN", [](schema::Open::Reader root) -> Result<Open> {
    Open message;
    const auto name = root.getLogName();
    if (name.size() > kTextBytesMax) return error(Code::invalid, "OPEN: the log's name is too long");
    message.log_name = std::string(name.cStr(), name.size());
    switch (root.getKind()) {
      case schema::SessionKind::APPENDER: message.kind = SessionKind::appender; break;
      case schema::SessionKind::READER: message.kind = SessionKind::reader; break;
      case schema::SessionKind::SUBSCRIBER: message.kind = SessionKind::subscriber; break;
      default: return error(Code::invalid, "OPEN: the kind of session is unknown to this release");
    }
    message.create = root.getCreate();
    message.credit = root.getCredit();
    message.writer_epoch = Epoch(root.getWriterEpoch());
    message.stop_on_refusal = root.getStopOnRefusal();
    const auto from = root.getFrom();
    switch (from.which()) {
      case schema::From::OFFSET: message.from = {From::Kind::offset, from.getOffset()}; break;
      case schema::From::EARLIEST: message.from = {From::Kind::earliest, 0}; break;
      case schema::From::LATEST: message.from = {From::Kind::latest, 0}; break;
      case schema::From::LAST: message.from = {From::Kind::last, from.getLast()}; break;
      case schema::From::TIMESTAMP:
        message.from = {From::Kind::timestamp, static_cast<std::uint64_t>(from.getTimestamp())};
        break;
      default: return error(Code::invalid, "OPEN: the kind of start is unknown to this release");
    }
    return message;
  });
}

std::vector<std::byte> encode(const Opened& message) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.initRoot<schema::Opened>();
  root.setLogId(message.log_id.value);
  root.setLogUuid(data_of(message.log_uuid));
  root.setTrim(message.trim.value);
  root.setCommit(message.commit.value);
  root.setStart(message.start.value);
  root.setRecordBytesMax(message.record_bytes_max);
  root.setBatchBytesMax(message.batch_bytes_max);
  return bytes_of(builder);
}

Result<Opened> decode_opened(ByteView payload) {
  return parse<schema::Opened>(payload, "OPENED", [](schema::Opened::Reader root) -> Result<Opened> {
    Opened message;
    message.log_id = LogId(root.getLogId());
    auto uuid = uuid_of(root.getLogUuid(), "OPENED: logUuid");
    if (!uuid) return std::unexpected(uuid.error());
    message.log_uuid = *uuid;
    message.trim = Offset(root.getTrim());
    message.commit = Offset(root.getCommit());
    message.start = Offset(root.getStart());
    message.record_bytes_max = root.getRecordBytesMax();
    message.batch_bytes_max = root.getBatchBytesMax();
    return message;
  });
}

}  // namespace walraft::rpc
