// walctl dump: prints what one file of a data directory holds, damaged places included.

#include "wal/dump.h"

#include <cstdio>
#include <string>

#include "tools/walctl/commands.h"
#include "wal/posix_filesystem.h"

namespace walraft::walctl {

int dump(const Global&, const std::string& path, bool records) {
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  auto directory = wal::open_directory(folder, false);
  if (!directory) return fail(directory.error());
  auto file = (*directory)->open(slash == std::string::npos ? path : path.substr(slash + 1), wal::Access::read);
  if (!file) return fail(file.error());
  const auto damages = wal::dump_file(**file, {.records = records}, [](std::string_view line) {
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
  });
  if (!damages) return fail(Error(damages.error()).at(path));
  return *damages == 0 ? 0 : outcome_of(Code::corrupt).exit_code;
}

}  // namespace walraft::walctl
