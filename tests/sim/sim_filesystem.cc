#include "tests/sim/sim_filesystem.h"

#include <algorithm>
#include <limits>

#include "tests/sim/sim_handles.h"
#include "wal/base/check.h"
#include "wal/base/crc32c.h"
#include "wal/base/mutant.h"

namespace walraft::sim {

std::string describe(const Operation& operation) {
  static constexpr std::string_view kNames[] = {
      "write",  "sync",   "allocate",       "truncate",   "create",       "make_directory",
      "rename", "remove", "sync_directory", "disk_issue", "disk_complete"};
  return "#" + std::to_string(operation.number) + " " +
         std::string(kNames[static_cast<std::size_t>(operation.kind)]) + " " + std::string(operation.path) + " [" +
         std::to_string(operation.position) + ", +" + std::to_string(operation.bytes) + ")";
}

SimFilesystem::SimFilesystem(std::uint64_t seed, std::string name) : rng_(seed), name_(std::move(name)) {
  inodes_.resize(kRoot);
  add_inode(true, kRoot, "");
}

SimFilesystem::~SimFilesystem() = default;

std::unique_ptr<wal::Directory> SimFilesystem::root() {
  CHECK(powered_, "the power is off: crash() first");
  return std::make_unique<SimDirectory>(*this, kRoot);
}

// --- Operations ---

void SimFilesystem::power_off() {
  powered_ = false;
  crash_after_ = false;
  crash_at_ = 0;
  throw SimCrash{operations_};
}

void SimFilesystem::begin(OperationKind kind, const Inode& inode, std::uint64_t position, std::uint64_t bytes,
                          std::uint64_t content) {
  if (crash_after_) power_off();  // the one before failed on its way to end()
  if (observer_) observer_({operations_ + 1, kind, inode.path, position, bytes});
  ++operations_;
  for (const std::uint64_t part : {static_cast<std::uint64_t>(kind), inode.id, position, bytes, content}) {
    trace_hash_ = mix64(trace_hash_ ^ part);
  }
  if (operations_ != crash_at_) return;
  if (crash_moment_ == CrashMoment::before) power_off();
  crash_after_ = true;
}

void SimFilesystem::end() {
  if (crash_after_) power_off();
}

void SimFilesystem::crash_at(std::uint64_t operation, CrashMoment moment) {
  CHECK(operation == 0 || operation > operations_, operation, operations_);
  crash_at_ = operation;
  crash_moment_ = moment;
}

const Fault* SimFilesystem::strike(FaultKind kind, const Inode& inode) {
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (fault->kind != kind || inode.path.find(fault->path) == std::string::npos) continue;
    if (fault->skip > 0) {
      --fault->skip;
      continue;
    }
    ++faults_struck_;
    struck_fault_ = *fault;
    if (--fault->times == 0) faults_.erase(fault);
    return &struck_fault_;
  }
  return nullptr;
}

Error SimFilesystem::failure(const Inode& inode, std::string_view what, Code code) const {
  return Error{code, name_ + "/" + inode.path + ": " + std::string(what)};
}

Result<void> SimFilesystem::write_file(Inode& inode, std::uint64_t position, ByteView bytes) {
  begin(OperationKind::write, inode, position, bytes.size(), crc32c(bytes));
  std::uint64_t holes = 0;
  for (std::uint64_t at = align_down(position, kPageBytes); at < position + bytes.size(); at += kPageBytes) {
    if (!inode.file.seen().page(at / kPageBytes)) ++holes;
  }
  Result<void> result;
  if (holes > 0 && !has_room(holes)) {
    result = std::unexpected(failure(inode, "write: no space left", Code::no_space));
  } else if (strike(FaultKind::write_fails, inode)) {
    inode.file.write(operations_, position, bytes.first(rng_.below(bytes.size() + 1)));
    result = std::unexpected(failure(inode, "write: input/output error"));
  } else if (strike(FaultKind::write_is_lost, inode)) {
    inode.file.write_lost(position, bytes);
  } else if (const Fault* fault = strike(FaultKind::write_is_misdirected, inode)) {
    inode.file.write_lost(position, bytes);
    inode.file.write_on_medium(position + static_cast<std::uint64_t>(fault->misdirected_by), bytes);
  } else {
    inode.file.write(operations_, position, bytes);
  }
  charge(inode);
  end();
  return result;
}

