#pragma once

// What a log's files mean after a crash, or after rot: the lettered table of wal/FORMAT.md.
//
// An unsynced write may survive a power cut in any subset of its sectors, so a damaged batch with
// good ones behind it proves nothing. What tells rot from a torn write is D, the index below which
// this disk once said "durable":
//     D = max(durable_before of valid groups behind the damage, durable_bound of the hard state,
//             the start of the next segment).
// Damage below D is rot: kept and marked. Damage at or above D is a write that was never
// acknowledged: cut. (CTRL, FAST'18: mark, do not truncate; wal/FORMAT.md section 7.)

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wal/base/ids.h"
#include "wal/base/result.h"
#include "wal/filesystem.h"
#include "wal/hard_state.h"
#include "wal/log_view.h"
#include "wal/segment.h"

namespace walraft::wal {

// The letters. tests assert that each is reached.
enum class RecoveryCase : char {
  clean_end = 'A',
  torn_group = 'B',
  rot_below_commit = 'C',
  rot_at_the_end = 'D',
  group_header_rot = 'E',
  segment_continues = 'F',
  superseded_suffix = 'G',
  short_segment = 'H',
  header_lost_in_the_middle = 'I',
  header_lost_at_the_end = 'J',
  header_never_written = 'K',
  segment_missing = 'L',
  first_segment_missing = 'M',
  all_lost = 'N',
  footer_damaged = 'O',
  prepared_segment = 'P',
  broken_chain = 'Q',
  leftover_of_trim = 'R',
};

enum class Verdict : std::uint8_t {
  keep,     // nothing is wrong
  cut,      // never acknowledged: the log ends before it
  hole,     // acknowledged, below a known commit: unreadable here, the rest of the log stands
  suspect,  // acknowledged, and no proof that what follows is all: no vote, no counted ack, until settled
  rebuild,  // costs nothing: made again from the data
  remove,   // a file without meaning
};

struct RecoveryRule {
  RecoveryCase letter;
  Verdict verdict;
  std::string_view found;  // what is seen
  std::string_view then;   // what is done
};

inline constexpr std::array kRecoveryTable = {
    RecoveryRule{RecoveryCase::clean_end, Verdict::keep, "the last segment's frames end behind a whole group, D <= end",
                 "the log ends here"},
    RecoveryRule{RecoveryCase::torn_group, Verdict::cut, "a frame inside the last group is damaged or missing, D <= it",
                 "the log ends at the last intact batch before it; said with place and size"},
    RecoveryRule{RecoveryCase::rot_below_commit, Verdict::hole,
                 "damage below D, intact frames behind it, all of it below a known commit",
                 "HOLE; the log goes on behind it"},
    RecoveryRule{RecoveryCase::rot_at_the_end, Verdict::suspect,
                 "damage below D, nothing intact behind it, or it reaches above the known commit",
                 "SUSPECT; the log reads up to the damage"},
    RecoveryRule{RecoveryCase::group_header_rot, Verdict::keep,
                 "a group header is damaged, its batches continue the digest", "the batches count"},
    RecoveryRule{RecoveryCase::segment_continues, Verdict::keep,
                 "a segment ends where the next one starts, with its digest", "one log"},
    RecoveryRule{RecoveryCase::superseded_suffix, Verdict::cut,
                 "a segment starts or goes on at or behind the start of a later one",
                 "what lies behind was truncated; the later segment rules"},
    RecoveryRule{RecoveryCase::short_segment, Verdict::hole,
                 "a segment that is not the last ends before the next one starts", "as C or D; D is the next start"},
    RecoveryRule{RecoveryCase::header_lost_in_the_middle, Verdict::hole,
                 "both copies of a segment's header are damaged, a later segment is in use", "as H: HOLE up to the later one"},
    RecoveryRule{RecoveryCase::header_lost_at_the_end, Verdict::suspect,
                 "both copies of the last segment's header are damaged, D > its start", "SUSPECT"},
    RecoveryRule{RecoveryCase::header_never_written, Verdict::remove,
                 "both copies of the last segment's header are damaged, D <= its start",
                 "its first write was torn: nothing in it was acknowledged"},
    RecoveryRule{RecoveryCase::segment_missing, Verdict::hole, "a segment starts above the end of the one before it",
                 "as H"},
    RecoveryRule{RecoveryCase::first_segment_missing, Verdict::hole, "the first segment starts above the trim point",
                 "as H: HOLE from the trim point"},
    RecoveryRule{RecoveryCase::all_lost, Verdict::suspect, "no segment in use, D > 0; or no file at all, and the hard state knows the log", "SUSPECT, empty"},
    RecoveryRule{RecoveryCase::footer_damaged, Verdict::rebuild,
                 "a segment that is not the last has no good footer", "it is read in full, its footer written again"},
    RecoveryRule{RecoveryCase::prepared_segment, Verdict::keep,
                 "a segment without a header, or with that of an earlier use of the file", "ready for use, or removed"},
    RecoveryRule{RecoveryCase::broken_chain, Verdict::suspect,
                 "a segment disagrees with the next one about the digest between them",
                 "SUSPECT; the log reads up to there: one of the files is not of this log's history"},
    RecoveryRule{RecoveryCase::leftover_of_trim, Verdict::remove, "a segment lies wholly below the trim point",
                 "removed: a crash came between the trim and the unlink"},
};

const RecoveryRule& recovery_rule(RecoveryCase letter);

// One thing that was found: case, place, extent.
struct Finding {
  RecoveryCase letter;
  Verdict verdict;
  std::uint64_t segment = 0;   // its number
  std::uint64_t position = 0;  // byte in it
  Index from, to;              // batches concerned, where known
  std::string text;            // for people: "segment 3, byte 8256: …"
};

struct RecoveryReport {
  std::vector<Finding> findings;  // everything but plain A and F
  std::uint64_t cut_bytes = 0;    // of torn groups
  Index durable_bound;            // D at the end of the log
  Index commit;                   // highest known
  std::uint64_t segments_scanned = 0, segments = 0;
  bool suspect = false;
  std::vector<Hole> holes;
};

struct RecoveredSegment {
  std::shared_ptr<SegmentFile> file;
  SegmentIndex index;
  LogPoint end;
  std::uint64_t end_position = 0;
  std::uint64_t group_number = 0;  // highest ever written in it, where it was scanned
  Index commit;                    // highest stamped in it
  bool sealed = false;             // has a good footer
};

struct RecoveredLog {
  std::vector<RecoveredSegment> segments;  // in use, oldest first
  std::vector<std::uint64_t> unused;       // numbers of files that hold nothing: prepared, torn, trimmed
  std::uint64_t number_next = 1;           // never used before
  RecoveryReport report;
};

struct RecoveryInput {
  Uuid cluster;
  Uuid log;
  LogId log_id;  // 0: not known, that of the first segment
  HardState bounds;
  bool durable_is_commit = false;
  Access access = Access::direct;
  bool read_only = false;  // walctl verify: syncs nothing
  bool has_slot = false;   // the hard state knows the log: once there was at least a prepared segment
  std::shared_ptr<OpenFiles> open_files = {};  // that the segments belong to; null: some of their own
};

// Reads the files of `directory`; writes none. What it keeps is synced and read from the medium, so
// all of it is durable. Running it twice gives the same answer. Blocks.
// Errors: `denied` for files of another log or cluster, or under another id, `invalid` for a newer format, `failed` if
// the directory cannot be read or a sync fails (that one stops the node).
Result<RecoveredLog> recover_log(std::shared_ptr<Directory> directory, const RecoveryInput& input);

}  // namespace walraft::wal
