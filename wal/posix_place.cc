#include "wal/posix_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "wal/posix_error.h"
#include "wal/posix_file.h"

namespace walraft::wal {
namespace {

struct Known {
  unsigned long magic;
  const char* name;
};
// statfs(2). ext2 and ext3 have ext4's number; the ext4 driver runs them, too.
constexpr std::array kKnown{
    Known{0xef53, "ext4"},          Known{0x58465342, "xfs"},  Known{0x9123683e, "btrfs"}, Known{0x01021994, "tmpfs"},
    Known{0x2fc12fc1, "zfs"},       Known{0xf2f52010, "f2fs"}, Known{0x6969, "nfs"},       Known{0x65735546, "fuse"},
    Known{0x794c7630, "overlayfs"}, Known{0xff534d42, "cifs"}, Known{0xfe534d42, "smb2"},  Known{0x4d44, "vfat"},
    Known{0xca451a4e, "bcachefs"},
};

std::string name_of(unsigned long magic) {
  for (const Known& known : kKnown) {
    if (known.magic == magic) return known.name;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "0x%lx", magic);
  return text.data();
}

}  // namespace

Result<Place> place_of(int descriptor, const std::string& path) {
  Place place;
  struct statfs filesystem{};
  int result = 0;
  do {
    result = fstatfs(descriptor, &filesystem);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return std::unexpected(posix_error(errno, "get the filesystem of", path));
  place.filesystem = name_of(static_cast<unsigned long>(filesystem.f_type));

  Descriptor at(openat(descriptor, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  if (!at.is_open() || fstat(at.get(), &status) != 0) {
    return std::unexpected(posix_error(errno, "get the owner and mode of", path));
  }
  // The directory itself is nobody else's business; in a sticky one above it, others may make files,
  // but not rename ours.
  bool exposed = (status.st_mode & S_IWOTH) != 0;
  while (!exposed) {
    Descriptor above(openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat status_above{};
    if (!above.is_open() || fstat(above.get(), &status_above) != 0) {
      return std::unexpected(posix_error(errno, "get the mode of the directories above", path));
    }
    if (status_above.st_dev == status.st_dev && status_above.st_ino == status.st_ino) return place;  // the root
    exposed = (status_above.st_mode & S_IWOTH) != 0 && (status_above.st_mode & S_ISVTX) == 0;
    at = std::move(above);
    status = status_above;
  }
  place.writable_by_others = path_of_descriptor(at.get());
  return place;
}

}  // namespace walraft::wal