Result<void> SimFilesystem::sync_file(Inode& inode) {
  CHECK(in_flight_of(inode.id).empty(), "a sync while a write to the file is in flight", inode.path);
  begin(OperationKind::sync, inode);
  Result<void> result;
  if (strike(FaultKind::sync_fails, inode)) {
    result = std::unexpected(failure(inode, "sync: input/output error"));
  } else if (strike(FaultKind::sync_drops, inode)) {
    inode.file.forget_unsynced();
    // Tried again, as the mutant does, it reports success: that is the lie.
    if (!mutant(Mutant::m26_sync_error_retried)) result = std::unexpected(failure(inode, "sync: input/output error"));
  } else if (!strike(FaultKind::sync_lies, inode)) {
    inode.file.sync();
  }
  end();
  return result;
}

Result<void> SimFilesystem::sync_directory(Inode& directory) {
  begin(OperationKind::sync_directory, directory);
  Result<void> result;
  if (strike(FaultKind::sync_fails, directory) || strike(FaultKind::sync_drops, directory)) {
    result = std::unexpected(failure(directory, "sync: input/output error"));
  } else if (!strike(FaultKind::sync_lies, directory)) {
    sync_names(directory);
  }
  end();
  return result;
}

void SimFilesystem::issue_write(InodeId file, std::uint64_t position, ByteView bytes) {
  Inode& target = inode(file);
  begin(OperationKind::disk_issue, target, position, bytes.size(), crc32c(bytes));
  auto next = in_flight_.lower_bound({file, position});
  CHECK(next == in_flight_.end() || next->first.first != file || next->first.second >= position + bytes.size(),
        "two writes in flight on one block", target.path, position, bytes.size());
  if (next != in_flight_.begin()) {
    const InFlightWrite& before = std::prev(next)->second;
    CHECK(before.file != file || before.end() <= position, "two writes in flight on one block", target.path, position);
  }
  InFlightWrite& write = in_flight_[{file, position}];
  write = {operations_, file, position, {}};
  write.pages.reserve(bytes.size() / kPageBytes);
  for (std::uint64_t at = 0; at < bytes.size(); at += kPageBytes) {
    write.pages.push_back(new_page(bytes.subspan(at, kPageBytes)));
  }
  end();
}

Result<void> SimFilesystem::complete_write(InodeId file, std::uint64_t position, ByteView bytes) {
  Inode& target = inode(file);
  begin(OperationKind::disk_complete, target, position, bytes.size());
  const auto found = in_flight_.find({file, position});
  CHECK(found != in_flight_.end(), target.path, position);
  const InFlightWrite write = std::move(found->second);
  in_flight_.erase(found);
  std::uint64_t holes = 0;
  for (std::size_t i = 0; i < write.pages.size(); ++i) {
    const ByteView now = bytes.subspan(i * kPageBytes, kPageBytes);
    CHECK(std::ranges::equal(now, write.pages[i]->bytes), "the bytes of a write in flight were changed", target.path,
          position + i * kPageBytes);
    if (!target.file.seen().page(position / kPageBytes + i)) ++holes;
  }
  Result<void> result;
  if (holes > 0 && !has_room(holes)) {  // what is there may be written again, however full it is
    result = std::unexpected(failure(target, "disk write: no space left", Code::no_space));
  } else if (strike(FaultKind::write_fails, target)) {
    Fate fate(CrashChoice::keep_random(rng_.next()), write.sequence, write.sequence);
    target.file.complete_torn(write, fate);
    if (!mutant(Mutant::m26_sync_error_retried)) {
      result = std::unexpected(failure(target, "disk write: input/output error"));
    }
  } else if (strike(FaultKind::write_is_lost, target)) {
    // Acknowledged, and nowhere.
  } else if (const Fault* fault = strike(FaultKind::write_is_misdirected, target)) {
    InFlightWrite elsewhere = write;
    elsewhere.position += static_cast<std::uint64_t>(fault->misdirected_by);
    CHECK(elsewhere.end() <= target.file.seen().size(), elsewhere.position);
    target.file.complete(elsewhere);
  } else if (is_cached()) {
    target.file.complete_in_cache(write);
  } else {
    target.file.complete(write);
  }
  charge(target);
  end();
  return result;
}

