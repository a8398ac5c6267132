#pragma once

// A node in this process, for tests: real files in a temporary folder, a real loop on a thread, a real port on the
// loopback interface. stop() and start() are a restart.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "replication/state/catalogue.h"
#include "rpc/stream/asio_loop.h"
#include "rpc/stream/server.h"
#include "wal/disk.h"
#include "wal/hard_state.h"

namespace walraft::test {

class Node {
 public:
  explicit Node(const replication::Limits& limits = {});
  ~Node();

  void start();  // on the port of the first start
  void stop();   // as abrupt as it can be within a process: nothing is flushed, connections end

  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }

  // Runs on the shard thread and waits.
  void run(const std::function<void(rpc::Server&, replication::Catalogue&)>& task);

 private:
  struct Parts;
  replication::Limits limits_;
  std::filesystem::path folder_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Parts> parts_;
};

}  // namespace walraft::test
