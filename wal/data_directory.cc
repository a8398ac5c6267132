#include "wal/data_directory.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "wal/base/check.h"

namespace walraft::wal {
namespace {

constexpr std::string_view kLock = "LOCK";
constexpr std::string_view kIdentity = "identity";
constexpr std::string_view kIdentityNew = "identity.new";
constexpr std::string_view kHardState = "hard_state";
constexpr std::string_view kBallast = "ballast";
constexpr std::string_view kLogs = "logs";

// What may be in a directory that nobody has used yet: mkfs makes the second.
bool is_nobodys(std::string_view name) { return name == kLock || name == "lost+found"; }

std::unexpected<Error> failure(Error error) { return std::unexpected(std::move(error)); }

bool has(const std::vector<DirectoryEntry>& entries, std::string_view name) {
  return std::ranges::any_of(entries, [&](const DirectoryEntry& entry) { return entry.name == name; });
}

Result<void> remove_if_there(Directory& root, const std::vector<DirectoryEntry>& entries, std::string_view name) {
  if (!has(entries, name)) return {};
  return root.remove(name);
}

// A half-made directory becomes an empty one. identity.new goes last: until then it tells what the
// rest is.
Result<void> remove_half_made(Directory& root, const std::vector<DirectoryEntry>& entries) {
  if (has(entries, kLogs)) {
    auto logs = root.subdirectory(kLogs, false);
    if (!logs) return failure(std::move(logs.error()));
    auto inside = (*logs)->list();
    if (!inside) return failure(std::move(inside.error()));
    if (!inside->empty()) {
      return error(Code::corrupt, root.path() +
                                      " looks half-made (it has identity.new and no identity), but logs/ is not "
                                      "empty: it has \"" +
                                      inside->front().name +
                                      "\". Restore the file identity, or move this directory away");
    }
  }
  for (const std::string_view name : {kHardState, kLogs}) {
    if (auto done = remove_if_there(root, entries, name); !done) return done;
  }
  if (auto done = root.sync(); !done) return done;
  if (auto done = root.remove(kIdentityNew); !done) return done;
  return root.sync();
}

Result<void> make(Directory& root, const Identity& identity) {
  if (auto done = create_identity(root, kIdentityNew, identity); !done) return done;
  if (auto done = root.sync(); !done) return done;
  if (auto done = HardStateFile::create(root, kHardState, identity.disk); !done) return done;
  if (auto logs = root.subdirectory(kLogs, true); !logs) return failure(std::move(logs.error()));
  if (auto done = root.sync(); !done) return done;
  if (auto done = root.rename(kIdentityNew, kIdentity); !done) return done;
  return root.sync();
}

enum class Found : std::uint8_t { whole, half_made, empty };

// Changes nothing: a directory that is not ours gets no lock file either.
Result<Found> look(Directory& root, const DataDirectoryOptions& options) {
  auto entries = root.list();
  if (!entries) return failure(std::move(entries.error()));
  if (has(*entries, kIdentity)) return Found::whole;
  const bool half_made = has(*entries, kIdentityNew);
  std::string foreign;
  bool has_parts = false;
  for (const DirectoryEntry& entry : *entries) {
    if (is_nobodys(entry.name) || entry.name == kIdentityNew) continue;
    if (entry.name == kHardState || entry.name == kLogs || entry.name == kBallast) {
      has_parts = true;
    } else if (foreign.empty()) {
      foreign = entry.name;
    }
  }
  // The ballast is made after the identity, so with one the directory was whole once.
  if (has(*entries, kBallast) || (has_parts && !half_made)) {
    return error(Code::corrupt,
                 root.path() +
                     " holds Walraft data but no identity: it may have been deleted, or not all of "
                     "the data is mounted. Restore the file identity from a backup of this directory; it "
                     "is not taken for a new one");
  }
  if (!foreign.empty()) {
    return error(Code::denied, root.path() + " is not empty and not a Walraft data directory: it has \"" + foreign +
                                   "\". Use an empty directory");
  }
  if (half_made) return Found::half_made;
  if (!options.may_create) {
    return error(Code::not_found, root.path() + " is empty, where a data directory was expected. Is the disk mounted?");
  }
  return Found::empty;
}

// "No space" with space free means that no more files can be made.
Error explain_no_space(Directory& root, Error error) {
  if (error.code != Code::no_space) return error;
  const auto space = root.space();
  if (space && space->free_bytes > 2 * (4u << 20)) error.message += " The inode table may be full: see df -i.";
  return error;
}

// Makes what look() found not to be whole; true if it did.
Result<bool> make_if_empty(Directory& root, Clock& clock, Rng& rng, const DataDirectoryOptions& options) {
  auto found = look(root, options);
  if (!found) return failure(std::move(found.error()));
  if (*found == Found::whole) {
    // A process that was killed right after the rename left it to the kernel: what we rely on is
    // made durable first.
    if (auto done = root.sync(); !done) return failure(std::move(done.error()));
    return false;
  }
  Identity identity{.cluster = options.cluster.is_none() ? random_uuid(rng) : options.cluster,
                    .cluster_name = options.cluster_name,
                    .node = options.node,
                    .disk = random_uuid(rng),
                    .created_us = std::max<std::int64_t>(0, clock.wall_us())};
  if (auto valid = check_identity(identity); !valid) return failure(std::move(valid.error()));
  if (*found == Found::half_made) {
    auto entries = root.list();
    if (!entries) return failure(std::move(entries.error()));
    if (auto done = remove_half_made(root, *entries); !done) return failure(std::move(done.error()));
  }
  if (auto done = make(root, identity); !done) {
    return failure(explain_no_space(root, std::move(done.error())).at("making the data directory " + root.path()));
  }
  return true;
}

// The wrong cluster or node: both values are named.
Result<void> check_owner(const std::string& path, const Identity& found, const DataDirectoryOptions& options) {
  if (found.cluster_name != options.cluster_name) {
    return error(Code::denied, path + " belongs to cluster \"" + found.cluster_name + "\", not to \"" +
                                   options.cluster_name + "\". Check node.data_dir and cluster.name");
  }
  if (found.node != options.node) {
    return error(Code::denied, path + " belongs to node " + std::to_string(found.node.value) + ", not to node " +
                                   std::to_string(options.node.value) + ". Check node.data_dir and node.id");
  }
  if (!options.cluster.is_none() && found.cluster != options.cluster) {
    return error(Code::denied, path + " belongs to cluster " + to_string(found.cluster) + ", not to " +
                                   to_string(options.cluster) + ", which has the same name \"" + found.cluster_name +
                                   "\". Was the cluster made anew?");
  }
  return {};
}

Result<void> check_place(Directory& root, std::vector<std::string>& notices) {
  auto place = root.place();
  if (!place) return failure(std::move(place.error()));
  if (!place->writable_by_others.empty()) {
    return error(Code::denied, "everyone may write to " + place->writable_by_others + ", so " + root.path() +
                                   " could be replaced by anyone. Run: chmod o-w " + place->writable_by_others);
  }
  if (!place->filesystem.empty() && place->filesystem != "ext4" && place->filesystem != "xfs") {
    notices.push_back(root.path() + " lies on " + place->filesystem +
                      "; ext4 and XFS are supported, others are not tested for power cuts");
  }
  return {};
}

Result<Access> choose_access(Directory& root, SyncMode sync, std::vector<std::string>& notices) {
  if (sync == SyncMode::buffered) return Access::write;
  if (root.has_direct()) return Access::direct;
  if (sync == SyncMode::direct) {
    return error(Code::invalid, "storage.sync = \"direct\", but the filesystem of " + root.path() +
                                    " has no O_DIRECT. Allowed there: \"auto\", \"buffered\"");
  }
  notices.push_back(root.path() + ": no O_DIRECT on this filesystem, so writes are buffered (storage.sync = \"auto\")");
  return Access::write;
}

// Without what was made together with the identity, the directory is not whole, and never new.
Error missing_part(Error error, const std::string& path, std::string_view part) {
  if (error.code != Code::not_found) return error;
  return {.code = Code::corrupt,
          .message = path + " has an identity, but " + std::string(part) +
                     " is missing: was it deleted, or is it not mounted? The node does not start without it, since it "
                     "could vote twice; restore it, or let the node join anew with an empty directory",
          .detail = 0};
}

}  // namespace

Result<std::unique_ptr<DataDirectory>> DataDirectory::open(std::unique_ptr<Directory> root, Disk& disk, Clock& clock,
                                                           Rng& rng, const DataDirectoryOptions& options) {
  CHECK(root != nullptr);
  std::unique_ptr<DataDirectory> data(new DataDirectory);
  data->root_ = std::move(root);
  Directory& top = *data->root_;
  const std::string path = top.path();

  if (auto good = check_place(top, data->notices_); !good) return failure(std::move(good.error()));
  if (auto found = look(top, options); !found) return failure(std::move(found.error()));
  auto lock = top.lock(kLock);
  if (!lock) return failure(explain_no_space(top, std::move(lock.error())));
  data->lock_ = std::move(*lock);

  auto made = make_if_empty(top, clock, rng, options);
  if (!made) return failure(std::move(made.error()));
  data->is_new_ = *made;

  auto identity = read_identity(top, kIdentity);
  if (!identity) return failure(std::move(identity.error()));
  data->identity_ = identity->identity;
  if (auto good = check_owner(path, data->identity_, options); !good) return failure(std::move(good.error()));
  if (!identity->damage.empty()) {
    if (auto done = repair_identity(top, kIdentity, data->identity_); !done) return failure(std::move(done.error()));
    for (std::string& line : identity->damage)
      data->notices_.push_back(std::move(line) + ", and was written again from it");
  }

  auto access = choose_access(top, options.sync, data->notices_);
  if (!access) return failure(std::move(access.error()));
  data->access_ = *access;

  auto logs = top.subdirectory(kLogs, false);
  if (!logs) return failure(missing_part(std::move(logs.error()), path, "logs/"));
  data->logs_ = std::move(*logs);

  auto hard_state = HardStateFile::open(top, kHardState, data->identity_.disk, data->access_, disk);
  if (!hard_state) return failure(missing_part(std::move(hard_state.error()), path, "hard_state"));
  data->hard_state_ = std::move(*hard_state);
  for (const std::string& line : data->hard_state_->contents().damage) data->notices_.push_back(line);

  std::uint64_t reserve = options.reserve_bytes;
  if (reserve == 0) {
    auto space = top.space();
    if (!space) return failure(std::move(space.error()));
    reserve = automatic_ballast_bytes(*space);
  }
  auto ballast = Ballast::open(top, kBallast, reserve, disk);
  if (!ballast) return failure(std::move(ballast.error()));
  data->ballast_ = std::move(*ballast);
  if (data->ballast_->state() != Ballast::State::held) {
    data->notices_.push_back(path + ": no room for the ballast of " + std::to_string(reserve) +
                             " bytes (storage.reserve_bytes); it is taken when space is freed");
  }
  return data;
}

Result<OfflineDataDirectory> OfflineDataDirectory::open(std::unique_ptr<Directory> root) {
  CHECK(root != nullptr);
  OfflineDataDirectory data;
  data.root = std::move(root);
  // Looked at first: no lock file is left behind in a directory that is not ours.
  auto entries = data.root->list();
  if (!entries) return failure(std::move(entries.error()));
  if (!has(*entries, kIdentity)) {
    const bool ours = has(*entries, kHardState) || has(*entries, kLogs);
    if (ours) return error(Code::corrupt, data.root->path() + " holds Walraft data but no identity");
    return error(Code::not_found, data.root->path() + " is not a Walraft data directory: it has no identity");
  }
  auto lock = data.root->lock(kLock);
  if (!lock) return failure(std::move(lock.error()));
  data.lock = std::move(*lock);

  auto identity = read_identity(*data.root, kIdentity);
  if (!identity) return failure(std::move(identity.error()));
  data.identity = identity->identity;
  data.damage = std::move(identity->damage);

  auto logs = data.root->subdirectory(kLogs, false);
  if (logs) {
    data.logs = std::move(*logs);
  } else {
    data.damage.push_back(std::move(logs.error().message));
  }
  auto hard_state = HardStateFile::read(*data.root, kHardState, data.identity.disk);
  if (!hard_state) {
    if (hard_state.error().code == Code::invalid) return failure(std::move(hard_state.error()));
    data.damage.push_back(std::move(hard_state.error().message));
    return data;
  }
  data.hard_state = std::move(*hard_state);
  data.damage.insert(data.damage.end(), data.hard_state.damage.begin(), data.hard_state.damage.end());
  return data;
}

}  // namespace walraft::wal