void SimFilesystem::close_write(InodeId file, std::uint64_t position, bool reaches) {
  const auto found = in_flight_.find({file, position});
  CHECK(found != in_flight_.end(), file, position);
  FileState& target = inode(file).file;
  if (reaches) is_cached() ? target.complete_in_cache(found->second) : target.complete(found->second);
  in_flight_.erase(found);
}

bool SimFilesystem::is_cached() const { return volatile_cache_ || mutant(Mutant::m31_no_dsync); }

std::vector<const InFlightWrite*> SimFilesystem::in_flight_of(InodeId file) const {
  std::vector<const InFlightWrite*> writes;
  for (auto at = in_flight_.lower_bound({file, 0}); at != in_flight_.end() && at->first.first == file; ++at) {
    writes.push_back(&at->second);
  }
  return writes;
}

// --- Inodes and space ---

SimFilesystem::Inode& SimFilesystem::inode(InodeId id) const {
  CHECK(id < inodes_.size() && inodes_[id] != nullptr, id);
  return *inodes_[id];
}

SimFilesystem::InodeId SimFilesystem::add_inode(bool is_directory, InodeId parent, std::string_view name) {
  auto made = std::make_unique<Inode>();
  made->id = inodes_.size();
  made->is_directory = is_directory;
  made->parent = parent;
  if (made->id != kRoot && !inode(parent).path.empty()) made->path = inode(parent).path + "/";
  made->path += name;
  inodes_.push_back(std::move(made));
  charge(*inodes_.back());
  return inodes_.back()->id;
}

void SimFilesystem::charge(Inode& inode) {
  const bool takes_space = inode.linked || inode.open_handles > 0;
  const std::uint64_t pages = takes_space ? 1 + inode.file.seen().allocated_pages() + inode.seen.size() / 64 : 0;
  used_pages_ += pages;
  used_pages_ -= inode.charged_pages;
  inode.charged_pages = pages;
}

std::uint64_t SimFilesystem::open_handles(std::string_view path) const {
  const InodeId id = find(path);
  return id == 0 ? 0 : inode(id).open_handles;
}

void SimFilesystem::opened(InodeId id) { ++inode(id).open_handles; }

void SimFilesystem::closed(InodeId id) {
  Inode& target = inode(id);
  CHECK(target.open_handles > 0);
  if (--target.open_handles == 0 && !target.linked) charge(target);
}

SimFilesystem::InodeId SimFilesystem::find(std::string_view path) const {
  InodeId at = kRoot;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const Names& names = inode(at).seen;
    const auto found = names.find(path.substr(0, slash));
    if (found == names.end()) return 0;
    at = found->second;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return at;
}

SimFilesystem::Inode& SimFilesystem::must_find(std::string_view path) const {
  const InodeId id = find(path);
  CHECK(id != 0, "no such file", path);
  return inode(id);
}

// --- Damage and inspection ---

void SimFilesystem::flip_bit(std::string_view path, std::uint64_t position, unsigned bit) {
  Inode& target = must_find(path);
  CHECK(position < target.file.seen().size() && bit < 8, path, position, bit);
  target.file.flip_bit(position, bit);
}

void SimFilesystem::make_unreadable(std::string_view path, std::uint64_t position, std::uint64_t bytes) {
  must_find(path).file.mark_unreadable(position, bytes);
}

void SimFilesystem::truncate_on_medium(std::string_view path, std::uint64_t bytes) {
  Image cut = image(path);
  cut.resize(bytes);
  restore(path, cut);
}

Image SimFilesystem::image(std::string_view path) const { return must_find(path).file.seen(); }

void SimFilesystem::restore(std::string_view path, const Image& image) {
  Inode& target = must_find(path);
  target.file.replace(image);
  charge(target);
}

std::uint64_t SimFilesystem::size_of(std::string_view path) const { return must_find(path).file.seen().size(); }

bool SimFilesystem::exists(std::string_view path) const { return find(path) != 0; }

}  // namespace walraft::sim
