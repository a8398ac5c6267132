// The checker itself is checked: every kind of violation is planted and found, and small random histories are judged as
// a search through all orders judges them.

#include "tests/model/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "tests/sim/sim_rng.h"

namespace walraft::model {
namespace {

AppendOp ok(std::uint64_t invoked, std::uint64_t completed, std::vector<std::uint64_t> values, std::uint64_t first) {
  AppendOp op;
  op.invoked = invoked;
  op.completed = completed;
  op.outcome = AppendOutcome::ok;
  op.values = std::move(values);
  op.first = first;
  return op;
}

// Three appends, a look at the end, a subscription, a dump: nothing wrong.
History good() {
  History history;
  history.appends = {ok(10, 20, {1, 2}, 0), ok(15, 30, {3}, 2), ok(40, 50, {4}, 3)};
  history.reads = {{35, 38, 0, {1, 2, 3}, 3}};
  history.deliveries = {{1, 60, 0, 1}, {1, 61, 1, 2}, {1, 62, 2, 3}, {1, 63, 3, 4}};
  history.dumps = {{"node 1", 0, {1, 2, 3, 4}}};
  return history;
}

bool finds(const History& history, Fault fault) {
  const auto found = check_history(history);
  return std::any_of(found.begin(), found.end(), [&](const Violation& v) { return v.fault == fault; });
}

TEST(HistoryCheck, AGoodHistory) {
  for (const Violation& v : check_history(good())) ADD_FAILURE() << describe(v.fault) << ": " << v.what;
  EXPECT_TRUE(check_history({}).empty());
}

TEST(HistoryCheck, TwoValuesAtOneOffset) {
  History history = good();
  history.reads.push_back({70, 71, 2, {9}, std::nullopt});
  EXPECT_TRUE(finds(history, Fault::inconsistent_offset));
}

TEST(HistoryCheck, OneValueAtTwoOffsets) {
  History history = good();
  history.dumps = {{"node 1", 0, {1, 2, 3, 4, 3}}};
  EXPECT_TRUE(finds(history, Fault::duplicate));
}

TEST(HistoryCheck, LostAtTheEnd) {
  History history = good();
  history.deliveries.clear();
  history.dumps = {{"node 1", 0, {1, 2, 3}}};
  EXPECT_TRUE(finds(history, Fault::lost));
}

TEST(HistoryCheck, LostOnOneReplicaOnly) {
  History history = good();
  history.dumps.push_back({"node 2", 0, {1, 2, 3}});
  EXPECT_TRUE(finds(history, Fault::lost));
}

TEST(HistoryCheck, RefusedAndThere) {
  History history = good();
  history.appends[2].outcome = AppendOutcome::not_written;
  EXPECT_TRUE(finds(history, Fault::aborted_read));
}

TEST(HistoryCheck, NeverSent) {
  History history = good();
  history.dumps = {{"node 1", 0, {1, 2, 3, 4, 99}}};
  EXPECT_TRUE(finds(history, Fault::out_of_thin_air));
}

TEST(HistoryCheck, AHole) {
  History history = good();
  history.deliveries.clear();
  history.dumps.clear();
  history.reads.clear();
  history.appends.erase(history.appends.begin() + 1);
  EXPECT_TRUE(finds(history, Fault::gap));
}

TEST(HistoryCheck, HalfABatch) {
  History history = good();
  AppendOp half;
  half.invoked = 60;
  half.values = {5, 6};
  history.appends.push_back(half);
  history.dumps = {{"node 1", 0, {1, 2, 3, 4, 5}}};
  EXPECT_TRUE(finds(history, Fault::torn_batch));
}

TEST(HistoryCheck, SeenBeforeItWasSent) {
  History history = good();
  history.deliveries.back().at = 39;
  EXPECT_TRUE(finds(history, Fault::not_linearizable));
}

TEST(HistoryCheck, OrderAgainstTime) {
  History history = good();
  std::swap(history.appends[1].invoked, history.appends[2].invoked);
  std::swap(history.appends[1].completed, history.appends[2].completed);
  history.reads.clear();
  EXPECT_TRUE(finds(history, Fault::not_linearizable));
}

TEST(HistoryCheck, AnEndThatWasOver) {
  History history = good();
  history.reads.push_back({55, 56, 0, {}, 3});
  EXPECT_TRUE(finds(history, Fault::stale_read));
}

TEST(HistoryCheck, AnEndInsideABatch) {
  History history = good();
  history.reads.push_back({25, 26, 0, {}, 1});
  EXPECT_TRUE(finds(history, Fault::stale_read));
}

TEST(HistoryCheck, AConditionThatDidNotHold) {
  History history = good();
  history.appends[2].expected = 7;
  EXPECT_TRUE(finds(history, Fault::wrong_condition));
}

TEST(HistoryCheck, RefusedThoughTheConditionHeld) {
  History history = good();
  AppendOp op;
  op.invoked = 70;
  op.completed = 71;
  op.outcome = AppendOutcome::not_written;
  op.values = {8};
  op.expected = op.tail = 4;
  history.appends.push_back(op);
  EXPECT_TRUE(finds(history, Fault::wrong_condition));
  history.appends.back().tail = 3;  // and with a tail that was none
  EXPECT_TRUE(finds(history, Fault::stale_read));
}

TEST(HistoryCheck, ASubscriptionThatSkips) {
  History history = good();
  history.deliveries.erase(history.deliveries.begin() + 1);
  EXPECT_TRUE(finds(history, Fault::out_of_order));
}

TEST(HistoryCheck, ARetryIsOneAppend) {
  History history = good();
  AppendOp lost = history.appends[2];  // the first try, whose answer was lost
  lost.invoked = 36;
  lost.outcome = AppendOutcome::unknown;
  lost.completed = kNever;
  history.appends.push_back(lost);
  history.deliveries.back().at = 39;  // seen before the retry was sent
  for (const Violation& v : check_history(history)) ADD_FAILURE() << describe(v.fault) << ": " << v.what;
}

// --- Against a search through all orders -----------------------------------------------------------------------------

// Is there an order of the operations that fits real time, in which a log answers as it did and ends as the dump says?
class Search {
 public:
  explicit Search(const History& history) : history_(history) {
    for (const AppendOp& op : history.appends) {
      if (op.outcome == AppendOutcome::not_written) {
        if (op.tail) ops_.push_back({Kind::look, op.invoked, op.completed, &op, *op.tail, 0});
        if (op.tail && op.expected && *op.tail == *op.expected) impossible_ = true;
      } else {
        ops_.push_back({Kind::append, op.invoked, op.completed, &op, 0, 0});
      }
    }
    for (const ReadOp& op : history.reads) {
      if (op.tail) ops_.push_back({Kind::look, op.invoked, op.completed, nullptr, *op.tail, 0});
      for (std::size_t i = 0; i < op.values.size(); ++i) {
        ops_.push_back({Kind::sight, 0, op.completed, nullptr, op.from + i, op.values[i]});
      }
    }
  }

