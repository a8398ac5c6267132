#include "tests/unit/client/node.h"

#include <unistd.h>

#include <cstdlib>
#include <future>

#include "rpc/stream/listener.h"
#include "wal/base/check.h"
#include "wal/base/clock.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::test {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) std::fprintf(stderr, "test node: %s\n", result.error().message.c_str());
  CHECK(result.has_value());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace

struct Node::Parts {
  rpc::AsioLoop loop;
  std::unique_ptr<wal::Disk> disk = wal::make_disk(wal::DiskMethod::automatic, system_clock());
  std::unique_ptr<wal::Directory> root;
  std::unique_ptr<wal::HardStateFile> hard_state;
  replication::NoPeers peers;
  std::unique_ptr<replication::Shard> shard;
  std::unique_ptr<replication::Catalogue> catalogue;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<rpc::Loop::Timer> ticker;
  std::thread thread;

  void tick() {
    shard->tick();
    ticker->start(std::chrono::milliseconds(100), [this] { tick(); });
  }
};

Node::Node(const replication::Limits& limits) : limits_(limits) {
  std::string pattern = (std::filesystem::temp_directory_path() / "walraft-node.XXXXXX").string();
  CHECK(::mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
  start();
}

Node::~Node() {
  stop();
  std::filesystem::remove_all(folder_);
}

void Node::start() {
  CHECK(parts_ == nullptr);
  parts_ = std::make_unique<Parts>();
  Parts& p = *parts_;
  const Uuid cluster{{1, 2, 3}};
  p.root = must(wal::open_directory(folder_.string(), false));
  const bool is_new = !std::filesystem::exists(folder_ / "hard_state");
  if (is_new) must(wal::HardStateFile::create(*p.root, "hard_state", cluster));
  p.hard_state = must(wal::HardStateFile::open(*p.root, "hard_state", cluster, p.root->has_direct() ? wal::Access::direct : wal::Access::write, *p.disk));
  p.shard = std::make_unique<replication::Shard>(replication::Self{NodeId{1}, cluster}, limits_, replication::Timing{},
                                                 *p.disk, *p.hard_state, p.peers, system_clock(), system_rng(),
                                                 [&p] { p.loop.post([&p] { p.shard->turn(); }); });
  wal::LogOptions options;
  options.first_segment_bytes = 64u << 10;
  options.segment_bytes = 1u << 20;
  options.tail_cache_bytes = 256u << 10;  // small: readers are to meet the files too
  options.direct = p.root->has_direct();
  p.catalogue = must(replication::Catalogue::open(*p.shard, must(p.root->subdirectory("logs", true)), cluster, options));
  p.server = must(rpc::Server::start(p.loop, must(rpc::Listener::bind(p.loop, "127.0.0.1:" + std::to_string(port_))),
                                     *p.shard, *p.catalogue,
                                     {.address = "127.0.0.1:" + std::to_string(port_),
                                      .cluster_name = "test",
                                      .cluster_uuid = cluster,
                                      .node = NodeId{1},
                                      .software = "test"}));
  port_ = p.server->port();
  p.loop.watch(p.disk->event_descriptor(), [&p] { p.shard->disk_turn(); });
  p.ticker = std::make_unique<rpc::Loop::Timer>(p.loop);
  p.loop.post([&p] { p.tick(); });
  p.thread = std::thread([&p] { p.loop.run(); });
}

void Node::stop() {
  if (!parts_) return;
  Parts& p = *parts_;
  p.loop.stop();
  p.thread.join();
  p.server.reset();
  p.ticker.reset();
  p.catalogue.reset();
  p.shard.reset();
  p.disk.reset();  // finishes the writes in flight
  p.hard_state.reset();
  parts_.reset();
}

void Node::run(const std::function<void(rpc::Server&, replication::Catalogue&)>& task) {
  std::promise<void> done;
  parts_->loop.post([&] {
    task(*parts_->server, *parts_->catalogue);
    done.set_value();
  });
  done.get_future().wait();
}

}  // namespace walraft::test
