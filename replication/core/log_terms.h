#pragma once

// What the core knows of its log: which batches there are and in which term each was made; never their bytes. And how
// two logs find the last batch that they share.

#include <optional>
#include <vector>

#include "wal/base/ids.h"

namespace walraft::replication {

// Where a term ends in a log: `end` is the index behind its last batch.
struct TermEnd {
  Term term;
  Index end;
  bool operator==(const TermEnd&) const = default;
};

// The end of a log, as elections compare it: the term of the last batch first, then the length.
struct LogEnd {
  Term term;
  Index end;  // the index of the next batch
  constexpr auto operator<=>(const LogEnd&) const = default;
};

// [base, end) of a log. `base` is the first batch kept, and what came before it counts as one batch of `base_term`
// (term 0 for a log from its beginning): so every log shares with every other at least the beginning, with term 0 and
// end 0.
class LogTerms {
 public:
  // `terms`: ascending by term and end, the last one's end is the log's.
  LogTerms(TermEnd base, std::vector<TermEnd> terms);

  Index base() const { return base_.end; }
  Index end() const { return last().end; }
  Term last_term() const { return last().term; }
  LogEnd log_end() const { return {last_term(), end()}; }

  // Of the batch before `at`; base() <= at <= end().
  Term term_before(Index at) const;
  Term term_of(Index index) const { return term_before(index + 1); }

  // One more batch. Terms never fall.
  void append(Term term);
  // Everything from `to` on goes; base() <= to <= end().
  void truncate(Index to);
  // Everything before `to` goes; base() <= to <= end().
  void drop_prefix(Index to);

  // The base, then every term, ascending.
  std::vector<TermEnd> history() const;

 private:
  TermEnd last() const { return terms_.empty() ? base_ : terms_.back(); }

  TermEnd base_;
  std::vector<TermEnd> terms_;  // of batches in [base, end)
};

// The end of what two logs share, from their histories (ascending by term): in the highest term that both have, both
// hold a prefix of what that term's leader made, so they agree up to where the shorter one's part of that term ends;
// and no further, since a longer agreement would hold a batch of a higher common term (proto:P2, proto:P17,
// STREAMING_RAFT.md). Nothing if they share no term, which only histories that were cut short do not.
std::optional<TermEnd> match_point(const std::vector<TermEnd>& one, const std::vector<TermEnd>& other);

}  // namespace walraft::replication
