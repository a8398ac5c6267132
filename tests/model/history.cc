#include "tests/model/history.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace walraft::model {
namespace {

std::string number(std::uint64_t value) { return value == kNever ? "never" : std::to_string(value); }

class Check {
 public:
  explicit Check(const History& history) : history_(history) {}

  std::vector<Violation> run() {
    learn_truth();
    check_values();
    check_batches();
    check_sessions();
    check_real_time();
    return std::move(violations_);
  }

 private:
  struct Truth {
    std::uint64_t value = 0;
    std::uint64_t seen = kNever;  // when an operation that showed it had ended
  };

  void fail(Fault fault, std::string what) {
    const auto same = [&](const Violation& v) { return v.fault == fault; };
    if (std::none_of(violations_.begin(), violations_.end(), same)) violations_.push_back({fault, std::move(what)});
  }

  void learn(std::uint64_t offset, std::uint64_t value, std::uint64_t seen, const std::string& source) {
    const auto [at, fresh] = truth_.emplace(offset, Truth{value, seen});
    if (fresh) return;
    if (at->second.value != value) {
      fail(Fault::inconsistent_offset, "offset " + number(offset) + " holds " + number(at->second.value) + " and, by " +
                                           source + ", " + number(value));
    }
    at->second.seen = std::min(at->second.seen, seen);
  }

  void learn_truth() {
    for (const AppendOp& op : history_.appends) {
      if (op.outcome != AppendOutcome::ok) continue;
      for (std::size_t i = 0; i < op.values.size(); ++i) learn(op.first + i, op.values[i], op.completed, "its append");
    }
    for (const ReadOp& op : history_.reads) {
      for (std::size_t i = 0; i < op.values.size(); ++i) learn(op.from + i, op.values[i], op.completed, "a read");
    }
    for (const Delivery& one : history_.deliveries) learn(one.offset, one.value, one.at, "a subscription");
    for (const Dump& dump : history_.dumps) {
      for (std::size_t i = 0; i < dump.values.size(); ++i) learn(dump.first + i, dump.values[i], kNever, dump.replica);
    }
  }

  void check_values() {
    std::uint64_t next = truth_.empty() ? 0 : truth_.begin()->first;
    for (const auto& [offset, truth] : truth_) {
      if (offset != next) {
        fail(Fault::gap, "nothing is at offset " + number(next) + ", and " + number(offset) + " has a record");
      }
      next = offset + 1;
      const auto [at, fresh] = place_.emplace(truth.value, offset);
      if (!fresh) {
        fail(Fault::duplicate,
             "value " + number(truth.value) + " is at offsets " + number(at->second) + " and " + number(offset));
      }
    }
    for (const Dump& dump : history_.dumps) {
      const std::uint64_t end = dump.first + dump.values.size();
      if (end < next)
        fail(Fault::lost, dump.replica + " ends at " + number(end) + ", and offset " + number(next - 1) + " was seen");
    }
  }

  void check_batches() {
    std::unordered_set<std::uint64_t> known;
    for (const AppendOp& op : history_.appends) {
      std::vector<std::uint64_t> places;
      for (const std::uint64_t value : op.values) {
        const auto at = place_.find(value);
        if (at == place_.end()) continue;
        places.push_back(at->second);
        known.insert(value);
      }
      if (op.outcome == AppendOutcome::ok) {
        for (std::size_t i = 0; i < op.values.size(); ++i) {
          const auto at = truth_.find(op.first + i);
          if (at == truth_.end() || at->second.value != op.values[i]) {
            fail(Fault::lost, "value " + number(op.values[i]) + " was acknowledged at offset " + number(op.first + i));
          }
        }
        if (op.expected && *op.expected != op.first) {
          fail(Fault::wrong_condition,
               "an append that expected offset " + number(*op.expected) + " was written at " + number(op.first));
        }
      }
      if (op.outcome == AppendOutcome::not_written) {
        if (!places.empty()) {
          fail(Fault::aborted_read,
               "value " + number(op.values.front()) + " was refused and is at offset " + number(places.front()));
        }
        if (op.tail && op.expected && *op.tail == *op.expected) {
          fail(Fault::wrong_condition,
               "an append that expected offset " + number(*op.expected) + " was refused at just that tail");
        }
        continue;
      }
      if (places.empty()) continue;
      bool whole = places.size() == op.values.size();
      for (std::size_t i = 1; i < places.size(); ++i) whole = whole && places[i] == places[0] + i;
      // Beyond what anybody read there may be more of it.
      const bool at_end = places.size() < op.values.size() && places.back() + 1 == end() && history_.dumps.empty() &&
                          places.back() + 1 == places.front() + places.size();
      if (!whole && !at_end) {
        fail(Fault::torn_batch, "of the " + number(op.values.size()) + " records of the append at " +
                                    number(op.invoked) + ", " + number(places.size()) + " are there, from offset " +
                                    number(places.front()) + " on");
      }
      if (op.expected && places.front() != *op.expected) {
        fail(Fault::wrong_condition,
             "an append that expected offset " + number(*op.expected) + " is at " + number(places.front()));
      }
    }
    if (known.size() < place_.size())
      fail(Fault::out_of_thin_air, number(place_.size() - known.size()) + " values were never sent");
  }

