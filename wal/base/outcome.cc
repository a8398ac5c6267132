#include "wal/base/outcome.h"

#include <array>

namespace walraft {
namespace {

constexpr std::array kOutcomes = {
    Outcome{Code::ok, "ok", "", Retry::no, 0, 200, "done"},
    Outcome{Code::failed, "failed", "", Retry::no, 1, 500, "anything not listed below"},
    Outcome{Code::usage, "usage", "", Retry::no, 2, 400, "the command line is wrong"},
    Outcome{Code::invalid, "invalid", "", Retry::no, 2, 400, "the request is wrong"},
    Outcome{Code::unsupported_media_type, "unsupported_media_type", "", Retry::no, 2, 415,
            "the content type is not one that is taken here"},
    Outcome{Code::not_found, "not_found", "", Retry::no, 3, 404, "no such log, member or cursor"},
    Outcome{Code::condition_failed, "condition_failed", "tail", Retry::no, 4, 412,
            "the next offset is another one"},
    Outcome{Code::fenced, "fenced", "epoch", Retry::no, 5, 409, "a newer writer epoch rules"},
    Outcome{Code::trimmed, "trimmed", "first", Retry::no, 6, 410, "the offset is no longer kept"},
    Outcome{Code::unknown, "unknown", "", Retry::same_sequence, 7, 504,
            "the append may or may not be there"},
    Outcome{Code::denied, "denied", "", Retry::no, 8, 403, "not allowed"},
    Outcome{Code::unavailable, "unavailable", "", Retry::yes, 9, 503,
            "no leader, no quorum or no connection; nothing was written"},
    Outcome{Code::no_space, "no_space", "", Retry::later, 10, 503,
            "the disk is full; refused before anything was written"},
    Outcome{Code::too_large, "too_large", "", Retry::no, 10, 413,
            "larger than the limit; refused before anything was written"},
    Outcome{Code::over_limit, "over_limit", "", Retry::later, 10, 429,
            "too much at once; refused before anything was written"},
    Outcome{Code::corrupt, "corrupt", "", Retry::no, 11, 500, "damage found, not served"},
    Outcome{Code::data_loss, "data_loss", "offset", Retry::no, 11, 500,
            "records are damaged in every copy, not served"},
    Outcome{Code::sealed, "sealed", "", Retry::no, 12, 409, "the log takes no more appends"},
    Outcome{Code::deleted, "deleted", "", Retry::no, 12, 409, "the log was deleted"},
    Outcome{Code::exists, "exists", "", Retry::no, 12, 409, "there already, with other options"},
    Outcome{Code::unknown_producer, "unknown_producer", "", Retry::no, 13, 409,
            "the producer is not remembered, so a repeat cannot be told"},
    Outcome{Code::sequence_gap, "sequence_gap", "", Retry::no, 13, 409,
            "the producer skipped a sequence number"},
};

constexpr bool in_order_of_code() {
  for (std::size_t i = 0; i < kOutcomes.size(); ++i) {
    if (static_cast<std::size_t>(kOutcomes[i].code) != i) return false;
  }
  return true;
}
static_assert(in_order_of_code());

}  // namespace

std::span<const Outcome> outcomes() { return kOutcomes; }

const Outcome& outcome_of(Code code) {
  const auto i = static_cast<std::size_t>(code);
  return kOutcomes[i < kOutcomes.size() ? i : static_cast<std::size_t>(Code::failed)];
}

}  // namespace walraft
