// How long does a log of 10 GiB take to open, after a clean and after an unclean stop? (aim: < 0.5 s)
// And how fast is it read from the page cache by somebody who catches up?             (aim: >= 3 GB/s)
// --quick does it with 1 GiB.

#include "bench/log_case.h"

namespace walraft::bench {
namespace {

constexpr std::size_t kRecordBytes = 16u << 10;

void write_log(const std::string& dir, std::uint64_t bytes) {
  Node node(dir, 1, {});
  wal::BatchBuilder builder;
  const std::vector<std::byte> record(kRecordBytes, std::byte{7});
  for (int i = 0; i < 16; ++i) {
    if (!builder.add(record)) std::exit(1);
  }
  const double start = now_us();
  std::uint64_t written = 0;
  while (written < bytes) {
    node.append(builder);
    written += builder.body_bytes();
    node.log().flush();
    if (node.log().pending_bytes() > (4u << 20)) node.turn();
  }
  node.wait_durable();
  node.idle_for(std::chrono::milliseconds(1'500));
  std::printf("wrote %.1f GiB of 16 KiB records at %.0f MB/s, durable\n", double(bytes) / (1u << 30),
              double(written) / (now_us() - start));
}

// Puts garbage behind the log's end: what a power cut in the middle of a write leaves.
void tear(const std::string& dir) {
  wal::SegmentView last;
  {
    Node node(dir, 1, {});
    last = node.log().view().segments.back();
  }
  const std::string path = dir + "/0/" + wal::segment_name(last.file->header.number);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  const std::vector<char> garbage(64u << 10, 'x');
  if (pwrite(fd, garbage.data(), garbage.size(), off_t(last.end_position)) < 0) std::perror("pwrite");
  fsync(fd);
  close(fd);
}

double open_us(const std::string& dir) {
  const double start = now_us();
  Node node(dir, 1, {});
  return now_us() - start;
}

void read_log(const std::string& dir) {
  Node node(dir, 1, {});
  std::vector<double> rates;
  for (int round = 0; round < 4; ++round) {
    wal::LogReader reader(node.log().view());
    // The newest GiB, so that it stays in the cache on a small machine; the first round loads it.
    const std::uint64_t records = (1u << 30) / kRecordBytes;
    const Offset end = reader.end_offset();
    Offset from(end.value - std::min(end.value, records));
    std::uint64_t bytes = 0;
    const double start = now_us();
    std::vector<wal::BatchRef> batches;
    while (from < end) {
      batches.clear();
      must(reader.read(from, 4u << 20, batches));
      for (const wal::BatchRef& batch : batches) bytes += batch.bytes.size();
      from = batches.back().next_offset();
    }
    if (round > 0) rates.push_back(double(bytes) / (now_us() - start) / 1e3);
  }
  std::printf("catch-up read from the page cache, every CRC checked: %s GB/s\n", spread(rates).c_str());
}

// The limit of the same minute: copying out of the page cache, and nothing else.
void read_bare(const std::string& dir) {
  const auto chunk = wal::Chunk::make(1u << 20);
  std::vector<double> rates;
  for (int round = 0; round < 4; ++round) {
    std::uint64_t bytes = 0;
    const double start = now_us();
    std::vector<std::filesystem::path> segments;
    for (const auto& entry : std::filesystem::directory_iterator(dir + "/0")) segments.push_back(entry.path());
    std::sort(segments.begin(), segments.end());
    for (std::size_t i = segments.size() > 12 ? segments.size() - 12 : 0; i < segments.size(); ++i) {
      const int fd = open(segments[i].c_str(), O_RDONLY | O_CLOEXEC);
      for (ssize_t got = 0; (got = read(fd, chunk->data(), chunk->size())) > 0;) bytes += std::uint64_t(got);
      close(fd);
    }
    if (round > 0) rates.push_back(double(bytes) / (now_us() - start) / 1e3);
  }
  std::printf("read(2) of the same files: %s GB/s\n", spread(rates).c_str());
}

}  // namespace
}  // namespace walraft::bench

int main(int argc, char** argv) {
  using namespace walraft::bench;
  const Arguments arguments = parse_arguments(argc, argv);
  const std::uint64_t bytes = arguments.quick ? 1ull << 30 : 10ull << 30;
  const Scratch scratch(arguments.dir, bytes + (3ull << 30));
  const Noise noise;
  const std::string dir = scratch.path() + "/log";
  write_log(dir, bytes);
  std::vector<double> clean, unclean;
  for (int i = 0; i < 3; ++i) clean.push_back(open_us(dir) / 1e3);
  for (int i = 0; i < 3; ++i) {
    tear(dir);
    unclean.push_back(open_us(dir) / 1e3);
  }
  std::printf("open after a clean stop: %s ms; with a torn write behind the end: %s ms\n", spread(clean, 1).c_str(),
              spread(unclean, 1).c_str());
  read_log(dir);
  read_bare(dir);
  print_noise(noise);
}
