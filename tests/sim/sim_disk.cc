#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <utility>

#include "tests/sim/sim_handles.h"
#include "wal/base/check.h"

namespace walraft::sim {

SimDisk::SimDisk(SimFilesystem& filesystem, SimClock& clock)
    : filesystem_(filesystem), clock_(clock), rng_(filesystem.rng_.next()), generation_(filesystem.generation_) {}

SimDisk::~SimDisk() {
  if (!alive()) return;
  for (const Write& write : in_flight_) {
    filesystem_.close_write(write.file, write.position, !write.hangs && !failed());
  }
}

void SimDisk::write(wal::DurableWrite& write) {
  if (!alive() || failed()) return;
  CHECK(write.file != nullptr);
  const auto* file = dynamic_cast<const SimFile*>(write.file);
  CHECK(file != nullptr, "not a file of the simulator");
  CHECK(file->access() != wal::Access::read);
  CHECK(!write.bytes.empty() && write.position % wal::kBlockBytes == 0, write.position, write.bytes.size());
  CHECK(write.bytes.size() % wal::kBlockBytes == 0, write.bytes.size());
  CHECK(reinterpret_cast<std::uintptr_t>(write.bytes.data()) % wal::kBlockBytes == 0);
  const std::uint64_t size = filesystem_.inode(file->inode()).file.seen().size();
  CHECK(write.position + write.bytes.size() <= size, write.position, write.bytes.size(), size);
  for (const auto* list : {&queued_, &in_flight_}) {
    CHECK(std::ranges::find(*list, &write, &Write::write) == list->end(), "the write is not finished yet");
  }
  queued_.push_back({&write, file->inode(), write.position, clock_.monotonic_us(), 0, false});
}

void SimDisk::submit() {
  while (alive() && !failed() && !queued_.empty()) {
    Write next = queued_.front();
    queued_.erase(queued_.begin());
    next.due_us = clock_.monotonic_us() + rng_.between(latency_min_us_, latency_max_us_);
    next.hangs = filesystem_.strike(FaultKind::write_hangs, filesystem_.inode(next.file)) != nullptr;
    filesystem_.issue_write(next.file, next.position, next.write->bytes);
    in_flight_.push_back(next);
  }
}

std::size_t SimDisk::poll() {
  CHECK(!polling_, "poll() within a completion");
  std::size_t delivered = 0;
  polling_ = true;
  struct Reset {
    bool& flag;
    ~Reset() { flag = false; }
  } reset{polling_};  // a SimCrash may pass through
  for (std::size_t left = deliveries_.size(); left > 0 && alive() && !failed(); --left) {
    Delivery delivery = std::move(deliveries_.front());
    deliveries_.pop_front();
    if (delivery.done) {
      delivery.done(std::move(delivery.result));
    } else if (!delivery.result) {
      fail(delivery.result.error());
      break;
    } else {
      const std::uint64_t took_us = clock_.monotonic_us() - delivery.write.queued_us;
      ++stats_.writes;
      stats_.written_bytes += delivery.write.write->bytes.size();
      stats_.sync_us_total += took_us;
      stats_.sync_us_max = std::max(stats_.sync_us_max, took_us);
      stats_.sync_us_last = took_us;
      delivery.write.write->on_durable();
    }
    ++delivered;
  }
  submit();
  return delivered;
}

void SimDisk::background(std::uint64_t delay_us, Work work, Done done) {
  CHECK(work != nullptr);
  if (!alive() || failed()) return;
  const std::uint64_t due_us = clock_.monotonic_us() + delay_us;
  const auto at = std::ranges::upper_bound(jobs_, due_us, {}, &Job::due_us);
  jobs_.insert(at, {due_us, std::move(work), std::move(done)});
}

void SimDisk::background_slowly(Work work, Done done) {
  constexpr std::uint64_t kApartUs = 1'000;
  slow_due_us_ = std::max(slow_due_us_, clock_.monotonic_us()) + kApartUs;
  background(slow_due_us_ - clock_.monotonic_us(), std::move(work), std::move(done));
}

void SimDisk::fail(const Error& error) {
  if (failed() || !alive()) return;
  failure_ = error;
  if (handler_) std::exchange(handler_, nullptr)(*failure_);
}

void SimDisk::on_failure(FailureHandler handler) {
  handler_ = std::move(handler);
  if (failed() && handler_) std::exchange(handler_, nullptr)(*failure_);
}

std::uint64_t SimDisk::oldest_write_age_us() const {
  std::uint64_t oldest_us = clock_.monotonic_us();
  for (const auto* list : {&queued_, &in_flight_}) {
    for (const Write& write : *list) oldest_us = std::min(oldest_us, write.queued_us);
  }
  return clock_.monotonic_us() - oldest_us;
}

// --- Driving ---

std::vector<std::size_t> SimDisk::completable() const {
  std::vector<std::size_t> which;
  if (!alive() || hanging_ || failed()) return which;
  for (std::size_t i = 0; i < in_flight_.size(); ++i) {
    if (!in_flight_[i].hangs && in_flight_[i].due_us <= clock_.monotonic_us()) which.push_back(i);
  }
  return which;
}

void SimDisk::complete(std::size_t at) {
  const Write write = in_flight_[at];
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(at));
  Result<void> result = filesystem_.complete_write(write.file, write.position, write.write->bytes);
  deliveries_.push_back({write, std::move(result), nullptr});
}

