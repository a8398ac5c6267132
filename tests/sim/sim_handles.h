#pragma once

// The files, directories and locks that a SimFilesystem hands out. Each belongs to one life of the
// process: after a crash its verbs return `failed` and change nothing.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/sim_filesystem.h"
#include "wal/filesystem.h"

namespace walraft::sim {

class SimFile final : public wal::File {
 public:
  SimFile(SimFilesystem& filesystem, std::uint64_t inode, wal::Access access);
  ~SimFile() override;

  Result<std::size_t> read(std::uint64_t position, MutableBytes into) override;
  Result<void> write(std::uint64_t position, ByteView bytes) override;
  Result<void> sync() override;
  Result<void> allocate(std::uint64_t bytes) override;
  Result<void> truncate(std::uint64_t bytes) override;
  Result<std::uint64_t> size() override;
  void drop_cache() override;
  int descriptor() const override { return -1; }

  std::uint64_t inode() const { return inode_; }
  wal::Access access() const { return access_; }

 private:
  bool alive() const { return filesystem_.alive(generation_); }

  SimFilesystem& filesystem_;
  std::uint64_t inode_;
  std::uint64_t generation_;
  wal::Access access_;
};

class SimDirectory final : public wal::Directory {
 public:
  SimDirectory(SimFilesystem& filesystem, std::uint64_t inode);
  ~SimDirectory() override;

  Result<std::vector<wal::DirectoryEntry>> list() override;
  Result<std::unique_ptr<wal::File>> create(std::string_view name, wal::Access access) override;
  Result<std::unique_ptr<wal::File>> open(std::string_view name, wal::Access access) override;
  Result<std::unique_ptr<wal::Directory>> subdirectory(std::string_view name, bool create) override;
  Result<void> rename(std::string_view from, std::string_view to) override;
  Result<void> remove(std::string_view name) override;
  Result<void> sync() override;
  Result<std::unique_ptr<wal::DirectoryLock>> lock(std::string_view name) override;
  Result<std::unique_ptr<wal::DirectoryLock>> lock_for_reading(std::string_view name) override;
  Result<wal::Space> space() override;
  bool has_direct() override { return filesystem_.has_direct_; }
  std::string path() const override;

 private:
  // `failed` if the process is dead, `not_found` if the directory was removed.
  Result<void> usable() const;
  Result<std::uint64_t> add(std::string_view name, bool is_directory);

  SimFilesystem& filesystem_;
  std::uint64_t inode_;
  std::uint64_t generation_;
};

class SimLock final : public wal::DirectoryLock {
 public:
  SimLock(SimFilesystem& filesystem, std::string path);
  ~SimLock() override;

 private:
  SimFilesystem& filesystem_;
  std::string path_;
  std::uint64_t generation_;
};

}  // namespace walraft::sim
