// walctl verify: reads every byte of a stopped node's data, changes none, and says what is damaged and where.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "replication/state/catalogue.h"
#include "tools/walctl/commands.h"
#include "wal/batch.h"
#include "wal/data_directory.h"
#include "wal/log_view.h"
#include "wal/posix_filesystem.h"
#include "wal/recovery.h"
#include "wal/segment_scan.h"

namespace walraft::walctl {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

struct Summary {
  std::uint64_t logs = 0, segments = 0, batches = 0, damages = 0;
};

class Verifier {
 public:
  Verifier(wal::OfflineDataDirectory& data, Output output) : data_(data), output_(output) {}

  // False if a log of that name was wanted and is not there.
  Result<bool> run(const std::string& only) {
    for (const std::string& damage : data_.damage) say("", damage, true);
    for (const std::string& damage : data_.hard_state.damage) say("", "hard state: " + damage, true);
    if (!data_.logs) return only.empty();
    auto entries = data_.logs->list();
    if (!entries) return std::unexpected(std::move(entries.error()));
    // The catalogue first: it knows the names.
    const std::string system = to_string(data_.identity.cluster);
    std::vector<std::string> folders;
    for (const auto& entry : *entries) {
      if (entry.is_directory && entry.name != system) folders.push_back(entry.name);
    }
    names_[system] = "_system";
    if (auto ok = verify_log(system, only.empty() || only == "_system"); !ok) return std::unexpected(std::move(ok.error()));
    bool found = only.empty() || only == "_system";
    for (const std::string& folder : folders) {
      const auto name = names_.contains(folder) ? names_[folder] : folder;
      if (!only.empty() && name != only) continue;
      found = true;
      if (auto ok = verify_log(folder, true); !ok) return std::unexpected(std::move(ok.error()));
    }
    for (const auto& [folder, name] : names_) {
      if (std::find(folders.begin(), folders.end(), folder) != folders.end() || folder == system) continue;
      if (only == name) found = true;
      if ((only.empty() || only == name) && hard_state_of(folder)) say(name, "its folder is missing: " + folder, true);
    }
    return found;
  }

  const Summary& summary() const { return summary_; }

 private:
  void say(const std::string& log, const std::string& text, bool is_damage) {
    if (is_damage) ++summary_.damages;
    if (output_ == Output::json) {
      std::printf("{\"log\":\"%s\",\"damage\":%s,\"text\":\"%s\"}\n", json_escape(log).c_str(),
                  is_damage ? "true" : "false", json_escape(text).c_str());
    } else {
      std::printf("%s%s%s: %s\n", is_damage ? "DAMAGED " : "note ", log.empty() ? "data directory" : "log ",
                  printable(log).c_str(), printable(text).c_str());
    }
  }

  std::optional<wal::LogHardState> hard_state_of(const std::string& folder) const {
    for (const wal::LogHardState& slot : data_.hard_state.logs) {
      if (to_string(slot.log) == folder) return slot;
    }
    return std::nullopt;
  }

  // The identity that a log's own files claim; nothing if no header is readable.
  std::optional<wal::SegmentHeader> claimed_identity(wal::Directory& directory) const {
    const auto entries = directory.list();
    if (!entries) return std::nullopt;
    std::vector<std::byte> block(wal::kBlockBytes);
    for (const auto& entry : *entries) {
      if (!wal::segment_number(entry.name)) continue;
      const auto file = directory.open(entry.name, wal::Access::read);
      for (const std::uint64_t copy : {std::uint64_t{0}, std::uint64_t{wal::kBlockBytes}}) {
        if (!file) break;
        const auto got = (*file)->read(copy, block);
        if (!got || *got != block.size()) continue;
        if (const auto header = wal::decode_segment_header(block)) return *header;
      }
    }
    return std::nullopt;
  }

  Result<void> verify_log(const std::string& folder, bool wanted) {
    const std::string name = names_.contains(folder) ? names_[folder] : folder;
    auto directory = data_.logs->subdirectory(folder, false);
    if (!directory) {
      if (wanted) say(name, directory.error().message, true);
      return {};
    }
    const auto slot = hard_state_of(folder);
    const auto claimed = claimed_identity(**directory);
    if (!claimed) {
      const bool had_data = slot && (slot->lost || slot->state.durable_bound > Index(0));
      if (wanted) say(name, "no segment has a readable header" + std::string(had_data ? "" : "; nothing was acknowledged"), had_data);
      return {};
    }
    wal::RecoveryInput input;
    input.cluster = data_.identity.cluster;
    input.log = claimed->log;
    input.log_id = claimed->log_id;
    input.bounds = slot ? slot->state : wal::HardState{};
    input.durable_is_commit = true;
    input.access = wal::Access::read;
    input.read_only = true;
    auto recovered = wal::recover_log(**directory, input);
    if (!recovered) return std::unexpected(std::move(recovered.error()).at("log " + name));
    ++summary_.logs;
    if (wanted) {
      if (to_string(claimed->log) != folder) say(name, "its files belong to log " + to_string(claimed->log), true);
      if (slot && slot->lost) say(name, "its term and vote are unreadable", true);
      report(name, *recovered);
    }
    if (name == "_system") learn_names(*recovered);
    return {};
  }

