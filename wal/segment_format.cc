#include "wal/segment_format.h"

#include <algorithm>
#include <charconv>

#include "wal/base/check.h"
#include "wal/base/crc32c.h"

namespace walraft::wal {
namespace {

constexpr std::string_view kSegmentSuffix = ".segment";
constexpr std::size_t kFooterFixedBytes = 128;
constexpr std::size_t kIndexEntryBytes = 32;
constexpr std::size_t kTermRunBytes = 16;

// Fields one after another, so that encoding and decoding cannot disagree on places.
class Writer {
 public:
  explicit Writer(MutableBytes out) : out_(out) {}
  template <class T>
  void put(T value) {
    store_le(out_.data() + at_, value);
    at_ += sizeof(T);
  }
  void put(const Uuid& uuid) {
    std::memcpy(out_.data() + at_, uuid.bytes.data(), uuid.bytes.size());
    at_ += uuid.bytes.size();
  }
  void put(const LogPoint& point) {
    put(point.index.value);
    put(point.offset.value);
    put(point.term.value);
    put(point.timestamp_us);
    put(point.digest.low);
    put(point.digest.high);
  }
  std::size_t at() const { return at_; }

 private:
  MutableBytes out_;
  std::size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(ByteView in) : in_(in) {}
  template <class T>
  T get() {
    const T value = load_le<T>(in_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  Uuid get_uuid() {
    Uuid uuid;
    std::memcpy(uuid.bytes.data(), in_.data() + at_, uuid.bytes.size());
    at_ += uuid.bytes.size();
    return uuid;
  }
  LogPoint get_point() {
    LogPoint point;
    point.index = Index(get<std::uint64_t>());
    point.offset = Offset(get<std::uint64_t>());
    point.term = Term(get<std::uint64_t>());
    point.timestamp_us = get<std::int64_t>();
    point.digest.low = get<std::uint64_t>();
    point.digest.high = get<std::uint64_t>();
    return point;
  }

 private:
  ByteView in_;
  std::size_t at_ = 0;
};

}  // namespace

std::uint64_t footer_position(std::uint64_t segment_bytes) {
  const std::uint64_t entries = segment_bytes / kIndexStepBytes + 2;
  const std::uint64_t bytes = kFooterFixedBytes + entries * kIndexEntryBytes + kTermRunsMax * kTermRunBytes;
  return segment_bytes - align_up(bytes, kBlockBytes);
}

std::uint64_t segment_bytes_for(std::uint64_t batch_bytes) {
  std::uint64_t bytes = kSegmentBytesMin;
  while (footer_position(bytes) < kFramesPosition + kGroupHeaderBytes + frame_bytes(batch_bytes)) bytes *= 2;
  return bytes;
}

std::string segment_name(std::uint64_t number) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string name;
  for (int shift = 60; shift >= 0; shift -= 4) name.push_back(kHexDigits[(number >> shift) & 15]);
  return name.append(kSegmentSuffix);
}

std::optional<std::uint64_t> segment_number(std::string_view name) {
  if (name.size() != 16 + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) return std::nullopt;
  std::uint64_t number = 0;
  const char* end = name.data() + 16;
  const auto [stop, failure] = std::from_chars(name.data(), end, number, 16);
  if (failure != std::errc() || stop != end || segment_name(number) != name) return std::nullopt;
  return number;
}

void encode_segment_header(MutableBytes out, const SegmentHeader& header) {
  CHECK(out.size() == kFramesPosition, out.size());
  std::fill(out.begin(), out.end(), std::byte{0});
  Writer writer(out);
  writer.put(kSegmentMagic);
  writer.put(kSegmentVersion);
  writer.put(std::uint32_t{0});  // flags
  writer.put(header.cluster);
  writer.put(header.log);
  writer.put(header.log_id.value);
  writer.put(header.number);
  writer.put(header.incarnation);
  writer.put(header.segment_bytes);
  writer.put(header.start);
  writer.put(header.created_us);
  CHECK(writer.at() <= kSegmentHeaderBytes - 4, writer.at());
  store_le(out.data() + kSegmentHeaderBytes - 4, crc32c(out.first(kSegmentHeaderBytes - 4)));
  std::copy_n(out.begin(), kBlockBytes, out.begin() + kBlockBytes);
}

Result<SegmentHeader> decode_segment_header(ByteView block) {
  if (block.size() < kSegmentHeaderBytes) return error(Code::corrupt, "the segment header is cut short");
  if (load_le<std::uint64_t>(block.data()) != kSegmentMagic) {
    return error(Code::corrupt, "no segment header is here");
  }
  if (crc32c(block.first(kSegmentHeaderBytes - 4)) !=
      load_le<std::uint32_t>(block.data() + kSegmentHeaderBytes - 4)) {
    return error(Code::corrupt, "the CRC of the segment header is wrong");
  }
  Reader reader(block.subspan(8));
  const auto version = reader.get<std::uint32_t>();
  const auto flags = reader.get<std::uint32_t>();
  if (version != kSegmentVersion || flags != 0) {
    return error(Code::invalid, "the segment has format version " + std::to_string(version) + ", flags " +
                                    std::to_string(flags) +
                                    "; this release reads version 1 without flags. Use the release that wrote it.");
  }
  SegmentHeader header;
  header.cluster = reader.get_uuid();
  header.log = reader.get_uuid();
  header.log_id = LogId(reader.get<std::uint64_t>());
  header.number = reader.get<std::uint64_t>();
  header.incarnation = reader.get<std::uint64_t>();
  header.segment_bytes = reader.get<std::uint64_t>();
  header.start = reader.get_point();
  header.created_us = reader.get<std::int64_t>();
  if (!is_segment_size(header.segment_bytes)) {
    return error(Code::corrupt, "the segment header claims an impossible size");
  }
  return header;
}

void encode_group_header(MutableBytes out, const GroupHeader& header) {
  CHECK(out.size() >= kGroupHeaderBytes, out.size());
  std::fill_n(out.begin(), kGroupHeaderBytes, std::byte{0});
  Writer writer(out);
  writer.put(kGroupMagic);
  writer.put(header.bytes);
  writer.put(header.incarnation);
  writer.put(header.number);
  writer.put(header.durable_before.value);
  writer.put(header.first_index.value);
  writer.put(header.batches);
  store_le(out.data() + kGroupHeaderBytes - 4, crc32c(out.first(kGroupHeaderBytes - 4)));
}

std::optional<GroupHeader> decode_group_header(ByteView bytes) {
  if (bytes.size() < kGroupHeaderBytes || load_le<std::uint32_t>(bytes.data()) != kGroupMagic) return std::nullopt;
  if (crc32c(bytes.first(kGroupHeaderBytes - 4)) !=
      load_le<std::uint32_t>(bytes.data() + kGroupHeaderBytes - 4)) {
    return std::nullopt;
  }
  Reader reader(bytes.subspan(4));
  GroupHeader header;
  header.bytes = reader.get<std::uint32_t>();
  header.incarnation = reader.get<std::uint64_t>();
  header.number = reader.get<std::uint64_t>();
  header.durable_before = Index(reader.get<std::uint64_t>());
  header.first_index = Index(reader.get<std::uint64_t>());
  header.batches = reader.get<std::uint32_t>();
  return header;
}

std::vector<std::byte> encode_footer(const SegmentFooter& footer, std::uint64_t segment_bytes) {
  std::vector<std::byte> region(segment_bytes - footer_position(segment_bytes));
  CHECK(footer.runs.size() <= kTermRunsMax, footer.runs.size());
  CHECK(kFooterFixedBytes + footer.entries.size() * kIndexEntryBytes + footer.runs.size() * kTermRunBytes <=
            region.size(),
        footer.entries.size());
  Writer writer(region);
  writer.put(kFooterMagic);
  writer.put(std::uint32_t{0});  // CRC of the rest of the region
  writer.put(footer.incarnation);
  writer.put(footer.end_position);
  writer.put(footer.end);
  writer.put(footer.commit.value);
  writer.put(static_cast<std::uint32_t>(footer.entries.size()));
  writer.put(static_cast<std::uint32_t>(footer.runs.size()));
  Writer rest(MutableBytes(region).subspan(kFooterFixedBytes));
  for (const IndexEntry& entry : footer.entries) {
    rest.put(entry.index.value);
    rest.put(entry.offset.value);
    rest.put(entry.timestamp_us);
    rest.put(entry.position);
  }
  for (const TermRun& run : footer.runs) {
    rest.put(run.term.value);
    rest.put(run.first_index.value);
  }
  store_le(region.data() + 4, crc32c(ByteView(region).subspan(8)));
  return region;
}

Result<SegmentFooter> decode_footer(ByteView region, std::uint64_t segment_bytes) {
  if (region.size() != segment_bytes - footer_position(segment_bytes)) {
    return error(Code::corrupt, "the footer is cut short");
  }
  if (load_le<std::uint32_t>(region.data()) != kFooterMagic) return error(Code::corrupt, "no footer is here");
  if (crc32c(region.subspan(8)) != load_le<std::uint32_t>(region.data() + 4)) {
    return error(Code::corrupt, "the CRC of the footer is wrong");
  }
  Reader reader(region.subspan(8));
  SegmentFooter footer;
  footer.incarnation = reader.get<std::uint64_t>();
  footer.end_position = reader.get<std::uint64_t>();
  footer.end = reader.get_point();
  footer.commit = Index(reader.get<std::uint64_t>());
  const auto entries = reader.get<std::uint32_t>();
  const auto runs = reader.get<std::uint32_t>();
  if (entries > segment_bytes / kIndexStepBytes + 2 || runs > kTermRunsMax ||
      footer.end_position > footer_position(segment_bytes) || footer.end_position < kFramesPosition) {
    return error(Code::corrupt, "the footer contradicts itself");
  }
  Reader rest(region.subspan(kFooterFixedBytes));
  for (std::uint32_t i = 0; i < entries; ++i) {
    IndexEntry entry;
    entry.index = Index(rest.get<std::uint64_t>());
    entry.offset = Offset(rest.get<std::uint64_t>());
    entry.timestamp_us = rest.get<std::int64_t>();
    entry.position = rest.get<std::uint64_t>();
    if (entry.position < kFramesPosition || entry.position >= footer.end_position ||
        entry.position % kFrameAlignment != 0) {
      return error(Code::corrupt, "the footer contradicts itself");
    }
    footer.entries.push_back(entry);
  }
  for (std::uint32_t i = 0; i < runs; ++i) {
    TermRun run;
    run.term = Term(rest.get<std::uint64_t>());
    run.first_index = Index(rest.get<std::uint64_t>());
    footer.runs.push_back(run);
  }
  return footer;
}

}  // namespace walraft::wal
