#include "tools/walctl/records_io.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tools/walctl/options.h"

namespace walraft::walctl {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::size_t kWriteBytes = 256u << 10;
constexpr int kPauseMs = 100;  // between two looks at whether to go on, while the input rests

}  // namespace

RecordReader::RecordReader(int descriptor, Format format, std::string name, std::uint32_t record_bytes_max)
    : descriptor_(descriptor), format_(format), name_(std::move(name)), record_bytes_max_(record_bytes_max) {}

Result<void> RecordReader::check_size(std::uint64_t bytes) const {
  if (bytes <= record_bytes_max_) return {};
  return error(Code::too_large, name_ + ": record " + std::to_string(records_ + 1) + " has " +
                                    (format_ == Format::length_prefixed ? "" : "at least ") + std::to_string(bytes) +
                                    " bytes; at most " + std::to_string(record_bytes_max_) + " are allowed");
}

Result<bool> RecordReader::cut(bool at_end, const std::function<bool(ByteView)>& take) {
  for (;;) {
    const ByteView rest = ByteView(buffer_).subspan(begin_);
    std::size_t record_at = 0, record_bytes = 0, used = 0;
    switch (format_) {
      case Format::lines: {
        const void* newline = rest.empty() ? nullptr : std::memchr(rest.data(), '\n', rest.size());
        if (newline == nullptr && (!at_end || rest.empty())) {
          if (auto ok = check_size(rest.size()); !ok) return std::unexpected(ok.error());
          return true;
        }
        record_bytes = newline == nullptr ? rest.size()
                                          : static_cast<std::size_t>(static_cast<const std::byte*>(newline) - rest.data());
        used = newline == nullptr ? record_bytes : record_bytes + 1;
        break;
      }
      case Format::raw:
      case Format::json:
        if (auto ok = check_size(rest.size()); !ok) return std::unexpected(ok.error());
        if (!at_end || records_ > 0) return true;
        record_bytes = used = rest.size();
        break;
      case Format::length_prefixed: {
        const bool has_length = rest.size() >= sizeof(std::uint32_t);
        if (has_length) {
          record_at = sizeof(std::uint32_t);
          record_bytes = load_le<std::uint32_t>(rest.data());
          used = record_at + record_bytes;
          if (auto ok = check_size(record_bytes); !ok) return std::unexpected(ok.error());
        }
        if (!has_length || rest.size() < used) {
          if (!at_end || rest.empty()) return true;
          return error(Code::invalid, name_ + ": record " + std::to_string(records_ + 1) + " is cut short");
        }
        break;
      }
    }
    if (auto ok = check_size(record_bytes); !ok) return std::unexpected(ok.error());
    ++records_;
    if (!take(rest.subspan(record_at, record_bytes))) return false;
    begin_ += used;
  }
}

Result<void> RecordReader::run(const std::function<bool(ByteView)>& take, const std::function<bool()>& pause) {
  std::size_t filled = 0;
  for (;;) {
    pollfd waiting{.fd = descriptor_, .events = POLLIN, .revents = 0};
    for (int patience_ms = 0; ::poll(&waiting, 1, patience_ms) == 0; patience_ms = kPauseMs) {
      if (!pause()) return {};
    }
    // What is cut off stays; the rest moves to the front.
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.begin() + static_cast<std::ptrdiff_t>(filled),
              buffer_.begin());
    filled -= begin_;
    begin_ = 0;
    buffer_.resize(std::max(buffer_.size(), filled) == filled ? filled + std::max(kReadBytes, filled) : buffer_.size());
    const ssize_t got = ::read(descriptor_, buffer_.data() + filled, buffer_.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error(Code::failed, name_ + ": cannot be read: " + std::strerror(errno));
    filled += static_cast<std::size_t>(got);
    buffer_.resize(filled);
    const auto more = cut(got == 0, take);
    if (!more) return std::unexpected(more.error());
    if (got == 0 || !*more) return {};
  }
}

Result<void> RecordWriter::write(const Record& record) {
  const std::string_view data = text_of(record.data);
  switch (format_) {
    case Format::lines: (buffer_ += data) += '\n'; break;
    case Format::raw: buffer_ += data; break;
    case Format::length_prefixed: {
      const auto bytes = static_cast<std::uint32_t>(data.size());
      buffer_.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
      buffer_ += data;
      break;
    }
    case Format::json:
      buffer_ += "{\"offset\":" + std::to_string(record.offset.value) + ",\"timestamp\":\"" +
                 format_time(record.timestamp_us) + "\",\"term\":" + std::to_string(record.term.value) +
                 ",\"size\":" + std::to_string(data.size()) + ",\"data\":\"" + base64(record.data) + "\"}\n";
      break;
  }
  return buffer_.size() >= kWriteBytes ? flush() : Result<void>{};
}

Result<void> RecordWriter::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t wrote = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return error(Code::failed, std::string("cannot write to stdout: ") + std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(wrote));
  }
  buffer_.clear();
  return {};
}

}  // namespace walraft::walctl
