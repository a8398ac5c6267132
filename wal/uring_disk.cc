#include "wal/uring_disk.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/posix_error.h"

namespace walraft::wal {
namespace {

constexpr std::size_t kPieceBytesMax = std::size_t{1} << 30;  // a request's length has 32 bits

// Tried in this order. COOP_TASKRUN (Linux 5.19) spares an interrupt per completion; TASKRUN_FLAG
// lets a loop that polls without sleeping see completions all the same.
constexpr std::array<unsigned, 2> kSetupFlags = {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};

}  // namespace

UringDisk::UringDisk(Clock& clock) : ledger_(clock), jobs_(clock, event_) {}

std::unique_ptr<UringDisk> UringDisk::make(Clock& clock) {
  std::unique_ptr<UringDisk> disk(new UringDisk(clock));
  if (!disk->set_up()) return nullptr;
  return disk;
}

bool UringDisk::set_up() {
  for (const unsigned flags : kSetupFlags) {
    if (io_uring_queue_init(kInFlightMax, &ring_, flags) == 0) {
      has_ring_ = true;
      break;
    }
  }
  if (!has_ring_) return false;
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  const bool has_write = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
  io_uring_free_probe(probe);
  return has_write && io_uring_register_eventfd(&ring_, event_.descriptor()) == 0;
}

UringDisk::~UringDisk() {
  if (!has_ring_) return;
  // What the kernel has not taken yet never starts; what it has taken uses the issuers' memory.
  in_flight_ -= std::min(in_flight_, io_uring_sq_ready(&ring_));
  while (in_flight_ > 0) {
    io_uring_cqe* completion = nullptr;
    const int result = io_uring_wait_cqe(&ring_, &completion);
    if (result == -EINTR || result == -EAGAIN) continue;
    CHECK(result == 0, result);
    io_uring_cqe_seen(&ring_, completion);
    --in_flight_;
  }
  io_uring_queue_exit(&ring_);
}

void UringDisk::write(DurableWrite& write) {
  if (!failed()) ledger_.add(write);
}

void UringDisk::submit() {
  if (failed()) return;
  while (in_flight_ < kInFlightMax) {
    const auto slot = ledger_.take_queued();
    if (!slot) break;
    io_uring_sqe* request = io_uring_get_sqe(&ring_);
    CHECK(request != nullptr);  // the ring has kInFlightMax of them
    const ByteView bytes = ledger_.bytes(*slot);
    io_uring_prep_write(request, ledger_.descriptor(*slot), bytes.data(),
                        static_cast<unsigned>(std::min(bytes.size(), kPieceBytesMax)), ledger_.position(*slot));
    request->rw_flags = mutant(Mutant::m31_no_dsync) ? 0 : RWF_DSYNC;
    io_uring_sqe_set_data64(request, *slot);
    ++in_flight_;
  }
  if (io_uring_sq_ready(&ring_) == 0) return;
  const int result = io_uring_submit(&ring_);
  if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
    fail(posix_error(-result, "submit writes to", "io_uring"));
    return;
  }
  // The kernel is short of something and took a part: have poll() called again, which submits.
  if (io_uring_sq_ready(&ring_) > 0) event_.signal();
}

std::size_t UringDisk::poll() {
  CHECK(!polling_);  // from on_durable() or `done`: they queue, and this loop goes on
  if (failed()) return 0;
  polling_ = true;
  event_.clear();  // before looking: what completes from now on signals again
  std::size_t delivered = deliver_writes();
  jobs_.take_finished(finished_jobs_);
  for (BackgroundJobs::Finished& job : finished_jobs_) {
    if (failed()) break;
    if (job.done) job.done(std::move(job.result));
    ++delivered;
  }
  finished_jobs_.clear();
  polling_ = false;
  submit();
  return delivered;
}

std::size_t UringDisk::deliver_writes() {
  struct Completion {
    WriteLedger::Slot slot;
    int result;
  };
  std::array<io_uring_cqe*, kInFlightMax> entries;
  std::array<Completion, kInFlightMax> completions;
  // Out of the ring first, since on_durable() may call submit().
  const unsigned count = io_uring_peek_batch_cqe(&ring_, entries.data(), kInFlightMax);
  for (unsigned i = 0; i < count; ++i) {
    completions[i] = {static_cast<WriteLedger::Slot>(io_uring_cqe_get_data64(entries[i])), entries[i]->res};
  }
  io_uring_cq_advance(&ring_, count);
  CHECK(count <= in_flight_, count, in_flight_);
  in_flight_ -= count;

  std::size_t delivered = 0;
  for (unsigned i = 0; i < count && !failed(); ++i) {
    if (!settle(completions[i].slot, completions[i].result)) continue;
    ledger_.finish(completions[i].slot).on_durable();
    ++delivered;
  }
  return delivered;
}

// True if the write is complete and durable. `result`: bytes written, or a negative errno.
bool UringDisk::settle(WriteLedger::Slot slot, int result) {
  if (result > 0) {
    if (ledger_.advance(slot, static_cast<std::size_t>(result))) return true;
    ledger_.requeue(slot);  // the rest, with its own sync; what is missing of it is said by its error
    return false;
  }
  if (result == -EINTR || result == -EAGAIN) {  // nothing was tried, so this is no second try
    ledger_.requeue(slot);
    return false;
  }
  if (mutant(Mutant::m26_sync_error_retried) && fdatasync(ledger_.descriptor(slot)) == 0) return true;
  fail(ledger_.error_of(slot, result == 0 ? EIO : -result));  // a write of nothing goes nowhere
  return false;
}

void UringDisk::wait(std::uint64_t timeout_us) {
  if (io_uring_cq_ready(&ring_) == 0) event_.wait(timeout_us);
}

void UringDisk::background(std::uint64_t delay_us, Work work, Done done) {
  jobs_.add(delay_us, std::move(work), std::move(done));
}

void UringDisk::background_slowly(Work work, Done done) {
  jobs_.add_slow(std::move(work), std::move(done));
}

void UringDisk::fail(const Error& error) {
  jobs_.stop();
  ledger_.fail(error);
}

}  // namespace walraft::wal
