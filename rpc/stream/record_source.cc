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
        return done(error(Code::trimmed,
                          "log \"" + replica_.name() + "\": offset " + std::to_string(from.value) +
                              " was trimmed; the first kept is " + std::to_string(first.value) + ". Try --from earliest.",
                          first.value));
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
      [alive = alive_, found, done = std::move(done)] {
        if (*alive) done(std::move(*found));
      });
}

void RecordSource::fetch(Offset from, std::size_t bytes_max, std::function<void(Result<Batches>)> done) {
  Batches batches;
  if (replica_.read_tail(from, bytes_max, batches) && !batches.empty()) {
    reader_.reset();  // caught up: its files need not stay open
    return done(std::move(batches));
  }
  if (!reader_ || from >= reader_->end_offset()) reader_ = std::make_shared<wal::LogReader>(replica_.view());
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
      [alive = alive_, job, done = std::move(done), name = replica_.name()] {
        if (!*alive) return;
        if (!job->result) return done(std::unexpected(std::move(job->result.error()).at("log \"" + name + "\"")));
        done(std::move(job->batches));
      });
}

}  // namespace walraft::rpc
