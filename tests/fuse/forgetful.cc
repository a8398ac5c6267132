// forgetful IMAGE MOUNTPOINT: a FUSE file system with one big file, `disk`, that forgets in a power cut
// whatever was not synced. A loop device on it, with ext4 or XFS on top, is a disk with a volatile
// cache: the loop driver turns flushes and FUA writes into fsyncs of this file. (A loop device on an
// ordinary file is blind there: unsynced O_DIRECT writes survive in that file's page cache.)
//
// IMAGE is the medium; its size is the size of the disk. The file `control` takes one command per
// write, and reads as the statistics in JSON:
//   cut [seed=N] [keep=PERCENT] [sector=512|4096] [syncs=N]   the power fails: unsynced sectors are
//                    lost, but for a share kept by chance; from then on every request fails with
//                    EIO. With syncs=N it fails when the N-th sync from now arrives, so there is
//                    always something to lose
//   on               the power returns; ends cut (a coming one too), eio, hang and lie
//   eio              every request fails, nothing is lost
//   bad=POSITION+BYTES   reads that touch the range fail with EIO, until `on`; may be said more than once
//   hang             writes and syncs are not answered until `on`
//   lie              syncs are answered and save nothing
//   fail_sync=N      after N - 1 good ones, one sync fails with EIO and what it should have saved is
//                    lost, as if it had been written and marked clean (fault:S6)
//
// Runs in the foreground, prints "ready" when mounted, and ends when unmounted or terminated.
// Thread: one; so a cut is one instant.

#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/fuse/forgetful_disk.h"

namespace forgetful {
namespace {

constexpr fuse_ino_t kDiskInode = 2;
constexpr fuse_ino_t kControlInode = 3;
constexpr double kCacheSeconds = 3600;  // of names and attributes, which never change

enum class Mode { on, cut, eio, hang, lie };

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::on: return "on";
    case Mode::cut: return "cut";
    case Mode::eio: return "eio";
    case Mode::hang: return "hang";
    case Mode::lie: return "lie";
  }
  return "?";
}

class Server {
 public:
  explicit Server(std::span<std::byte> medium) : disk_(medium) {}

  struct stat attributes(fuse_ino_t inode) const {
    struct stat st{};
    st.st_ino = inode;
    st.st_uid = getuid();
    st.st_gid = getgid();
    if (inode == FUSE_ROOT_ID) {
      st.st_mode = S_IFDIR | 0700;
      st.st_nlink = 2;
    } else {
      st.st_mode = S_IFREG | 0600;
      st.st_nlink = 1;
      st.st_blksize = kBlockBytes;
      st.st_size = inode == kDiskInode ? static_cast<off_t>(disk_.size()) : 0;
      st.st_blocks = st.st_size / 512;
    }
    return st;
  }

  void read(fuse_req_t request, std::size_t bytes, off_t position) {
    ++reads_;
    if (mode_ == Mode::cut || mode_ == Mode::eio) {
      fuse_reply_err(request, EIO);
      return;
    }
    const std::uint64_t from = std::min<std::uint64_t>(position, disk_.size());
    const std::size_t count = std::min(bytes, disk_.size() - from);
    for (const Range& range : bad_) {
      if (from < range.position + range.bytes && range.position < from + count) {
        fuse_reply_err(request, EIO);
        return;
      }
    }
    buffer_.resize(std::max(buffer_.size(), count));
    disk_.read(from, std::span(buffer_).first(count));
    fuse_reply_buf(request, reinterpret_cast<const char*>(buffer_.data()), count);
  }

  void write(fuse_req_t request, std::span<const std::byte> bytes, off_t position, bool durable) {
    ++writes_;
    if (mode_ == Mode::cut || mode_ == Mode::eio) {
      fuse_reply_err(request, EIO);
      return;
    }
    if (mode_ == Mode::hang) {
      held_.push_back([this, request, copy = std::vector(bytes.begin(), bytes.end()), position, durable] {
        write(request, copy, position, durable);
      });
      return;
    }
    if (static_cast<std::uint64_t>(position) + bytes.size() > disk_.size()) {
      fuse_reply_err(request, ENOSPC);
      return;
    }
    disk_.write(position, bytes);
    written_bytes_ += bytes.size();
    if (durable && !save()) {
      fuse_reply_err(request, EIO);
      return;
    }
    fuse_reply_write(request, bytes.size());
  }

  void sync(fuse_req_t request) {
    if (mode_ == Mode::hang) {
      held_.push_back([this, request] { sync(request); });
      return;
    }
    fuse_reply_err(request, save() ? 0 : EIO);
  }

