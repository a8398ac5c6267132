#pragma once

// A filesystem and a disk in memory that a test can cut the power of at any operation, and then look
// at every state that the medium may be in: each 512-byte sector that was not synced, and each name
// that was not synced, is there or is not, in any combination. tests/sim has the filesystem for long
// random runs; this one is for exhaustive short ones.

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "wal/base/check.h"
#include "wal/disk.h"
#include "wal/filesystem.h"

namespace walraft::wal::crash {

inline constexpr std::size_t kSectorBytes = 512;

struct PowerCut {};  // thrown by the operation at which the power goes

struct Inode {
  bool is_directory = false;
  std::vector<std::byte> now;      // as the process sees it
  std::vector<std::byte> durable;  // as it surely is after a power cut
  std::map<std::string, std::shared_ptr<Inode>> names;
  struct NameChange {
    std::string name;
    std::shared_ptr<Inode> inode;  // null: removed
  };
  std::vector<std::vector<NameChange>> unsynced_names;  // each group is atomic (rename)
  std::map<std::string, std::shared_ptr<Inode>> durable_names;
};

// The whole medium, shared by all directories and files that were opened on it.
struct Medium {
  std::shared_ptr<Inode> root = std::make_shared<Inode>();
  std::set<std::string> locks;
  std::uint64_t total_bytes = 1u << 30;
  std::uint64_t used_bytes_by_others = 0;
  bool has_direct = true;

  // Changing operations so far; the one that reaches `cut_at` throws.
  std::uint64_t operations = 0;
  std::optional<std::uint64_t> cut_at;
  // An error to return from an operation instead of doing it: "create", "write", "sync", ...
  std::function<std::optional<Error>(std::string_view operation, std::string_view path)> fault;

  Medium() { root->is_directory = true; }

  Result<void> operation(std::string_view what, std::string_view path) {
    if (cut_at && operations >= *cut_at) throw PowerCut{};
    ++operations;
    if (fault) {
      if (auto e = fault(what, path)) return std::unexpected(*e);
    }
    return {};
  }

  static std::uint64_t bytes_of_tree(const Inode& inode) {
    std::uint64_t sum = inode.now.size();
    for (const auto& [name, child] : inode.names) sum += bytes_of_tree(*child);
    return sum;
  }
  std::uint64_t used_bytes() const { return used_bytes_by_others + bytes_of_tree(*root); }
  std::uint64_t free_bytes() const { return total_bytes - std::min(total_bytes, used_bytes()); }

  // What is not certain, in a fixed order: one choice each for survive().
  std::size_t uncertain() const {
    std::size_t n = 0;
    visit(*root, [&](const Inode& inode) { n += uncertain_of(inode); });
    return n;
  }

  // The medium after the power cut, where `kept(i)` says whether the i-th uncertain thing is there.
  std::unique_ptr<Medium> survive(const std::function<bool(std::size_t)>& kept) const {
    auto after = std::make_unique<Medium>();
    after->total_bytes = total_bytes;
    after->used_bytes_by_others = used_bytes_by_others;
    after->has_direct = has_direct;
    std::map<const Inode*, std::shared_ptr<Inode>> copies;
    std::size_t next = 0;
    visit(*root, [&](const Inode& inode) {
      auto copy = inode.is_directory ? std::make_shared<Inode>() : survive_file(inode, kept, next);
      copy->is_directory = inode.is_directory;
      copies[&inode] = copy;
      if (!inode.is_directory) return;
      auto names = inode.durable_names;
      for (const auto& group : inode.unsynced_names) {
        if (!kept(next++)) continue;
        for (const auto& change : group) {
          if (change.inode) {
            names[change.name] = change.inode;
          } else {
            names.erase(change.name);
          }
        }
      }
      copy->names = names;
    });
    for (auto& [original, copy] : copies) {
      for (auto& [name, inode] : copy->names) inode = copies.at(inode.get());
      copy->durable_names = copy->names;
    }
    after->root = copies.at(root.get());
    return after;
  }