  // What recovery decides from the ends of the segments, then every frame of every segment.
  void report(const std::string& name, wal::RecoveredLog& log) {
    for (const wal::Finding& finding : log.report.findings) {
      const bool harmless = finding.verdict == wal::Verdict::keep || finding.verdict == wal::Verdict::cut ||
                            finding.verdict == wal::Verdict::remove;
      say(name, std::string("case ") + static_cast<char>(finding.letter) + ": " + finding.text, !harmless);
    }
    for (const wal::RecoveredSegment& segment : log.segments) {
      const wal::SegmentHeader& header = segment.file->header;
      const wal::SegmentScan scan = wal::scan_segment(*segment.file->file, header);
      ++summary_.segments;
      summary_.batches += scan.batches;
      const std::string place = wal::segment_name(header.number);
      for (const std::string& note : scan.notes) say(name, place + ": " + note, true);
      if (scan.runs.back().to.index >= segment.end.index && scan.runs.size() == 1) continue;
      for (const wal::Damage& damage : scan.damages) {
        if (damage.position >= segment.end_position) continue;
        if (already_said(log.report, header.number, damage.position)) continue;
        say(name, place + ", byte " + std::to_string(damage.position) + ": " + damage.what, true);
      }
    }
  }

  static bool already_said(const wal::RecoveryReport& report, std::uint64_t segment, std::uint64_t position) {
    for (const wal::Finding& finding : report.findings) {
      if (finding.segment == segment && finding.position == position) return true;
    }
    return false;
  }

  void learn_names(wal::RecoveredLog& log) {
    wal::LogView view;
    for (wal::RecoveredSegment& segment : log.segments) {
      view.segments.push_back({.file = segment.file, .index = std::make_shared<wal::SegmentIndex>(segment.index),
                               .end = segment.end, .end_position = segment.end_position});
    }
    view.holes = log.report.holes;
    if (view.segments.empty()) return;
    view.end_offset = view.segments.back().end.offset;
    view.end_index = view.segments.back().end.index;
    Index next = view.segments.front().start().index;
    wal::LogReader reader(view);
    while (next < view.end_index) {
      std::vector<wal::BatchRef> batches;
      if (!reader.read(next, kReadBytes, batches) || batches.empty()) return;  // the damage was said
      for (const wal::BatchRef& batch : batches) {
        next = batch.index + 1;
        const auto header = wal::decode_batch(batch.bytes);
        if (!header || header->kind != wal::BatchKind::catalogue) continue;
        const auto entry = replication::decode_catalogue_entry(batch.bytes.subspan(wal::kBatchHeaderBytes, header->body_bytes));
        if (entry) names_[to_string(entry->uuid)] = entry->name;
      }
    }
  }

  wal::OfflineDataDirectory& data_;
  const Output output_;
  std::map<std::string, std::string> names_;  // by folder
  Summary summary_;
};

}  // namespace

int verify(const Global& global, const std::string& data_dir, const std::string& log) {
  auto root = wal::open_directory(data_dir, false);
  if (!root) return fail(root.error());
  auto data = wal::OfflineDataDirectory::open(std::move(*root));
  if (!data) return fail(data.error());
  Verifier verifier(*data, global.output);
  const auto found = verifier.run(log);
  if (!found) return fail(found.error());
  if (!*found) return fail({Code::not_found, "log \"" + log + "\": there is no such log in " + data_dir, 0});
  const Summary& summary = verifier.summary();
  if (global.output == Output::json) {
    std::printf("{\"logs\":%llu,\"segments\":%llu,\"batches\":%llu,\"damages\":%llu}\n",
                static_cast<unsigned long long>(summary.logs), static_cast<unsigned long long>(summary.segments),
                static_cast<unsigned long long>(summary.batches), static_cast<unsigned long long>(summary.damages));
  } else {
    std::printf("%llu logs, %llu segments, %llu batches: %s\n", static_cast<unsigned long long>(summary.logs),
                static_cast<unsigned long long>(summary.segments), static_cast<unsigned long long>(summary.batches),
                summary.damages == 0 ? "nothing is damaged" : (std::to_string(summary.damages) + " damages").c_str());
  }
  return summary.damages == 0 ? 0 : outcome_of(Code::corrupt).exit_code;
}

}  // namespace walraft::walctl
