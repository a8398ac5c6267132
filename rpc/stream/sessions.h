#pragma once

// The kinds of session. Each sends OPENED, or ERROR and nothing more, when it is made. Thread: shard.

#include <cstdint>
#include <memory>

#include "replication/replica/replica.h"
#include "rpc/stream/connection.h"
#include "rpc/wire/messages.h"

namespace walraft::rpc {

// Appends are answered in the order of their requests; any number may be under way. `open` says whether one that is
// refused stops those behind it.
std::shared_ptr<Session> make_appender_session(Connection& connection, std::uint32_t channel,
                                               replication::Replica& replica, const Open& open);

// Bounded reads, one after the other.
std::shared_ptr<Session> make_reader_session(Connection& connection, std::uint32_t channel,
                                             replication::Replica& replica);

// Pushes what is committed, from a start on, as far as the subscriber's credit goes. A subscriber that stops reading
// stops giving credit: it costs what is in the connection's queue, and nothing more.
std::shared_ptr<Session> make_subscriber_session(Connection& connection, std::uint32_t channel,
                                                 replication::Replica& replica, const Open& open);

}  // namespace walraft::rpc
