// Prints every record of a log for ever, across restarts of servers and of its own:  OFFSET TEXT
//
//   example_follow 127.0.0.1:7400 numbers POSITION_FILE
//
// The file holds the offset of the next record. It is written after the records were printed: after a crash some may be
// printed again, none is left out. Who must have each exactly once keeps the position where the result goes, in one
// transaction with it: as replicated_db.h does.

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "client/client.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: example_follow HOST:PORT LOG POSITION_FILE\n";
    return 2;
  }
  const auto fail = [](const walraft::Error& error) {
    std::cerr << "follow: " << error.message << "\n";
    return walraft::outcome_of(error.code).exit_code;
  };

  const std::string position_file = argv[3];
  std::uint64_t position = 0;
  std::ifstream(position_file) >> position;  // no file: from the first record on

  walraft::Client client({.endpoints = {argv[1]}});
  auto log = client.open(argv[2], {.create = true});
  if (!log) return fail(log.error());
  auto subscription = log->subscribe({.from = walraft::From::offset(walraft::Offset(position))});
  if (!subscription) return fail(subscription.error());

  for (;;) {
    auto event = subscription->next();  // waits, also while no server answers
    if (!event) return fail(event.error());
    if (const auto* gap = std::get_if<walraft::Gap>(&*event)) {
      std::cerr << "follow: offsets " << gap->from.value << " to " << gap->to.value - 1 << " are no longer kept\n";
    } else {
      for (const walraft::Record& record : std::get<walraft::Records>(*event)) {
        std::cout << record.offset.value << " " << walraft::text_of(record.data) << "\n";
      }
      if (!std::cout.flush()) return fail({walraft::Code::failed, "the output cannot be written", 0});
    }
    const std::string fresh = position_file + ".new";
    std::ofstream file(fresh);
    file << subscription->position().value << "\n";
    file.close();
    if (!file || std::rename(fresh.c_str(), position_file.c_str()) != 0) {
      return fail({walraft::Code::failed, position_file + ": the position cannot be written", 0});
    }
  }
}
