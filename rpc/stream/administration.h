#pragma once

// The server's side of administration: REQUEST frames (rpc/wire/administration.h), answered from the catalogue.
// Thread: shard.

#include "rpc/stream/connection.h"
#include "rpc/wire/frame.h"
#include "wal/base/result.h"

namespace walraft::rpc {

// Answers one REQUEST, now or later, by RESPONSE or ERROR on its channel. What it asks for too late is `unknown`: it
// may still be done. An error ends the connection: the frame is malformed.
Result<void> administer(Connection& connection, const FrameDecoder::Frame& frame);

}  // namespace walraft::rpc
