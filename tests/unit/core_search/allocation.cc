// This program's operator new and delete: what a WorldArena holds comes from there, the rest from malloc.

#include <cstdlib>
#include <new>

#include "tests/model/world_arena.h"

using walraft::model::WorldArena;

void* operator new(std::size_t bytes) {
  if (WorldArena::active()) return WorldArena::allocate(bytes);
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory) noexcept {
  if (WorldArena::owns(memory)) {
    WorldArena::release(memory);
  } else {
    std::free(memory);
  }
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
