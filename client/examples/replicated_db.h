#pragma once

// A RocksDB database whose write-ahead log is a Walraft log. Made to be copied.
//
// A write becomes one record of the log, the bytes of its WriteBatch, and is applied to RocksDB once it is committed.
// RocksDB's own log is off. What its memtables lose in a crash is read from Walraft again when the database opens: from
// the *applied mark* on, the offset of the first record that was not applied. Every process that opens the log in a
// folder of its own has the same database. Three rules make this right:
//
// 1. Mark and data move together. The mark is in the WriteBatch of the record that it speaks of, so memory always has
//    both or neither; and `atomic_flush` takes all column families to the disk as of one point. Without it each family
//    is flushed by itself: after a crash the family of the mark may be ahead of another one, whose lost records would
//    then never be applied again. (Who needs families flushed one by one keeps a mark in each, starts reading at the
//    lowest, and leaves out of each record what a family already has.)
// 2. Every append says which offset it expects. An append whose answer was lost is `unknown`: it may be in the log, or
//    may still get there after we have looked. Since it fits one place only, it can be sent again without being written
//    twice: of two copies that expect offset 7, one at most is written. So after a failure the log is read; what is
//    there is done, what is not is sent again.
// 3. Every record begins with 16 bytes that its writer has drawn, and its number: in the log, what we sent looks like
//    nothing that others sent.
//
// Several processes may write, though one at a time is what it is made for: of two writes that want one offset one ends
// with condition_failed, and with it all that were submitted behind it (stop_on_refusal). They were not written; look
// at the database again, and decide anew.
//
// Errors are Walraft's (wal/base/outcome.h); those of RocksDB come as `failed`, and the object is of no more use.
// Thread: one at a time; what rocksdb() gives may be read by any. `done` must not call the database.

#include <rocksdb/db.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "client/client.h"

class ReplicatedDb {
 public:
  template <class T>
  using Result = walraft::Result<T>;
  using Offset = walraft::Offset;
  using Done = std::function<void(Result<Offset>)>;

  struct Options {
    std::vector<std::string> families;  // always the same ones, in the same order: records name them by number
    std::size_t memtable_bytes = 64 << 20;  // of each family
    std::size_t pending_max = 64;  // writes under way; with as many, submit() waits for the first
    std::chrono::seconds patience{30};  // how long a write is sent again before it ends `unknown` or `unavailable`
  };

  // Opens the folder, or makes it, and applies what the log has more. Errors: `trimmed` if the log no longer has what
  // is missing here, `failed` if the folder is of another log.
  static Result<std::unique_ptr<ReplicatedDb>> open(const std::string& folder, walraft::Log log,
                                                    const Options& options) {
    std::unique_ptr<ReplicatedDb> db(new ReplicatedDb(std::move(log), options));
    if (auto ok = db->open_folder(folder); !ok) return std::unexpected(ok.error());
    const auto tail = db->log_.tail();
    if (!tail) return std::unexpected(tail.error());
    if (*tail < db->applied_) {
      return walraft::error(walraft::Code::failed, folder + ": it has applied " + std::to_string(db->applied_.value) +
                                                       " records, log \"" + db->log_.name() + "\" has " +
                                                       std::to_string(tail->value) + ": it is of another log");
    }
    if (auto ok = db->catch_up(); !ok) return std::unexpected(ok.error());
    return db;
  }

  ~ReplicatedDb() {
    appender_.reset();
    for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  }

  // A family of Options::families, for WriteBatches and for reading.
  rocksdb::ColumnFamilyHandle* family(std::size_t at) const { return handles_[kOwnFamilies + at]; }
  rocksdb::DB& rocksdb() const { return *db_; }  // to read from; what is written past us is in no log

  // The offset that the next write will have if it succeeds. A batch may contain it.
  Offset next_offset() const { return applied_ + pending_.size(); }
  // Everything before it is in the database.
  Offset applied() const { return applied_; }
  // Where reading began when the database was opened.
  Offset opened_at() const { return opened_at_; }

