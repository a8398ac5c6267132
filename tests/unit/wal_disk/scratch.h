#pragma once

// What the tests of the real disk share: a directory on a real filesystem, aligned memory, a write
// that remembers what became of it, and a loop that runs a disk until something is true.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "wal/base/clock.h"
#include "wal/disk.h"
#include "wal/posix_disk.h"
#include "wal/posix_filesystem.h"

namespace walraft::wal {

// A directory of its own in $TMPDIR, else in the current directory (the build's), gone at the end.
class Scratch {
 public:
  Scratch() {
    const char* parent = std::getenv("TMPDIR");
    std::string name = std::string(parent != nullptr && *parent != '\0' ? parent : ".") + "/wal_disk_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      ADD_FAILURE() << "cannot make " << name << ": " << std::strerror(errno);
      std::abort();
    }
    path_ = name;
    directory_ = std::move(open_directory(path_, false).value());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  Directory& directory() { return *directory_; }

 private:
  std::string path_;
  std::unique_ptr<Directory> directory_;
};

// Whole aligned blocks, filled with one byte.
class Blocks {
 public:
  explicit Blocks(std::size_t blocks, char fill = 'x') : size_(blocks * kBlockBytes) {
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, size_)));
    refill(fill);
  }
  void refill(char fill) { std::memset(data_.get(), fill, size_); }
  std::byte* data() { return data_.get(); }
  ByteView view() const { return {data_.get(), size_}; }
  MutableBytes bytes() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

// Counts its completions, and runs `then` at each.
struct TestWrite final : DurableWrite {
  TestWrite() = default;
  TestWrite(File& target, std::uint64_t at, ByteView what) {
    file = &target;
    position = at;
    bytes = what;
  }
  void on_durable() override {
    ++times_durable;
    if (then) then();
  }
  int times_durable = 0;
  std::function<void()> then;
};

constexpr std::uint64_t kPatienceUs = 20'000'000;  // far above what any step takes: not a measurement

// Runs the disk until `reached`; false if that takes longer than the patience.
inline bool run_until(Disk& disk, const std::function<bool()>& reached) {
  const std::uint64_t start_us = system_clock().monotonic_us();
  while (!reached()) {
    if (system_clock().monotonic_us() - start_us > kPatienceUs) return false;
    disk.wait(100'000);
    disk.poll();
  }
  return true;
}

// What is on the file, by another descriptor.
inline std::string contents(Directory& directory, std::string_view name) {
  auto file = directory.open(name, Access::read).value();
  std::string text(file->size().value(), '\0');
  const auto n = file->read(0, std::as_writable_bytes(std::span(text))).value();
  text.resize(n);
  return text;
}

}  // namespace walraft::wal
