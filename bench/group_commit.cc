// How close is a group commit to the bare synced write that it needs?
//   latency    256 B records, one in flight, against a synced 4 KiB write      (aim: <= 1.15 x its p50)
//   bandwidth  groups of 256 KiB in a row, against synced 256 KiB writes       (aim: >= 0.9 x)
// The bare write is pwritev2(O_DIRECT, RWF_DSYNC) into a pre-written file, in the same round.

#include <sys/uio.h>

#include "bench/log_case.h"

namespace walraft::bench {
namespace {

double bare_write_us(BareFile& file, const std::byte* data, std::size_t bytes, std::size_t at) {
  iovec part{const_cast<std::byte*>(data), bytes};
  const double start = now_us();
  if (pwritev2(file.fd(), &part, 1, off_t(at), RWF_DSYNC) != ssize_t(bytes)) std::perror("pwritev2"), std::exit(1);
  return now_us() - start;
}

void latency(const std::string& dir, bool quick) {
  Node node(dir + "/latency", 1, {.first_segment_bytes = 64u << 20});
  node.idle_for(std::chrono::milliseconds(2'000));  // the next segment is made and being written
  BareFile bare(dir + "/bare", 64u << 20);
  const auto block = wal::Chunk::make(4096);
  wal::BatchBuilder builder;
  if (!builder.add(std::vector<std::byte>(256, std::byte{7}))) std::exit(1);
  const auto once = [&] {
    const double start = now_us();
    node.append(builder);
    node.log().flush();
    node.wait_durable();
    return now_us() - start;
  };
  for (int i = 0; i < 3'000; ++i) once();  // past the part of the first segment that is not written yet
  std::vector<double> ratios, ours_p50, bare_p50, ours_p99, bare_p99;
  std::size_t at = 0;
  const int rounds = quick ? 3 : 9;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> ours, limit;
    // In turns of 50, so that both see the same minute of the disk.
    for (int turn = 0; turn < (quick ? 10 : 40); ++turn) {
      for (int i = 0; i < 50; ++i) limit.push_back(bare_write_us(bare, block->data(), 4096, (at++ * 4096) % bare.bytes()));
      for (int i = 0; i < 50; ++i) ours.push_back(once());
    }
    ours_p50.push_back(percentile(ours, 0.5));
    bare_p50.push_back(percentile(limit, 0.5));
    ours_p99.push_back(percentile(ours, 0.99));
    bare_p99.push_back(percentile(limit, 0.99));
    ratios.push_back(ours_p50.back() / bare_p50.back());
  }
  std::printf("256 B, 1 in flight: p50 %s us, p99 %s us; bare synced 4 KiB: p50 %s us, p99 %s us; ratio of p50 %s\n",
              spread(ours_p50, 0).c_str(), spread(ours_p99, 0).c_str(), spread(bare_p50, 0).c_str(),
              spread(bare_p99, 0).c_str(), spread(ratios).c_str());
}

// The same bytes through the disk actor, without a log: what the way of writing costs.
class ActorWrite final : public wal::DurableWrite {
 public:
  void on_durable() override { done = true; }
  bool done = false;
};

double actor_write_us(Node& node, wal::File& bare_file, ByteView data, std::size_t at) {
  ActorWrite write;
  write.file = &bare_file;
  write.position = at;
  write.bytes = data;
  const double start = now_us();
  node.disk().write(write);
  while (!write.done) node.turn();
  return now_us() - start;
}

void bandwidth(const std::string& dir, bool quick) {
  // One segment that takes all rounds, written before: the steady state of a log whose trimmed
  // segments are recycled.
  Node node(dir + "/bandwidth", 1, {.segment_bytes = 512u << 20, .first_segment_bytes = 512u << 20});
  BareFile bare(dir + "/bare", 256u << 20);
  const std::size_t group = 256u << 10;
  const auto block = wal::Chunk::make(group);
  wal::BatchBuilder builder;
  const std::vector<std::byte> record(16'000, std::byte{7});
  for (std::size_t bytes = 192; bytes + record.size() + 4 < group; bytes += record.size() + 4) {  // with both headers
    if (!builder.add(record)) std::exit(1);
  }
  {
    // Write the segment's blocks once.
    std::filesystem::path file;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir + "/bandwidth/0")) file = entry.path();
    const int fd = open(file.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    const auto zeros = wal::Chunk::make(1u << 20);
    std::memset(zeros->data(), 0, zeros->size());
    for (std::size_t at = 0; at < (512u << 20); at += zeros->size()) {
      if (pwrite(fd, zeros->data(), zeros->size(), off_t(at)) != ssize_t(zeros->size())) std::perror("pwrite"), std::exit(1);
    }
    fsync(fd);
    close(fd);
  }
  const auto root = must(wal::open_directory(dir, false));
  const auto actor_file = must(root->open("bare", wal::Access::direct));
  std::vector<double> ratios, actor_ratios, ours, limit;
  std::size_t at = 0;
  const int rounds = quick ? 3 : 5;
  const int turns = quick ? 4 : 8, writes = 30;
  for (int round = 0; round < rounds; ++round) {
    double ours_us = 0, bare_us = 0, actor_us = 0, bytes = 0;
    for (int turn = 0; turn < turns; ++turn) {
      for (int i = 0; i < writes; ++i) bare_us += bare_write_us(bare, block->data(), group, (at++ * group) % bare.bytes());
      for (int i = 0; i < writes; ++i) {
        actor_us += actor_write_us(node, *actor_file, block->bytes().first(group), (at++ * group) % bare.bytes());
      }
      const double start = now_us();
      const Index first = node.log().tail().index;
      while (node.log().tail().index < first + writes) {
        // Keep one group in flight and the next one ready: what a full pipeline does.
        if (node.log().tail().index - node.log().durable() < 2) {
          node.append(builder);
          bytes += double(builder.body_bytes());
          node.log().flush();
          node.disk().submit();
        } else {
          node.turn();
        }
      }
      node.wait_durable();
      ours_us += now_us() - start;
    }
    limit.push_back(double(group) * turns * writes / bare_us);
    ours.push_back(bytes / ours_us);
    ratios.push_back(ours.back() / limit.back());
    actor_ratios.push_back(bare_us / actor_us);
  }
  std::printf("256 KiB groups: %s MB/s of records; bare synced writes: %s MB/s; ratio %s; the disk actor alone: %s of it\n",
              spread(ours, 0).c_str(), spread(limit, 0).c_str(), spread(ratios).c_str(), spread(actor_ratios).c_str());
}

}  // namespace
}  // namespace walraft::bench

int main(int argc, char** argv) {
  using namespace walraft::bench;
  const Arguments arguments = parse_arguments(argc, argv);
  const Scratch scratch(arguments.dir, 3ull << 30);
  const Noise noise;
  latency(scratch.path(), arguments.quick);
  bandwidth(scratch.path(), arguments.quick);
  print_noise(noise);
}
