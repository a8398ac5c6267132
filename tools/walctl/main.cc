// walctl: the operator's and the shell's tool. This file is the command line; each command has a file of its own.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <string>

#include "tools/walctl/commands.h"
#include "tools/walctl/completion.h"
#include "wal/base/standard_descriptors.h"
#include "wal/batch.h"
#include "wal/segment_format.h"

namespace {

using namespace walraft;
using namespace walraft::walctl;

constexpr const char* kFooter = R"(
FROM is an offset, earliest, latest, -N (the last N records) or @TIME (RFC 3339 with a zone).
Sizes take KiB, MiB, GiB; durations ms, s, m, h, d.
Exit codes: 0 ok, 1 failed, 2 usage or invalid, 3 not_found, 4 condition_failed, 5 fenced, 6 trimmed, 7 unknown (the
append may or may not be there), 8 denied, 9 unavailable (nothing was written), 10 no_space, too_large or over_limit,
11 corrupt or data_loss, 12 sealed, deleted or exists, 13 unknown_producer or sequence_gap, 130 interrupted.)";

int usage(const std::string& message) { return fail({Code::usage, message + ". See walctl --help.", 0}); }

// "--from -10" would be taken for an option: it becomes "--from=-10".
std::vector<std::string> arguments_of(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--from" && i + 1 < argc && argv[i + 1][0] == '-' &&
        std::isdigit(static_cast<unsigned char>(argv[i + 1][1])) != 0) {
      arguments.push_back(argument + "=" + argv[++i]);
    } else {
      arguments.push_back(argument);
    }
  }
  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 wants
  return arguments;
}

// CLI11 reads numbers as strtoull does: it wraps "-1" and takes what is too large for the largest.
std::string whole_number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed == std::errc() && end == text.data() + text.size()) return "";
  return "\"" + text + "\" is no whole number from 0 to 18446744073709551615";
}

bool has_port(const std::string& endpoint) {
  const auto colon = endpoint.rfind(':');
  if (colon == std::string::npos) return true;  // the default
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  return failed == std::errc() && end == endpoint.data() + endpoint.size() && port > 0;
}

struct CommandLine {
  std::string endpoints = "127.0.0.1:7400", output = "table", timeout = "5s", format, from, bytes;
  std::string ca, cert, key, token_file;
  std::uint64_t expect_offset = 0, epoch = 0, sequence = 0;
  std::string producer, cursor, ack;
  std::string data_dir, verify_log, dump_file, disk_directory;
  bool dump_records = false, version = false;
  bool watch = false, yes = false;
  std::string log_name, log_prefix, retention_bytes, retention_time, segment_bytes, record_bytes_max, shell;
  LogConfig config;
  AppendArguments append;
  ReadArguments read;
  TailArguments tail;
};

Result<Format> parse_format(const std::string& name, Output output, bool writing) {
  if (name.empty()) return writing && output == Output::json ? Format::json : Format::lines;
  if (name == "lines") return Format::lines;
  if (name == "raw") return Format::raw;
  if (name == "length-prefixed") return Format::length_prefixed;
  if (name == "json" && writing) return Format::json;
  return error(Code::usage, "--format: \"" + name + "\" is none; allowed are lines, raw, length-prefixed" +
                                (writing ? ", json" : ""));
}

Result<Global> global_of(const CommandLine& line) {
  Global global;
  for (const auto& [name, value] : {std::pair{"--ca", line.ca}, {"--cert", line.cert}, {"--key", line.key},
                                    {"--token-file", line.token_file}}) {
    if (!value.empty()) return error(Code::usage, std::string(name) + " is not supported by this release");
  }
  std::string endpoint;
  for (const char c : line.endpoints + ",") {
    if (c != ',') {
      endpoint += c;
    } else if (!has_port(endpoint)) {
      return error(Code::usage, "--endpoints: \"" + endpoint + "\" has no port from 1 to 65535, like 127.0.0.1:7400");
    } else if (!endpoint.empty()) {
      global.endpoints.push_back(std::exchange(endpoint, {}));
    }
  }
  if (global.endpoints.empty()) return error(Code::usage, "--endpoints is empty");
  if (line.output != "table" && line.output != "json") {
    return error(Code::usage, "--output: \"" + line.output + "\" is none; allowed are table and json");
  }
  global.output = line.output == "json" ? Output::json : Output::table;
  const auto timeout = parse_duration(line.timeout);
  if (!timeout) return std::unexpected(Error(timeout.error()).at("--timeout"));
  global.timeout = *timeout;
  return global;
}

