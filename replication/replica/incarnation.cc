#include "replication/replica/incarnation.h"

#include <algorithm>

#include "wal/disk.h"

namespace walraft::replication {
namespace {

constexpr std::uint64_t kPollUs = 100'000;

}  // namespace

Result<std::uint64_t> begin_incarnation(wal::HardStateFile& hard_state, const Uuid& disk_uuid, wal::Disk& disk) {
  wal::HardState state = hard_state.find(disk_uuid).value_or(wal::HardState{});
  // Of a damaged slot the last one but one may be what is left.
  const auto& slots = hard_state.contents().logs;
  const bool lost = std::ranges::any_of(slots, [&](const auto& slot) { return slot.log == disk_uuid && slot.lost; });
  state.term = Term(state.term.value + (lost ? 2 : 1));
  bool durable = false;
  if (auto written = hard_state.write(disk_uuid, state, [&] { durable = true; }); !written) {
    return std::unexpected(std::move(written.error()).at("the node's own slot"));
  }
  hard_state.flush();
  disk.submit();
  while (!durable) {
    if (disk.failed()) return error(Code::failed, "the disk failed when the node's start was written down");
    disk.wait(kPollUs);
    disk.poll();
  }
  return state.term.value;
}

void skip_incarnations(wal::HardStateFile& hard_state, const Uuid& disk_uuid, std::uint64_t incarnation) {
  auto state = hard_state.find(disk_uuid);
  if (!state || state->term.value >= incarnation) return;
  state->term = Term(incarnation);
  (void)hard_state.write(disk_uuid, *state, [] {});  // its slot is there
}

void probe_disk(wal::HardStateFile& hard_state, const Uuid& disk_uuid) {
  const auto state = hard_state.find(disk_uuid);
  if (state) (void)hard_state.write(disk_uuid, *state, [] {});
}

}  // namespace walraft::replication
