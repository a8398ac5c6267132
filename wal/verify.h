#pragma once

// Looks at a data directory, or at the directory of one log, while no server runs on it, and says
// what is damaged and where: every batch, CRC and digest, across segments; footers against what they
// summarise; group headers, both copies of segment headers; hard-state slots; identity.
//
// Never writes a byte: read permission is enough. What recovery would decide comes from recovery
// itself (recover_log, read-only); what it does not read when it opens a log - the insides of sealed
// segments - is read here in full.
//
// Damage and notes are two things. Damage: bytes are not what was durable once. A note: something that
// a crash may leave and that costs nothing acknowledged - a torn tail, a footer not yet written.
//
// All functions block; any thread.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"
#include "wal/hard_state.h"
#include "wal/identity.h"
#include "wal/recovery.h"

namespace walraft::wal {

struct VerifyFinding {
  bool is_damage = true;           // false: a note
  std::string file;                // its name below the directory that is verified
  std::uint64_t position = 0;      // byte in the file
  std::uint64_t bytes = 0;         // extent; 0: not known, or up to the end
  std::string letter;              // of the recovery table ("C"), or of the hard state's ("@E"); empty: none
  std::optional<Verdict> verdict;  // of a log's recovery
  Index from, to;                  // batches concerned; to <= from: none, or not known
  Offset from_offset, to_offset;   // records concerned; the same
  bool acknowledged = false;       // what was acknowledged once is concerned
  std::string what;                // one sentence, without place
};

struct LogVerification {
  Uuid log;
  std::string name;                // empty: not known here; for whoever renders it to fill in
  std::string directory;           // below the one that is verified; empty if it is that one
  std::optional<LogId> id;         // from its segments
  HardState bounds;
  bool has_bounds = false;
  Index first_index, end_index;    // kept, and readable but for damage: [first, end)
  Offset first_offset, end_offset;
  LogPoint end;                    // with term and digest
  Index durable_bound, commit;     // as known on this disk
  std::uint64_t segments = 0, batches = 0, records = 0, bytes = 0;  // intact ones; bytes of their files
  bool suspect = false;
  std::vector<VerifyFinding> findings;  // in the order of the files
  std::optional<Error> error;      // it could not be verified at all: files of another log, a newer format

  bool is_damaged() const;
};

struct Verification {
  Identity identity;
  std::vector<VerifyFinding> findings;  // of everything but the logs
  std::vector<LogVerification> logs;    // by name of directory

  bool is_damaged() const;
};

// Called often while a long verification runs, on its thread.
struct VerifyProgress {
  std::string file;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;  // of all segments that are read
};

struct VerifyOptions {
  std::optional<Uuid> only;        // one log; the others' segments are not read
  bool durable_is_commit = true;   // logs have a single voter (LogOptions)
  std::function<void(const VerifyProgress&)> progress = [](const VerifyProgress&) {};
};

// One log, whose directory this is.
LogVerification verify_log(Directory& directory, const Uuid& cluster, const Uuid& log, const HardState* slot,
                           const VerifyOptions& options);

// A data directory. Errors, where there is nothing to look at: not_found (no data directory here, or
// not the log of `only`), unavailable (a server uses it), invalid (a newer release's), denied, failed;
// corrupt if the identity is damaged in both copies.
Result<Verification> verify_data_directory(Directory& root, const VerifyOptions& options);

// The hard-state file alone: copy by copy (verify_hard_state.cc). Adds to `findings`.
void verify_hard_state(File& file, const Uuid& disk_uuid, std::vector<VerifyFinding>& findings);

std::string_view describe(Verdict verdict);  // "hole"
// One line: "FILE, byte N (M bytes): WHAT; batches …; case C: hole".
std::string describe(const VerifyFinding& finding);
// For people; ends with a line that says whether it is clean.
std::string render(const Verification& verification);
std::string render(const LogVerification& verification);

}  // namespace walraft::wal
