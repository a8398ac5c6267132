// walctl verify: reads every byte of a stopped node's data, changes none, and says what is damaged and where.

#include "wal/verify.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/walctl/commands.h"
#include "tools/walctl/log_names.h"
#include "wal/posix_filesystem.h"

namespace walraft::walctl {
namespace {

using Json = nlohmann::ordered_json;

// One line on stderr that is written over, when a person is looking.
class ProgressLine {
 public:
  ~ProgressLine() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }
  void show(const wal::VerifyProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    shown_ = true;
    std::fprintf(stderr, "\r\x1b[Kverifying: %llu of %llu MiB, %s", static_cast<unsigned long long>(progress.done_bytes >> 20),
                 static_cast<unsigned long long>(progress.total_bytes >> 20), progress.file.c_str());
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
};

Json json_of(const wal::VerifyFinding& f) {
  Json json = {{"damage", f.is_damage}, {"file", f.file}, {"position", f.position}};
  if (f.bytes > 0) json["bytes"] = f.bytes;
  if (!f.letter.empty()) json["case"] = f.letter;
  if (f.verdict) json["verdict"] = wal::describe(*f.verdict);
  if (f.to > f.from) {
    json["from_index"] = f.from.value;
    json["to_index"] = f.to.value;
  }
  if (f.to_offset > f.from_offset) {
    json["from_offset"] = f.from_offset.value;
    json["to_offset"] = f.to_offset.value;
  }
  json["acknowledged"] = f.acknowledged;
  json["what"] = f.what;
  return json;
}

Json json_of(const std::vector<wal::VerifyFinding>& findings) {
  Json list = Json::array();
  for (const wal::VerifyFinding& finding : findings) list.push_back(json_of(finding));
  return list;
}

Json json_of(const wal::LogVerification& log) {
  Json json = {{"name", log.name}, {"uuid", to_string(log.log)}, {"damaged", log.is_damaged()}, {"suspect", log.suspect}};
  if (log.error) json["error"] = {{"error", outcome_of(log.error->code).name}, {"message", log.error->message}};
  json["first_index"] = log.first_index.value;
  json["end_index"] = log.end_index.value;
  json["first_offset"] = log.first_offset.value;
  json["end_offset"] = log.end_offset.value;
  json["term"] = log.end.term.value;
  json["digest"] = to_string(log.end.digest);
  json["segments"] = log.segments;
  json["batches"] = log.batches;
  json["records"] = log.records;
  json["bytes"] = log.bytes;
  json["findings"] = json_of(log.findings);
  return json;
}

Json json_of(const wal::Verification& verification) {
  const wal::Identity& identity = verification.identity;
  Json json = {{"cluster", identity.cluster_name}, {"cluster_uuid", to_string(identity.cluster)},
               {"node", identity.node.value},      {"disk", to_string(identity.disk)},
               {"damaged", verification.is_damaged()}};
  json["findings"] = json_of(verification.findings);
  json["logs"] = Json::array();
  for (const wal::LogVerification& log : verification.logs) json["logs"].push_back(json_of(log));
  return json;
}

// A log may be named by its name or by its uuid.
std::optional<Uuid> find_log(const std::map<Uuid, std::string>& names, const std::string& log) {
  for (const auto& [uuid, name] : names) {
    if (name == log) return uuid;
  }
  return parse_uuid(log);
}

// Damage first; else what kept a log from being verified.
int exit_code(const wal::Verification& verification) {
  if (verification.is_damaged()) return outcome_of(Code::corrupt).exit_code;
  for (const wal::LogVerification& log : verification.logs) {
    if (log.error) return outcome_of(log.error->code).exit_code;
  }
  return 0;
}

}  // namespace

int verify(const Global& global, const std::string& data_dir, const std::string& log) {
  auto root = wal::open_directory(data_dir, false);
  if (!root) return fail(root.error());
  const auto names = log_names(**root);
  wal::VerifyOptions options;
  if (!log.empty()) {
    options.only = find_log(names, log);
    if (!options.only) return fail({Code::not_found, "log \"" + log + "\": there is no such log in " + data_dir, 0});
  }
  Result<wal::Verification> verification = wal::Verification{};
  {
    ProgressLine line;
    options.progress = [&line](const wal::VerifyProgress& progress) { line.show(progress); };
    verification = wal::verify_data_directory(**root, options);
  }
  if (!verification) return fail(verification.error());
  for (wal::LogVerification& found : verification->logs) {
    if (const auto name = names.find(found.log); name != names.end()) found.name = name->second;
  }
  if (global.output == Output::json) {
    std::printf("%s\n", json_of(*verification).dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::fputs(wal::render(*verification).c_str(), stdout);
  }
  return exit_code(*verification);
}

}  // namespace walraft::walctl
