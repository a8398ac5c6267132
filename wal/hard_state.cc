#include "wal/hard_state.h"

#include <algorithm>
#include <bitset>
#include <map>
#include <set>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/mutant.h"
#include "wal/hard_state_format.h"
#include "wal/hard_state_image.h"

namespace walraft::wal {
namespace {

using namespace hard_state;

// Writes go out in rounds. A round takes the last state of every queued slot, writes it to the pair
// that does not hold the slot's newest one, both twins at once, and is over when all of it is
// durable. The regions in memory change only between rounds, so what is in flight never moves, and no block is
// ever written twice at a time.
class SlotFile final : public HardStateFile {
 public:
  SlotFile(std::unique_ptr<File> file, const Uuid& disk_uuid, Image image, Disk& disk)
      : file_(std::move(file)),
        disk_uuid_(disk_uuid),
        regions_(std::move(image.regions)),
        contents_(std::move(image.contents)),
        disk_(disk),
        slots_(kLogsMax) {
    for (std::uint16_t number = 0; number < kLogsMax; ++number) {
      const SlotReading& reading = image.slots[number];
      SlotState& slot = slots_[number];
      slot.value = reading.slot;
      slot.duplicates = std::move(image.duplicates[number]);
      slot.lost = reading.half;
      if (reading.verdict == Verdict::free) {
        free_.insert(number);
      } else if (reading.verdict == Verdict::log || reading.verdict == Verdict::lost) {
        by_log_.emplace(reading.slot.log, number);
      }
    }
  }

  const Contents& contents() const override { return contents_; }

  std::optional<HardState> find(const Uuid& log) const override {
    const auto at = by_log_.find(log);
    if (at == by_log_.end()) return std::nullopt;
    return slots_[at->second].value.state;
  }

  Result<void> write(const Uuid& log, const HardState& state, Done done) override {
    CHECK(!log.is_none());
    auto at = by_log_.find(log);
    if (at == by_log_.end()) {
      if (free_.empty()) {
        return error(Code::over_limit,
                     "this node holds " + std::to_string(by_log_.size()) +
                         " logs, and hard_state has no free slot. Delete a log, or place it elsewhere");
      }
      at = by_log_.emplace(log, *free_.begin()).first;
      free_.erase(free_.begin());
    }
    SlotState& slot = slots_[at->second];
    const bool new_term = slot.value.state.term != state.term && state.voted_for == NodeId{};
    slot.value.log = log;
    slot.value.state = state;
    if (done && new_term && mutant(Mutant::h6b_term_not_synced)) std::exchange(done, nullptr)();
    queue(at->second, std::move(done));
    return {};
  }

  Result<void> remove(const Uuid& log, Done done) override {
    const auto at = by_log_.find(log);
    if (at == by_log_.end()) return error(Code::not_found, "hard_state has no slot for log " + to_string(log));
    const std::uint16_t number = at->second;
    by_log_.erase(at);
    for (const std::uint16_t other : std::exchange(slots_[number].duplicates, {})) free_slot(other, nullptr);
    free_slot(number, std::move(done));
    return {};
  }

  void flush() override {
    if (in_flight_ > 0 || queue_.empty()) return;
    begin_round();
  }

  bool idle() const override { return in_flight_ == 0 && queue_.empty(); }

 private:
  struct SlotState {
    Slot value;                             // seq: as last encoded; the rest: as last asked for
    bool queued = false;
    bool lost = false;                      // the other pair is unreadable, until it is written
    std::vector<std::uint16_t> duplicates;  // freed once this one is written (@K)
    std::vector<Done> done;                 // of the queued write
  };

  struct RunWrite final : DurableWrite {
    explicit RunWrite(SlotFile& file_of) : owner(file_of) {}
    void on_durable() override { owner.on_write_durable(); }
    SlotFile& owner;
  };

  void queue(std::uint16_t number, Done done) {
    SlotState& slot = slots_[number];
    if (done) slot.done.push_back(std::move(done));
    if (std::exchange(slot.queued, true)) return;
    queue_.push_back(number);
  }

  void free_slot(std::uint16_t number, Done done) {
    slots_[number].value.log = Uuid{};
    slots_[number].value.state = HardState{};
    queue(number, std::move(done));
  }