 private:
  // Every inode that may be reached after a cut, each once, in a fixed order.
  static void visit(const Inode& top, const std::function<void(const Inode&)>& each) {
    std::set<const Inode*> seen;
    std::function<void(const Inode&)> walk = [&](const Inode& inode) {
      if (!seen.insert(&inode).second) return;
      each(inode);
      for (const auto& [name, child] : inode.durable_names) walk(*child);
      for (const auto& group : inode.unsynced_names) {
        for (const auto& change : group) {
          if (change.inode) walk(*change.inode);
        }
      }
    };
    walk(top);
  }

  static bool sector_differs(const Inode& inode, std::size_t sector) {
    const std::size_t from = sector * kSectorBytes;
    if (from + kSectorBytes <= std::min(inode.now.size(), inode.durable.size())) {
      return std::memcmp(inode.now.data() + from, inode.durable.data() + from, kSectorBytes) != 0;
    }
    for (std::size_t i = from; i < from + kSectorBytes; ++i) {
      const bool in_now = i < inode.now.size();
      const bool in_durable = i < inode.durable.size();
      if (!in_now && !in_durable) return false;
      if ((in_now ? inode.now[i] : std::byte{0}) != (in_durable ? inode.durable[i] : std::byte{0})) return true;
    }
    return false;
  }

  static std::size_t uncertain_of(const Inode& inode) {
    std::size_t n = inode.unsynced_names.size();
    if (inode.is_directory) return n;
    if (inode.now.size() != inode.durable.size()) ++n;
    const std::size_t sectors = (std::max(inode.now.size(), inode.durable.size()) + kSectorBytes - 1) / kSectorBytes;
    for (std::size_t s = 0; s < sectors; ++s) n += sector_differs(inode, s) ? 1 : 0;
    return n;
  }

  static std::shared_ptr<Inode> survive_file(const Inode& inode, const std::function<bool(std::size_t)>& kept,
                                             std::size_t& next) {
    auto copy = std::make_shared<Inode>();
    std::size_t size = inode.durable.size();
    if (inode.now.size() != size && kept(next++)) size = inode.now.size();
    copy->now = inode.durable;
    const std::size_t widest = std::max(inode.now.size(), inode.durable.size());
    copy->now.resize(widest);
    for (std::size_t s = 0; s < (widest + kSectorBytes - 1) / kSectorBytes; ++s) {
      if (!sector_differs(inode, s) || !kept(next++)) continue;
      for (std::size_t i = s * kSectorBytes; i < std::min(widest, (s + 1) * kSectorBytes); ++i) {
        copy->now[i] = i < inode.now.size() ? inode.now[i] : std::byte{0};
      }
    }
    copy->now.resize(size);
    copy->durable = copy->now;
    return copy;
  }
};

class MemoryFile final : public File {
 public:
  MemoryFile(Medium& medium, std::shared_ptr<Inode> inode, std::string path)
      : medium_(medium), inode_(std::move(inode)), path_(std::move(path)) {}

  Result<std::size_t> read(std::uint64_t position, MutableBytes into) override {
    if (medium_.fault) {
      if (auto e = medium_.fault("read", path_)) return std::unexpected(*e);
    }
    if (position >= inode_->now.size()) return 0;
    const std::size_t n = std::min(into.size(), inode_->now.size() - position);
    std::copy_n(inode_->now.begin() + position, n, into.begin());
    return n;
  }
  Result<void> write(std::uint64_t position, ByteView bytes) override {
    // The power goes in the middle of a write: it has reached the cache as a whole, the medium in part.
    auto allowed = cut_after("write", [&] { put(position, bytes); });
    if (!allowed) return allowed;
    if (position + bytes.size() > inode_->now.size() && bytes.size() > medium_.free_bytes()) {
      return error(Code::no_space, path_ + ": no space left");
    }
    put(position, bytes);
    return {};
  }
  Result<void> sync() override {
    if (auto allowed = medium_.operation("sync", path_); !allowed) return allowed;
    inode_->durable = inode_->now;
    return {};
  }
  Result<void> allocate(std::uint64_t bytes) override {
    if (auto allowed = medium_.operation("allocate", path_); !allowed) return allowed;
    if (bytes > inode_->now.size()) {
      if (bytes - inode_->now.size() > medium_.free_bytes()) return error(Code::no_space, path_ + ": no space left");
      inode_->now.resize(bytes);
    }
    return {};
  }
  Result<void> truncate(std::uint64_t bytes) override {
    if (auto allowed = medium_.operation("truncate", path_); !allowed) return allowed;
    inode_->now.resize(bytes);
    return {};
  }
  Result<std::uint64_t> size() override { return inode_->now.size(); }
  void drop_cache() override {}
  int descriptor() const override { return -1; }

