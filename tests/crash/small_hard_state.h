#pragma once

// The hard state of one log in two blocks that are written in turn: what the log needs of HardStateFile,
// at a thousandth of its bytes, so that a test can open thousands of logs. Its own tests are elsewhere.

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/chunk.h"
#include "wal/hard_state.h"

namespace walraft::wal::crash_test {

class SmallHardState final : public HardStateFile, private DurableWrite {
 public:
  static Result<void> create(Directory& directory, std::string_view name) {
    auto made_file = directory.create(name, Access::write);
    if (!made_file) return std::unexpected(made_file.error());
    auto made = (*made_file)->allocate(2 * kBlockBytes);
    if (made) made = (*made_file)->sync();
    if (made) made = directory.sync();
    return made;
  }

  static Result<std::unique_ptr<HardStateFile>> open(Directory& directory, std::string_view name, Disk& disk) {
    auto found = directory.open(name, Access::direct);
    if (!found) return std::unexpected(found.error());
    if (auto synced = (*found)->sync(); !synced) return std::unexpected(synced.error());
    (*found)->drop_cache();  // as the real one: after a failed write, memory and medium may differ
    auto state = std::unique_ptr<SmallHardState>(new SmallHardState(std::move(*found), disk));
    for (std::size_t i = 0; i < 2; ++i) {
      const MutableBytes block = state->chunk_->bytes().first(kBlockBytes);
      if (auto got = state->file_->read(i * kBlockBytes, block); !got) return std::unexpected(got.error());
      Slot slot;
      std::memcpy(static_cast<void*>(&slot), block.data(), sizeof slot);
      if (slot.crc != slot.crc_now() || slot.sequence <= state->sequence_) continue;
      state->sequence_ = slot.sequence;
      state->state_ = slot.state;
      state->known_ = true;
    }
    return state;
  }

  const Contents& contents() const override { return contents_; }
  std::optional<HardState> find(const Uuid&) const override { return known_ ? std::optional(state_) : std::nullopt; }
  Result<void> write(const Uuid&, const HardState& state, Done done) override {
    state_ = state;
    known_ = true;
    queued_.push_back(std::move(done));
    return {};
  }
  Result<void> remove(const Uuid&, Done) override { CHECK(false, "not used"); }
  void flush() override {
    if (!in_flight_.empty() || queued_.empty()) return;
    in_flight_ = std::exchange(queued_, {});
    Slot slot;
    slot.sequence = ++sequence_;
    slot.state = state_;
    slot.crc = slot.crc_now();
    std::fill_n(chunk_->data(), kBlockBytes, std::byte{0});
    std::memcpy(chunk_->data(), static_cast<const void*>(&slot), sizeof slot);
    file = file_.get();
    position = sequence_ % 2 * kBlockBytes;
    bytes = ByteView(chunk_->bytes()).first(kBlockBytes);
    disk_.write(*this);
  }
  bool idle() const override { return in_flight_.empty() && queued_.empty(); }

 private:
  struct Slot {
    std::uint64_t sequence = 0;
    HardState state;
    std::uint32_t crc = 0;
    std::uint32_t crc_now() const {
      std::array<std::uint64_t, 8> fields = {sequence,
                                             state.term.value,
                                             state.voted_for.value,
                                             state.durable_bound.value,
                                             state.commit_bound.value,
                                             state.trim_index.value,
                                             state.trim_offset.value,
                                             state.suspect};
      return crc32c(std::as_bytes(std::span(fields)));
    }
  };

  SmallHardState(std::unique_ptr<File> opened, Disk& disk) : file_(std::move(opened)), disk_(disk) {}
  void on_durable() override {
    for (const Done& done : std::exchange(in_flight_, {})) done();
    flush();
  }

  std::unique_ptr<File> file_;
  Disk& disk_;
  std::shared_ptr<Chunk> chunk_ = Chunk::make(kBlockBytes);
  std::uint64_t sequence_ = 0;
  HardState state_;
  bool known_ = false;
  Contents contents_;
  std::vector<Done> queued_, in_flight_;
};

}  // namespace walraft::wal::crash_test
