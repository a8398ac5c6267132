// Names of a SimFilesystem: what is in which directory, now and after a power cut. And the crash of
// the whole, of which names are the larger part.

#include <algorithm>
#include <limits>
#include <set>

#include "tests/sim/sim_filesystem.h"
#include "wal/base/check.h"

namespace walraft::sim {

void SimFilesystem::unlink(InodeId id) {
  Inode& gone = inode(id);
  gone.linked = false;
  charge(gone);
  orphans_.push_back(id);
}

void SimFilesystem::change_names(Inode& directory, NameChange change) {
  if (!change.from.empty()) directory.seen.erase(change.from);
  if (change.to.empty()) {
    unlink(change.inode);
  } else {
    if (change.replaced != 0) unlink(change.replaced);
    directory.seen[change.to] = change.inode;
    const std::string prefix = directory.path.empty() ? "" : directory.path + "/";
    inode(change.inode).path = prefix + change.to;
  }
  directory.unsynced.push_back(std::move(change));
  charge(directory);
}

void SimFilesystem::sync_names(Inode& directory) {
  directory.durable = directory.seen;
  directory.unsynced.clear();
  release_orphans();
}

// Drops the contents of what no crash can bring back and nobody has open.
void SimFilesystem::release_orphans() {
  std::erase_if(orphans_, [&](InodeId id) {
    if (!inodes_[id]) return true;
    const Inode& orphan = inode(id);
    if (orphan.open_handles > 0 || !in_flight_of(id).empty()) return false;
    if (const Inode* parent = inodes_[orphan.parent].get()) {
      for (const auto& [name, durable] : parent->durable) {
        if (durable == id) return false;
      }
      for (const NameChange& change : parent->unsynced) {
        if (change.inode == id || change.replaced == id) return false;
      }
    }
    inodes_[id].reset();
    return true;
  });
}

void SimFilesystem::crash_names(Inode& directory, Fate& fate) {
  // From the newest to the oldest: what is kept pulls along what came before it on the same things.
  std::vector<bool> kept(directory.unsynced.size());
  std::set<std::string_view> names;
  std::set<InodeId> files;
  for (std::size_t i = directory.unsynced.size(); i-- > 0;) {
    const NameChange& change = directory.unsynced[i];
    kept[i] = fate.keeps_change(change.sequence) || names.contains(change.from) || names.contains(change.to) ||
              files.contains(change.inode) || files.contains(change.replaced);
    if (!kept[i]) continue;
    if (!change.from.empty()) names.insert(change.from);
    if (!change.to.empty()) names.insert(change.to);
    files.insert(change.inode);
    if (change.replaced != 0) files.insert(change.replaced);
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (!kept[i]) continue;
    NameChange& change = directory.unsynced[i];
    if (!change.from.empty()) directory.durable.erase(change.from);
    if (!change.to.empty()) directory.durable[change.to] = change.inode;
  }
  directory.unsynced.clear();
  directory.seen = directory.durable;
}

void SimFilesystem::crash(CrashChoice choice) {
  ++generation_;
  powered_ = true;
  crash_after_ = false;
  crash_at_ = 0;
  locks_.clear();
  if (choice.kind == CrashChoice::Kind::kill_process) {
    for (const auto& [key, write] : in_flight_) {
      FileState& file = inode(write.file).file;
      is_cached() ? file.complete_in_cache(write) : file.complete(write);
    }
  } else {
    std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t newest = 0;
    for (const auto& node : inodes_) {
      if (!node) continue;
      node->file.add_unsynced(oldest, newest);
      for (const NameChange& change : node->unsynced) {
        oldest = std::min(oldest, change.sequence);
        newest = std::max(newest, change.sequence);
      }
    }
    for (const auto& [key, write] : in_flight_) {
      oldest = std::min(oldest, write.sequence);
      newest = std::max(newest, write.sequence);
    }
    Fate fate(choice, oldest, newest);
    for (const auto& node : inodes_) {
      if (!node) continue;
      const std::vector<const InFlightWrite*> writes = in_flight_of(node->id);
      if (!node->file.clean() || !writes.empty()) node->file.crash(fate, writes);
      if (!node->unsynced.empty()) crash_names(*node, fate);
    }
  }
  in_flight_.clear();
  for (const auto& node : inodes_) {
    if (node) node->open_handles = 0;
  }
  release_unreachable();
}

// After a crash: what the tree holds is linked, the rest is gone or, after a kill, may come back.
void SimFilesystem::release_unreachable() {
  for (const auto& node : inodes_) {
    if (node) node->linked = false;
  }
  std::vector<InodeId> open = {kRoot};
  inode(kRoot).linked = true;
  while (!open.empty()) {
    Inode& directory = inode(open.back());
    open.pop_back();
    for (const auto& [name, id] : directory.seen) {
      Inode& child = inode(id);
      child.linked = true;
      child.path = directory.path.empty() ? name : directory.path + "/" + name;
      if (child.is_directory) open.push_back(id);
    }
  }
  orphans_.clear();
  for (const auto& node : inodes_) {
    if (!node) continue;
    charge(*node);
    if (!node->linked) orphans_.push_back(node->id);
  }
  release_orphans();
}

std::unique_ptr<SimFilesystem> SimFilesystem::fork() const {
  auto copy = std::make_unique<SimFilesystem>(1, name_);
  copy->rng_ = rng_;
  copy->inodes_.clear();
  copy->inodes_.reserve(inodes_.size());
  for (const auto& node : inodes_) copy->inodes_.push_back(node ? std::make_unique<Inode>(*node) : nullptr);
  copy->in_flight_ = in_flight_;
  copy->orphans_ = orphans_;
  copy->faults_ = faults_;
  copy->faults_struck_ = faults_struck_;
  copy->capacity_pages_ = capacity_pages_;
  copy->used_pages_ = used_pages_;
  copy->has_direct_ = has_direct_;
  copy->volatile_cache_ = volatile_cache_;
  copy->operations_ = operations_;
  copy->generation_ = generation_;
  copy->trace_hash_ = trace_hash_;
  copy->powered_ = false;
  return copy;
}

bool SimFilesystem::name_survives(std::string_view path) const {
  InodeId at = kRoot;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    const Inode& directory = inode(at);
    const auto seen = directory.seen.find(name);
    const auto durable = directory.durable.find(name);
    if (seen == directory.seen.end() || durable == directory.durable.end() || seen->second != durable->second) {
      return false;
    }
    for (const NameChange& change : directory.unsynced) {
      if (change.from == name || change.to == name) return false;
    }
    at = seen->second;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return true;
}

bool SimFilesystem::survives(std::string_view path, std::uint64_t position, ByteView bytes) const {
  if (!name_survives(path)) return false;
  const Inode& target = must_find(path);
  return target.file.survives(position, bytes, in_flight_of(target.id));
}

void SimFilesystem::delete_on_medium(std::string_view path) {
  const Inode& gone = must_find(path);
  CHECK(gone.id != kRoot);
  Inode& directory = inode(gone.parent);
  const InodeId id = gone.id;
  const auto is_gone = [&](const auto& entry) { return entry.second == id; };
  directory.durable.erase(path.find('/') == std::string_view::npos ? std::string(path)
                                                                   : std::string(path.substr(path.rfind('/') + 1)));
  std::erase_if(directory.seen, is_gone);
  std::erase_if(directory.durable, is_gone);
  std::erase_if(directory.unsynced, [&](const NameChange& change) { return change.inode == id; });
  unlink(id);
  charge(directory);
}

}  // namespace walraft::sim
