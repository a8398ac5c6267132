#pragma once

// What Client tells of a cluster and its logs, and takes to make one. Plain values, the same as on the wire
// (rpc/wire/administration.h says what the fields mean). Any thread.

#include "rpc/wire/administration.h"

namespace walraft {

using LogConfig = rpc::LogConfig;          // 0 or false in a field: the default
using LogStatus = rpc::LogStatus;
using LogMember = rpc::LogMember;
using CreatedLog = rpc::CreatedLog;
using NodeStatus = rpc::NodeStatus;
using ClusterStatus = rpc::ClusterStatus;

}  // namespace walraft
