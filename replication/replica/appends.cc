#include "replication/replica/appends.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace walraft::replication {
namespace {

constexpr std::uint64_t kReservePatienceUs = 5'000'000;  // that a control batch waits for room on a full disk

std::uint32_t clamp_us(std::uint64_t us) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(us, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

Appends::Appends(Shard& shard, Core& core, ReplicaLog& log, std::string name, std::uint32_t record_bytes_max)
    : shard_(shard),
      core_(core),
      log_(log),
      name_(std::move(name)),
      record_bytes_max_(std::min(record_bytes_max, wal::kRecordBytesMax)) {}

Appends::~Appends() {
  for (const Waiting& waiting : waiting_) shard_.release(waiting.reserved_bytes);
  for (const Pending& pending : pending_) shard_.release(pending.batch.size());
}

void Appends::append(MutableBytes batch, const wal::BatchHeader& header, const Terms& terms, Answer answer) {
  if (auto refusal = refusal_of(batch, header)) return refuse(std::move(*refusal), terms.chain, std::move(answer));
  if (!shard_.reserve(batch.size())) {
    return refuse({Code::over_limit,
                   "log \"" + name_ + "\": " + std::to_string(shard_.limits().inflight_bytes_max) +
                       " bytes are waiting for their commit (limits.inflight_bytes_max); try again when answers came",
                   0},
                  terms.chain, std::move(answer));
  }
  const std::uint64_t now = shard_.clock().monotonic_us();
  if (pending_.empty() && try_append(batch, header, terms, now, answer)) return;
  pending_.push_back({.batch = {batch.begin(), batch.end()},
                      .header = header,
                      .terms = terms,
                      .refusal = {},
                      .arrived_us = now,
                      .answer = std::move(answer)});
}

void Appends::refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer) {
  const std::uint64_t now = shard_.clock().monotonic_us();
  if (pending_.empty()) {
    if (chain) chain->broken = true;
    return wait(std::unexpected(std::move(error)), now, 0, std::move(answer));
  }
  pending_.push_back({.batch = {},
                      .header = {},
                      .terms = {.chain = chain},
                      .refusal = std::move(error),
                      .arrived_us = now,
                      .answer = std::move(answer)});
}

std::optional<Error> Appends::refusal_of(ByteView batch, const wal::BatchHeader& header) const {
  const auto at = [&](std::string text) { return "log \"" + name_ + "\": " + std::move(text); };
  if (header.log_id != log_.identity().id) {
    return Error{Code::invalid, at("the batch was built for log id " + std::to_string(header.log_id.value)), 0};
  }
  if (header.kind != wal::BatchKind::data) return std::nullopt;
  const std::uint64_t record_bytes = header.body_bytes - header.record_count * wal::kRecordHeaderBytes;
  if (record_bytes > shard_.limits().batch_bytes_max) {
    return Error{Code::too_large,
                 at("the batch has " + std::to_string(record_bytes) + " bytes of records; at most " +
                    std::to_string(shard_.limits().batch_bytes_max) + " are allowed (limits.batch_bytes_max)"),
                 0};
  }
  const std::uint32_t limit = record_bytes_max();
  if (record_bytes > limit) {  // else no single record can be too large
    wal::RecordCursor records(header, batch);
    while (const auto record = records.next()) {
      if (record->size() > limit) {
        return Error{Code::too_large,
                     at("a record has " + std::to_string(record->size()) + " bytes; at most " + std::to_string(limit) +
                        " are allowed (" +
                        (record_bytes_max_ != 0 ? "max_record_bytes of the log)" : "limits.record_bytes_max)")),
                     0};
      }
    }
  }
  return std::nullopt;
}

bool Appends::try_append(MutableBytes batch, const wal::BatchHeader& header, const Terms& terms,
                         std::uint64_t arrived_us, Answer& answer) {
  auto outcome = evaluate(batch, header, terms, arrived_us);
  if (!outcome) return false;
  if (!outcome->has_value() && terms.chain) terms.chain->broken = true;
  wait(std::move(*outcome), arrived_us, batch.size(), std::move(answer));
  return true;
}

std::optional<Result<Committed>> Appends::evaluate(MutableBytes batch, const wal::BatchHeader& header,
                                                   const Terms& terms, std::uint64_t arrived_us) {
  const auto refused = [&](Code code, const std::string& why, std::uint64_t detail = 0) {
    return Result<Committed>(error(code, "log \"" + name_ + "\": " + why, detail));
  };
  if (terms.chain && terms.chain->broken) {
    return refused(Code::unavailable, "an earlier append of this session was refused, so this one was not written");
  }
  if (core_.suspect()) {
    return refused(Code::data_loss,
                   "it lost acknowledged records on this disk and takes no appends until that is settled",
                   log_.wal().tail().offset.value);
  }
  if (core_.role() != Role::leader && !core_.alone()) return std::unexpected(not_leading());
  const auto stamp = core_.stamp();
  if (!stamp) return std::nullopt;
  if (terms.use == wal::Use::data && !shard_.reserve_held()) {
    return refused(Code::no_space,
                   "the disk is full and its reserve is in use; nothing was written. Trim logs or free "
                   "space: appends then go on by themselves");
  }
  const Offset next = log_.wal().tail().offset;
  if (terms.expect_offset && *terms.expect_offset != next) {
    return refused(
        Code::condition_failed,
        "the next offset is " + std::to_string(next.value) + ", not " + std::to_string(terms.expect_offset->value),
        next.value);
  }
  if (const auto appended = log_.append_own(batch, *stamp, terms.use); !appended) {
    const Code code = appended.error().code;
    if (code == Code::over_limit) return std::nullopt;
    if (code == Code::no_space && terms.use == wal::Use::control &&
        shard_.clock().monotonic_us() - arrived_us < kReservePatienceUs) {
      shard_.need_reserve();
      return std::nullopt;
    }
    return refused(code, appended.error().message, appended.error().detail);
  }
  core_.on_appended(std::nullopt, shard_.clock().monotonic_us());
  return Committed{.first = next, .last = Offset(next.value + header.record_count - 1), .term = stamp->term};
}

Error Appends::not_leading() const {
  const NodeId leader = core_.leader();
  return {Code::unavailable,
          "log \"" + name_ + "\": this node does not lead it" +
              (leader == NodeId() ? ", and knows of no leader; try again"
                                  : "; node " + std::to_string(leader.value) + " does, send it there") +
              ". Nothing was written",
          0};
}

void Appends::wait(Result<Committed> outcome, std::uint64_t arrived_us, std::uint64_t reserved_bytes, Answer answer) {
  // Who does not lead has no tail of its own to wait for.
  const Index tail = core_.role() == Role::leader || core_.alone() ? log_.wal().tail().index : Index();
  waiting_.push_back({.commit = waiting_.empty() ? tail : std::max(tail, waiting_.back().commit),
                      .outcome = std::move(outcome),
                      .arrived_us = arrived_us,
                      .reserved_bytes = reserved_bytes,
                      .answer = std::move(answer)});
}

void Appends::go_on() {
  while (!pending_.empty()) {
    Pending& next = pending_.front();
    if (next.refusal) {
      if (next.terms.chain) next.terms.chain->broken = true;
      wait(std::unexpected(std::move(*next.refusal)), next.arrived_us, 0, std::move(next.answer));
    } else if (!try_append(next.batch, next.header, next.terms, next.arrived_us, next.answer)) {
      return;
    }
    pending_.pop_front();
  }
}

void Appends::refuse_pending(const Error& error) {
  while (!pending_.empty()) {
    Pending& first = pending_.front();
    if (first.terms.chain) first.terms.chain->broken = true;
    wait(std::unexpected(first.refusal ? std::move(*first.refusal) : error), first.arrived_us, first.batch.size(),
         std::move(first.answer));
    pending_.pop_front();
  }
}

void Appends::on_leadership_lost(Index commit) {
  for (Waiting& waiting : waiting_) {
    if (waiting.commit <= commit) continue;
    const std::string where = "log \"" + name_ + "\": leadership changed before ";
    if (waiting.outcome) {
      waiting.outcome = error(Code::unknown, where + "this append was committed; it may be in the log or not");
    } else if (waiting.outcome.error().code == Code::condition_failed) {
      // The tail that it was judged by may be gone with the term. It was not written; that much is certain.
      waiting.outcome = error(Code::unavailable, where + "this could be answered; nothing was written, try again");
    }
    waiting.commit = commit;
  }
  refuse_pending(not_leading());
}

void Appends::answer(Index commit) {
  std::uint64_t now = 0;
  while (answerable(commit)) {
    Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    shard_.release(waiting.reserved_bytes);
    if (waiting.outcome) {
      if (now == 0) now = shard_.clock().monotonic_us();
      const std::uint64_t total = now - std::min(now, waiting.arrived_us);
      const std::uint64_t sync = std::min(total, shard_.disk().stats().sync_us_last);
      waiting.outcome->quorum_us = clamp_us(total);
      waiting.outcome->own_sync_us = clamp_us(sync);
      waiting.outcome->queue_us = clamp_us(total - sync);
    }
    waiting.answer(std::move(waiting.outcome));
  }
}

void Appends::abandon(const Error& error) {
  const std::deque<Waiting> waiting = std::exchange(waiting_, {});
  const std::deque<Pending> pending = std::exchange(pending_, {});
  for (const Waiting& one : waiting) {
    shard_.release(one.reserved_bytes);
    one.answer(std::unexpected(error));
  }
  for (const Pending& one : pending) {
    shard_.release(one.batch.size());
    one.answer(std::unexpected(error));
  }
}

}  // namespace walraft::replication
