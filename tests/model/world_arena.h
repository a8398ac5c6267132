#pragma once

// Memory that can be put back: everything that is allocated while an Allocating lives comes from one block at a fixed
// address, and a Snapshot is a copy of that block. So a whole CoreWorld, cores and all, goes back to an earlier state by
// one memcpy, and nothing in it has to know how to be copied.
//
// The program must route its allocations here: tests/unit/core_search/allocation.cc replaces operator new and delete.
// What is allocated within must not be kept by anything outside the block, such as a function's static variable.
// Thread: one.

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

namespace walraft::model {

class WorldArena {
 public:
  // While it lives, operator new takes from the block.
  class Allocating {
   public:
    Allocating() { active_ = true; }
    ~Allocating() { active_ = false; }
    Allocating(const Allocating&) = delete;
    Allocating& operator=(const Allocating&) = delete;
  };

  class Snapshot {
   public:
    void take();
    void restore() const;
    std::size_t bytes() const { return bytes_.size(); }

   private:
    std::vector<std::byte> bytes_;
  };

  // Everything in the block is forgotten.
  static void reset();

  // For operator new and delete.
  static bool active() { return active_; }
  static bool owns(const void* memory);
  static void* allocate(std::size_t bytes);
  static void release(void* memory);

 private:
  static bool active_;
};

}  // namespace walraft::model
