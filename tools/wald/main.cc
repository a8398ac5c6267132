// wald: the Walraft server.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "rpc/wire/frame.h"
#include "tools/wald/appliance.h"
#include "tools/wald/config.h"
#include "tools/wald/log.h"
#include "wal/base/standard_descriptors.h"
#include "wal/identity.h"

#ifndef WALRAFT_COMMIT
#define WALRAFT_COMMIT "unknown"
#endif

namespace {

using namespace walraft;
using namespace walraft::wald;

constexpr const char* kFooter = R"(
Exit codes: 0 ok, 1 anything else, 2 bad configuration, 3 storage refused (damaged, foreign, newer format, in use, or a
second storage failure within an hour), 4 address in use, 5 storage failed (a sync or write failed).
Logs go to stderr. SIGTERM and SIGINT answer what is under way and end; the second one ends at once.
SIGHUP reads the configuration again and takes over logging.level and limits; a bad one is said, and changes nothing.
This release runs one durable node: TLS, tokens, several members, the control and the http port come later.)";

int refuse(const std::string& message) {
  std::fprintf(stderr, "wald: %s\n", message.c_str());
  return kExitBadConfig;
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_descriptors();
  CLI::App app("wald, the Walraft server: a durable log that storage engines append to.", "wald");
  std::string config_file, check_file, token_file, data_dir = "./walraft-dev";
  bool dev = false, print_default = false, version = false;
  int port_base = 7400;
  app.add_option("--config", config_file, "Run with this configuration")->type_name("FILE");
  app.add_flag("--dev", dev, "Run one node on the loopback interface without a configuration");
  app.add_option("--data-dir", data_dir, "With --dev: where the data is")->type_name("DIR")->capture_default_str();
  app.add_option("--port-base", port_base, "With --dev: stream = N, control = N+1, http = N+2")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--check-config", check_file, "Check a configuration and end")->type_name("FILE");
  app.add_flag("--print-default-config", print_default, "Print a configuration with every key and its default");
  app.add_option("--create-admin-token", token_file, "Not supported by this release")->type_name("FILE");
  app.add_flag("--version", version, "Print release, commit, and the ranges of formats and protocols");
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    return refuse(std::string(wrong.what()) + ". See wald --help.");
  }

  if (version) {
    std::printf("wald %s (commit %s)\ndisk format 1, data directory %u, stream protocol %d\n", WALRAFT_VERSION,
                WALRAFT_COMMIT, wal::Identity::kFormat, rpc::kFrameVersion);
    return kExitOk;
  }
  if (print_default) {
    std::fputs(std::string(default_config()).c_str(), stdout);
    return kExitOk;
  }
  if (!token_file.empty()) return refuse("--create-admin-token is not supported by this release, which has no tokens");
  if (!check_file.empty()) {
    if (const auto config = load_config(check_file); !config) return refuse(config.error().message);
    std::printf("%s: good\n", check_file.c_str());
    return kExitOk;
  }
  if (dev == !config_file.empty()) {
    return refuse(dev ? "--dev and --config exclude each other" : "say --config FILE, or --dev to try it. See wald --help.");
  }
  if (!dev && (app.count("--data-dir") > 0 || app.count("--port-base") > 0)) {
    return refuse("--data-dir and --port-base go with --dev; a configuration has node.data_dir and listen");
  }
  const auto config = dev ? dev_config(data_dir, port_base) : load_config(config_file);
  if (!config) return refuse(config.error().message);
  start_logging(config->log_level, config->log_format);
  return run_appliance(*config);
}
