#include "tools/wald/appliance.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <string>

#include "replication/replica/incarnation.h"
#include "replication/replica/shard.h"
#include "replication/state/catalogue.h"
#include "rpc/stream/asio_loop.h"
#include "rpc/stream/listener.h"
#include "rpc/stream/server.h"
#include "tools/refusal_notices.h"
#include "tools/space_forecast.h"
#include "tools/wald/log.h"
#include "tools/wald/notify.h"
#include "wal/base/clock.h"
#include "wal/data_directory.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::wald {
namespace {

using namespace std::chrono_literals;

constexpr auto kTick = 100ms;
constexpr int kReserveTicks = 10;  // a second
constexpr int kSpaceTicks = 10;
constexpr auto kDrainStep = 10ms;
constexpr auto kDrainDeadline = 5s;

int exit_code_of_storage(const Error& error) {
  return error.code == Code::failed ? kExitStorageFailed : kExitStorageRefused;
}

int exit_code_of_listening(const Error& error) {
  return error.code == Code::exists ? kExitAddressInUse : error.code == Code::invalid ? kExitBadConfig : kExitFailed;
}

// The marker remembers the last failure of the disk: a second one within an hour is not tried again by the service
// manager. Its time of change is the whole content. Best effort: it lies on the disk that fails.
int exit_code_of_failure(const std::string& data_dir) {
  const std::string marker = data_dir + "/last_storage_failure";
  struct stat status {};
  const bool again = ::stat(marker.c_str(), &status) == 0 && std::time(nullptr) - status.st_mtime < 3600;
  const int descriptor = ::open(marker.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor >= 0) {
    (void)::futimens(descriptor, nullptr);
    ::close(descriptor);
  }
  return again ? kExitStorageRefused : kExitStorageFailed;
}

wal::SyncMode sync_mode(const std::string& sync) {
  return sync == "direct" ? wal::SyncMode::direct : sync == "buffered" ? wal::SyncMode::buffered : wal::SyncMode::automatic;
}

class Appliance {
 public:
  explicit Appliance(const Config& config)
      : config_(config), own_(*std::ranges::find(config.members, config.node_id, &Member::id)) {}

  // An exit code if it cannot start.
  std::optional<int> start() {
    // First of all: a server that cannot be reached must not make or touch a data directory.
    auto bound = rpc::Listener::bind(loop_, config_.listen_stream);
    if (!bound) return refuse(bound.error(), exit_code_of_listening(bound.error()));
    listener_ = std::move(*bound);
    disk_ = wal::make_disk(wal::DiskMethod::automatic, system_clock());
    disk_->on_failure([this](const Error& error) { on_disk_failure(error); });
    auto root = wal::open_directory(config_.data_dir, true);
    if (!root) return refuse(root.error(), exit_code_of_storage(root.error()));
    wal::DataDirectoryOptions options;
    options.cluster_name = config_.cluster_name;
    options.node = NodeId{config_.node_id};
    options.sync = sync_mode(config_.sync);
    options.reserve_bytes = config_.reserve_bytes;
    auto data = wal::DataDirectory::open(std::move(*root), *disk_, system_clock(), system_rng(), options);
    if (!data) return refuse(data.error(), exit_code_of_storage(data.error()));
    data_ = std::move(*data);
    for (const std::string& notice : data_->notices()) log_warn(notice);
    const wal::Identity& identity = data_->identity();
    log_info((data_->is_new() ? "made " : "opened ") + config_.data_dir + ": cluster \"" + identity.cluster_name + "\" " +
             to_string(identity.cluster) + ", node " + std::to_string(identity.node.value) + ", writes by " +
             std::string(disk_->method()) + (data_->access() == wal::Access::direct ? ", direct" : ", buffered"));
    return start_logs(identity);
  }

  int run() {
    loop_.watch(disk_->event_descriptor(), [this] { shard_->disk_turn(); });
    loop_.on_signals([this](int number) { on_signal(number); });
    loop_.post([this] { tick(); });
    if (const auto interval = watchdog_interval()) {
      watchdog_ = *interval / 2;
      loop_.post([this] { feed_watchdog(); });
    }
    log_info("ready: stream on " + config_.listen_stream + " (control and http are not served by this release)");
    notify_systemd("READY=1");
    loop_.run();
    return exit_code_;
  }

  ~Appliance() {
    server_.reset();
    catalogue_.reset();
    shard_.reset();
    disk_.reset();  // finishes the writes in flight; what they belong to may go afterwards
    data_.reset();
  }