  // Committed and applied, or an error: `unknown` if it may be in the log (it is applied then when it is met there);
  // condition_failed if others wrote first, or an earlier `unknown` was written after all; every other one is certain.
  Result<Offset> write(const rocksdb::WriteBatch& batch) {
    Result<Offset> outcome = walraft::error(walraft::Code::failed, "not settled");
    submit(batch, [&outcome](Result<Offset> result) { outcome = std::move(result); });
    settle();
    return outcome;
  }

  // The same without waiting: `done` runs in this or a later call of submit() or settle(), in the order of the calls.
  void submit(const rocksdb::WriteBatch& batch, Done done) {
    std::string record = writer_;
    const std::uint64_t number = number_next_++;
    record.append(reinterpret_cast<const char*>(&number), sizeof number).append(batch.Data());
    pending_.push_back({.at = next_offset(), .record = std::move(record), .done = std::move(done), .answer = {}});
    send(pending_.back());
    while (pending_.size() >= std::max<std::size_t>(options_.pending_max, 1)) settle_front();
  }

  // Waits until every write has its outcome.
  void settle() {
    while (!pending_.empty()) settle_front();
  }

  // Applies what is committed and not applied yet.
  Result<void> catch_up() {
    for (;;) {
      const auto records = log_.read(walraft::From::offset(applied_));
      if (!records) return std::unexpected(records.error());
      if (records->empty()) return {};
      for (const walraft::Record& record : *records) {
        if (auto ok = apply(walraft::text_of(record.data)); !ok) return ok;
      }
    }
  }

  // Writes everything to the disk. This database then needs nothing of the log before the offset that it returns.
  Result<Offset> flush() {
    if (const auto status = db_->Flush({}, handles_); !status.ok()) return failed("flush", status);
    return applied_;
  }

 private:
  struct Pending {
    Offset at;  // applied_ for the first, then one more for each
    std::string record;
    Done done;
    std::future<Result<walraft::Appended>> answer;  // of the last time it was sent
    bool may_be_there = false;  // it was `unknown` once
  };
  static constexpr std::size_t kOwnFamilies = 2;  // RocksDB's default one, unused, and that of the mark
  static constexpr std::size_t kHeaderBytes = 16 + 8;
  static constexpr const char* kMark = "applied";

