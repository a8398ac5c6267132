# Administration on the stream channel: REQUEST and RESPONSE frames. STREAM.md explains; administration.h has the same
# as plain structs.
@0xb7c25a6e3f1d9084;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("walraft::rpc::schema");

# What a log is made with. 0 or false: the default.
struct LogConfig {
  replicas @0 :UInt32;
  segmentBytes @1 :UInt64;
  recordBytesMax @2 :UInt32;
  retentionBytes @3 :UInt64;
  retentionMs @4 :UInt64;
  requireEpoch @5 :Bool;
}

struct Request {
  id @0 :UInt64;                # chosen by the client; the answer carries it
  timeoutMs @1 :UInt32;         # how long the client waits; 0: until the connection ends
  union {
    status @2 :Void;
    listLogs :group {
      prefix @3 :Text;
      after @4 :Text;           # names above this one only; the last one of the page before
      limit @5 :UInt32;         # 0: as many as the server gives at once
    }
    createLog :group {
      name @6 :Text;
      config @7 :LogConfig;
    }
    describeLog @8 :Text;
    deleteLog :group {
      name @9 :Text;
      uuid @10 :Data;           # only this one; empty: whichever has the name
    }
  }
}

struct Response {
  id @0 :UInt64;
  union {
    cluster @1 :ClusterStatus;
    logs :group {
      page @2 :List(LogStatus); # in order of names
      more @3 :Bool;
    }
    created :group {
      log @4 :LogStatus;
      isNew @5 :Bool;           # false: it was there, with the same configuration
    }
    log @6 :LogStatus;
    deleted @7 :Void;
  }
}

struct LogStatus {
  name @0 :Text;
  uuid @1 :Data;
  id @2 :UInt64;
  leader @3 :UInt16;            # 0: none
  commit @4 :UInt64;
  durable @5 :UInt64;
  tail @6 :UInt64;
  trim @7 :UInt64;
  term @8 :UInt64;
  epoch @9 :UInt64;
  config @10 :LogConfig;        # in force: defaults filled in
  members @11 :List(Member);

  struct Member {
    id @0 :UInt16;
    role @1 :Text;
    durable @2 :UInt64;
    lag @3 :UInt64;
    health @4 :Text;
  }
}

struct ClusterStatus {
  name @0 :Text;
  uuid @1 :Data;
  nodes @2 :List(Node);

  struct Node {
    id @0 :UInt16;
    zone @1 :Text;
    stream @2 :Text;
    control @3 :Text;
    http @4 :Text;
    state @5 :Text;
    version @6 :Text;
    health @7 :Text;
    freeBytes @8 :UInt64;
    totalBytes @9 :UInt64;
    hoursUntilFull @10 :UInt64; # all ones: not to be foreseen
    syncUsMean @11 :UInt64;
    syncUsLast @12 :UInt64;
    syncUsMax @13 :UInt64;
  }
}
