#pragma once

// Records as bytes on stdin and stdout.
//   lines            one record a line; the newline is not part of it, and may be missing behind the last one
//   raw              read: all of a file is one record; write: the records' bytes, nothing between them
//   length-prefixed  u32 little endian, then the record
//   json             write only: one object a line

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "wal/base/result.h"

namespace walraft::walctl {

enum class Format : std::uint8_t { lines, raw, length_prefixed, json };

// Cuts what read(2) gives into records. Memory: one record and one read.
class RecordReader {
 public:
  // `record_bytes_max`: longer records are too_large before they are read in full.
  RecordReader(int descriptor, Format format, std::string name, std::uint32_t record_bytes_max);

  // Calls `take` for each record, and `pause` again and again while the input has nothing more (a terminal, a pipe
  // whose writer rests). Both return false to stop. Errors: failed (reading), too_large, invalid (cut short).
  Result<void> run(const std::function<bool(ByteView)>& take, const std::function<bool()>& pause);

 private:
  Result<bool> cut(bool at_end, const std::function<bool(ByteView)>& take);  // false: stop
  Result<void> check_size(std::uint64_t bytes) const;

  int descriptor_;
  Format format_;
  std::string name_;
  std::uint32_t record_bytes_max_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::uint64_t records_ = 0;
};

// Writes records to stdout. A reader that went away (EPIPE) ends the process silently, as SIGPIPE does.
class RecordWriter {
 public:
  explicit RecordWriter(Format format) : format_(format) {}
  Result<void> write(const Record& record);
  Result<void> flush();

 private:
  Format format_;
  std::string buffer_;
};

}  // namespace walraft::walctl
