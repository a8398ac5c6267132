#include "replication/replica/replica.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "wal/base/check.h"

namespace walraft::replication {
namespace {

constexpr std::uint64_t kReservePatienceUs = 5'000'000;  // that a control batch waits for room on a full disk

std::uint32_t clamp_us(std::uint64_t us) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(us, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

Replica::Replica(Shard& shard, std::string name, const wal::LogIdentity& identity, std::uint32_t record_bytes_max,
                 std::unique_ptr<wal::Log> log)
    : shard_(shard), name_(std::move(name)), identity_(identity),
      record_bytes_max_(std::min(record_bytes_max, wal::kRecordBytesMax)), log_(std::move(log)) {
  log_->on_durable([this](Index durable) { on_durable(durable); });
  shard_.add(*this);
}

Replica::~Replica() {
  *alive_ = false;
  for (const Waiter& waiter : waiters_) shard_.release(waiter.reserved_bytes);
  for (const Pending& pending : pending_) shard_.release(pending.batch.size());
  shard_.remove(*this);
}

void Replica::append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms, Answer answer) {
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
  pending_.push_back({.batch = {batch.begin(), batch.end()}, .header = header, .terms = terms, .refusal = {},
                      .arrived_us = now, .answer = std::move(answer)});
  mark();
}

void Replica::refuse(Error error, const std::shared_ptr<Chain>& chain, Answer answer) {
  const std::uint64_t now = shard_.clock().monotonic_us();
  if (pending_.empty()) {
    if (chain) chain->broken = true;
    return wait(std::unexpected(std::move(error)), now, 0, std::move(answer));
  }
  pending_.push_back({.batch = {}, .header = {}, .terms = {.chain = chain}, .refusal = std::move(error), .arrived_us = now,
                      .answer = std::move(answer)});
}

void Replica::abandon(const Error& error) {
  const std::deque<Waiter> waiters = std::exchange(waiters_, {});
  const std::deque<Pending> pending = std::exchange(pending_, {});
  for (const Waiter& waiter : waiters) {
    shard_.release(waiter.reserved_bytes);
    waiter.answer(std::unexpected(error));
  }
  for (const Pending& one : pending) {
    shard_.release(one.batch.size());
    one.answer(std::unexpected(error));
  }
}

std::optional<Error> Replica::refusal_of(ByteView batch, const wal::BatchHeader& header) const {
  const auto at = [&](std::string text) { return "log \"" + name_ + "\": " + std::move(text); };
  if (header.log_id != identity_.id) {
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

bool Replica::try_append(MutableBytes batch, const wal::BatchHeader& header, const AppendTerms& terms,
                         std::uint64_t arrived_us, Answer& answer) {
  auto outcome = evaluate(batch, header, terms, arrived_us);
  if (!outcome) return false;
  const bool written = outcome->has_value();
  if (!written && terms.chain) terms.chain->broken = true;
  wait(std::move(*outcome), arrived_us, batch.size(), std::move(answer));
  if (written) mark();
  return true;
}

std::optional<Result<Committed>> Replica::evaluate(MutableBytes batch, const wal::BatchHeader& header,
                                                   const AppendTerms& terms, std::uint64_t arrived_us) {
  const auto refused = [&](Code code, const std::string& why, std::uint64_t detail = 0) {
    return Result<Committed>(error(code, "log \"" + name_ + "\": " + why, detail));
  };
  if (terms.chain && terms.chain->broken) {
    return refused(Code::unavailable, "an earlier append of this session was refused, so this one was not written");
  }
  if (log_->suspect()) {
    return refused(Code::data_loss,
                   "it lost acknowledged records on this disk and takes no appends until that is settled",
                   log_->tail().offset.value);
  }
  if (role_ != Role::leading || !noop_written_) {
    campaign();
    return std::nullopt;
  }
  if (terms.use == wal::Use::data && !shard_.reserve_held()) {
    return refused(Code::no_space, "the disk is full and its reserve is in use; nothing was written. Trim logs or free "
                                   "space: appends then go on by themselves");
  }
  const Offset next = log_->tail().offset;
  if (terms.expect_offset && *terms.expect_offset != next) {
    return refused(Code::condition_failed,
                   "the next offset is " + std::to_string(next.value) + ", not " +
                       std::to_string(terms.expect_offset->value),
                   next.value);
  }
  if (const auto appended = stamp_and_append(batch, terms.use); !appended) {
    const Code code = appended.error().code;
    if (code == Code::over_limit) return std::nullopt;
    if (code == Code::no_space && terms.use == wal::Use::control &&
        shard_.clock().monotonic_us() - arrived_us < kReservePatienceUs) {
      shard_.need_reserve();
      return std::nullopt;
    }
    return refused(code, appended.error().message, appended.error().detail);
  }
  return Committed{.first = next, .last = Offset(next.value + header.record_count - 1), .term = term_};
}

Result<void> Replica::stamp_and_append(MutableBytes batch, wal::Use use) {
  const wal::LogPoint tail = log_->tail();
  // proto: the stamp never decreases, whatever the wall clock does.
  wal::stamp_batch(batch,
                   {.index = tail.index, .base_offset = tail.offset, .term = term_, .commit = log_->durable(),
                    .timestamp_us = std::max(tail.timestamp_us, shard_.clock().wall_us())},
                   tail.digest);
  return log_->append(batch, use);
}

void Replica::wait(Result<Committed> outcome, std::uint64_t arrived_us, std::uint64_t reserved_bytes, Answer answer) {
  waiters_.push_back({.commit = log_->tail().index, .outcome = std::move(outcome), .arrived_us = arrived_us,
                      .reserved_bytes = reserved_bytes, .answer = std::move(answer)});
  if (waiters_.back().commit <= log_->durable()) mark();  // a refusal on a durable tail: answered at the next turn
}

// Answers all that waits: what was refused before with its own reason, the rest with this one.
void Replica::refuse_pending(const Error& error) {
  while (!pending_.empty()) {
    Pending& first = pending_.front();
    if (first.terms.chain) first.terms.chain->broken = true;
    wait(std::unexpected(first.refusal ? std::move(*first.refusal) : error), first.arrived_us, first.batch.size(),
         std::move(first.answer));
    pending_.pop_front();
  }
}

// A sole voter needs nobody's vote but its own, on disk: a new term, and a batch of that term before any data
// (proto:2.3). Done at the first append, so that idle logs cost nothing at the start.
void Replica::campaign() {
  if (role_ != Role::idle) return;
  role_ = Role::campaigning;
  wal::HardState state = shard_.hard_state().find(identity_.log).value_or(wal::HardState{});
  term_ = std::max(state.term, log_->tail().term) + 1;
  state.term = term_;
  state.voted_for = shard_.node();
  const auto written = shard_.hard_state().write(identity_.log, state, [this, alive = alive_] {
    if (!*alive) return;
    role_ = Role::leading;
    mark();
  });
  if (!written) {
    role_ = Role::idle;  // the next turn tries again for what comes from now on
    refuse_pending(written.error());
  }
  mark();
}

void Replica::turn() {
  marked_ = false;
  if (role_ == Role::idle && !pending_.empty()) campaign();
  if (role_ == Role::leading && !noop_written_) {
    auto noop = wal::make_control_batch(identity_.id, wal::BatchKind::noop, {});
    const auto appended = stamp_and_append(noop, wal::Use::control);
    noop_written_ = appended.has_value();
    // No room for 128 bytes: the appends that wanted them are refused, the next one tries again.
    if (!appended && appended.error().code == Code::no_space) shard_.need_reserve();
    if (!appended && appended.error().code != Code::over_limit) {
      refuse_pending(Error(appended.error()).at("log \"" + name_ + "\""));
    }
  }
  while (noop_written_ && !pending_.empty()) {
    Pending& next = pending_.front();
    if (next.refusal) {
      if (next.terms.chain) next.terms.chain->broken = true;
      wait(std::unexpected(std::move(*next.refusal)), next.arrived_us, 0, std::move(next.answer));
    } else if (!try_append(next.batch, next.header, next.terms, next.arrived_us, next.answer)) {
      break;
    }
    pending_.pop_front();
  }
  // What is left waits for the disk (a segment is being prepared) or for our vote.
  if (role_ == Role::leading && !pending_.empty() && !std::exchange(stalled_, true)) shard_.stall(*this);
  log_->flush();
  answer_committed();
}

void Replica::go_on() {
  stalled_ = false;
  mark();
}

void Replica::on_durable(Index) {
  answer_committed();
  walking_ = true;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i] != nullptr) listeners_[i]->on_commit();
  }
  walking_ = false;
  std::erase(listeners_, nullptr);
  mark();
}

void Replica::answer_committed() {
  const Index durable = log_->durable();
  std::uint64_t now = 0;
  while (!waiters_.empty() && waiters_.front().commit <= durable) {
    Waiter waiter = std::move(waiters_.front());
    waiters_.pop_front();
    shard_.release(waiter.reserved_bytes);
    if (waiter.outcome) {
      if (now == 0) now = shard_.clock().monotonic_us();
      const std::uint64_t total = now - std::min(now, waiter.arrived_us);
      const std::uint64_t sync = std::min(total, shard_.disk().stats().sync_us_last);
      waiter.outcome->quorum_us = clamp_us(total);
      waiter.outcome->own_sync_us = clamp_us(sync);
      waiter.outcome->queue_us = clamp_us(total - sync);
    }
    waiter.answer(std::move(waiter.outcome));
  }
}

void Replica::mark() {
  if (marked_) return;
  marked_ = true;
  shard_.mark(*this);
}

void Replica::add_listener(Listener& listener) { listeners_.push_back(&listener); }

void Replica::remove_listener(Listener& listener) {
  if (walking_) {
    std::replace(listeners_.begin(), listeners_.end(), &listener, static_cast<Listener*>(nullptr));
  } else {
    std::erase(listeners_, &listener);
  }
}

}  // namespace walraft::replication
