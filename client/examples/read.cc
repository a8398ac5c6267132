// Prints a log from some place to its end, one line a record:  OFFSET TEXT
//
//   example_read 127.0.0.1:7400 numbers -10

#include <iostream>

#include "client/client.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: example_read HOST:PORT LOG OFFSET|earliest|latest|-N|@TIME\n";
    return 2;
  }
  const auto fail = [](const walraft::Error& error) {
    std::cerr << "read: " << error.message << "\n";
    return walraft::outcome_of(error.code).exit_code;
  };

  auto from = walraft::From::parse(argv[3]);
  if (!from) return fail(from.error());
  walraft::Client client({.endpoints = {argv[1]}});
  auto log = client.open(argv[2]);
  if (!log) return fail(log.error());

  for (;;) {
    const auto records = log->read(*from);  // some, not all: about 4 MiB
    if (!records) return fail(records.error());
    if (records->empty()) return 0;  // the end, for now
    for (const walraft::Record& record : *records) {
      std::cout << record.offset.value << " " << walraft::text_of(record.data) << "\n";
    }
    from = walraft::From::offset(records->next());
  }
}
