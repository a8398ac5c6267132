// Appends each line of stdin as a record and says what became of each:  NUMBER ok OFFSET  or  NUMBER CODE
//
//   seq 1 1000 | example_append 127.0.0.1:7400 numbers

#include <atomic>
#include <iostream>
#include <string>

#include "client/client.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: example_append HOST:PORT LOG\n";
    return 2;
  }
  const auto fail = [](const walraft::Error& error) {
    std::cerr << "append: " << error.message << "\n";
    return walraft::outcome_of(error.code).exit_code;
  };

  walraft::Client client({.endpoints = {argv[1]}});
  auto log = client.open(argv[2], {.create = true});
  if (!log) return fail(log.error());
  auto appender = log->appender({.stop_on_refusal = true});
  if (!appender) return fail(appender.error());

  std::atomic<int> exit_code = 0;
  std::string line;
  for (std::uint64_t number = 0; exit_code == 0 && std::getline(std::cin, line); ++number) {
    const walraft::ByteView record = walraft::bytes_of(line);
    // Returns at once, or waits while too much is unanswered. The record is copied.
    appender->append({&record, 1}, {}, [&, number](walraft::Result<walraft::Appended> result) {
      // On the client's thread, once for each append, in their order.
      if (result) {
        std::cout << number << " ok " << result->first.value << "\n";
      } else {
        std::cout << number << " " << walraft::outcome_of(result.error().code).name << "\n";
        if (exit_code == 0) exit_code = fail(result.error());
      }
    });
  }
  appender->wait();
  return exit_code;
}
