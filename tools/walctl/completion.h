#pragma once

// Completion of command lines by shells, made from the command line's own description.

#include <CLI/CLI.hpp>
#include <string>

#include "wal/base/result.h"

namespace walraft::walctl {

// A script for "bash", "zsh" or "fish"; `usage` for another shell.
Result<std::string> completion_script(const CLI::App& app, const std::string& shell);

}  // namespace walraft::walctl
