#pragma once

// What every command of walctl is told, and how a command ends.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "client/client.h"
#include "tools/units.h"
#include "wal/base/result.h"

namespace walraft::walctl {

enum class Output : std::uint8_t { table, json };

struct Global {
  std::vector<std::string> endpoints;
  Output output = Output::table;
  std::chrono::microseconds timeout{5'000'000};

  ClientOptions client() const {
    return {.endpoints = endpoints, .cluster_name = {}, .software = "walctl " WALRAFT_VERSION, .timeout = timeout};
  }
};

// Says it on stderr; returns the exit code of the outcome table.
int fail(const Error& error);

// For names and messages that go to a terminal: control characters as \xNN.
std::string printable(std::string_view text);
// RFC 3339 UTC with microseconds.
std::string format_time(std::int64_t timestamp_us);
// The inside of a JSON string. Bytes that are no UTF-8 must not come in.
std::string json_escape(std::string_view text);
std::string base64(ByteView bytes);

}  // namespace walraft::walctl
