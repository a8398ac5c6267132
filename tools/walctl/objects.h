#pragma once

// What is told of clusters and logs, as the objects of the HTTP interface: the same keys, the same order.

#include <string>

#include "client/administration.h"

namespace walraft::walctl {

std::string to_json(const LogStatus& log);          // GET /v1/logs/{log}
std::string to_json(const ClusterStatus& cluster);  // GET /v1/cluster

}  // namespace walraft::walctl