  ReplicatedDb(walraft::Log log, const Options& options) : log_(std::move(log)), options_(options) {
    std::random_device random;
    for (int i = 0; i < 4; ++i) {
      const auto word = static_cast<std::uint32_t>(random());
      writer_.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
  }

  static std::unexpected<walraft::Error> failed(const std::string& what, const rocksdb::Status& status) {
    return walraft::error(walraft::Code::failed, what + ": " + status.ToString());
  }

  Result<void> open_folder(const std::string& folder) {
    rocksdb::Options options;
    options.create_if_missing = options.create_missing_column_families = true;
    options.atomic_flush = true;  // rule 1
    options.write_buffer_size = options_.memtable_bytes;
    std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, options},
                                                             {"walraft", options}};
    for (const std::string& name : options_.families) families.emplace_back(name, options);
    rocksdb::DB* db = nullptr;
    if (const auto status = rocksdb::DB::Open(options, folder, families, &handles_, &db); !status.ok()) {
      return failed(folder, status);
    }
    db_.reset(db);
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      if (handles_[i]->GetID() == i) continue;
      return walraft::error(walraft::Code::failed,
                            folder + ": family " + families[i].name + " has another number here");
    }
    std::string mark;
    const auto status = db_->Get({}, handles_[1], kMark, &mark);
    if (!status.ok() && !status.IsNotFound()) return failed(folder, status);
    if (status.ok()) applied_ = Offset(std::stoull(mark));
    opened_at_ = applied_;
    return {};
  }

  // The committed record of offset applied_. Settles the pending write of this offset: it was this one, or has lost it.
  Result<void> apply(std::string_view record) {
    if (record.size() < kHeaderBytes) {
      return walraft::error(walraft::Code::failed,
                            "offset " + std::to_string(applied_.value) + " is no write of a database");
    }
    rocksdb::WriteBatch batch{std::string(record.substr(kHeaderBytes))};
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    auto status = batch.Put(handles_[1], kMark, std::to_string(applied_.value + 1));  // rule 1
    if (status.ok()) status = db_->Write(options, &batch);
    if (!status.ok()) return failed("applying offset " + std::to_string(applied_.value), status);
    const Offset at = std::exchange(applied_, applied_ + 1);
    if (pending_.empty()) return {};
    if (pending_.front().record == record) {
      const Pending settled = std::move(pending_.front());
      pending_.pop_front();
      settled.done(at);
    } else {
      // Its only place is taken. What was sent behind it was refused with it, each time that it was sent.
      for (Pending& pending : pending_) pending.may_be_there = false;
      end_all({walraft::Code::condition_failed, "offset " + std::to_string(at.value) + " was written by another writer",
               applied_.value});
    }
    return {};
  }

  void send(Pending& pending) {
    if (!appender_) {
      auto appender = log_.appender({.stop_on_refusal = true});
      if (!appender) return refuse(pending, appender.error());
      appender_.emplace(std::move(*appender));
    }
    const walraft::ByteView record = walraft::bytes_of(pending.record);
    pending.answer = appender_->append({&record, 1}, {.expect_offset = pending.at});  // rule 2
  }

  static void refuse(Pending& pending, walraft::Error error) {
    std::promise<Result<walraft::Appended>> refusal;
    pending.answer = refusal.get_future();
    refusal.set_value(std::unexpected(std::move(error)));
  }

  // The first pending write gets its outcome.
  void settle_front() {
    const Offset at = pending_.front().at;
    const auto give_up = std::chrono::steady_clock::now() + options_.patience;
    for (;;) {
      const auto answer = pending_.front().answer.get();
      if (answer) {
        const std::string record = pending_.front().record;  // apply() lets go of the pending write
        if (auto ok = apply(record); !ok) {
          // It is in the log, and what was sent behind it may be: the next open() applies what is there.
          for (Pending& pending : pending_) pending.may_be_there = true;
          end_all(ok.error());
        }
        return;
      }
      walraft::Error why = answer.error();
      await_the_others(why);
      if (auto looked = catch_up(); !looked) why = looked.error();  // the log knows what became of them
      if (pending_.empty()) return;
      const bool settled = pending_.front().at > at;
      if (!settled) {
        const bool may_pass = walraft::outcome_of(why.code).retry != walraft::Retry::no;
        if (!may_pass || std::chrono::steady_clock::now() > give_up) return end_all(why);
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // nothing tells when a refusal has passed
      }
      for (Pending& pending : pending_) send(pending);
      if (settled) return;
    }
  }

  // What was sent behind the first one, which ended with `why`, has its answers too: nothing of it is under way when it
  // is sent again, unless it is `unknown`.
  void await_the_others(const walraft::Error& why) {
    if (appender_) appender_->wait();
    appender_.reset();
    pending_.front().may_be_there |= why.code == walraft::Code::unknown;
    for (std::size_t i = 1; i < pending_.size(); ++i) {
      const auto answer = pending_[i].answer.get();
      pending_[i].may_be_there |= answer || answer.error().code == walraft::Code::unknown;
    }
  }

  // The first pending write ends with `why`, those behind it because it failed; `unknown` is what may be in the log.
  void end_all(const walraft::Error& why) {
    walraft::Error error = why;
    for (std::deque<Pending> pending = std::exchange(pending_, {}); const Pending& one : pending) {
      one.done(one.may_be_there
                   ? walraft::error(walraft::Code::unknown, "it may or may not be in the log: " + why.message)
                   : std::unexpected(error));
      error = {walraft::Code::condition_failed, "a write before it failed: " + why.message, applied_.value};
    }
  }

  walraft::Log log_;
  const Options options_;
  std::optional<walraft::Appender> appender_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::string writer_;
  std::uint64_t number_next_ = 0;
  Offset applied_;
  Offset opened_at_;
  std::deque<Pending> pending_;
};