  Inode& inode() { return *inode_; }

 private:
  void put(std::uint64_t position, ByteView bytes) {
    if (inode_->now.size() < position + bytes.size()) inode_->now.resize(position + bytes.size());
    std::copy(bytes.begin(), bytes.end(), inode_->now.begin() + position);
  }
  Result<void> cut_after(std::string_view what, const std::function<void()>& effect) {
    if (medium_.cut_at && medium_.operations >= *medium_.cut_at) effect();
    return medium_.operation(what, path_);
  }

  Medium& medium_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
};

class MemoryLock final : public DirectoryLock {
 public:
  MemoryLock(Medium& medium, std::string path) : medium_(medium), path_(std::move(path)) {}
  ~MemoryLock() override { medium_.locks.erase(path_); }

 private:
  Medium& medium_;
  std::string path_;
};

class MemoryDirectory final : public Directory {
 public:
  explicit MemoryDirectory(Medium& medium) : MemoryDirectory(medium, medium.root, "/memory") {}
  MemoryDirectory(Medium& medium, std::shared_ptr<Inode> inode, std::string path)
      : medium_(medium), inode_(std::move(inode)), path_(std::move(path)) {}

  Result<std::vector<DirectoryEntry>> list() override {
    std::vector<DirectoryEntry> entries;
    for (const auto& [name, inode] : inode_->names) entries.push_back({name, inode->is_directory});
    return entries;
  }
  Result<std::unique_ptr<File>> create(std::string_view name, Access access) override {
    if (auto allowed = medium_.operation("create", at(name)); !allowed) return std::unexpected(allowed.error());
    if (inode_->names.contains(std::string(name))) return error(Code::exists, at(name) + " exists");
    add(name, std::make_shared<Inode>());
    return open(name, access);
  }
  Result<std::unique_ptr<File>> open(std::string_view name, Access access) override {
    if (medium_.fault) {
      if (auto e = medium_.fault("open", at(name))) return std::unexpected(*e);
    }
    const auto found = inode_->names.find(std::string(name));
    if (found == inode_->names.end()) return error(Code::not_found, at(name) + " is missing");
    if (access == Access::direct && !medium_.has_direct) return error(Code::invalid, at(name) + ": no direct access");
    return std::make_unique<MemoryFile>(medium_, found->second, at(name));
  }
  Result<std::unique_ptr<Directory>> subdirectory(std::string_view name, bool create) override {
    auto found = inode_->names.find(std::string(name));
    if (found == inode_->names.end()) {
      if (!create) return error(Code::not_found, at(name) + " is missing");
      if (auto allowed = medium_.operation("mkdir", at(name)); !allowed) return std::unexpected(allowed.error());
      auto inode = std::make_shared<Inode>();
      inode->is_directory = true;
      add(name, inode);
      found = inode_->names.find(std::string(name));
    }
    if (!found->second->is_directory) return error(Code::failed, at(name) + " is not a directory");
    return std::make_unique<MemoryDirectory>(medium_, found->second, at(name));
  }
  Result<void> rename(std::string_view from, std::string_view to) override {
    if (auto allowed = medium_.operation("rename", at(from)); !allowed) return allowed;
    const auto found = inode_->names.find(std::string(from));
    if (found == inode_->names.end()) return error(Code::not_found, at(from) + " is missing");
    auto inode = found->second;
    inode_->names.erase(found);
    inode_->names[std::string(to)] = inode;
    inode_->unsynced_names.push_back({{std::string(to), inode}, {std::string(from), nullptr}});
    return {};
  }
  Result<void> remove(std::string_view name) override {
    if (auto allowed = medium_.operation("remove", at(name)); !allowed) return allowed;
    if (inode_->names.erase(std::string(name)) == 0) return error(Code::not_found, at(name) + " is missing");
    inode_->unsynced_names.push_back({{std::string(name), nullptr}});
    return {};
  }
  Result<void> sync() override {
    if (auto allowed = medium_.operation("sync", path_); !allowed) return allowed;
    inode_->durable_names = inode_->names;
    inode_->unsynced_names.clear();
    return {};
  }
  Result<std::unique_ptr<DirectoryLock>> lock_for_reading(std::string_view name) override {
    if (!inode_->names.contains(std::string(name))) return error(Code::not_found, at(name) + " is missing");
    return lock(name);
  }
  Result<std::unique_ptr<DirectoryLock>> lock(std::string_view name) override {
    if (!medium_.locks.insert(at(name)).second) return error(Code::unavailable, at(name) + " is held by process 4711");
    return std::make_unique<MemoryLock>(medium_, at(name));
  }
  Result<Space> space() override { return Space{medium_.free_bytes(), medium_.total_bytes}; }
  bool has_direct() override { return medium_.has_direct; }
  std::string path() const override { return path_; }

