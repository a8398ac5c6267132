#pragma once

// Inside the client: From as it stands on the wire.

#include "client/client.h"
#include "rpc/wire/messages.h"

namespace walraft::client_inside {

inline rpc::From to_wire(const From& from) {
  switch (from.kind) {
    case From::Kind::offset: return {rpc::From::Kind::offset, from.value};
    case From::Kind::earliest: return {rpc::From::Kind::earliest, 0};
    case From::Kind::latest: return {rpc::From::Kind::latest, 0};
    case From::Kind::last: return {rpc::From::Kind::last, from.value};
    case From::Kind::time: return {rpc::From::Kind::timestamp, from.value};
  }
  return {};
}

}  // namespace walraft::client_inside
