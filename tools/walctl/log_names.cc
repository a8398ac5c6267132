#include "tools/walctl/log_names.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "replication/state/catalogue_change.h"
#include "wal/batch.h"
#include "wal/hard_state.h"
#include "wal/identity.h"
#include "wal/log_view.h"
#include "wal/recovery.h"

namespace walraft::walctl {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

// All of a log that is intact, as recovery would open it.
wal::LogView view_of(wal::RecoveredLog& log) {
  wal::LogView view;
  for (wal::RecoveredSegment& segment : log.segments) {
    view.segments.push_back({.file = segment.file,
                             .index = std::make_shared<wal::SegmentIndex>(std::move(segment.index)),
                             .end = segment.end,
                             .end_position = segment.end_position});
  }
  view.holes = log.report.holes;
  if (!view.segments.empty()) {
    view.end_offset = view.segments.back().end.offset;
    view.end_index = view.segments.back().end.index;
  }
  return view;
}

void take_names(const wal::BatchRef& batch, std::map<Uuid, std::string>& names) {
  const auto header = wal::decode_batch(batch.bytes);
  if (!header || header->kind != wal::BatchKind::catalogue) return;
  const auto change = replication::decode_catalogue_change(batch.bytes.subspan(wal::kBatchHeaderBytes, header->body_bytes));
  if (!change) return;
  const bool is_deleted = change->operation == replication::CatalogueChange::Operation::remove;
  names[change->entry.uuid] = change->entry.name + (is_deleted ? " (deleted)" : "");
}

}  // namespace

std::map<Uuid, std::string> log_names(wal::Directory& data_directory) {
  std::map<Uuid, std::string> names;
  const auto identity = wal::read_identity(data_directory, "identity");
  if (!identity) return names;
  const Uuid system = identity->identity.cluster;
  names[system] = "_system";
  const auto logs = data_directory.subdirectory("logs", false);
  if (!logs) return names;
  auto directory = (*logs)->subdirectory(to_string(system), false);
  if (!directory) return names;

  wal::RecoveryInput input;
  input.cluster = input.log = system;
  input.durable_is_commit = true;
  input.access = wal::Access::read;
  input.read_only = true;
  if (const auto slots = wal::HardStateFile::read(data_directory, "hard_state", identity->identity.disk)) {
    for (const wal::LogHardState& slot : slots->logs) {
      if (slot.log == system) input.bounds = slot.state;
    }
  }
  auto recovered = wal::recover_log(std::move(*directory), input);
  if (!recovered || recovered->segments.empty()) return names;
  const wal::LogView view = view_of(*recovered);
  wal::LogReader reader(view);
  for (Index next = view.segments.front().start().index; next < view.end_index;) {
    std::vector<wal::BatchRef> batches;
    if (!reader.read(next, kReadBytes, batches)) {
      next = std::max(reader.hole().to, next + 1);  // what is damaged there, verify says
      continue;
    }
    if (batches.empty()) break;
    for (const wal::BatchRef& batch : batches) take_names(batch, names);
    next = batches.back().index + 1;
  }
  return names;
}

}  // namespace walraft::walctl
