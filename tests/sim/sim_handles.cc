#include "tests/sim/sim_handles.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"

namespace walraft::sim {
namespace {

std::unexpected<Error> dead() { return error(Code::failed, "the simulated power is off"); }

Result<void> check_name(std::string_view name) {
  const bool is_component = !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
                            name.find('/') == name.npos && name.find('\0') == name.npos;
  if (is_component) return {};
  return error(Code::invalid, "\"" + std::string(name) + "\" is not a file name");
}

void check_direct(std::uint64_t position, ByteView bytes) {
  CHECK(position % wal::kBlockBytes == 0 && bytes.size() % wal::kBlockBytes == 0, position, bytes.size());
  CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % wal::kBlockBytes == 0);
}

}  // namespace

SimFile::SimFile(SimFilesystem& filesystem, std::uint64_t inode, wal::Access access)
    : filesystem_(filesystem), inode_(inode), generation_(filesystem.generation_), access_(access) {
  filesystem_.opened(inode_);
}

SimFile::~SimFile() {
  if (generation_ == filesystem_.generation_) filesystem_.closed(inode_);
}

Result<std::size_t> SimFile::read(std::uint64_t position, MutableBytes into) {
  if (!alive()) return dead();
  if (access_ == wal::Access::direct) check_direct(position, into);
  const SimFilesystem::Inode& inode = filesystem_.inode(inode_);
  if (!inode.file.readable(position, into.size())) {
    return std::unexpected(filesystem_.failure(inode, "read at " + std::to_string(position) + ": input/output error"));
  }
  return inode.file.seen().read(position, into);
}

Result<void> SimFile::write(std::uint64_t position, ByteView bytes) {
  if (!alive()) return dead();
  CHECK(access_ != wal::Access::read);
  if (access_ == wal::Access::direct) check_direct(position, bytes);
  return filesystem_.write_file(filesystem_.inode(inode_), position, bytes);
}

Result<void> SimFile::sync() {
  if (!alive()) return dead();
  return filesystem_.sync_file(filesystem_.inode(inode_));
}

Result<void> SimFile::allocate(std::uint64_t bytes) {
  if (!alive()) return dead();
  CHECK(access_ != wal::Access::read);
  SimFilesystem::Inode& inode = filesystem_.inode(inode_);
  filesystem_.begin(OperationKind::allocate, inode, 0, bytes);
  const bool fits = filesystem_.has_room(inode.file.seen().holes_before(bytes));
  std::uint64_t reserved = bytes;
  if (!fits) {  // as on ext4: what there is, from the front
    reserved = 0;
    std::uint64_t left = filesystem_.free_pages();
    while (reserved < bytes && (inode.file.seen().page(reserved / kPageBytes) || left-- > 0)) reserved += kPageBytes;
  }
  if (reserved > 0) inode.file.allocate(filesystem_.operations_, reserved);
  filesystem_.charge(inode);
  filesystem_.end();
  if (!fits) return std::unexpected(filesystem_.failure(inode, "allocate: no space left", Code::no_space));
  return {};
}

Result<void> SimFile::truncate(std::uint64_t bytes) {
  if (!alive()) return dead();
  CHECK(access_ != wal::Access::read);
  SimFilesystem::Inode& inode = filesystem_.inode(inode_);
  filesystem_.begin(OperationKind::truncate, inode, 0, bytes);
  inode.file.resize(filesystem_.operations_, bytes);
  filesystem_.charge(inode);
  filesystem_.end();
  return {};
}

Result<std::uint64_t> SimFile::size() {
  if (!alive()) return dead();
  return filesystem_.inode(inode_).file.seen().size();
}

void SimFile::drop_cache() {
  if (alive()) filesystem_.inode(inode_).file.drop_cache();
}

SimDirectory::SimDirectory(SimFilesystem& filesystem, std::uint64_t inode)
    : filesystem_(filesystem), inode_(inode), generation_(filesystem.generation_) {
  filesystem_.opened(inode_);
}

