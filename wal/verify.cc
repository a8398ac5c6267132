#include "wal/verify.h"

#include <algorithm>
#include <array>

#include "wal/base/check.h"
#include "wal/chunk.h"

namespace walraft::wal {
namespace {

constexpr std::string_view kLock = "LOCK";
constexpr std::string_view kIdentity = "identity";
constexpr std::string_view kHardState = "hard_state";
constexpr std::string_view kLogs = "logs";

bool any_damage(const std::vector<VerifyFinding>& findings) {
  return std::any_of(findings.begin(), findings.end(), [](const VerifyFinding& f) { return f.is_damage; });
}

VerifyFinding finding_of(std::string_view file, std::uint64_t position, std::uint64_t bytes, std::string what) {
  VerifyFinding finding;
  finding.file = file;
  finding.position = position;
  finding.bytes = bytes;
  finding.what = std::move(what);
  return finding;
}

// Both copies; the identity itself was read from a good one.
void verify_identity(Directory& root, std::vector<VerifyFinding>& findings) {
  auto file = root.open(kIdentity, Access::read);
  if (!file) return;
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kBlockBytes}}) {
    const auto block = Chunk::make(kBlockBytes);
    const auto got = (*file)->read(at, block->bytes().first(kBlockBytes));
    const auto copy = decode_identity(block->bytes().first(got.value_or(0)));
    if (copy && *copy) continue;
    findings.push_back(finding_of(kIdentity, at, kBlockBytes,
                                  "copy " + std::to_string(at / kBlockBytes + 1) + " of 2 is damaged; the other one is used"));
  }
}

const LogHardState* find_bounds(const HardStateFile::Contents& contents, const Uuid& log) {
  for (const LogHardState& slot : contents.logs) {
    if (slot.log == log) return &slot;
  }
  return nullptr;
}

// The logs/ directories whose names are uuids.
std::vector<Uuid> logs_on_disk(const std::vector<DirectoryEntry>& entries) {
  std::vector<Uuid> logs;
  for (const DirectoryEntry& entry : entries) {
    if (!entry.is_directory) continue;
    if (const auto uuid = parse_uuid(entry.name)) logs.push_back(*uuid);
  }
  return logs;
}

LogVerification verify_named_log(Directory& logs, const Verification& node, const Uuid& log,
                                 const HardStateFile::Contents& contents, const VerifyOptions& options) {
  const std::string place = std::string(kLogs) + "/" + to_string(log);
  const LogHardState* slot = find_bounds(contents, log);
  const HardState bounds = slot ? slot->state : HardState{};
  LogVerification result;
  if (auto directory = logs.subdirectory(to_string(log), false); directory) {
    result = verify_log(**directory, node.identity.cluster, log, slot ? &slot->state : nullptr, options);
  } else {
    result.log = log;
    result.bounds = bounds;
    result.error = std::move(directory.error());
  }
  result.directory = place;
  result.has_bounds = slot != nullptr;
  result.suspect = result.suspect || (slot && slot->lost);
  for (VerifyFinding& finding : result.findings) finding.file = finding.file.empty() ? place : place + "/" + finding.file;
  return result;
}

// The hard state knows a log that has no directory.
LogVerification missing_log(const LogHardState& slot) {
  LogVerification result;
  result.log = slot.log;
  result.bounds = slot.state;
  result.has_bounds = true;
  result.directory = std::string(kLogs) + "/" + to_string(slot.log);
  result.first_index = result.end_index = slot.state.trim_index;
  result.first_offset = result.end_offset = slot.state.trim_offset;
  result.durable_bound = slot.state.durable_bound;
  const bool held_data = slot.state.durable_bound > Index();
  VerifyFinding finding = finding_of(result.directory, 0, 0, "the directory of the log is missing");
  finding.is_damage = finding.acknowledged = held_data;
  if (held_data) {
    finding.letter = "N";
    finding.verdict = Verdict::suspect;
    finding.from = slot.state.trim_index;
    finding.to = slot.state.durable_bound;
    result.suspect = true;
  }
  result.findings.push_back(std::move(finding));
  return result;
}

}  // namespace

bool LogVerification::is_damaged() const { return any_damage(findings) || (error && error->code == Code::corrupt); }

bool Verification::is_damaged() const {
  return any_damage(findings) || std::any_of(logs.begin(), logs.end(), [](const LogVerification& l) { return l.is_damaged(); });
}

Result<Verification> verify_data_directory(Directory& root, const VerifyOptions& options) {
  auto lock = root.lock_for_reading(kLock);
  if (!lock && lock.error().code != Code::not_found) return std::unexpected(std::move(lock.error()));
  Verification result;
  auto identity = read_identity(root, kIdentity);
  if (!identity) {
    if (identity.error().code != Code::not_found) return std::unexpected(std::move(identity.error()));
    return error(Code::not_found, root.path() + " is not a Walraft data directory: it has no identity");
  }
  result.identity = std::move(identity->identity);
  verify_identity(root, result.findings);

  HardStateFile::Contents contents;
  if (auto read = HardStateFile::read(root, kHardState, result.identity.disk); read) {
    contents = std::move(*read);
    auto file = root.open(kHardState, Access::read);
    if (file) verify_hard_state(**file, result.identity.disk, result.findings);
  } else if (read.error().code == Code::invalid) {
    return std::unexpected(std::move(read.error()));
  } else {
    VerifyFinding finding = finding_of(kHardState, 0, 0, std::move(read.error().message));
    finding.acknowledged = true;
    result.findings.push_back(std::move(finding));
  }

  std::vector<Uuid> present;
  auto logs = root.subdirectory(kLogs, false);
  if (logs) {
    auto entries = (*logs)->list();
    if (!entries) return std::unexpected(std::move(entries.error()));
    present = logs_on_disk(*entries);
  } else {
    result.findings.push_back(finding_of(kLogs, 0, 0, std::move(logs.error().message)));
  }
  for (const Uuid& log : present) {
    if (options.only && *options.only != log) continue;
    result.logs.push_back(verify_named_log(**logs, result, log, contents, options));
  }
  for (const LogHardState& slot : contents.logs) {
    if (options.only && *options.only != slot.log) continue;
    if (std::find(present.begin(), present.end(), slot.log) == present.end()) result.logs.push_back(missing_log(slot));
  }
  if (options.only && result.logs.empty()) {
    return error(Code::not_found, root.path() + " has no log " + to_string(*options.only));
  }
  return result;
}

}  // namespace walraft::wal
