#pragma once

// The server's log: lines on stderr (journald rotates). Control characters are escaped, so that a name or a message from
// outside cannot forge a line. Any thread.

#include <string>
#include <string_view>

namespace walraft::wald {

void start_logging(const std::string& level, const std::string& format);  // "info", "text" or "json"
void set_log_level(const std::string& level);
void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warn(std::string_view message);
void log_error(std::string_view message);

}  // namespace walraft::wald