SimDirectory::~SimDirectory() {
  if (generation_ == filesystem_.generation_) filesystem_.closed(inode_);
}

std::string SimDirectory::path() const {
  if (generation_ != filesystem_.generation_) return filesystem_.name_;
  const std::string& inside = filesystem_.inode(inode_).path;
  return inside.empty() ? filesystem_.name_ : filesystem_.name_ + "/" + inside;
}

Result<void> SimDirectory::usable() const {
  if (!filesystem_.alive(generation_)) return dead();
  if (!filesystem_.inode(inode_).linked) return error(Code::not_found, path() + ": the directory was removed");
  return {};
}

Result<std::vector<wal::DirectoryEntry>> SimDirectory::list() {
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  std::vector<wal::DirectoryEntry> entries;
  for (const auto& [name, id] : filesystem_.inode(inode_).seen) {
    entries.push_back({name, filesystem_.inode(id).is_directory});
  }
  return entries;
}

Result<std::uint64_t> SimDirectory::add(std::string_view name, bool is_directory) {
  SimFilesystem::Inode& directory = filesystem_.inode(inode_);
  filesystem_.begin(is_directory ? OperationKind::make_directory : OperationKind::create, directory, 0, 0,
                    crc32c(bytes_of(name)));
  const std::uint64_t names = directory.seen.size();
  if (!filesystem_.has_room(1 + (names + 1) / 64 - names / 64)) {
    filesystem_.end();
    return error(Code::no_space, path() + "/" + std::string(name) + ": no space left");
  }
  const std::uint64_t id = filesystem_.add_inode(is_directory, inode_, name);
  filesystem_.change_names(directory, {filesystem_.operations_, "", std::string(name), id, 0});
  filesystem_.end();
  return id;
}

Result<std::unique_ptr<wal::File>> SimDirectory::create(std::string_view name, wal::Access access) {
  if (auto ok = check_name(name); !ok) return std::unexpected(ok.error());
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  if (filesystem_.inode(inode_).seen.contains(name)) {
    return error(Code::exists, path() + "/" + std::string(name) + ": exists");
  }
  if (access == wal::Access::direct && !filesystem_.has_direct_) {
    return error(Code::failed, path() + ": no direct access here");
  }
  if (filesystem_.out_of_descriptors_) return error(Code::over_limit, path() + ": too many open files");
  auto id = add(name, false);
  if (!id) return std::unexpected(id.error());
  return std::make_unique<SimFile>(filesystem_, *id, access);
}

Result<std::unique_ptr<wal::File>> SimDirectory::open(std::string_view name, wal::Access access) {
  if (auto ok = check_name(name); !ok) return std::unexpected(ok.error());
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  const auto& names = filesystem_.inode(inode_).seen;
  const auto found = names.find(name);
  if (found == names.end()) return error(Code::not_found, path() + "/" + std::string(name) + ": not found");
  if (filesystem_.inode(found->second).is_directory) {
    return error(Code::failed, path() + "/" + std::string(name) + ": is a directory");
  }
  if (access == wal::Access::direct && !filesystem_.has_direct_) {
    return error(Code::failed, path() + ": no direct access here");
  }
  if (filesystem_.out_of_descriptors_) return error(Code::over_limit, path() + ": too many open files");
  return std::make_unique<SimFile>(filesystem_, found->second, access);
}

Result<std::unique_ptr<wal::Directory>> SimDirectory::subdirectory(std::string_view name, bool create) {
  if (auto ok = check_name(name); !ok) return std::unexpected(ok.error());
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  const auto& names = filesystem_.inode(inode_).seen;
  const auto found = names.find(name);
  if (found == names.end()) {
    if (!create) return error(Code::not_found, path() + "/" + std::string(name) + ": not found");
    auto id = add(name, true);
    if (!id) return std::unexpected(id.error());
    return std::make_unique<SimDirectory>(filesystem_, *id);
  }
  if (!filesystem_.inode(found->second).is_directory) {
    return error(Code::failed, path() + "/" + std::string(name) + ": is not a directory");
  }
  return std::make_unique<SimDirectory>(filesystem_, found->second);
}

