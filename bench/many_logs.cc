// 1,000 logs with one new record each: how many synced writes a second, against io_uring writing one
// synced 4 KiB block into each of as many files?                               (aim: >= 0.7 x)

#include "bench/log_case.h"

namespace walraft::bench {
namespace {

constexpr std::size_t kLogs = 1'000;

// A bare synced write through the same disk actor: the limit is io_uring at its depth, not our loop.
class BareWrite final : public wal::DurableWrite {
 public:
  void on_durable() override { ++*done; }
  std::size_t* done = nullptr;
};

void run(const std::string& dir, bool quick) {
  Node node(dir + "/logs", kLogs, {.segment_bytes = 1u << 20, .tail_cache_bytes = 64u << 10});
  node.idle_for(std::chrono::milliseconds(3'000));
  auto root = must(wal::open_directory(dir + "/bare", true));
  std::vector<std::unique_ptr<wal::File>> files;
  const auto block = wal::Chunk::make(64u << 10);
  std::memset(block->data(), 1, block->size());
  for (std::size_t i = 0; i < kLogs; ++i) {
    files.push_back(must(root->create(std::to_string(i), wal::Access::direct)));
    must(files.back()->write(0, block->bytes()));
    must(files.back()->sync());
  }
  wal::BatchBuilder builder;
  if (!builder.add(std::vector<std::byte>(256, std::byte{7}))) std::exit(1);
  std::vector<BareWrite> writes(kLogs);
  std::size_t done = 0;
  std::uint64_t position = 0;

  const auto bare_round = [&] {
    done = 0;
    const double start = now_us();
    for (std::size_t i = 0; i < kLogs; ++i) {
      writes[i].done = &done;
      writes[i].file = files[i].get();
      writes[i].position = position;
      writes[i].bytes = block->bytes().first(wal::kBlockBytes);
      node.disk().write(writes[i]);
    }
    while (done < kLogs) node.turn();
    position = (position + wal::kBlockBytes) % (64u << 10);
    return double(kLogs) / (now_us() - start) * 1e6;
  };
  const auto our_round = [&] {
    const double start = now_us();
    for (std::size_t i = 0; i < kLogs; ++i) {
      node.append(builder, i);
      node.log(i).flush();
    }
    for (std::size_t i = 0; i < kLogs; ++i) node.wait_durable(i);
    return double(kLogs) / (now_us() - start) * 1e6;
  };
  for (int i = 0; i < 3; ++i) bare_round(), our_round();
  std::vector<double> ours, bare, ratios;
  for (int round = 0; round < (quick ? 3 : 9); ++round) {
    double our_sum = 0, bare_sum = 0;
    for (int turn = 0; turn < 10; ++turn) {
      bare_sum += 1 / bare_round();
      our_sum += 1 / our_round();
    }
    bare.push_back(10 / bare_sum);
    ours.push_back(10 / our_sum);
    ratios.push_back(ours.back() / bare.back());
  }
  std::printf("1,000 logs, one 256 B record each: %s synced writes/s; io_uring over 1,000 files: %s /s; ratio %s\n",
              spread(ours, 0).c_str(), spread(bare, 0).c_str(), spread(ratios).c_str());
}

}  // namespace
}  // namespace walraft::bench

int main(int argc, char** argv) {
  using namespace walraft::bench;
  const Arguments arguments = parse_arguments(argc, argv);
  const Scratch scratch(arguments.dir, 5ull << 30);
  const Noise noise;
  run(scratch.path(), arguments.quick);
  print_noise(noise);
}
