#pragma once

// Planted bugs: each is a mistake that real systems made, and that our tests must find. They are
// compiled in only with -DWALRAFT_MUTANTS=ON; otherwise mutant() is a constant false and the bug is
// not in the program. The name says what goes wrong; H and M numbers are those of the hazard list,
// C is the stream channel, S is what a log says of itself after it lost something.
//
//   if (!mutant(Mutant::m14_no_directory_sync)) ...
//
// One mutant at a time, for the whole process: set_mutant(), or the environment variable
// WALRAFT_MUTANT=m14_no_directory_sync. An unknown name ends the process, so that a misspelt one
// cannot pass for a bug that was found.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace walraft {

enum class Mutant : std::uint8_t {
  h1_no_term_check_at_handshake,       // the stream starts at the follower's last index, whatever its term
  h2_replayed_entries_dropped,         // entries at or below the last index are skipped without a compare
  h3_raw_last_index_counts,            // a heartbeat reply's last index counts for the commit
  h4_commit_of_older_term,             // commits an entry of an older term by counting
  h5_commit_beyond_verified,           // a follower takes the leader's commit above what it verified
  h6a_vote_not_synced,                 // the vote leaves before it is durable
  h6b_term_not_synced,                 // the term is used before it is durable
  h7_ack_before_sync,                  // an entry counts before it is durable
  h8_no_step_down,                     // a leader with a hung disk or no quorum stays
  h9_truncate_on_step_down,            // a leader that steps down cuts its log to the commit
  h11_stale_session_ack,               // an ack of an older session counts
  h12a_config_without_own_term_commit, // a configuration changes before the own-term entry commits
  h13_truncate_oldest_first,           // a suffix is cut from its oldest segment on
  m14_no_directory_sync,               // a new segment's name is not synced
  m15_truncate_on_checksum_error,      // rot is taken for a torn tail
  m16_recycled_tail_accepted,          // what an older use left in a segment is taken for the log
  m17_wiped_node_votes,                // a node that lost its disk votes under its old id
  m18_rolled_back_node_votes,          // a node restored from a backup votes
  m19_dedupe_not_in_snapshot,          // a checkpoint leaves the dedupe table out
  m20_read_beyond_commit,              // a subscriber gets what is not committed
  m21_trim_races_reader,               // a segment goes while it is read
  m22_trim_not_replicated,             // replicas trim by themselves
  m23_cursor_not_durable,              // a cursor is confirmed before it is committed
  m24_stale_leader_read,               // a tail is told without a check of leadership
  m26_sync_error_retried,              // a failed sync is tried again, and believed
  m27_no_space_acknowledged,           // a full disk counts as written
  m28_joint_quorum_on_union,           // joint consensus counts one majority of both sets
  m29_config_applied_early,            // a follower uses a configuration before it has it
  m30_duplicate_node_id_accepted,      // two nodes with one id are both heard
  m31_no_dsync,                        // writes are not synced
  c1_body_checksum_unchecked,          // a batch that was damaged on its way is appended
  c2_refusal_overtakes_answers,        // a refused append is answered before those that came before it
  c3_queue_not_bounded,                // a peer that does not read is sent more and more
  c4_credit_ignored,                   // a subscriber is sent more than it asked for
  s1_suspicion_not_durable,            // a log that lost something is written to before its disk says so
  s2_settle_not_durable,               // a log is told to be whole again before its disk says so
};  // M25 (leases by the wall clock) has no place: there are no leases.

// All of them, in the order of the enum. Any thread; in every build.
std::span<const std::string_view> mutant_names();
std::string_view to_string(Mutant mutant);
std::optional<Mutant> mutant_named(std::string_view name);

#ifdef WALRAFT_MUTANTS
inline constexpr bool kHasMutants = true;
bool mutant(Mutant which);  // any thread; a load and a compare
// nullopt: none. Overrides the environment. Any thread, while no other runs the code in question.
void set_mutant(std::optional<Mutant> which);
#else
inline constexpr bool kHasMutants = false;
constexpr bool mutant(Mutant) { return false; }
inline void set_mutant(std::optional<Mutant>) {}  // nothing to plant: tests ask kHasMutants first
#endif

}  // namespace walraft
