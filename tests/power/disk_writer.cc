// disk_writer FILE auto|io_uring|thread direct|buffered: keeps writes in flight on a disk actor, and says which are
// durable, for tests that cut the power under it.
//
// FILE is made with 1024 slots of 16 KiB, all durable, unless it is there. Write n goes to slot n % 1024; its 4 KiB
// blocks are filled with n, a little-endian u64. Prints "durable N" when write N is. Ends by a signal, or with 5 when
// the disk fails. It knows nothing of logs: if acknowledged blocks are lost here, the disk actor lies.

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "tests/power/report.h"
#include "wal/base/check.h"
#include "wal/base/clock.h"
#include "wal/base/mutant.h"
#include "wal/chunk.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::power {
namespace {

using namespace wal;

constexpr std::uint64_t kSlots = 1024;
constexpr std::size_t kSlotBytes = 4 * kBlockBytes;
constexpr std::size_t kInFlight = 16;

template <class T>
T must(Result<T> result) {
  if (!result) {
    leave(kExitRefused, result.error());
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

class Slot final : public DurableWrite {
 public:
  void issue(Disk& disk, File& target, std::uint64_t& next) {
    disk_ = &disk;
    next_ = &next;
    file = &target;
    number_ = next++;
    position = number_ % kSlots * kSlotBytes;
    const std::size_t count = kBlockBytes * (1 + number_ % 4);
    for (std::size_t at = 0; at < count; at += 8) {
      store_le(memory_->data() + at, number_);
    }
    bytes = memory_->bytes().first(count);
    disk.write(*this);
  }

  void on_durable() override {
    say("durable " + std::to_string(number_));
    issue(*disk_, *file, *next_);
  }

 private:
  std::shared_ptr<Chunk> memory_ = Chunk::make(kSlotBytes);
  Disk* disk_ = nullptr;
  std::uint64_t* next_ = nullptr;
  std::uint64_t number_ = 0;
};

int run(const std::string& path, DiskMethod method, Access access) {
  const std::size_t slash = path.rfind('/');
  const auto directory = must(open_directory(path.substr(0, slash), false));
  const std::string name = path.substr(slash + 1);
  const auto disk = make_disk(method, system_clock());
  if (!disk) {
    leave(kExitRefused, {Code::failed, "no io_uring here"});
  }
  disk->on_failure([](const Error& why) { leave(kExitDiskFailed, why); });
  auto made = directory->create(name, Access::write);
  if (made) {  // pre-written, so that later writes change neither size nor extents
    const auto zeros = Chunk::make(kSlotBytes);
    std::memset(zeros->data(), 0, kSlotBytes);
    for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
      must((*made)->write(slot * kSlotBytes, zeros->bytes().first(kSlotBytes)));
    }
    must((*made)->sync());
    must(directory->sync());
  }
  const auto file = must(directory->open(name, access));
  say("opened method=" + std::string(disk->method()) + " mutants=" + (kHasMutants ? "1" : "0"));
  std::uint64_t next = 1;
  std::array<Slot, kInFlight> slots;
  for (Slot& slot : slots) {
    slot.issue(*disk, *file, next);
  }
  for (;;) {
    disk->submit();
    if (disk->poll() == 0) {
      disk->wait(10'000);
    }
  }
}

}  // namespace
}  // namespace walraft::power

int main(int argc, char** argv) {
  using namespace walraft;
  const std::string_view method = argc == 4 ? argv[2] : "";
  const std::string_view access = argc == 4 ? argv[3] : "";
  const bool known = (method == "auto" || method == "io_uring" || method == "thread") &&
                     (access == "direct" || access == "buffered") && std::string_view(argv[1]).starts_with('/');
  if (!known) {
    std::fprintf(stderr, "usage: disk_writer /PATH/TO/FILE auto|io_uring|thread direct|buffered\n");
    return 2;
  }
  return power::run(argv[1],
                    method == "auto"     ? wal::DiskMethod::automatic
                    : method == "thread" ? wal::DiskMethod::thread
                                         : wal::DiskMethod::uring,
                    access == "direct" ? wal::Access::direct : wal::Access::write);
}