  void begin_round() {
    std::array<std::bitset<kBlocksPerRegion>, 2> dirty;
    round_.swap(queue_);
    for (const std::uint16_t number : round_) {
      SlotState& slot = slots_[number];
      // +1 goes to the other pair. So does +3, which the lost value can not have had: should it
      // become readable again, it is seen to be the older one.
      slot.value.seq += std::exchange(slot.lost, false) ? 3 : 1;
      slot.queued = false;
      const int pair = static_cast<int>(slot.value.seq & 1);
      for (const AlignedBytes& region : regions_[pair]) {
        encode_slot(slot.value, number, disk_uuid_, {region.get() + number * kSlotBytes, kSlotBytes});
      }
      dirty[pair].set(number / kSlotsPerBlock);
      std::move(slot.done.begin(), slot.done.end(), std::back_inserter(round_done_));
      slot.done.clear();
    }
    for (const int pair : {0, 1}) write_dirty(pair, dirty[pair]);
    if (mutant(Mutant::h6a_vote_not_synced)) run_done();
  }

  // One write for each run of dirty blocks and twin.
  void write_dirty(int pair, const std::bitset<kBlocksPerRegion>& dirty) {
    for (std::size_t block = 0; block < kBlocksPerRegion; ++block) {
      if (!dirty.test(block)) continue;
      std::size_t end = block + 1;
      while (end < kBlocksPerRegion && dirty.test(end)) ++end;
      for (const int twin : {0, 1}) {
        if (in_flight_ == writes_.size()) writes_.push_back(std::make_unique<RunWrite>(*this));
        RunWrite& write = *writes_[in_flight_++];
        write.file = file_.get();
        write.position = region_position(pair, twin) + block * kBlockBytes;
        write.bytes = ByteView(regions_[pair][twin].get() + block * kBlockBytes, (end - block) * kBlockBytes);
        disk_.write(write);
      }
      block = end;
    }
  }

  void on_write_durable() {
    CHECK(in_flight_ > 0);
    if (--in_flight_ > 0) return;
    for (const std::uint16_t number : round_) {
      SlotState& slot = slots_[number];
      if (!slot.value.used()) {
        if (!slot.queued) free_.insert(number);
      } else {
        for (const std::uint16_t other : std::exchange(slot.duplicates, {})) free_slot(other, nullptr);
      }
    }
    round_.clear();
    run_done();
    flush();
  }

  void run_done() {
    // Taken out first: a `done` may queue writes and call flush().
    std::vector<Done> done = std::exchange(round_done_, {});
    for (Done& each : done) each();
  }

  std::unique_ptr<File> file_;
  const Uuid disk_uuid_;
  std::array<std::array<AlignedBytes, 2>, 2> regions_;  // [pair][twin]
  const Contents contents_;
  Disk& disk_;

  std::vector<SlotState> slots_;
  std::map<Uuid, std::uint16_t> by_log_;
  std::set<std::uint16_t> free_;
  std::vector<std::uint16_t> queue_;  // slots of the next round
  std::vector<std::uint16_t> round_;  // slots of the round in flight
  std::vector<Done> round_done_;
  std::vector<std::unique_ptr<RunWrite>> writes_;  // the first in_flight_ are of the round in flight
  std::size_t in_flight_ = 0;
};

}  // namespace

Result<void> HardStateFile::create(Directory& directory, std::string_view name, const Uuid& disk_uuid) {
  auto file = directory.create(name, Access::write);
  if (!file) return std::unexpected(std::move(file.error()));
  if (auto done = write_empty(**file, disk_uuid); !done) return std::unexpected(std::move(done.error()).at(name));
  return directory.sync();
}

Result<std::unique_ptr<HardStateFile>> HardStateFile::open(Directory& directory, std::string_view name,
                                                           const Uuid& disk_uuid, Access access, Disk& disk) {
  CHECK(access != Access::read);
  auto file = directory.open(name, access);
  if (!file) return std::unexpected(std::move(file.error()));
  // What a killed process wrote may still be in flight to the medium, and what a failed sync left in
  // the page cache may not be on it: settle the one, forget the other, then read.
  if (auto done = (*file)->sync(); !done) return std::unexpected(std::move(done.error()).at(name));
  (*file)->drop_cache();
  auto image = read_image(**file, disk_uuid);
  if (!image) return std::unexpected(std::move(image.error()));
  if (auto done = repair_image(**file, disk_uuid, *image); !done) {
    return std::unexpected(std::move(done.error()).at("hard_state: writing damaged copies again"));
  }
  return std::make_unique<SlotFile>(std::move(*file), disk_uuid, std::move(*image), disk);
}

Result<HardStateFile::Contents> HardStateFile::read(Directory& directory, std::string_view name,
                                                    const Uuid& disk_uuid) {
  auto file = directory.open(name, Access::read);
  if (!file) return std::unexpected(std::move(file.error()));
  (*file)->drop_cache();
  auto image = read_image(**file, disk_uuid);
  if (!image) return std::unexpected(std::move(image.error()));
  return std::move(image->contents);
}

}  // namespace walraft::wal