  void check_sessions() {
    std::map<std::uint64_t, std::uint64_t> next;
    for (const Delivery& one : history_.deliveries) {
      const auto [at, fresh] = next.emplace(one.session, one.offset);
      if (!fresh && one.offset != at->second) {
        fail(Fault::out_of_order, "session " + number(one.session) + " gets offset " + number(one.offset) +
                                      " instead of " + number(at->second));
      }
      at->second = one.offset + 1;
    }
  }

  std::uint64_t end() const { return truth_.empty() ? 0 : truth_.rbegin()->first + 1; }

  // Looks at the end, and batches, in the order of offsets; each takes effect as early as it can.
  void check_real_time() {
    struct Look {
      std::uint64_t invoked, completed;
    };
    std::map<std::uint64_t, std::vector<Look>> looks;
    for (const ReadOp& op : history_.reads) {
      if (op.tail) looks[*op.tail].push_back({op.invoked, op.completed});
    }
    for (const AppendOp& op : history_.appends) {
      if (op.outcome == AppendOutcome::not_written && op.tail) looks[*op.tail].push_back({op.invoked, op.completed});
    }
    struct Batch {
      std::uint64_t invoked = kNever, completed = kNever;
      std::size_t records = 0;
    };
    std::map<std::uint64_t, Batch> batches;  // by first offset; a retry and what it repeats are one
    for (const AppendOp& op : history_.appends) {
      if (op.values.empty() || op.outcome == AppendOutcome::not_written) continue;
      const auto at = place_.find(op.values.front());
      if (at == place_.end()) continue;
      Batch& batch = batches[at->second];
      batch.invoked = std::min(batch.invoked, op.invoked);
      batch.completed = std::min(batch.completed, op.completed);
      batch.records = op.values.size();
    }
    const std::uint64_t begin = truth_.empty() ? 0 : truth_.begin()->first;
    std::uint64_t point = 0;          // the last moment at which something took effect
    std::uint64_t without_looks = 0;  // the same, of appends only
    std::uint64_t boundary = begin;
    const auto look = [&](std::uint64_t at) {
      const auto here = looks.find(at);
      if (here == looks.end()) return;
      std::uint64_t after = point;
      for (const Look& one : here->second) {
        const std::uint64_t moment = std::max(point, one.invoked);
        if (moment > one.completed) {
          fail(Fault::stale_read, "the end was said to be " + number(at) + " between " + number(one.invoked) + " and " +
                                      number(one.completed) + ", but that was so from " + number(point) +
                                      " on at the earliest");
        }
        after = std::max(after, moment);
      }
      point = after;
      looks.erase(here);
    };
    look(begin);
    for (const auto& [first, batch] : batches) {
      std::uint64_t dead = batch.completed;
      for (std::uint64_t offset = first; offset < first + batch.records; ++offset) {
        const auto at = truth_.find(offset);
        if (at != truth_.end()) dead = std::min(dead, at->second.seen);
      }
      point = std::max(point, batch.invoked);
      without_looks = std::max(without_looks, batch.invoked);
      if (point > dead) {
        fail(without_looks > dead ? Fault::not_linearizable : Fault::stale_read,
             "the append of offset " + number(first) + " ended or was seen at " + number(dead) + ", and " +
                 (without_looks > dead ? "cannot have taken effect before "
                                       : "the end was said to be in front of it even at ") +
                 number(point));
      }
      boundary = first + batch.records;
      look(boundary);
    }
    // Nothing ever ended there: inside a batch, or beyond the last one. Beyond it, an append whose fate is unknown may
    // have been there; with a dump there was none.
    for (const auto& [at, list] : looks) {
      if (at <= boundary || !history_.dumps.empty() || !may_reach(at - boundary)) {
        fail(Fault::stale_read, "the end was said to be " + number(at) + ", where no batch ends");
      }
    }
  }

  // Could unseen appends with an unknown fate make this many records?
  bool may_reach(std::uint64_t records) const {
    std::uint64_t unseen = 0;
    for (const AppendOp& op : history_.appends) {
      if (op.outcome == AppendOutcome::unknown && !op.values.empty() && !place_.contains(op.values.front()))
        unseen += op.values.size();
    }
    return unseen >= records;
  }

  const History& history_;
  std::map<std::uint64_t, Truth> truth_;  // by offset
  std::unordered_map<std::uint64_t, std::uint64_t> place_;  // value -> offset
  std::vector<Violation> violations_;
};

}  // namespace

std::string describe(Fault fault) {
  static constexpr const char* kNames[] = {
      "inconsistent offset", "duplicate",        "lost",       "aborted read",    "out of thin air", "gap",
      "torn batch",          "not linearizable", "stale read", "wrong condition", "out of order"};
  return kNames[static_cast<int>(fault)];
}

std::vector<Violation> check_history(const History& history) { return Check(history).run(); }

}  // namespace walraft::model