 private:
  std::optional<int> start_logs(const wal::Identity& identity) {
    const auto incarnation = replication::begin_incarnation(data_->hard_state(), identity.disk, *disk_);
    if (!incarnation) return refuse(incarnation.error(), exit_code_of_storage(incarnation.error()));
    shard_ = std::make_unique<replication::Shard>(
        replication::Self{identity.node, identity.disk, *incarnation}, limits(), replication::Timing{}, *disk_,
        data_->hard_state(), peers_, system_clock(), system_rng(), [this] { loop_.post([this] { shard_->turn(); }); });
    shard_->on_alarm([](const std::string& what) { log_error(what); });
    shard_->on_reserve_needed([this] {
      log_warn("the disk is full: the reserve is let go, and only control batches are written until there is space");
      data_->ballast().release([](const Result<void>&) {});
    });
    wal::LogOptions options;
    options.tail_memory = std::make_shared<wal::TailMemory>();
    options.open_files = std::make_shared<wal::OpenFiles>();
    options.segment_bytes = config_.segment_bytes;
    options.first_segment_bytes = config_.first_segment_bytes;
    options.direct = data_->access() == wal::Access::direct;
    auto watched = data_->root().subdirectory("logs", false);
    if (!watched) return refuse(watched.error(), kExitStorageRefused);
    space_directory_ = std::move(*watched);
    auto logs = data_->root().subdirectory("logs", false);
    if (!logs) return refuse(logs.error(), kExitStorageRefused);
    auto catalogue = replication::Catalogue::open(*shard_, std::move(*logs), identity.cluster, options);
    if (!catalogue) return refuse(catalogue.error(), exit_code_of_storage(catalogue.error()));
    catalogue_ = std::move(*catalogue);
    for (const std::string& finding : catalogue_->findings()) log_warn(finding);
    catalogue_->on_left_behind([](const Error& error) { log_warn(error.message); });
    log_info(std::to_string(catalogue_->list().size()) + " logs");

    auto server = rpc::Server::start(loop_, std::move(listener_), *shard_, *catalogue_,
                                     {.address = own_.stream,
                                      .cluster_name = identity.cluster_name,
                                      .cluster_uuid = identity.cluster,
                                      .node = identity.node,
                                      .software = "wald " WALRAFT_VERSION,
                                      .connections_max = config_.connections_max,
                                      .describe_node = [this](rpc::NodeStatus& node) { describe(node); }});
    if (!server) return refuse(server.error(), exit_code_of_listening(server.error()));
    server_ = std::move(*server);
    return std::nullopt;
  }

  replication::Limits limits() const {
    return {.record_bytes_max = static_cast<std::uint32_t>(config_.record_bytes_max),
            .batch_bytes_max = static_cast<std::uint32_t>(config_.batch_bytes_max),
            .inflight_bytes_max = config_.inflight_bytes_max};
  }

  void describe(rpc::NodeStatus& node) const {
    node.zone = config_.zone;
    node.control = own_.control;
    node.http = own_.http;
    node.free_bytes = space_.free_bytes;
    node.total_bytes = space_.total_bytes;
    node.hours_until_full = forecast_.hours_until_full();
  }

  int refuse(const Error& error, int code) {
    log_error(error.message);
    return code;
  }

  // The kernel may have dropped what it could not write: a second try would lie. Nothing more is acknowledged.
  [[noreturn]] void on_disk_failure(const Error& error) {
    const int code = exit_code_of_failure(config_.data_dir);
    log_error("storage failed: " + error.message + ". Nothing more is acknowledged; the process ends (exit " +
              std::to_string(code) + ").");
    ::_exit(code);
  }

  // One look at a time, on the background thread: the filesystem may take its time to answer.
  void look_at_space() {
    if (std::exchange(looking_at_space_, true)) return;
    const auto found = std::make_shared<wal::Space>();
    disk_->background(
        0,
        [directory = space_directory_, found]() -> Result<void> {
          auto space = directory->space();
          if (!space) return std::unexpected(std::move(space.error()));
          *found = *space;
          return {};
        },
        [this, found](const Result<void>& looked) {
          looking_at_space_ = false;
          if (!looked) return;  // status then says what was last known
          space_ = *found;
          forecast_.add(system_clock().monotonic_us(), space_.free_bytes);
        });
  }

