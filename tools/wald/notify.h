#pragma once

// Tells systemd how the service does (sd_notify(3), without its library). Does nothing where systemd did not ask.
// Any thread.

#include <chrono>
#include <optional>
#include <string_view>

namespace walraft::wald {

void notify_systemd(std::string_view state);  // "READY=1", "STOPPING=1", "WATCHDOG=1"

// How often WATCHDOG=1 is expected; nothing if not at all.
std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace walraft::wald
