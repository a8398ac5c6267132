// A small database on RocksDB whose write-ahead log is Walraft. How: replicated_db.h.
//
//   wald --dev &
//   example_rocksdb_on_walraft FOLDER put KEY VALUE
//   example_rocksdb_on_walraft FOLDER get KEY
//   example_rocksdb_on_walraft FOLDER delete KEY
//   example_rocksdb_on_walraft FOLDER load SEED COUNT   COUNT writes made from SEED, pipelined, and what became of them
//   example_rocksdb_on_walraft FOLDER check             are the two families of one point in time?
//   example_rocksdb_on_walraft FOLDER dump              everything, one row a line
//   example_rocksdb_on_walraft FOLDER flush             from which offset on is the log still needed?
//   before FOLDER: --endpoint HOST:PORT (may be repeated)   --log NAME (engine)   --memtable-bytes N
//
// Its table is in two families: `rows` has the value of each key, `versions` the offset of the write that made it.
// Every write changes both. The exit code is that of the outcome table.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "client/examples/replicated_db.h"

namespace {

using walraft::Code;
using walraft::Offset;
using walraft::Result;

constexpr std::size_t kRows = 0, kVersions = 1;

int fail(const walraft::Error& error) {
  std::fprintf(stderr, "rocksdb_on_walraft: %s: %s\n", std::string(walraft::outcome_of(error.code).name).c_str(),
               error.message.c_str());
  return walraft::outcome_of(error.code).exit_code;
}

// The changes of one write.
class Changes {
 public:
  explicit Changes(ReplicatedDb& db) : db_(db), version_(std::to_string(db.next_offset().value)) {}
  void put(const std::string& key, const std::string& value) {
    batch_.Put(db_.family(kRows), key, value);
    batch_.Put(db_.family(kVersions), key, version_);
  }
  void remove(const std::string& key) {
    batch_.Delete(db_.family(kRows), key);
    batch_.Delete(db_.family(kVersions), key);
  }
  const rocksdb::WriteBatch& batch() const { return batch_; }