 private:
  std::string at(std::string_view name) const { return path_ + "/" + std::string(name); }
  void add(std::string_view name, std::shared_ptr<Inode> inode) {
    inode_->names[std::string(name)] = inode;
    inode_->unsynced_names.push_back({{std::string(name), inode}});
  }

  Medium& medium_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
};

// Holds writes until poll(): until then they have reached the cache, and of the medium what the
// power cut leaves.
class MemoryDisk final : public Disk {
 public:
  void write(DurableWrite& write) override {
    auto& file = dynamic_cast<MemoryFile&>(*write.file);
    CHECK(write.position % kBlockBytes == 0 && write.bytes.size() % kBlockBytes == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(write.bytes.data()) % kBlockBytes == 0);
    Inode& inode = file.inode();
    CHECK(write.position + write.bytes.size() <= inode.now.size());
    for (const DurableWrite* other : in_flight_) {
      const bool apart = other->file != write.file || other->position >= write.position + write.bytes.size() ||
                         write.position >= other->position + other->bytes.size();
      CHECK(apart, write.position);
    }
    std::copy(write.bytes.begin(), write.bytes.end(), inode.now.begin() + write.position);
    in_flight_.push_back(&write);
    ++stats_.writes;
    stats_.written_bytes += write.bytes.size();
  }
  void submit() override {}
  std::size_t poll() override {
    std::size_t n = 0;
    for (DurableWrite* write : std::exchange(in_flight_, {})) {
      complete(*write);
      ++n;
    }
    for (auto& [work, done] : std::exchange(background_, {})) {
      done(work());
      ++n;
    }
    return n;
  }
  void wait(std::uint64_t) override {}
  int event_descriptor() const override { return -1; }
  void background_slowly(Work work, Done done) override { background(0, std::move(work), std::move(done)); }
  void background(std::uint64_t, Work work, Done done) override {
    background_.emplace_back(std::move(work), std::move(done));
  }
  void fail(const Error& error) override {
    if (failed_) return;
    failed_ = true;
    if (handler_) handler_(error);
  }
  bool failed() const override { return failed_; }
  void on_failure(FailureHandler handler) override { handler_ = std::move(handler); }
  std::uint64_t oldest_write_age_us() const override { return 0; }
  const DiskStats& stats() const override { return stats_; }
  std::string_view method() const override { return "memory"; }

  const std::vector<DurableWrite*>& in_flight() const { return in_flight_; }

  // Completes one write only.
  void complete_one(std::size_t i) {
    DurableWrite* write = in_flight_.at(i);
    in_flight_.erase(in_flight_.begin() + i);
    complete(*write);
  }

 private:
  static void complete(DurableWrite& write) {
    Inode& inode = dynamic_cast<MemoryFile&>(*write.file).inode();
    if (inode.durable.size() < inode.now.size()) inode.durable.resize(inode.now.size());
    std::copy(write.bytes.begin(), write.bytes.end(), inode.durable.begin() + write.position);
    write.on_durable();
  }

  std::vector<DurableWrite*> in_flight_;
  std::vector<std::pair<Work, Done>> background_;
  FailureHandler handler_;
  bool failed_ = false;
  DiskStats stats_;
};

}  // namespace walraft::wal::crash
