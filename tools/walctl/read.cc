// walctl read and walctl tail.
#include <algorithm>

#include "tools/walctl/commands.h"

namespace walraft::walctl {

int read(const Global& global, const ReadArguments& arguments) {
  Client client(global.client());
  auto log = client.open(arguments.log);
  if (!log) return fail(log.error());
  // Bounded: what is appended while it runs is left to the next one.
  const auto end = log->tail();
  if (!end) return fail(end.error());
  const Offset until = std::min(Offset(arguments.until), *end);
  RecordWriter writer(arguments.format);
  From from = arguments.from;
  std::uint64_t count_left = arguments.count;
  std::uint64_t bytes_left = arguments.bytes;
  bool failed = false;
  Error why;
  while (count_left > 0 && bytes_left > 0 && !failed) {
    const auto records = log->read(from, {.count = count_left, .until = until});
    if (!records) {
      failed = true;
      why = records.error();
      break;
    }
    if (records->empty()) break;
    for (const Record& record : *records) {
      if (bytes_left == 0) break;
      if (auto ok = writer.write(record); !ok) return fail(ok.error());
      --count_left;
      bytes_left -= std::min<std::uint64_t>(bytes_left, std::max<std::size_t>(record.data.size(), 1));
    }
    from = From::offset(records->next());
    if (records->next() >= until) break;
  }
  if (auto ok = writer.flush(); !ok) return fail(ok.error());
  return failed ? fail(why) : 0;
}

int tail(const Global& global, const TailArguments& arguments) {
  Client client(global.client());
  auto log = client.open(arguments.log);
  if (!log) return fail(log.error());
  auto subscription = log->subscribe({.from = arguments.from});
  if (!subscription) return fail(subscription.error());
  RecordWriter writer(arguments.format);
  std::uint64_t count_left = arguments.count;
  while (count_left > 0) {
    if (arguments.exit_at_end && subscription->position() >= subscription->committed()) break;
    auto event = subscription->next();
    if (!event) return fail(event.error());
    if (const auto* gap = std::get_if<Gap>(&*event)) {
      std::fprintf(stderr, "walctl: log \"%s\": offsets %llu to %llu were trimmed before they were read\n",
                   arguments.log.c_str(), static_cast<unsigned long long>(gap->from.value),
                   static_cast<unsigned long long>(gap->to.value - 1));
      continue;
    }
    for (const Record& record : std::get<Records>(*event)) {
      if (auto ok = writer.write(record); !ok) return fail(ok.error());
      if (--count_left == 0) break;
    }
    if (auto ok = writer.flush(); !ok) return fail(ok.error());
  }
  return 0;
}

}  // namespace walraft::walctl
