#include "tests/model/world_arena.h"

#include <array>
#include <cstdint>

#include "wal/base/check.h"

namespace walraft::model {
namespace {

constexpr std::size_t kUnit = 16;           // bytes; all sizes are multiples of it
constexpr std::size_t kClasses = 256;       // sizes that are used again: up to 4 KiB
constexpr std::size_t kBlock = 4u << 20;

// In front of each piece.
struct alignas(kUnit) Header {
  std::size_t units = 0;
  Header* next = nullptr;  // while it is free
};
static_assert(sizeof(Header) == kUnit);

// The whole state of the arena is in the block, so that a snapshot has it.
struct alignas(kUnit) Block {
  std::size_t used = 0;  // of `memory`
  std::array<Header*, kClasses + 1> free{};
  alignas(kUnit) std::array<std::byte, kBlock> memory;
};

Block block;
const std::size_t kFixed = offsetof(Block, memory);

std::byte* start() { return reinterpret_cast<std::byte*>(&block); }

}  // namespace

bool WorldArena::active_ = false;

void WorldArena::reset() {
  block.used = 0;
  block.free = {};
}

bool WorldArena::owns(const void* memory) {
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  const auto from = reinterpret_cast<std::uintptr_t>(block.memory.data());
  return at >= from && at < from + kBlock;
}

void* WorldArena::allocate(std::size_t bytes) {
  const std::size_t units = (bytes + kUnit - 1) / kUnit;
  if (units <= kClasses && block.free[units] != nullptr) {
    Header* piece = block.free[units];
    block.free[units] = piece->next;
    return piece + 1;
  }
  const std::size_t size = sizeof(Header) + units * kUnit;
  CHECK(block.used + size <= kBlock, block.used, size);
  auto* piece = new (block.memory.data() + block.used) Header{units, nullptr};
  block.used += size;
  return piece + 1;
}

void WorldArena::release(void* memory) {
  Header* piece = static_cast<Header*>(memory) - 1;
  if (piece->units > kClasses) return;  // rare enough to be left where it is
  piece->next = block.free[piece->units];
  block.free[piece->units] = piece;
}

void WorldArena::Snapshot::take() { bytes_.assign(start(), start() + kFixed + block.used); }

void WorldArena::Snapshot::restore() const { std::memcpy(start(), bytes_.data(), bytes_.size()); }

}  // namespace walraft::model