bool SimDisk::complete_one(Pick pick) {
  const std::vector<std::size_t> which = completable();
  if (which.empty()) return false;
  switch (pick) {
    case Pick::oldest: complete(which.front()); break;
    case Pick::newest: complete(which.back()); break;
    case Pick::random: complete(which[rng_.below(which.size())]); break;
  }
  return true;
}

void SimDisk::complete_all() {
  while (complete_one()) {
  }
}

bool SimDisk::run_one_job() {
  if (!alive() || hanging_ || failed() || jobs_.empty() || jobs_.front().due_us > clock_.monotonic_us()) return false;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  Result<void> result = job.work();
  if (!job.done) job.done = [](Result<void>) {};
  deliveries_.push_back({{}, std::move(result), std::move(job.done)});
  return true;
}

bool SimDisk::step(SimRng& rng) {
  const std::size_t writes = completable().size();
  const bool job_due = !jobs_.empty() && jobs_.front().due_us <= clock_.monotonic_us();
  if (writes + (job_due ? 1 : 0) == 0) return false;
  if (rng.below(writes + (job_due ? 1 : 0)) < writes) return complete_one(Pick::random);
  return run_one_job();
}

std::optional<std::uint64_t> SimDisk::next_due_us() const {
  if (!alive() || hanging_ || failed()) return std::nullopt;
  std::optional<std::uint64_t> next;
  for (const Write& write : in_flight_) {
    if (!write.hangs) next = std::min(next.value_or(write.due_us), write.due_us);
  }
  if (!jobs_.empty()) next = std::min(next.value_or(jobs_.front().due_us), jobs_.front().due_us);
  if (next) next = std::max(*next, clock_.monotonic_us());
  return next;
}

void SimDisk::wait(std::uint64_t timeout_us) {
  if (!deliveries_.empty()) return;
  const std::uint64_t deadline_us = clock_.monotonic_us() + timeout_us;
  const std::optional<std::uint64_t> next = next_due_us();
  if (!next || *next > deadline_us) {
    clock_.advance_to_us(deadline_us);
    return;
  }
  clock_.advance_to_us(*next);
  if (!complete_one()) run_one_job();
}

bool SimDisk::step_until_idle() {
  bool moved = false;
  for (bool again = true; again && alive() && !failed();) {
    submit();
    again = complete_one() || run_one_job();
    again = poll() > 0 || again;
    moved |= again;
  }
  return moved;
}

void SimDisk::settle() {
  for (;;) {
    step_until_idle();
    std::optional<std::uint64_t> next;
    for (const Write& write : in_flight_) {
      if (!write.hangs) next = std::min(next.value_or(write.due_us), write.due_us);
    }
    if (!next || hanging_ || failed() || !alive()) return;
    clock_.advance_to_us(std::max(*next, clock_.monotonic_us()));
  }
}

void SimDisk::run_for_us(std::uint64_t duration_us) {
  const std::uint64_t end_us = clock_.monotonic_us() + duration_us;
  for (;;) {
    step_until_idle();
    const std::optional<std::uint64_t> next = next_due_us();
    if (!next || *next > end_us) break;
    clock_.advance_to_us(*next);
  }
  clock_.advance_to_us(std::max(end_us, clock_.monotonic_us()));
}

void SimDisk::set_latency_us(std::uint64_t min_us, std::uint64_t max_us) {
  CHECK(min_us <= max_us, min_us, max_us);
  latency_min_us_ = min_us;
  latency_max_us_ = max_us;
}

void SimDisk::release_hanging() {
  hanging_ = false;
  for (Write& write : in_flight_) write.hangs = false;
}

}  // namespace walraft::sim
