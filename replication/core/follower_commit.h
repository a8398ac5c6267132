#pragma once

// What a follower may take for committed (proto:P4, fault class H5). It learns of commits on the stream and from
// heartbeats, and may learn of one before it has the batches, or while its log still differs from the leader's. So:
// a commit of term T counts up to `verified` and no further, the end of what is known to be a prefix of the log of T's
// leader; the rest is remembered until the batches are there.

#include <algorithm>

#include "replication/core/log_terms.h"
#include "wal/base/mutant.h"
#include "wal/base/probe.h"

namespace walraft::replication {

class FollowerCommit {
 public:
  // The log up to `verified` is a prefix of the log of `term`'s leader. True of a restarted node for the term of its
  // last batch, of a leader for its own term, and of a follower after each handshake.
  void verify(Term term, Index verified) {
    if (term != term_ && pending_ > verified_) PROBE("commit of an older term is forgotten");
    if (term != term_) pending_ = Index();
    term_ = term;
    verified_ = verified;
  }
  void extend(Index verified) { verified_ = verified; }

  // The leader of `term` has committed up to `commit`.
  void learn(Term term, Index commit) {
    if (term == term_ || mutant(Mutant::h5_commit_beyond_verified)) pending_ = std::max(pending_, commit);
  }

  Index commit() const { return mutant(Mutant::h5_commit_beyond_verified) ? pending_ : std::min(pending_, verified_); }
  Index verified() const { return verified_; }
  Index pending() const { return pending_; }
  Term term() const { return term_; }

 private:
  Term term_;
  Index verified_;
  Index pending_;
};

}  // namespace walraft::replication
