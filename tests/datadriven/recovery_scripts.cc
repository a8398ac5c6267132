// Scripts that build a log, damage it, and show what recovery makes of it: tests/data/wal/recover_*.txt.
//
// Their form: script.h.
//
//   append N [bytes=B] [term=T]     N batches of one record, each durable before the next
//   group N [bytes=B]               N batches in one write
//   tear N [bytes=B] seed=S         a group, and the power goes while it is written: S picks the sectors
//   idle SECONDS                    time passes: idle groups, bounds, footers
//   truncate TO / trim TO           until done; trim TO crash: the power goes before the files do
//   crash                           power cut; what was not synced is gone
//   flip segment=N at=header_a|header_b|footer|GROUP|BYTE     one bit; group3 is its third group header
//   flip batch=I [at=header|body]   one bit
//   zero segment=N from=BYTE bytes=B / unreadable segment=N from=BYTE bytes=B
//   cut segment=N bytes=B / delete segment=N / rename segment=N to=M
//   save segment=N / restore segment=N     an older copy is put back
//   forge segment=N what=digest|log|version        the header, with a right CRC
//   newer batch=I                   version 2, with a right CRC
//   lose bound                      the hard state forgets how far the log was durable
//   lose slot                       the hard-state slot is unreadable
//   recover                         findings, end, holes; then opens the log and reads all of it

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "tests/datadriven/script.h"
#include "tests/unit/wal_log/log_world.h"
#include "wal/base/crc32c.h"
#include "wal/hard_state_format.h"
#include "wal/segment_format.h"

namespace walraft::wal {
namespace {

std::string_view name_of(Verdict verdict) {
  static constexpr std::string_view kNames[] = {"keep", "cut", "hole", "suspect", "rebuild", "remove"};
  return kNames[static_cast<std::size_t>(verdict)];
}

class Script {
 public:
  std::set<char> letters;  // that recovery reached

