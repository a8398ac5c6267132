#pragma once

// What the tests of the simulator's storage share: short names for "make a file with these bytes".

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_filesystem.h"

namespace walraft::sim {

template <class T>
T must(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << result.error().message;
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline std::string text_in(SimFilesystem& filesystem, std::string_view name) {
  auto file = filesystem.root()->open(name, wal::Access::read);
  if (!file) return "(" + std::string(outcome_of(file.error().code).name) + ")";
  std::string text(must((*file)->size()), '?');
  const std::size_t got = must((*file)->read(0, std::as_writable_bytes(std::span(text))));
  EXPECT_EQ(got, text.size());
  return text;
}

// A file whose name and contents are durable.
inline std::unique_ptr<wal::File> durable_file(SimFilesystem& filesystem, std::string_view name,
                                               std::string_view text, wal::Access access = wal::Access::write) {
  auto root = filesystem.root();
  {
    auto file = must(root->create(name, wal::Access::write));
    must(file->write(0, bytes_of(text)));
    must(file->sync());
  }
  must(root->sync());
  return must(root->open(name, access));
}

// A disk write of whole blocks, all of one letter.
class LetterWrite final : public wal::DurableWrite {
 public:
  LetterWrite(wal::File& to, std::uint64_t at, char letter, std::size_t blocks = 1)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(wal::kBlockBytes, blocks * wal::kBlockBytes))) {
    std::memset(memory_, letter, blocks * wal::kBlockBytes);
    file = &to;
    position = at;
    bytes = ByteView(memory_, blocks * wal::kBlockBytes);
  }
  ~LetterWrite() override { std::free(memory_); }
  LetterWrite(const LetterWrite&) = delete;

  void on_durable() override { ++durable; }
  std::byte* memory() { return memory_; }

  int durable = 0;

 private:
  std::byte* memory_;
};

}  // namespace walraft::sim
