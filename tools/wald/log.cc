#include "tools/wald/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace walraft::wald {
namespace {

bool is_json = false;

std::string escape(std::string_view text) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += std::string(is_json ? "\\u00" : "\\x") + kHexDigits[byte >> 4] + kHexDigits[byte & 15];
    } else if (is_json && (c == '"' || c == '\\')) {
      result += '\\';
      result += c;
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

void start_logging(const std::string& level, const std::string& format) {
  is_json = format == "json";
  auto logger = std::make_shared<spdlog::logger>("wald", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern(is_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","message":"%v"})"
                              : "%Y-%m-%dT%H:%M:%S.%fZ %l %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void set_log_level(const std::string& level) {
  spdlog::default_logger_raw()->set_level(spdlog::level::from_str(level));
}

void log_debug(std::string_view message) { spdlog::default_logger_raw()->log(spdlog::level::debug, escape(message)); }
void log_info(std::string_view message) { spdlog::default_logger_raw()->log(spdlog::level::info, escape(message)); }
void log_warn(std::string_view message) { spdlog::default_logger_raw()->log(spdlog::level::warn, escape(message)); }
void log_error(std::string_view message) { spdlog::default_logger_raw()->log(spdlog::level::err, escape(message)); }

}  // namespace walraft::wald
