# The handshakes of the stream protocol: rare messages that grow. What is frequent is a fixed struct (messages.h).
# STREAM.md has the order of messages. Every message travels as one unpacked Cap'n Proto stream message in one frame.
@0xd3f0a8c1e5b7492d;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("walraft::rpc::schema");

enum PeerKind {
  client @0;
  node @1;    # a member of the cluster; replication sessions
}

# First frame of a connection, from the side that dialled.
struct Hello {
  versionMin @0 :UInt16;        # range of stream protocol versions that the sender speaks
  versionMax @1 :UInt16;
  kind @2 :PeerKind;
  clusterName @3 :Text;         # empty: whichever cluster answers
  clusterUuid @4 :Data;         # 16 bytes, or empty if not known yet
  nodeId @5 :UInt16;            # of the sender; 0 for clients
  software @6 :Text;            # "walctl 0.1.0": for logs and status
  features @7 :UInt64;          # bits that the sender understands; none are defined yet
  credentials :union {
    none @8 :Void;
    token @9 :Data;
  }
}

struct Welcome {
  version @0 :UInt16;           # the one spoken from here on
  clusterName @1 :Text;
  clusterUuid @2 :Data;
  nodeId @3 :UInt16;
  software @4 :Text;
  features @5 :UInt64;          # bits in use on this connection: known to both
  recordBytesMax @6 :UInt32;    # limits of this node, so that clients refuse early
  batchBytesMax @7 :UInt32;
  inflightBytesMax @8 :UInt64;
}

enum SessionKind {
  appender @0;
  reader @1;
  subscriber @2;
}

# Makes a session on the frame's channel, a number that the client chose and does not use for anything else.
struct Open {
  logName @0 :Text;
  kind @1 :SessionKind;
  create @2 :Bool;              # make the log with default options if it is missing
  from @3 :From;                # subscriber only
  credit @4 :UInt64;            # subscriber only: bytes that may be sent before the first CREDIT
  writerEpoch @5 :UInt64;       # appender only; 0 is none
  stopOnRefusal @6 :Bool;       # appender only: once an append is refused, all that follow are too
}

struct From {
  union {
    offset @0 :UInt64;
    earliest @1 :Void;
    latest @2 :Void;
    last @3 :UInt64;            # the last so many records
    timestamp @4 :Int64;        # microseconds since 1970 UTC: the first record at or after it
  }
}

struct Opened {
  logId @0 :UInt64;
  logUuid @1 :Data;
  trim @2 :UInt64;              # first offset kept
  commit @3 :UInt64;            # next offset to be committed
  start @4 :UInt64;             # subscriber: the offset that delivery starts at
  recordBytesMax @5 :UInt32;    # of this log
  batchBytesMax @6 :UInt32;
}