  void tick() {
    shard_->tick();
    if (ticks_++ % kSpaceTicks == 0) look_at_space();
    const rpc::ServerStats& stats = server_->stats();
    if (const auto notice = refusal_notices_.look(system_clock().monotonic_us(), stats.connections_refused,
                                                  stats.connections_without_descriptor)) {
      log_warn(*notice);
    }
    if (!shard_->reserve_held() && data_->ballast().state() == wal::Ballast::State::released &&
        ++ticks_without_reserve_ % kReserveTicks == 0) {
      data_->ballast().restore([this](const Result<void>& restored) {
        if (!restored) return;  // still no space, or not enough of it
        log_info("there is space again: the reserve is held, appends go on");
        shard_->reserve_held(true);
      });
    }
    ticker_.start(kTick, [this] { tick(); });
  }

  void feed_watchdog() {
    notify_systemd("WATCHDOG=1");
    watchdog_timer_.start(watchdog_, [this] { feed_watchdog(); });
  }

  void reload() {
    if (config_.path.empty()) return log_info("SIGHUP: there is no configuration file to read again (--dev)");
    const auto wanted = load_config(config_.path);
    if (!wanted) return log_error("SIGHUP: " + wanted.error().message + ". Nothing was changed.");
    std::vector<std::string> ignored;
    take_over(config_, *wanted, ignored);
    set_log_level(config_.log_level);
    shard_->set_limits(limits());
    server_->set_connections_max(config_.connections_max);
    for (const std::string& key : ignored)
      log_warn("SIGHUP: " + key + " has changed in " + config_.path + "; that wants a restart");
    log_info("SIGHUP: took over logging.level and limits from " + config_.path);
  }

  void on_signal(int number) {
    if (number == SIGHUP) return reload();
    const std::string name = number == SIGTERM ? "SIGTERM" : "SIGINT";
    if (draining_) {
      log_warn(name + " again: ending at once");
      exit_code_ = kExitFailed;
      return loop_.stop();
    }
    draining_ = true;
    log_info(name + ": answering what is under way, then ending");
    notify_systemd("STOPPING=1");
    server_->drain();
    drain_until_ = std::chrono::steady_clock::now() + kDrainDeadline;
    drain();
  }

  // Twice idle in a row: what was answered in the first step has left by the second.
  void drain() {
    idle_steps_ = catalogue_->busy() ? 0 : idle_steps_ + 1;
    if (idle_steps_ == 1) shard_->prove_tails();
    const bool late = std::chrono::steady_clock::now() > drain_until_;
    if ((idle_steps_ >= 3 && shard_->at_rest()) || late) {
      if (late) log_warn("some appends were not answered within 5 s");
      return loop_.stop();
    }
    drain_timer_.start(kDrainStep, [this] { drain(); });
  }

  Config config_;
  const Member own_;  // where others reach this node; where it listens may be every address of the machine
  rpc::AsioLoop loop_;
  std::unique_ptr<rpc::Listener> listener_;  // until the server has it
  std::unique_ptr<wal::Disk> disk_;
  std::unique_ptr<wal::DataDirectory> data_;
  replication::NoPeers peers_;  // this release has one node
  std::unique_ptr<replication::Shard> shard_;
  std::unique_ptr<replication::Catalogue> catalogue_;
  std::unique_ptr<rpc::Server> server_;
  rpc::Loop::Timer ticker_{loop_};
  rpc::Loop::Timer watchdog_timer_{loop_};
  rpc::Loop::Timer drain_timer_{loop_};
  std::chrono::microseconds watchdog_{0};
  std::chrono::steady_clock::time_point drain_until_;
  std::shared_ptr<wal::Directory> space_directory_;  // the background thread's
  wal::Space space_;
  SpaceForecast forecast_;
  RefusalNotices refusal_notices_;
  bool looking_at_space_ = false;
  unsigned ticks_ = 0;
  int idle_steps_ = 0;
  int ticks_without_reserve_ = 0;
  bool draining_ = false;
  int exit_code_ = kExitOk;
};

// A connection takes a descriptor; the kernel's limit of it is the hard one.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int run_appliance(const Config& config) {
  ::umask(0077);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);   // until the loop takes it
  ::signal(SIGXFSZ, SIG_IGN);  // a file size limit is no_space, not death
  raise_descriptor_limit();
  Appliance appliance(config);
  if (const auto code = appliance.start()) return *code;
  const int code = appliance.run();
  log_info("ended");
  return code;
}

}  // namespace walraft::wald
