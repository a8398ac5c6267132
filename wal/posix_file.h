#pragma once

// The file of posix_filesystem.h, and the owner of a descriptor.

#include <optional>
#include <utility>

#include "wal/filesystem.h"

namespace walraft::wal {

// Owns a descriptor; -1 is none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();

  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

class PosixFile final : public File {
 public:
  // `direct`: the descriptor was opened with O_DIRECT.
  PosixFile(Descriptor descriptor, bool direct) : descriptor_(std::move(descriptor)), direct_(direct) {}

  Result<std::size_t> read(std::uint64_t position, MutableBytes into) override;
  Result<void> write(std::uint64_t position, ByteView bytes) override;
  Result<void> sync() override;
  Result<void> allocate(std::uint64_t bytes) override;
  Result<void> truncate(std::uint64_t bytes) override;
  Result<std::uint64_t> size() override;
  void drop_cache() override;
  int descriptor() const override { return descriptor_.get(); }

 private:
  Result<void> append_zeros(std::uint64_t bytes);
  std::unexpected<Error> error_of(int error_number, std::string_view action) const;

  Descriptor descriptor_;
  bool direct_;
  std::optional<Error> sync_error_;  // final: filesystem.h
};

}  // namespace walraft::wal
