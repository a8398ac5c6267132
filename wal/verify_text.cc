// What wal/verify.h found, for people.

#include <cstdio>

#include "wal/verify.h"

namespace walraft::wal {
namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

// "batches 3 to 5"; empty for none.
std::string range(std::string_view one, std::string_view many, std::uint64_t from, std::uint64_t to) {
  if (to <= from) return "";
  if (to == from + 1) return std::string(one) + " " + number(from);
  return std::string(many) + " " + number(from) + " to " + number(to - 1);
}

struct Counts {
  std::uint64_t damages = 0, notes = 0, records_lost = 0;
  bool acknowledged = false;

  void add(const std::vector<VerifyFinding>& findings) {
    for (const VerifyFinding& f : findings) {
      ++(f.is_damage ? damages : notes);
      if (!f.is_damage) continue;
      acknowledged = acknowledged || f.acknowledged;
      if (f.to_offset > f.from_offset) records_lost += f.to_offset - f.from_offset;
    }
  }
};

std::string last_line(const Counts& counts, bool unverified) {
  std::string text;
  if (counts.damages == 0) {
    text = unverified ? "not all could be verified" : "clean";
  } else {
    text = "DAMAGED: " + number(counts.damages) + (counts.damages == 1 ? " place" : " places");
    text += counts.acknowledged ? "; acknowledged data is concerned" : "; no acknowledged data is concerned";
    if (counts.records_lost > 0) text += ", at least " + number(counts.records_lost) + " records";
  }
  if (counts.notes > 0) text += " (" + number(counts.notes) + (counts.notes == 1 ? " note)" : " notes)");
  return text + "\n";
}

std::string lines(const std::vector<VerifyFinding>& findings, const std::string& of) {
  std::string text;
  for (const VerifyFinding& f : findings) text += (f.is_damage ? "DAMAGED " : "note ") + of + ": " + describe(f) + "\n";
  return text;
}

std::string log_lines(const LogVerification& log) {
  const std::string uuid = to_string(log.log);
  const std::string of = "log " + (log.name.empty() ? uuid : log.name);
  std::string text = of + (log.name.empty() ? "" : " (" + uuid + ")") + ": ";
  if (log.error) {
    text += "cannot be verified\n";
    return text + "ERROR " + of + ": " + log.error->message + "\n" + lines(log.findings, of);
  }
  if (log.end_index > log.first_index) {
    text += range("batch", "batches", log.first_index.value, log.end_index.value);
    const std::string offsets = range("offset", "offsets", log.first_offset.value, log.end_offset.value);
    text += offsets.empty() ? ", no records" : ", " + offsets;
  } else {
    text += "empty";
  }
  text += "; " + number(log.segments) + (log.segments == 1 ? " segment, " : " segments, ") + size_text(log.bytes);
  if (log.end.index > Index()) text += "; term " + number(log.end.term.value) + ", digest " + to_string(log.end.digest);
  if (log.suspect) text += "; SUSPECT";
  return text + "\n" + lines(log.findings, of);
}

}  // namespace

std::string_view describe(Verdict verdict) {
  switch (verdict) {
    case Verdict::keep: return "keep";
    case Verdict::cut: return "cut";
    case Verdict::hole: return "hole";
    case Verdict::suspect: return "suspect";
    case Verdict::rebuild: return "rebuild";
    case Verdict::remove: return "remove";
  }
  return "";
}

std::string describe(const VerifyFinding& finding) {
  std::string text = finding.file + ", byte " + number(finding.position);
  if (finding.bytes > 0) text += " (" + number(finding.bytes) + " bytes)";
  text += ": " + finding.what;
  if (const auto batches = range("batch", "batches", finding.from.value, finding.to.value); !batches.empty()) {
    text += "; " + batches;
  }
  if (const auto offsets = range("offset", "offsets", finding.from_offset.value, finding.to_offset.value); !offsets.empty()) {
    text += ", " + offsets;
  }
  if (finding.acknowledged) text += "; acknowledged";
  if (!finding.letter.empty()) text += "; case " + finding.letter;
  if (finding.verdict) text += ": " + std::string(describe(*finding.verdict));
  return text;
}

std::string render(const LogVerification& verification) {
  Counts counts;
  counts.add(verification.findings);
  return log_lines(verification) + last_line(counts, verification.error.has_value());
}

std::string render(const Verification& verification) {
  const Identity& identity = verification.identity;
  std::string text = "cluster " + identity.cluster_name + " (" + to_string(identity.cluster) + "), node " +
                     number(identity.node.value) + ", disk " + to_string(identity.disk) + "\n";
  text += lines(verification.findings, "data directory");
  Counts counts;
  counts.add(verification.findings);
  bool unverified = false;
  for (const LogVerification& log : verification.logs) {
    text += log_lines(log);
    counts.add(log.findings);
    unverified = unverified || log.error;
  }
  return text + last_line(counts, unverified);
}

}  // namespace walraft::wal
