#include "wal/ballast.h"

#include <algorithm>
#include <string>
#include <utility>

namespace walraft::wal {

// Outlives the ballast while a job of it is on its way; the job itself touches the file only.
struct Ballast::Shared {
  Shared(Directory& directory_of, Disk& disk_of) : directory(directory_of), disk(disk_of) {}

  Directory& directory;
  Disk& disk;
  std::string name;
  std::shared_ptr<File> file;  // null: there was no room for it
  std::uint64_t bytes = 0;
  State state = State::released;
  std::uint64_t jobs = 0;  // queued; the disk runs them in order
  bool closed = false;
};

namespace {

// Opens the file, or makes it, its name durable.
Result<std::unique_ptr<File>> open_or_create(Directory& directory, std::string_view name) {
  auto file = directory.open(name, Access::write);
  if (file || file.error().code != Code::not_found) return file;
  file = directory.create(name, Access::write);
  if (!file) return file;
  if (auto done = directory.sync(); !done) return std::unexpected(std::move(done.error()));
  return file;
}

// Both durable when they return.
Result<void> give_back(File& file) {
  if (auto done = file.truncate(0); !done) return done;
  return file.sync();
}

Result<void> take(File& file, std::uint64_t bytes) {
  if (auto size = file.size(); size && *size > bytes) {
    if (auto done = file.truncate(bytes); !done) return done;
  }
  if (auto done = file.allocate(bytes); !done) {
    // Half a ballast is none, and the space is wanted elsewhere.
    if (auto undone = give_back(file); !undone) return undone;
    return done;
  }
  return file.sync();
}

}  // namespace

std::uint64_t automatic_ballast_bytes(const Space& space) {
  const std::uint64_t share = space.total_bytes / 50;
  return align_down(std::min<std::uint64_t>(256u << 20, std::max<std::uint64_t>(1u << 20, share)), kBlockBytes);
}

Result<std::unique_ptr<Ballast>> Ballast::open(Directory& directory, std::string_view name, std::uint64_t bytes,
                                               Disk& disk) {
  auto shared = std::make_shared<Shared>(directory, disk);
  shared->bytes = align_up(bytes, kBlockBytes);
  shared->name = name;
  auto file = open_or_create(directory, name);
  // A full inode table or directory: no room for a ballast, and the node runs on without.
  if (!file && file.error().code == Code::no_space) return std::unique_ptr<Ballast>(new Ballast(std::move(shared)));
  if (!file) return std::unexpected(std::move(file.error()));
  shared->file = std::move(*file);
  auto taken = take(*shared->file, shared->bytes);
  if (!taken && taken.error().code != Code::no_space) return std::unexpected(std::move(taken.error()).at("ballast"));
  shared->state = taken ? State::held : State::released;
  return std::unique_ptr<Ballast>(new Ballast(std::move(shared)));
}

Ballast::Ballast(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
Ballast::~Ballast() { shared_->closed = true; }

Ballast::State Ballast::state() const { return shared_->state; }
std::uint64_t Ballast::bytes() const { return shared_->bytes; }

void Ballast::release(Done done) {
  if (shared_->state == State::released) {
    done({});
    return;
  }
  shared_->state = State::releasing;
  ++shared_->jobs;
  shared_->disk.background(
      0, [file = shared_->file] { return give_back(*file); },
      [shared = shared_, done = std::move(done)](Result<void> result) {
        if (shared->closed) return;
        --shared->jobs;
        if (!result) {
          shared->disk.fail(result.error());
          return;
        }
        if (shared->jobs == 0) shared->state = State::released;
        done({});
      });
}

void Ballast::restore(Done done) {
  if (shared_->state == State::held) {
    done({});
    return;
  }
  auto space = shared_->directory.space();
  if (!space || space->free_bytes < 2 * shared_->bytes) {
    const std::string free = space ? std::to_string(space->free_bytes) : "an unknown number of";
    done(error(Code::no_space, "the ballast of " + std::to_string(shared_->bytes) + " bytes wants twice that free; " +
                                   free + " bytes are"));
    return;
  }
  if (!shared_->file) {  // two quick calls, in a case that is rare enough
    auto file = open_or_create(shared_->directory, shared_->name);
    if (!file) {
      done(std::unexpected(std::move(file.error())));
      return;
    }
    shared_->file = std::move(*file);
  }
  shared_->state = State::restoring;
  ++shared_->jobs;
  shared_->disk.background(
      0, [file = shared_->file, bytes = shared_->bytes] { return take(*file, bytes); },
      [shared = shared_, done = std::move(done)](Result<void> result) {
        if (shared->closed) return;
        --shared->jobs;
        if (!result && result.error().code != Code::no_space) {
          shared->disk.fail(result.error());
          return;
        }
        if (shared->jobs == 0) shared->state = result ? State::held : State::released;
        done(std::move(result));
      });
}

}  // namespace walraft::wal