  bool possible() { return !impossible_ && place(0); }

 private:
  enum class Kind { append, look, sight };
  struct Op {
    Kind kind;
    std::uint64_t invoked, completed;
    const AppendOp* append;
    std::uint64_t offset, value;
  };

  bool place(std::uint32_t done) {
    bool all = true;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      const bool optional = ops_[i].kind == Kind::append && ops_[i].append->outcome == AppendOutcome::unknown;
      all = all && ((done >> i & 1) != 0 || optional);
    }
    if (all && log_ == history_.dumps[0].values) return true;
    for (std::size_t i = 0; i < ops_.size(); ++i) {
      if ((done >> i & 1) != 0 || !may_be_next(i, done)) continue;
      const std::size_t size = log_.size();
      if (take(ops_[i]) && place(done | 1u << i)) return true;
      log_.resize(size);
    }
    return false;
  }

  bool may_be_next(std::size_t i, std::uint32_t done) const {
    for (std::size_t j = 0; j < ops_.size(); ++j) {
      if (j != i && (done >> j & 1) == 0 && ops_[j].completed < ops_[i].invoked) return false;
    }
    return true;
  }

  bool take(const Op& op) {
    if (op.kind == Kind::look) return op.offset == log_.size();
    if (op.kind == Kind::sight) return op.offset < log_.size() && log_[op.offset] == op.value;
    if (op.append->expected && *op.append->expected != log_.size()) return false;
    if (op.append->outcome == AppendOutcome::ok && op.append->first != log_.size()) return false;
    log_.insert(log_.end(), op.append->values.begin(), op.append->values.end());
    return true;
  }