 private:
  ReplicatedDb& db_;
  const std::string version_;  // known before it is written: what does not get this offset is not written
  rocksdb::WriteBatch batch_;
};

int write(ReplicatedDb& db, const Changes& changes) {
  const Result<Offset> written = db.write(changes.batch());
  if (!written) return fail(written.error());
  std::printf("%llu\n", static_cast<unsigned long long>(written->value));
  return 0;
}

int get(ReplicatedDb& db, const std::string& key) {
  std::string value;
  const auto status = db.rocksdb().Get({}, db.family(kRows), key, &value);
  if (status.IsNotFound()) return fail({Code::not_found, "no key \"" + key + "\"", 0});
  if (!status.ok()) return fail({Code::failed, status.ToString(), 0});
  std::printf("%s\n", value.c_str());
  return 0;
}

// splitmix64
std::uint64_t random(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

int load(ReplicatedDb& db, std::uint64_t seed, std::uint64_t count) {
  std::optional<walraft::Error> failed;
  for (std::uint64_t number = 0; number < count && !failed; ++number) {
    std::uint64_t state = seed * 1'000'003 + number;
    Changes changes(db);
    for (std::uint64_t left = 1 + random(state) % 4; left > 0; --left) {
      const std::string key = "key" + std::to_string(random(state) % 500);
      if (random(state) % 5 == 0) {
        changes.remove(key);
      } else {
        const std::uint64_t value = random(state);
        changes.put(key, std::string(value % 200, static_cast<char>('a' + value % 26)) + std::to_string(value));
      }
    }
    db.submit(changes.batch(), [&failed, number](const Result<Offset>& result) {
      if (!result && !failed) failed = result.error();
      std::printf("%s %llu %llu\n",
                  std::string(walraft::outcome_of(result ? Code::ok : result.error().code).name).c_str(),
                  static_cast<unsigned long long>(number), static_cast<unsigned long long>(result ? result->value : 0));
      std::fflush(stdout);
    });
  }
  db.settle();
  return failed ? fail(*failed) : 0;
}

// Walks both families at once; `each` gets key, value, version. `failed` where they do not fit together.
template <class Each>
Result<void> walk(ReplicatedDb& db, Each each) {
  std::unique_ptr<rocksdb::Iterator> rows(db.rocksdb().NewIterator({}, db.family(kRows)));
  std::unique_ptr<rocksdb::Iterator> versions(db.rocksdb().NewIterator({}, db.family(kVersions)));
  for (rows->SeekToFirst(), versions->SeekToFirst(); rows->Valid() && versions->Valid();
       rows->Next(), versions->Next()) {
    const std::string key = rows->key().ToString(), version = versions->value().ToString();
    if (key != versions->key().ToString()) {
      return walraft::error(Code::failed,
                            "key " + key + " is in one family, " + versions->key().ToString() + " in the other");
    }
    if (std::stoull(version) >= db.applied().value) {
      return walraft::error(Code::failed, "key " + key + " has version " + version + ", beyond the applied mark " +
                                              std::to_string(db.applied().value));
    }
    each(key, rows->value().ToString(), version);
  }
  if (!rows->status().ok()) return walraft::error(Code::failed, rows->status().ToString());
  if (!versions->status().ok()) return walraft::error(Code::failed, versions->status().ToString());
  if (rows->Valid() || versions->Valid())
    return walraft::error(Code::failed, "one family has more keys than the other");
  return {};
}

int usage() {
  std::fprintf(stderr,
               "usage: example_rocksdb_on_walraft [--endpoint HOST:PORT]… [--log NAME] [--memtable-bytes N] FOLDER "
               "put KEY VALUE | get KEY | delete KEY | load SEED COUNT | check | dump | flush\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  walraft::ClientOptions client_options{.endpoints = {}};  // none: the default one
  std::string log_name = "engine";
  ReplicatedDb::Options options{.families = {"rows", "versions"}};
  int at = 1;
  for (; at + 1 < argc && std::strncmp(argv[at], "--", 2) == 0; at += 2) {
    const std::string option = argv[at], value = argv[at + 1];
    if (option == "--endpoint") {
      client_options.endpoints.push_back(value);
    } else if (option == "--log") {
      log_name = value;
    } else if (option == "--memtable-bytes") {
      options.memtable_bytes = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      return usage();
    }
  }
  const std::vector<std::string> words(argv + at, argv + argc);
  if (words.size() < 2) return usage();
  const std::string& command = words[1];
  const auto is = [&](const char* name, std::size_t arguments) {
    return command == name && words.size() == 2 + arguments;
  };

  walraft::Client client(client_options);
  auto log = client.open(log_name, {.create = true});
  if (!log) return fail(log.error());
  auto opened = ReplicatedDb::open(words[0], std::move(*log), options);
  if (!opened) return fail(opened.error());
  ReplicatedDb& db = **opened;

  if (is("put", 2)) {
    Changes changes(db);
    changes.put(words[2], words[3]);
    return write(db, changes);
  }
  if (is("delete", 1)) {
    Changes changes(db);
    changes.remove(words[2]);
    return write(db, changes);
  }
  if (is("get", 1)) return get(db, words[2]);
  if (is("load", 2))
    return load(db, std::strtoull(words[2].c_str(), nullptr, 10), std::strtoull(words[3].c_str(), nullptr, 10));
  if (is("flush", 0)) {
    const auto needed_from = db.flush();
    if (!needed_from) return fail(needed_from.error());
    std::printf("%llu\n", static_cast<unsigned long long>(needed_from->value));
    return 0;
  }
  if (is("check", 0) || is("dump", 0)) {
    const bool shown = command == "dump";
    std::printf("opened at %llu, applied %llu\n", static_cast<unsigned long long>(db.opened_at().value),
                static_cast<unsigned long long>(db.applied().value));
    const auto walked = walk(db, [shown](const std::string& key, const std::string& value, const std::string& version) {
      if (shown) std::printf("%s %s %s\n", key.c_str(), version.c_str(), value.c_str());
    });
    return walked ? 0 : fail(walked.error());
  }
  return usage();
}