// The sizes and times of log create, from text.
Result<LogConfig> config_of(const CommandLine& line) {
  LogConfig config = line.config;
  const auto bytes = [](const char* option, const std::string& text, std::uint64_t least, std::uint64_t most,
                        const char* range, auto& out) -> Result<void> {
    if (text.empty()) return {};
    const auto value = parse_bytes(text);
    if (!value) return std::unexpected(Error(value.error()).at(option));
    if (*value < least || *value > most) {
      return error(Code::usage, std::string(option) + ": is " + text + "; it must be from " + range);
    }
    out = static_cast<std::remove_reference_t<decltype(out)>>(*value);
    return {};
  };
  if (auto ok = bytes("--segment-bytes", line.segment_bytes, wal::kSegmentBytesMin, wal::kSegmentBytesMax,
                      "64KiB to 1GiB", config.segment_bytes);
      !ok)
    return std::unexpected(ok.error());
  if (auto ok = bytes("--max-record-bytes", line.record_bytes_max, 1, wal::kRecordBytesMax, "1B to 8MiB",
                      config.record_bytes_max);
      !ok)
    return std::unexpected(ok.error());
  if (auto ok = bytes("--retention-bytes", line.retention_bytes, 1, 1ull << 60, "1B to 1EiB", config.retention_bytes);
      !ok)
    return std::unexpected(ok.error());
  if (!line.retention_time.empty()) {
    const auto time = parse_duration(line.retention_time);
    if (!time) return std::unexpected(Error(time.error()).at("--retention-time"));
    config.retention_ms = static_cast<std::uint64_t>(time->count() / 1000);
  }
  return config;
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_descriptors();
  ::signal(SIGINT, [](int) { ::_exit(130); });
  ::signal(SIGPIPE, SIG_DFL);  // a broken pipe ends it silently, whatever it was started with
  CommandLine line;
  CLI::App app("walctl, the tool for Walraft: append to logs, read and tail them, look after the disk.", "walctl");
  app.add_option("--endpoints", line.endpoints, "Stream addresses of servers (WALRAFT_ENDPOINTS)")
      ->type_name("HOST:PORT[,...]")
      ->envname("WALRAFT_ENDPOINTS")
      ->capture_default_str();
  app.add_option("-o,--output", line.output, "table or json")->type_name("FORMAT")->capture_default_str();
  app.add_option("--timeout", line.timeout, "Of one request; never bounds tail")->type_name("D")->capture_default_str();
  app.add_option("--ca", line.ca, "Not supported by this release")->type_name("FILE");
  app.add_option("--cert", line.cert, "Not supported by this release")->type_name("FILE");
  app.add_option("--key", line.key, "Not supported by this release")->type_name("FILE");
  app.add_option("--token-file", line.token_file, "Not supported by this release")->type_name("FILE");
  app.add_flag("--version", line.version, "Print the release");
  app.require_subcommand(0, 1);
  app.fallthrough();
  app.footer(kFooter);

  CLI::App* status_command =
      app.add_subcommand("status", "Every node and log; exit 0 healthy, 1 degraded, 9 without a leader");
  status_command->add_flag("--watch", line.watch, "Again every 2 s, until interrupted");

  CLI::App* log_command = app.add_subcommand("log", "Make, list, describe and delete logs");
  log_command->require_subcommand(1, 1);
  CLI::App* create_command =
      log_command->add_subcommand("create", "Make a log; one that is there with the same options is fine");
  create_command->add_option("NAME", line.log_name, "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit")
      ->required();
  create_command->add_option("--replicas", line.config.replicas, "Copies (default: as many as nodes, 3 at most)")
      ->check(CLI::Range(1u, 7u));
  create_command->add_option("--retention-bytes", line.retention_bytes, "Not supported by this release: it keeps all")
      ->type_name("B");
  create_command->add_option("--retention-time", line.retention_time, "Not supported by this release: it keeps all")
      ->type_name("D");
  create_command
      ->add_option("--segment-bytes", line.segment_bytes, "Size of its files, a power of two from 64KiB to 1GiB")
      ->type_name("B");
  create_command->add_option("--max-record-bytes", line.record_bytes_max, "Largest record, up to 8MiB")->type_name("B");
  create_command->add_flag("--require-epoch", line.config.require_epoch, "Not supported by this release");
  CLI::App* list_command = log_command->add_subcommand("list", "All logs, by name (json: one object a line)");
  list_command->add_option("PREFIX", line.log_prefix, "Only names that start so");
  CLI::App* describe_command = log_command->add_subcommand("describe", "One log: frontier, members, options");
  describe_command->add_option("NAME", line.log_name, "Name of the log")->required();
  CLI::App* delete_command = log_command->add_subcommand("delete", "Delete a log with all its records");
  delete_command->add_option("NAME", line.log_name, "Name of the log")->required();
  delete_command->add_flag("--yes", line.yes, "Do it: nothing brings the records back");

  CLI::App* append_command = app.add_subcommand("append", "Append stdin or files; prints the last offset (json: one object a batch)");
  append_command->add_option("LOG", line.append.log, "Name of the log")->required();
  append_command->add_option("FILE", line.append.files, "Files to append; stdin if none");
  append_command->add_option("--format", line.format, "lines (default) | raw (each file one record) | length-prefixed (u32 LE)");
  append_command->add_option("--batch-records", line.append.batch_records, "Records in a batch at most; a batch commits as a whole")
      ->check(CLI::Range(1u, 65'536u))
      ->capture_default_str();
  auto* expect =
      append_command->add_option("--expect-offset", line.expect_offset, "Only if the first record gets this offset")
          ->check(whole_number);
  append_command->add_flag("--create", line.append.create, "Make the log if it is missing");
  auto* epoch = append_command->add_option("--epoch", line.epoch, "Not supported by this release");
  auto* producer = append_command->add_option("--producer", line.producer, "Not supported by this release");
  auto* sequence = append_command->add_option("--sequence", line.sequence, "Not supported by this release");

  CLI::App* read_command = app.add_subcommand("read", "Read records, up to the end that the log has now");
  read_command->add_option("LOG", line.read.log, "Name of the log")->required();
  auto* read_from =
      read_command->add_option("--from", line.from, "Where to start (default earliest)")->type_name("FROM");
  read_command->add_option("--count", line.read.count, "Records at most")->check(whole_number);
  auto* bytes_option = read_command->add_option("--bytes", line.bytes, "End with the record that reaches this size");
  read_command->add_option("--until", line.read.until, "First offset that is not wanted")
      ->type_name("OFFSET")
      ->check(whole_number);
  read_command->add_option("--format", line.format, "lines (default) | raw | length-prefixed | json");

  CLI::App* tail_command = app.add_subcommand("tail", "Follow a log, across restarts of the server, without gap or duplicate");
  tail_command->add_option("LOG", line.tail.log, "Name of the log")->required();
  auto* tail_from = tail_command->add_option("--from", line.from, "Where to start (default latest)")->type_name("FROM");
  tail_command->add_option("--count", line.tail.count, "End after so many records")->check(whole_number);
  tail_command->add_flag("--exit-at-end", line.tail.exit_at_end, "End when everything committed was given");
  tail_command->add_option("--format", line.format, "lines (default) | raw | length-prefixed | json");
  auto* cursor = tail_command->add_option("--cursor", line.cursor, "Not supported by this release");
  auto* ack = tail_command->add_option("--ack", line.ack, "Not supported by this release");

  CLI::App* verify_command = app.add_subcommand("verify", "Offline: check every byte of a stopped node's data");
  verify_command->add_option("--data-dir", line.data_dir, "The node's data directory")->type_name("DIR")->required();
  verify_command->add_option("--log", line.verify_log, "This log only")->type_name("NAME");

  CLI::App* dump_command = app.add_subcommand("dump", "Offline: print what a segment file holds");
  dump_command->add_option("FILE", line.dump_file, "A segment file")->required();
  dump_command->add_flag("--records", line.dump_records, "The records too");

  CLI::App* disk_command = app.add_subcommand("diskcheck", "Measure a disk's synced writes, with a verdict");
  disk_command->add_option("DIR", line.disk_directory, "A directory on it; a file is made there and removed")->required();

  CLI::App* completion_command = app.add_subcommand("completion", "Print a script that completes command lines");
  completion_command->add_option("SHELL", line.shell, "bash, zsh or fish")->required();

  try {
    app.parse(arguments_of(argc, argv));
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    return usage(wrong.what());
  }
  if (line.version) {
    std::printf("walctl %s\n", WALRAFT_VERSION);
    return 0;
  }
  if (app.get_subcommands().empty()) return usage("say what to do");

  for (const CLI::Option* option : {epoch, producer, sequence, cursor, ack}) {
    if (option->count() > 0) return fail({Code::usage, option->get_name() + " is not supported by this release", 0});
  }
  const auto global = global_of(line);
  if (!global) return fail(global.error());
  const auto format = parse_format(line.format, global->output, !append_command->parsed());
  if (!format) return fail(format.error());
  line.append.format = line.read.format = line.tail.format = *format;
  if (expect->count() > 0) line.append.expect_offset = line.expect_offset;
  if (read_from->count() + tail_from->count() > 0) {  // an empty one is wrong: it is an unset variable of a script
    const auto from = From::parse(line.from);
    if (!from) return fail(Error(from.error()).at("--from"));
    line.read.from = line.tail.from = *from;
  }
  if (bytes_option->count() > 0) {
    const auto bytes = parse_bytes(line.bytes);
    if (!bytes) return fail(Error(bytes.error()).at("--bytes"));
    line.read.bytes = *bytes;
  }
  if (append_command->parsed()) return walctl::append(*global, line.append);
  if (read_command->parsed()) return walctl::read(*global, line.read);
  if (tail_command->parsed()) return walctl::tail(*global, line.tail);
  if (status_command->parsed()) return walctl::status(*global, line.watch);
  if (create_command->parsed()) {
    const auto config = config_of(line);
    return config ? log_create(*global, line.log_name, *config) : fail(config.error());
  }
  if (list_command->parsed()) return log_list(*global, line.log_prefix);
  if (describe_command->parsed()) return log_describe(*global, line.log_name);
  if (delete_command->parsed()) return log_delete(*global, line.log_name, line.yes);
  if (completion_command->parsed()) {
    const auto script = completion_script(app, line.shell);
    if (!script) return fail(script.error());
    std::fputs(script->c_str(), stdout);
    return 0;
  }
  if (verify_command->parsed()) return verify(*global, line.data_dir, line.verify_log);
  if (dump_command->parsed()) return dump(*global, line.dump_file, line.dump_records);
  return diskcheck(*global, line.disk_directory);
}