  const History& history_;
  std::vector<Op> ops_;
  std::vector<std::uint64_t> log_;
  bool impossible_ = false;
};

// A few operations on a true log, at random overlapping times; then, in two of three, one answer or time is changed.
History random_history(sim::SimRng& rng) {
  History history;
  std::vector<std::uint64_t> log;
  std::uint64_t now = 1;
  std::uint64_t value = 1;
  const std::uint64_t ops = 2 + rng.below(5);
  for (std::uint64_t i = 0; i < ops; ++i) {
    now += rng.below(8);
    const std::uint64_t invoked = now - std::min(now - 1, rng.below(12));
    const std::uint64_t completed = now + rng.below(12);
    if (rng.below(3) == 0) {
      ReadOp read;
      read.invoked = invoked;
      read.completed = completed;
      if (rng.below(2) == 0) read.tail = log.size();
      if (!log.empty() && rng.below(2) == 0) {
        read.from = rng.below(log.size());
        read.values = {log[read.from]};
      }
      history.reads.push_back(read);
      continue;
    }
    AppendOp op;
    op.invoked = invoked;
    op.completed = completed;
    for (std::uint64_t n = 1 + rng.below(2); n > 0; --n) op.values.push_back(value++);
    switch (rng.below(5)) {
      case 0:
        op.outcome = AppendOutcome::unknown;
        op.completed = kNever;
        if (rng.below(2) == 0) log.insert(log.end(), op.values.begin(), op.values.end());
        break;
      case 1:
        op.outcome = AppendOutcome::not_written;
        op.expected = log.size() + 1 + rng.below(2);
        op.tail = log.size();
        break;
      default:
        op.outcome = AppendOutcome::ok;
        op.first = log.size();
        if (rng.below(3) == 0) op.expected = log.size();
        log.insert(log.end(), op.values.begin(), op.values.end());
    }
    history.appends.push_back(op);
  }
  history.dumps = {{"node 1", 0, log}};
  if (rng.below(3) == 0) return history;
  switch (rng.below(5)) {
    case 0:
      if (!history.reads.empty()) {
        ReadOp& read = history.reads[rng.below(history.reads.size())];
        if (read.tail) *read.tail = rng.below(log.size() + 2);
      }
      break;
    case 1:
      if (!history.appends.empty()) {
        AppendOp& op = history.appends[rng.below(history.appends.size())];
        op.completed = op.completed == kNever
                           ? kNever
                           : std::max(op.invoked, op.completed - std::min(op.completed, rng.below(15)));
      }
      break;
    case 2:
      if (!history.appends.empty()) {
        AppendOp& op = history.appends[rng.below(history.appends.size())];
        op.invoked = std::min(op.completed, op.invoked + rng.below(15));
      }
      break;
    case 3:
      if (!history.dumps[0].values.empty()) history.dumps[0].values.pop_back();
      break;
    default:
      if (history.dumps[0].values.size() >= 2) {
        auto& values = history.dumps[0].values;
        std::swap(values[rng.below(values.size())], values[rng.below(values.size())]);
      }
  }
  return history;
}

TEST(HistoryCheck, AgreesWithASearchThroughAllOrders) {
  std::uint64_t good_ones = 0;
  const std::uint64_t histories = 20'000;
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    sim::SimRng rng(seed);
    const History history = random_history(rng);
    const auto found = check_history(history);
    const bool possible = Search(history).possible();
    ASSERT_EQ(found.empty(), possible) << "seed " << seed << (found.empty() ? "" : ": " + found[0].what);
    good_ones += possible;
  }
  std::cout << histories << " histories, " << good_ones << " of them of a correct log\n";
  EXPECT_GT(good_ones, histories / 4);
  EXPECT_LT(good_ones, histories * 9 / 10);
}

}  // namespace
}  // namespace walraft::model
