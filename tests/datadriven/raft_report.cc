#include "tests/datadriven/raft_report.h"

#include <stdexcept>
#include <string_view>
#include <utility>

namespace walraft {

void RaftReport::start(const model::CoreWorld& world) {
  for (const NodeId node : world.ids()) shown_[node] = world.describe(node);
}

void RaftReport::changes(const model::CoreWorld& world, std::ostream& out) {
  for (const NodeId node : world.ids()) {
    std::string line = world.describe(node);
    if (shown_[node] == line) continue;
    out << line << "\n";
    shown_[node] = std::move(line);
  }
}

void RaftReport::logs(const model::CoreWorld& world, std::ostream& out) {
  for (const NodeId node : world.ids()) {
    const auto& log = world.log(node);
    out << describe(node) << ":";
    for (const auto& batch : log.batches) out << " " << describe(batch.term);
    out << ", durable " << describe(log.durable) << "\n";
  }
}

void RaftReport::flows(const model::CoreWorld& world, NodeId node, std::ostream& out) {
  static constexpr std::string_view kStates[] = {"none", "handshaking", "welcomed", "streaming"};
  const auto& leader = world.core(node).leading();
  if (!leader) throw std::runtime_error("not a leader");
  for (const auto& [peer, flow] : leader->peers()) {
    out << describe(node) << "->" << describe(peer) << " " << kStates[static_cast<std::size_t>(flow.state())] << " "
        << replication::describe(flow.session()) << " next=" << describe(flow.next())
        << " match=" << describe(flow.match()) << "\n";
  }
}

}  // namespace walraft
