#include "wal/segment_file.h"

#include <algorithm>
#include <utility>

#include "wal/base/check.h"

namespace walraft::wal {

void OpenFiles::keep(std::shared_ptr<File> file) {
  std::shared_ptr<File> oldest;  // closed without the lock
  const std::lock_guard lock(mutex_);
  files_.push_back(std::move(file));
  if (files_.size() <= files_max_) return;
  oldest = std::move(files_.front());
  files_.pop_front();
}

void OpenFiles::forget(const File* file) {
  std::shared_ptr<File> forgotten;
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(files_, file, [](const auto& kept) { return kept.get(); });
  if (at == files_.end()) return;
  forgotten = std::move(*at);
  files_.erase(at);
}

std::size_t OpenFiles::size() const {
  const std::lock_guard lock(mutex_);
  return files_.size();
}

SegmentFile::SegmentFile(const SegmentHeader& its_header, std::shared_ptr<Directory> directory, Access access,
                         std::shared_ptr<OpenFiles> open_files, std::shared_ptr<File> pinned)
    : header(its_header),
      directory_(std::move(directory)),
      open_files_(std::move(open_files)),
      access_(access),
      pinned_(std::move(pinned)) {}

Result<std::shared_ptr<File>> SegmentFile::open() {
  const std::lock_guard lock(mutex_);
  if (pinned_) return pinned_;
  if (auto file = opened_.lock()) return file;
  if (auto file = was_pinned_.lock()) return file;
  const std::string name = segment_name(header.number);
  if (retired_) return error(Code::not_found, directory_->path() + "/" + name + " was removed");
  auto opened = directory_->open(name, access_);
  if (!opened) return std::unexpected(std::move(opened.error()));
  std::shared_ptr<File> file = std::move(*opened);
  opened_ = file;
  open_files_->keep(file);
  return file;
}

Result<void> SegmentFile::pin() {
  auto file = open();
  if (!file) return std::unexpected(std::move(file.error()));
  open_files_->forget(file->get());
  const std::lock_guard lock(mutex_);
  pinned_ = std::move(*file);
  opened_.reset();
  return {};
}

void SegmentFile::seal() {
  std::shared_ptr<File> unpinned;  // closed without the lock
  const std::lock_guard lock(mutex_);
  if (pinned_) was_pinned_ = pinned_;
  unpinned = std::exchange(pinned_, nullptr);
  if (access_ != Access::read) {
    if (const auto file = opened_.lock()) open_files_->forget(file.get());
    access_ = Access::read;
  }
}

bool SegmentFile::retire() {
  retired_ = true;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return true;  // somebody is opening it
  std::weak_ptr<File> opened = opened_;
  if (const auto file = opened.lock()) open_files_->forget(file.get());
  return pinned_ != nullptr || !was_pinned_.expired() || !opened_.expired();
}

}  // namespace walraft::wal
