#pragma once

// The commands of walctl. Each returns the exit code (wal/base/outcome.h).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/client.h"
#include "tools/walctl/options.h"
#include "tools/walctl/records_io.h"

namespace walraft::walctl {

struct AppendArguments {
  std::string log;
  Format format = Format::lines;
  std::uint32_t batch_records = 1'000;
  std::optional<std::uint64_t> expect_offset;
  bool create = false;
  std::vector<std::string> files;  // none: stdin
};
int append(const Global& global, const AppendArguments& arguments);

struct ReadArguments {
  std::string log;
  From from;
  std::uint64_t count = UINT64_MAX;
  std::uint64_t bytes = UINT64_MAX;
  std::uint64_t until = UINT64_MAX;
  Format format = Format::lines;
};
int read(const Global& global, const ReadArguments& arguments);

struct TailArguments {
  std::string log;
  From from = From::latest();
  std::uint64_t count = UINT64_MAX;
  bool exit_at_end = false;
  Format format = Format::lines;
};
int tail(const Global& global, const TailArguments& arguments);

int status(const Global& global, bool watch);  // 0 healthy, 1 degraded, 9 a log without a leader, or no server

int log_create(const Global& global, const std::string& name, const LogConfig& config);
int log_list(const Global& global, const std::string& prefix);
int log_describe(const Global& global, const std::string& name);
int log_delete(const Global& global, const std::string& name, bool yes);

// Offline: of a node that is not running.
int verify(const Global& global, const std::string& data_dir, const std::string& log);
int dump(const Global& global, const std::string& file, bool records);
int diskcheck(const Global& global, const std::string& directory);

}  // namespace walraft::walctl
