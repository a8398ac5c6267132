#include "wal/base/mutant.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace walraft {
namespace {

constexpr std::array<std::string_view, 36> kNames = {
    "h1_no_term_check_at_handshake",
    "h2_replayed_entries_dropped",
    "h3_raw_last_index_counts",
    "h4_commit_of_older_term",
    "h5_commit_beyond_verified",
    "h6a_vote_not_synced",
    "h6b_term_not_synced",
    "h7_ack_before_sync",
    "h8_no_step_down",
    "h9_truncate_on_step_down",
    "h11_stale_session_ack",
    "h12a_config_without_own_term_commit",
    "h13_truncate_oldest_first",
    "m14_no_directory_sync",
    "m15_truncate_on_checksum_error",
    "m16_recycled_tail_accepted",
    "m17_wiped_node_votes",
    "m18_rolled_back_node_votes",
    "m19_dedupe_not_in_snapshot",
    "m20_read_beyond_commit",
    "m21_trim_races_reader",
    "m22_trim_not_replicated",
    "m23_cursor_not_durable",
    "m24_stale_leader_read",
    "m26_sync_error_retried",
    "m27_no_space_acknowledged",
    "m28_joint_quorum_on_union",
    "m29_config_applied_early",
    "m30_duplicate_node_id_accepted",
    "m31_no_dsync",
    "c1_body_checksum_unchecked",
    "c2_refusal_overtakes_answers",
    "c3_queue_not_bounded",
    "c4_credit_ignored",
    "s1_suspicion_not_durable",
    "s2_settle_not_durable",
};
static_assert(kNames.size() == static_cast<std::size_t>(Mutant::s2_settle_not_durable) + 1);

#ifdef WALRAFT_MUTANTS
constexpr int kNone = -1;

int mutant_of_environment() {
  const char* name = std::getenv("WALRAFT_MUTANT");
  if (name == nullptr || *name == '\0') return kNone;
  const auto found = mutant_named(name);
  if (!found) {
    std::fprintf(stderr, "WALRAFT_MUTANT=%s: no such planted bug; wal/base/mutant.h lists them.\n", name);
    std::exit(2);
  }
  return static_cast<int>(*found);
}

std::atomic<int>& current() {
  static std::atomic<int> value = mutant_of_environment();
  return value;
}
#endif

}  // namespace

std::span<const std::string_view> mutant_names() { return kNames; }

std::string_view to_string(Mutant mutant) { return kNames[static_cast<std::size_t>(mutant)]; }

std::optional<Mutant> mutant_named(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Mutant>(i);
  }
  return std::nullopt;
}

#ifdef WALRAFT_MUTANTS
bool mutant(Mutant which) {
  return current().load(std::memory_order_relaxed) == static_cast<int>(which);
}

void set_mutant(std::optional<Mutant> which) {
  current().store(which ? static_cast<int>(*which) : kNone, std::memory_order_relaxed);
}
#endif

}  // namespace walraft