  // 0, or the errno of a command that is not understood.
  int command(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
      const std::size_t end = std::min(line.find_first_of(" \n"), line.size());
      if (end > 0) {
        words.push_back(line.substr(0, end));
      }
      line.remove_prefix(std::min(end + 1, line.size()));
    }
    if (words.empty()) {
      return EINVAL;
    }
    if (words[0] == "cut") {
      CutOptions options;
      std::uint64_t syncs = 0;
      for (std::size_t i = 1; i < words.size(); ++i) {
        std::uint64_t value = 0;
        if (option(words[i], "seed=", value)) {
          options.seed = value;
        } else if (option(words[i], "keep=", value) && value <= 100) {
          options.keep_percent = static_cast<unsigned>(value);
        } else if (option(words[i], "sector=", value) && (value == kSectorBytes || value == kBlockBytes)) {
          options.sector_bytes = value;
        } else if (option(words[i], "syncs=", value)) {
          syncs = value;
        } else {
          return EINVAL;
        }
      }
      cut_ = options;
      syncs_until_cut_ = syncs;
      if (syncs == 0) {
        cut();
      }
      return 0;
    }
    if (words.size() != 1) {
      return EINVAL;
    }
    if (std::uint64_t nth = 0; option(words[0], "fail_sync=", nth)) {
      syncs_until_failure_ = nth;
      return 0;
    }
    if (const std::size_t plus = words[0].find('+'); words[0].starts_with("bad=") && plus != words[0].npos) {
      Range range;
      if (!option(words[0].substr(0, plus), "bad=", range.position) ||
          !option(words[0].substr(plus), "+", range.bytes)) {
        return EINVAL;
      }
      bad_.push_back(range);
      return 0;
    }
    for (const Mode mode : {Mode::on, Mode::eio, Mode::hang, Mode::lie}) {
      if (words[0] == name_of(mode)) {
        change(mode);
        return 0;
      }
    }
    return EINVAL;
  }

  std::string statistics() const {
    const auto number = [](std::string_view name, std::uint64_t value) {
      return ",\"" + std::string(name) + "\":" + std::to_string(value);
    };
    return "{\"mode\":\"" + std::string(name_of(mode_)) + "\"" + number("reads", reads_) + number("writes", writes_) +
           number("written_bytes", written_bytes_) + number("syncs", syncs_) + number("failed_syncs", failed_syncs_) +
           number("unsynced_bytes", disk_.unsynced_bytes()) + number("cuts", cuts_) +
           number("dropped_bytes", dropped_bytes_) + number("kept_bytes", kept_bytes_) + number("held", held_.size()) +
           "}\n";
  }

 private:
  struct Range {
    std::uint64_t position = 0;
    std::uint64_t bytes = 0;
  };

  static bool option(std::string_view word, std::string_view name, std::uint64_t& value) {
    if (!word.starts_with(name)) {
      return false;
    }
    word.remove_prefix(name.size());
    const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
    return failure == std::errc() && end == word.data() + word.size();
  }

  void cut() {
    const CutResult result = disk_.cut(cut_);
    ++cuts_;
    dropped_bytes_ += result.dropped_bytes;
    kept_bytes_ += result.kept_bytes;
    change(Mode::cut);
  }

  bool save() {
    ++syncs_;
    if (syncs_until_cut_ > 0 && --syncs_until_cut_ == 0) {
      cut();
    }
    if (mode_ == Mode::cut || mode_ == Mode::eio) {
      ++failed_syncs_;
      return false;
    }
    if (syncs_until_failure_ > 0 && --syncs_until_failure_ == 0) {
      ++failed_syncs_;
      dropped_bytes_ += disk_.cut({}).dropped_bytes;
      return false;
    }
    if (mode_ != Mode::lie) {
      disk_.sync();
    }
    return true;
  }

  void change(Mode mode) {
    mode_ = mode;
    syncs_until_cut_ = 0;
    if (mode == Mode::on) {
      bad_.clear();
    }
    if (mode != Mode::hang) {
      const auto held = std::exchange(held_, {});
      for (const auto& answer : held) {
        answer();
      }
    }
  }

  Disk disk_;
  Mode mode_ = Mode::on;
  std::vector<std::byte> buffer_;
  std::deque<std::function<void()>> held_;
  std::vector<Range> bad_;
  CutOptions cut_;
  std::uint64_t syncs_until_cut_ = 0;      // 0: none comes
  std::uint64_t syncs_until_failure_ = 0;  // 0: none fails
  std::uint64_t reads_ = 0;
  std::uint64_t writes_ = 0;
  std::uint64_t written_bytes_ = 0;
  std::uint64_t syncs_ = 0;
  std::uint64_t failed_syncs_ = 0;
  std::uint64_t cuts_ = 0;
  std::uint64_t dropped_bytes_ = 0;
  std::uint64_t kept_bytes_ = 0;
};

Server& server_of(fuse_req_t request) { return *static_cast<Server*>(fuse_req_userdata(request)); }

