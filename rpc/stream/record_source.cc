#include "rpc/stream/record_source.h"

#include <algorithm>

namespace walraft::rpc {

RecordSource::RecordSource(replication::Replica& replica, Connection& connection)
    : replica_(replica), connection_(connection) {}

RecordSource::~RecordSource() { *alive_ = false; }

void RecordSource::resolve(const From& from, std::function<void(Result<Offset>)> done) {
  const Offset first = replica_.first_offset();
  const Offset committed = replica_.committed();
  switch (from.kind) {
    case From::Kind::earliest: return done(first);
    case From::Kind::latest: return done(committed);
    case From::Kind::last:
      return done(std::max(first, Offset(committed.value - std::min(committed.value, from.value))));
    case From::Kind::offset:
      if (from.value < first.value) {
        return done(std::unexpected(trimmed(Offset(from.value)).at("log \"" + replica_.name() + "\"")));
      }
      return done(Offset(from.value));
    case From::Kind::timestamp: break;
  }
  if (first == committed) return done(committed);
  auto reader = std::make_shared<wal::LogReader>(replica_.view());
  auto found = std::make_shared<Result<Offset>>();
  connection_.read_elsewhere(
      reader->memory_bytes(),
      [alive = alive_, reader, found, at = static_cast<std::int64_t>(from.value)] {
        if (*alive) *found = reader->find_time(at);
      },
      [this, alive = alive_, found, from, first, done = std::move(done)]() mutable {
        if (!*alive) return;
        if (*found || found->error().code != Code::not_found) return done(std::move(*found));
        if (replica_.first_offset() != first) return resolve(from, std::move(done));  // it was trimmed meanwhile
        done(std::unexpected(lost(std::move(found->error()), first)));
      });
}

void RecordSource::fetch(Offset from, std::size_t bytes_max, std::function<void(Result<Batches>)> done) {
  Batches batches;
  if (replica_.read_tail(from, bytes_max, batches) && !batches.empty()) {
    reader_.reset();  // caught up: nobody needs its view
    return done(std::move(batches));
  }
  const bool is_fresh = !reader_ || from >= reader_->end_offset();
  if (is_fresh) reader_ = std::make_shared<wal::LogReader>(replica_.view());
  struct Job {
    Batches batches;
    Result<void> result;
  };
  auto job = std::make_shared<Job>();
  connection_.read_elsewhere(
      reader_->memory_bytes(),
      [alive = alive_, reader = reader_, job, from, bytes_max] {
        if (*alive) job->result = reader->read(from, bytes_max, job->batches);
      },
      [this, alive = alive_, job, from, bytes_max, is_fresh, done = std::move(done)]() mutable {
        if (!*alive) return;
        if (job->result) return done(std::move(job->batches));
        Error why = std::move(job->result.error());
        if (why.code == Code::not_found && from < replica_.first_offset()) {
          why = trimmed(from);
        } else if (why.code == Code::not_found && is_fresh) {
          why = lost(std::move(why), from);
        } else if (why.code == Code::not_found) {
          reader_.reset();  // its view is older than a trim that left `from` alone
          return fetch(from, bytes_max, std::move(done));
        }
        done(std::unexpected(std::move(why).at("log \"" + replica_.name() + "\"")));
      });
}

Error RecordSource::trimmed(Offset offset) const {
  const std::uint64_t first = replica_.first_offset().value;
  return {Code::trimmed,
          "offset " + std::to_string(offset.value) + " was trimmed; the first kept is " + std::to_string(first) +
              ". Try --from earliest.",
          first};
}

// A segment that the log still needs is not there.
Error RecordSource::lost(Error missing, Offset offset) {
  return {Code::data_loss, "offset " + std::to_string(offset.value) + " cannot be read: " + std::move(missing.message),
          offset.value};
}

}  // namespace walraft::rpc