  std::string run(const std::string& line) {
    out_.str("");
    const Command c = parse_command(line);
    if (c.verb == "options") {
      options_.durable_is_commit = c.text("durable_is_commit") != "no";
    } else if (c.verb == "append") {
      append(c.number(0), c.number("bytes", 1'000), Term(c.number("term", 1)));
    } else if (c.verb == "group" || c.verb == "tear") {
      group(c);
    } else if (c.verb == "idle") {
      process().idle_for_us(c.number(0) * 1'000'000);
    } else if (c.verb == "truncate") {
      process().log().truncate_suffix(Index(c.number(0)), [] {});
      process().idle_for_us(200'000);
    } else if (c.verb == "trim") {
      trim(c);
    } else if (c.verb == "crash") {
      crash(sim::CrashChoice::lose_unsynced());
    } else if (c.verb == "recover") {
      recover();
    } else {
      stop();
      damage(c);
    }
    return out_.str();
  }

 private:
  LogProcess& process() {
    if (!process_) process_ = std::make_unique<LogProcess>(filesystem_, clock_, options_);
    return *process_;
  }
  // In order, with what is in flight.
  void stop() {
    if (process_) process_->disk().settle();
    process_.reset();
  }
  void crash(sim::CrashChoice choice) {
    process();
    filesystem_.crash(choice);
    process_.reset();
  }
  static std::string path(std::uint64_t number) { return "log/" + segment_name(number); }

  void append(std::uint64_t count, std::size_t bytes, Term term) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string record = record_text(next_record_++, bytes);
      auto appended = process().append({record}, Use::data, term);
      for (int tries = 0; tries < 100 && !appended && appended.error().code == Code::over_limit; ++tries) {
        process().disk().run_for_us(1'000);
        appended = process().append({record}, Use::data, term);
      }
      if (!appended) {
        out_ << "append: " << outcome_of(appended.error().code).name << "\n";
        return;
      }
      process().log().flush();
      process().disk().settle();
    }
  }

  void group(const Command& c) {
    for (std::uint64_t i = 0; i < c.number(0); ++i) {
      ASSERT_TRUE(process().append({record_text(next_record_++, c.number("bytes", 1'000))}));
    }
    process().log().flush();
    process().disk().submit();
    if (c.verb == "tear") {
      crash(sim::CrashChoice::keep_random(c.number("seed", 1)));
    } else {
      process().disk().settle();
    }
  }

  void trim(const Command& c) {
    bool done = false;
    process().log().drop_prefix(Index(c.number(0)), Offset(c.number(0)), [&] { done = true; });
    process().disk().submit();
    while (!done && process().disk().complete_one()) process().disk().poll();
    EXPECT_TRUE(done);
    if (c.words.size() > 1) {
      crash(sim::CrashChoice::lose_unsynced());
    } else {
      process().idle_for_us(200'000);
    }
  }

  // Where the group headers of a segment stand.
  std::vector<std::uint64_t> groups(std::uint64_t segment) {
    const sim::Image image = filesystem_.image(path(segment));
    std::vector<std::byte> bytes(image.size());
    image.read(0, bytes);
    const auto header = decode_segment_header(bytes);
    std::vector<std::uint64_t> places;
    for (std::size_t at = kFramesPosition; at + kGroupHeaderBytes <= bytes.size(); at += kFrameAlignment) {
      const auto found = decode_group_header(ByteView(bytes).subspan(at));
      if (found && header && found->incarnation == header->incarnation) places.push_back(at);
    }
    return places;
  }

  std::pair<std::string, std::uint64_t> place_of_batch(std::uint64_t index) {
    process_ = std::make_unique<LogProcess>(filesystem_, clock_, options_);
    const auto place = LogReader(process_->log().view()).find(Index(index));
    EXPECT_TRUE(place) << index;
    process_.reset();
    return {path(place->segment), place->position};
  }

  void change_header(std::uint64_t number, const std::string& what) {
    sim::Image image = filesystem_.image(path(number));
    std::vector<std::byte> bytes(kFramesPosition);
    image.read(0, bytes);
    SegmentHeader header = decode_segment_header(bytes).value();
    if (what == "digest") header.start.digest.low ^= 1;
    if (what == "log") header.log.bytes[0] ^= 0xff;
    encode_segment_header(bytes, header);
    for (const std::size_t copy : {std::size_t{0}, kBlockBytes}) {
      if (what != "version") break;
      store_le(bytes.data() + copy + 8, std::uint32_t{2});
      store_le(bytes.data() + copy + kSegmentHeaderBytes - 4,
               crc32c(ByteView(bytes).subspan(copy, kSegmentHeaderBytes - 4)));
    }
    image.write(0, bytes);
    filesystem_.restore(path(number), image);
  }

  void damage(const Command& c) {
    const std::uint64_t number = c.number("segment", 0);
    if (c.verb == "flip" && number != 0) {
      const std::string at = c.text("at");
      std::uint64_t position = 0;
      if (at == "header_a")
        position = 40;
      else if (at == "header_b")
        position = kBlockBytes + 40;
      else if (at == "footer")
        position = footer_position(kSegmentBytesMin) + 20;
      else if (at.starts_with("group"))
        position = groups(number).at(std::stoull(at.substr(5)) - 1) + 24;
      else
        position = std::stoull(at);
      filesystem_.flip_bit(path(number), position, 2);
    } else if (c.verb == "flip") {
      const auto [file, position] = place_of_batch(c.number("batch", 0));
      filesystem_.flip_bit(file, position + (c.text("at") == "header" ? 60 : kBatchHeaderBytes + 10), 2);
    } else if (c.verb == "zero") {
      sim::Image image = filesystem_.image(path(number));
      image.write(c.number("from", 0), std::vector<std::byte>(c.number("bytes", 0)));
      filesystem_.restore(path(number), image);
    } else if (c.verb == "unreadable") {
      filesystem_.make_unreadable(path(number), c.number("from", 0), c.number("bytes", 0));
    } else if (c.verb == "cut") {
      filesystem_.truncate_on_medium(path(number), c.number("bytes", 0));
    } else if (c.verb == "delete") {
      filesystem_.delete_on_medium(path(number));
    } else if (c.verb == "rename") {
      auto root = filesystem_.root();
      auto directory = root->subdirectory("log", false).value();
      EXPECT_TRUE(directory->rename(segment_name(number), segment_name(c.number("to", 0))));
      EXPECT_TRUE(directory->sync());
    } else if (c.verb == "save") {
      saved_[number] = filesystem_.image(path(number));
    } else if (c.verb == "restore") {
      filesystem_.restore(path(number), saved_.at(number));
    } else if (c.verb == "forge") {
      change_header(number, c.text("what"));
    } else if (c.verb == "newer") {
      const auto [file, position] = place_of_batch(c.number("batch", 0));
      make_newer(file, position);
    } else if (c.verb == "lose") {
      lose(c.words.at(0));
    } else {
      ADD_FAILURE() << "no such command: " << c.verb;
    }
  }

  void make_newer(const std::string& file, std::uint64_t position) {
    sim::Image image = filesystem_.image(file);
    std::vector<std::byte> head(kBatchHeaderBytes), before(kBatchHeaderBytes);
    image.read(position, head);
    const Index index(load_le<std::uint64_t>(head.data() + 56));
    const auto [file_before, position_before] = place_of_batch(index.value - 1);
    filesystem_.image(file_before).read(position_before, before);
    store_le(head.data() + 4, std::uint8_t{2});
    const Digest digest = next_digest(decode_batch_header(before)->digest, head);
    store_le(head.data() + kBatchDigestPosition, digest.low);
    store_le(head.data() + kBatchDigestPosition + 8, digest.high);
    store_le(head.data() + 124, crc32c(ByteView(head).first(124)));
    image.write(position, head);
    filesystem_.restore(file, image);
  }

  void lose(const std::string& what) {
    if (what == "slot") {
      for (const std::uint64_t region : {4'096u, 1'052'672u, 2'105'344u, 3'153'920u}) {  // FORMAT.md section 4
        filesystem_.flip_bit(std::string(kHardStateName), region + 40, 1);
      }
      return;
    }
    LogProcess p(filesystem_, clock_, options_);
    HardState state = p.hard_state().find(kIdentity.log).value_or(HardState{});
    state.durable_bound = state.commit_bound = Index();
    EXPECT_TRUE(p.hard_state().write(kIdentity.log, state, [] {}));
    p.hard_state().flush();
    p.disk().settle();
  }

  void recover() {
    stop();
    sim::SimDisk disk(filesystem_, clock_);
    auto root = filesystem_.root();
    auto hard_state = HardStateFile::read(*root, kHardStateName, kDiskUuid);
    HardState bounds;
    for (const LogHardState& state : hard_state->logs) {
      if (state.log == kIdentity.log) bounds = state.state;
      if (state.lost) out_ << "the hard state of the log is lost\n";
    }
    if (hard_state->nameless > 0) out_ << "a slot of the hard state has no name\n";
    auto directory = root->subdirectory("log", false).value();
    const RecoveryInput input{kIdentity.cluster,          kIdentity.log,  kIdentity.id, bounds,
                              options_.durable_is_commit, Access::direct, true};
    auto found = recover_log(std::move(directory), input);
    if (!found) {
      out_ << outcome_of(found.error().code).name << ": " << found.error().message << "\n";
      return;
    }
    show(*found);
    read_all();
  }

  void show(const RecoveredLog& found) {
    bool ends_clean = !found.report.suspect;
    for (const Finding& finding : found.report.findings) {
      letters.insert(static_cast<char>(finding.letter));
      ends_clean = ends_clean && finding.letter != RecoveryCase::torn_group;
      out_ << static_cast<char>(finding.letter) << " " << name_of(finding.verdict) << ": " << finding.text << "\n";
    }
    if (ends_clean && !found.segments.empty()) letters.insert('A');
    for (std::size_t i = 1; i < found.segments.size(); ++i) {
      if (found.segments[i - 1].end == found.segments[i].file->header.start) letters.insert('F');
    }
    for (const std::uint64_t number : found.unused) {
      const bool is_found =
          std::ranges::any_of(found.report.findings, [&](const Finding& f) { return f.segment == number; });
      if (!is_found) letters.insert('P');
    }
    out_ << found.segments.size() << " segments, " << found.unused.size() << " unused, end "
         << (found.segments.empty() ? 0 : found.segments.back().end.index.value) << ", D "
         << found.report.durable_bound.value << ", commit " << found.report.commit.value
         << (found.report.suspect ? ", SUSPECT" : "");
    for (const Hole& hole : found.report.holes) out_ << ", HOLE [" << hole.from.value << ", " << hole.to.value << ")";
    out_ << "\n";
  }

  // Opens the log and reads it to its end, over holes; every record is the one that was appended there.
  void read_all() {
    if (!process().is_open()) {
      out_ << "open: " << outcome_of(process_->open_error.code).name << "\n";
      process_.reset();
      return;
    }
    LogReader reader(process_->log().view());
    std::uint64_t at = process_->log().first_index().value, from = at;
    const auto say = [&](std::uint64_t to) {
      if (to > from) out_ << "reads [" << from << ", " << to << ")\n";
    };
    while (Index(at) < process_->log().durable()) {
      std::vector<BatchRef> batches;
      if (auto read = reader.read(Index(at), 1u << 20, batches); !read) {
        say(at);
        out_ << outcome_of(read.error().code).name << " [" << reader.hole().from.value << ", " << reader.hole().to.value
             << ")\n";
        if (reader.hole().to.value <= at) return;
        from = at = reader.hole().to.value;
        continue;
      }
      if (batches.empty()) break;
      for (const BatchRef& ref : batches) {
        EXPECT_EQ(ref.index, Index(at));
        EXPECT_TRUE(decode_batch(ref.bytes));
        ++at;
      }
    }
    say(at);
    if (process_->log().suspect()) out_ << "takes no appends\n";
    process_.reset();
  }

  sim::SimFilesystem filesystem_{5};
  sim::SimClock clock_;
  LogOptions options_ = small_options();
  std::unique_ptr<LogProcess> process_;
  std::map<std::uint64_t, sim::Image> saved_;
  std::uint64_t next_record_ = 0;
  std::ostringstream out_;
};

TEST(RecoveryScripts, each_prints_what_it_says_and_each_letter_is_reached) {
  std::set<char> reached;
  const auto scripts = script_files("wal", "recover_");
  for (const auto& path : scripts) {
    SCOPED_TRACE(path.filename());
    Script script;
    expect_script(path, [&](const std::string& line) { return script.run(line); });
    reached.merge(script.letters);
  }
  std::printf("%zu scripts\n", scripts.size());
  for (const RecoveryRule& rule : kRecoveryTable) {
    EXPECT_TRUE(reached.contains(static_cast<char>(rule.letter)))
        << "no script reaches " << static_cast<char>(rule.letter) << ": " << rule.found;
  }
}

}  // namespace
}  // namespace walraft::wal
