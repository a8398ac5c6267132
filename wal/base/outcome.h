#pragma once

// The outcome table: the one source of error codes, exit codes and HTTP statuses.
// An append has three outcomes only: ok, certainly not written (every other code), or `unknown`.

#include <cstdint>
#include <span>
#include <string_view>

namespace walraft {

enum class Code : std::uint8_t {
  ok = 0,
  failed,
  usage,
  invalid,
  unsupported_media_type,
  not_found,
  condition_failed,  // Error::detail = tail
  fenced,            // Error::detail = epoch
  trimmed,           // Error::detail = first offset kept
  unknown,
  denied,
  unavailable,
  no_space,
  too_large,
  over_limit,
  corrupt,
  data_loss,  // Error::detail = first offset lost
  sealed,
  deleted,
  exists,
  unknown_producer,
  sequence_gap,
};

enum class Retry : std::uint8_t { no, yes, later, same_sequence };

struct Outcome {
  Code code;
  std::string_view name;          // as it stands in JSON and in messages
  std::string_view detail_name;   // what Error::detail is; empty if it has none
  Retry retry;
  int exit_code;                  // of walctl
  int http_status;
  std::string_view meaning;
};

// All outcomes, in the order of Code.
std::span<const Outcome> outcomes();

// Any value of the byte is allowed; an unlisted one (from a newer peer) reads as `failed`.
const Outcome& outcome_of(Code code);

}  // namespace walraft
