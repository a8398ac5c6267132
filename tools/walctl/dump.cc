// walctl dump: prints what a segment file holds, frame by frame, and where it stops making sense.
#include <algorithm>
#include <cstdio>

#include "tools/walctl/commands.h"
#include "wal/batch.h"
#include "wal/posix_filesystem.h"
#include "wal/segment_scan.h"

namespace walraft::walctl {
namespace {

constexpr std::size_t kShownBytes = 64;  // of a record

void print_header(const wal::SegmentHeader& header) {
  std::printf("segment %llu of log %llu (%s), cluster %s\n", static_cast<unsigned long long>(header.number),
              static_cast<unsigned long long>(header.log_id.value), to_string(header.log).c_str(),
              to_string(header.cluster).c_str());
  std::printf("  %llu bytes, incarnation %016llx, made %s\n", static_cast<unsigned long long>(header.segment_bytes),
              static_cast<unsigned long long>(header.incarnation), format_time(header.created_us).c_str());
  std::printf("  starts at index %llu, offset %llu, digest %s\n", static_cast<unsigned long long>(header.start.index.value),
              static_cast<unsigned long long>(header.start.offset.value), to_string(header.start.digest).c_str());
}

void print_batch(std::uint64_t position, const wal::BatchHeader& header) {
  std::printf("%10llu  batch  index %llu offset %llu %s, %u records, %u bytes, term %llu, commit %llu, %s, %s\n",
              static_cast<unsigned long long>(position), static_cast<unsigned long long>(header.index.value),
              static_cast<unsigned long long>(header.base_offset.value), wal::describe(header.kind).c_str(),
              header.record_count, header.body_bytes, static_cast<unsigned long long>(header.term.value),
              static_cast<unsigned long long>(header.commit.value), format_time(header.timestamp_us).c_str(),
              to_string(header.digest).c_str());
}

void print_records(const wal::BatchHeader& header, ByteView batch) {
  wal::RecordCursor records(header, batch);
  for (Offset offset = header.base_offset; const auto record = records.next(); offset = offset + 1) {
    const auto shown = record->first(std::min(record->size(), kShownBytes));
    std::printf("            offset %llu, %zu bytes: %s%s\n", static_cast<unsigned long long>(offset.value),
                record->size(), printable(text_of(shown)).c_str(), shown.size() < record->size() ? "..." : "");
  }
}

Result<wal::SegmentHeader> read_header(wal::File& file) {
  std::vector<std::byte> block(wal::kBlockBytes);
  Error last{Code::corrupt, "the file is too short for a segment", 0};
  for (const std::uint64_t copy : {std::uint64_t{0}, std::uint64_t{wal::kBlockBytes}}) {
    const auto got = file.read(copy, block);
    if (!got) return std::unexpected(got.error());
    if (*got < block.size()) continue;
    auto header = wal::decode_segment_header(block);
    if (header) return header;
    last = std::move(header.error());
    std::printf("header copy %c: %s\n", copy == 0 ? 'A' : 'B', last.message.c_str());
  }
  return std::unexpected(std::move(last));
}

}  // namespace

int dump(const Global&, const std::string& path, bool records) {
  const auto slash = path.rfind('/');
  auto directory = wal::open_directory(slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1)), false);
  if (!directory) return fail(directory.error());
  auto file = (*directory)->open(slash == std::string::npos ? path : path.substr(slash + 1), wal::Access::read);
  if (!file) return fail(file.error());
  const auto header = read_header(**file);
  if (!header) return fail(Error(header.error()).at(path));
  print_header(*header);

  // The scan says how far the frames make sense; what is printed is what it took.
  const wal::SegmentScan scan = wal::scan_segment(**file, *header);
  wal::FileWindow window(**file, wal::footer_position(header->segment_bytes));
  bool damaged = !scan.notes.empty();
  for (std::size_t run = 0; run < scan.runs.size(); ++run) {
    std::uint64_t position = scan.runs[run].from_position;
    while (position < scan.runs[run].to_position) {
      const auto head = window.view(position, wal::kBatchHeaderBytes);
      if (!head) return fail(head.error());
      if (const auto group = wal::decode_group_header(*head)) {
        std::printf("%10llu  group  %llu: %u batches, %u bytes, durable before it: index %llu\n",
                    static_cast<unsigned long long>(position), static_cast<unsigned long long>(group->number),
                    group->batches, group->bytes, static_cast<unsigned long long>(group->durable_before.value));
        position += wal::kGroupHeaderBytes;
        continue;
      }
      const auto batch_header = wal::decode_batch_header(*head);
      if (!batch_header) {  // a damaged group header whose batches are intact
        std::printf("%10llu  DAMAGED group header\n", static_cast<unsigned long long>(position));
        position += wal::kGroupHeaderBytes;
        continue;
      }
      print_batch(position, *batch_header);
      if (records) {
        const auto batch = window.view(position, batch_header->total_bytes());
        if (!batch) return fail(batch.error());
        print_records(*batch_header, *batch);
      }
      position += wal::frame_bytes(batch_header->total_bytes());
    }
    const wal::Damage& end = scan.damages[run];
    const bool is_end = run + 1 == scan.runs.size();
    damaged = damaged || !is_end;
    std::printf("%10llu  %s: %s\n", static_cast<unsigned long long>(end.position), is_end ? "end" : "DAMAGED",
                end.what.c_str());
  }
  for (const std::string& note : scan.notes) std::printf("DAMAGED %s\n", note.c_str());
  std::printf("%llu batches; ends at index %llu, offset %llu\n", static_cast<unsigned long long>(scan.batches),
              static_cast<unsigned long long>(scan.runs.back().to.index.value),
              static_cast<unsigned long long>(scan.runs.back().to.offset.value));
  return damaged ? outcome_of(Code::corrupt).exit_code : 0;
}

}  // namespace walraft::walctl