fuse_ino_t inode_named(std::string_view name) {
  return name == "disk" ? kDiskInode : name == "control" ? kControlInode : 0;
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
    fuse_entry_param entry{};
    entry.ino = inode_named(name);
    if (entry.ino == 0) {
      fuse_reply_err(request, ENOENT);
      return;
    }
    entry.attr = server_of(request).attributes(entry.ino);
    entry.attr_timeout = entry.entry_timeout = kCacheSeconds;
    fuse_reply_entry(request, &entry);
  };
  ops.getattr = [](fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const auto st = server_of(request).attributes(inode);
    fuse_reply_attr(request, &st, kCacheSeconds);
  };
  // O_TRUNC on the control file; the size of the disk is fixed
  ops.setattr = [](fuse_req_t request, fuse_ino_t inode, struct stat*, int to_set, fuse_file_info*) {
    if (inode == kDiskInode && (to_set & FUSE_SET_ATTR_SIZE) != 0) {
      fuse_reply_err(request, EPERM);
      return;
    }
    const auto st = server_of(request).attributes(inode);
    fuse_reply_attr(request, &st, kCacheSeconds);
  };
  ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    info->direct_io = 1;  // no page cache that a cut would have to empty
    fuse_reply_open(request, info);
  };
  ops.read = [](fuse_req_t request, fuse_ino_t inode, std::size_t bytes, off_t position, fuse_file_info*) {
    if (inode == kDiskInode) {
      server_of(request).read(request, bytes, position);
      return;
    }
    const std::string text = server_of(request).statistics();
    const std::size_t from = std::min<std::size_t>(position, text.size());
    fuse_reply_buf(request, text.data() + from, std::min(bytes, text.size() - from));
  };
  ops.write = [](fuse_req_t request, fuse_ino_t inode, const char* bytes, std::size_t count, off_t position,
                 fuse_file_info* info) {
    if (inode == kDiskInode) {
      const auto view = std::as_bytes(std::span(bytes, count));
      server_of(request).write(request, view, position, (info->flags & (O_SYNC | O_DSYNC)) != 0);
    } else if (const int failure = server_of(request).command({bytes, count}); failure != 0) {
      fuse_reply_err(request, failure);
    } else {
      fuse_reply_write(request, count);
    }
  };
  ops.fsync = [](fuse_req_t request, fuse_ino_t inode, int, fuse_file_info*) {
    if (inode == kDiskInode) {
      server_of(request).sync(request);
    } else {
      fuse_reply_err(request, 0);
    }
  };
  ops.readdir = [](fuse_req_t request, fuse_ino_t, std::size_t bytes, off_t position, fuse_file_info*) {
    constexpr std::array<const char*, 2> kNames = {"disk", "control"};
    std::string entries(bytes, '\0');
    std::size_t used = 0;
    for (std::size_t i = position; i < kNames.size(); ++i) {
      const auto st = server_of(request).attributes(inode_named(kNames[i]));
      const std::size_t needed =
          fuse_add_direntry(request, entries.data() + used, bytes - used, kNames[i], &st, static_cast<off_t>(i) + 1);
      if (needed > bytes - used) {
        break;
      }
      used += needed;
    }
    fuse_reply_buf(request, entries.data(), used);
  };
  return ops;
}

int fail(const char* what, const char* path) {
  std::fprintf(stderr, "forgetful: %s %s: %s\n", what, path, std::strerror(errno));
  return 1;
}

int run(const char* image, const char* mountpoint) {
  // Writing back dirty pages of the loop device must not wait for this process to write back more.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  const int fd = open(image, O_RDWR | O_CLOEXEC);
  struct stat st{};
  if (fd < 0 || fstat(fd, &st) != 0) {
    return fail("open", image);
  }
  const auto bytes = static_cast<std::size_t>(st.st_size);
  if (bytes == 0 || bytes % kSectorBytes != 0) {
    std::fprintf(stderr, "forgetful: %s: %zu bytes; expected a multiple of %zu\n", image, bytes, kSectorBytes);
    return 2;
  }
  if (posix_fallocate(fd, 0, st.st_size) != 0) {  // a full host would be SIGBUS later
    return fail("reserve", image);
  }
  void* medium = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (medium == MAP_FAILED) {
    return fail("mmap", image);
  }
  Server server({static_cast<std::byte*>(medium), bytes});

  std::string program = "forgetful";
  std::string flag = "-o";
  std::string options = "fsname=forgetful";
  std::array<char*, 4> arguments = {program.data(), flag.data(), options.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, arguments.data());
  const fuse_lowlevel_ops handlers = operations();
  fuse_session* session = fuse_session_new(&args, &handlers, sizeof handlers, &server);
  if (session == nullptr || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, mountpoint) != 0) {
    return fail("mount", mountpoint);
  }
  // The mount is for the namespace that this was started in. Were this process its last member, its exit would
  // unmount what lies on the disk, and wait for answers that only it can give.
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      umount2(mountpoint, MNT_DETACH) != 0) {
    return fail("leave the namespace of", mountpoint);
  }
  std::puts("ready");
  std::fflush(stdout);
  const int outcome = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  return outcome == 0 || outcome == SIGTERM || outcome == SIGINT ? 0 : 1;
}

}  // namespace
}  // namespace forgetful

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: forgetful IMAGE MOUNTPOINT\n");
    return 2;
  }
  return forgetful::run(argv[1], argv[2]);
}
