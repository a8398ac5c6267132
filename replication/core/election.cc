#include "replication/core/election.h"

#include <algorithm>

#include "replication/core/quorum.h"

namespace walraft::replication {

void Election::rest(std::uint64_t now_us) {
  deadline_us_ = now_us + timing_.election_timeout_us + rng_.next() % timing_.election_timeout_us;
}

void Election::heard_leader(std::uint64_t now_us) {
  heard_us_ = now_us;
  has_leader_ = true;
  rest(now_us);
}

void Election::lost_leader(std::uint64_t now_us) {
  has_leader_ = false;
  deadline_us_ = std::min(deadline_us_, now_us + rng_.next() % timing_.election_timeout_us);
}

void Election::begin(Stage stage, VoteReason reason, std::uint64_t now_us) {
  stage_ = stage;
  reason_ = reason;
  granted_.clear();
  rest(now_us);
}

bool Election::won(const Configuration& configuration) const {
  const auto votes =
      std::count_if(granted_.begin(), granted_.end(), [&](NodeId n) { return configuration.is_voter(n); });
  return static_cast<std::size_t>(votes) >= quorum_size(configuration.voters());
}

}  // namespace walraft::replication
