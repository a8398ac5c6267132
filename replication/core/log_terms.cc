#include "replication/core/log_terms.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"

namespace walraft::replication {

LogTerms::LogTerms(TermEnd base, std::vector<TermEnd> terms) : base_(base), terms_(std::move(terms)) {
  TermEnd previous = base_;
  for (const TermEnd& run : terms_) {
    CHECK(run.term >= previous.term && run.end > previous.end, run.term, run.end, previous.term, previous.end);
    previous = run;
  }
}

Term LogTerms::term_before(Index at) const {
  CHECK(base() <= at && at <= end(), base(), at, end());
  if (at == base()) return base_.term;
  // The first run that ends at or behind `at` holds the batch before it.
  return std::lower_bound(terms_.begin(), terms_.end(), at, [](const TermEnd& run, Index i) { return run.end < i; })
      ->term;
}

void LogTerms::append(Term term) {
  CHECK(term >= last_term(), term, last_term());
  const Index next = end() + 1;
  if (!terms_.empty() && terms_.back().term == term) {
    terms_.back().end = next;
  } else {
    terms_.push_back({term, next});
  }
}

void LogTerms::truncate(Index to) {
  CHECK(base() <= to && to <= end(), base(), to, end());
  while (!terms_.empty()) {
    const Index begin = terms_.size() > 1 ? terms_[terms_.size() - 2].end : base();
    if (begin < to) {
      terms_.back().end = to;
      return;
    }
    terms_.pop_back();
  }
}

void LogTerms::drop_prefix(Index to) {
  base_ = {term_before(to), to};
  std::erase_if(terms_, [&](const TermEnd& run) { return run.end <= to; });
}

std::vector<TermEnd> LogTerms::history() const {
  std::vector<TermEnd> all{base_};
  // A term that goes on behind the base is one term.
  if (!terms_.empty() && terms_.front().term == base_.term) all.clear();
  all.insert(all.end(), terms_.begin(), terms_.end());
  return all;
}

std::optional<TermEnd> match_point(const std::vector<TermEnd>& one, const std::vector<TermEnd>& other) {
  auto a = one.rbegin();
  auto b = other.rbegin();
  while (a != one.rend() && b != other.rend()) {
    if (a->term == b->term) return TermEnd{a->term, std::min(a->end, b->end)};
    if (a->term > b->term) {
      ++a;
    } else {
      ++b;
    }
  }
  return std::nullopt;
}

}  // namespace walraft::replication
