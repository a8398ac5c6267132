// walctl dump: prints what one file of a data directory holds, damaged places included.

#include "wal/dump.h"

#include <charconv>
#include <cstdio>
#include <string>

#include "tools/walctl/commands.h"
#include "wal/posix_filesystem.h"

namespace walraft::walctl {
namespace {

// A line for people as an object: "byte 8192  group 1: …" becomes {"byte":8192,"damaged":false,"text":"group 1: …"}.
std::string as_object(std::string_view line) {
  constexpr std::string_view kByte = "byte ";
  std::string byte = "null";
  if (line.starts_with(kByte)) {
    std::uint64_t at = 0;
    const auto [end, failed] = std::from_chars(line.data() + kByte.size(), line.data() + line.size(), at);
    if (failed == std::errc()) {
      byte = std::to_string(at);
      line.remove_prefix(static_cast<std::size_t>(end - line.data()));
    }
  }
  while (line.starts_with(' ')) line.remove_prefix(1);
  const bool damaged = line.starts_with("DAMAGED");
  return "{\"byte\":" + byte + ",\"damaged\":" + (damaged ? "true" : "false") + ",\"text\":\"" + json_escape(line) +
         "\"}";
}

}  // namespace

int dump(const Global& global, const std::string& path, bool records) {
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  auto directory = wal::open_directory(folder, false);
  if (!directory) return fail(directory.error());
  auto file = (*directory)->open(slash == std::string::npos ? path : path.substr(slash + 1), wal::Access::read);
  if (!file) return fail(file.error());
  const auto damages = wal::dump_file(**file, {.records = records}, [&](std::string_view line) {
    const std::string text = global.output == Output::json ? as_object(line) : std::string(line);
    std::printf("%s\n", text.c_str());
  });
  if (!damages) return fail(Error(damages.error()).at(path));
  return *damages == 0 ? 0 : outcome_of(Code::corrupt).exit_code;
}

}  // namespace walraft::walctl