Result<void> SimDirectory::rename(std::string_view from, std::string_view to) {
  if (auto ok = check_name(from); !ok) return ok;
  if (auto ok = check_name(to); !ok) return ok;
  if (auto ok = usable(); !ok) return ok;
  SimFilesystem::Inode& directory = filesystem_.inode(inode_);
  const auto found = directory.seen.find(from);
  if (found == directory.seen.end()) return error(Code::not_found, path() + "/" + std::string(from) + ": not found");
  if (from == to) return {};
  const std::uint64_t moved = found->second;
  const auto target = directory.seen.find(to);
  const std::uint64_t replaced = target == directory.seen.end() ? 0 : target->second;
  if (replaced != 0 && (filesystem_.inode(replaced).is_directory || filesystem_.inode(moved).is_directory)) {
    return error(Code::exists, path() + "/" + std::string(to) + ": exists, and only a file may replace a file");
  }
  filesystem_.begin(OperationKind::rename, directory, 0, 0, crc32c(bytes_of(from)) * 31ull + crc32c(bytes_of(to)));
  filesystem_.change_names(directory, {filesystem_.operations_, std::string(from), std::string(to), moved, replaced});
  filesystem_.end();
  return {};
}

Result<void> SimDirectory::remove(std::string_view name) {
  if (auto ok = check_name(name); !ok) return ok;
  if (auto ok = usable(); !ok) return ok;
  SimFilesystem::Inode& directory = filesystem_.inode(inode_);
  const auto found = directory.seen.find(name);
  if (found == directory.seen.end()) return error(Code::not_found, path() + "/" + std::string(name) + ": not found");
  const std::uint64_t id = found->second;
  if (!filesystem_.inode(id).seen.empty()) {
    return error(Code::failed, path() + "/" + std::string(name) + ": the directory is not empty");
  }
  filesystem_.begin(OperationKind::remove, directory, 0, 0, crc32c(bytes_of(name)));
  filesystem_.change_names(directory, {filesystem_.operations_, std::string(name), "", id, 0});
  filesystem_.end();
  return {};
}

Result<void> SimDirectory::sync() {
  if (auto ok = usable(); !ok) return ok;
  return filesystem_.sync_directory(filesystem_.inode(inode_));
}

Result<std::unique_ptr<wal::DirectoryLock>> SimDirectory::lock(std::string_view name) {
  if (auto ok = check_name(name); !ok) return std::unexpected(ok.error());
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  std::string full = path() + "/" + std::string(name);
  if (filesystem_.locks_.contains(full)) return error(Code::unavailable, full + ": another process holds it");
  if (!filesystem_.inode(inode_).seen.contains(name)) {
    if (auto id = add(name, false); !id) return std::unexpected(id.error());
  }
  return std::make_unique<SimLock>(filesystem_, std::move(full));
}

// One holder at a time is enough here.
Result<std::unique_ptr<wal::DirectoryLock>> SimDirectory::lock_for_reading(std::string_view name) {
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  if (!filesystem_.inode(inode_).seen.contains(name)) {
    return error(Code::not_found, path() + "/" + std::string(name) + " does not exist");
  }
  return lock(name);
}

Result<wal::Space> SimDirectory::space() {
  if (auto ok = usable(); !ok) return std::unexpected(ok.error());
  return wal::Space{filesystem_.free_pages() * kPageBytes, filesystem_.capacity_pages_ * kPageBytes};
}

SimLock::SimLock(SimFilesystem& filesystem, std::string path)
    : filesystem_(filesystem), path_(std::move(path)), generation_(filesystem.generation_) {
  filesystem_.locks_[path_] = generation_;
}

SimLock::~SimLock() {
  if (generation_ == filesystem_.generation_) filesystem_.locks_.erase(path_);
}

}  // namespace walraft::sim
