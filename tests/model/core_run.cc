#include "tests/model/core_run.h"

#include <iostream>

#include "tests/model/core_steps.h"

namespace walraft::model {

CoreRun run_core(std::uint64_t seed, std::uint64_t steps, bool show) {
  CoreSteps run(seed);
  CoreWorld& world = run.world();
  CoreRun result;
  for (; result.steps < steps && world.violation().empty(); ++result.steps) {
    run.step();
    for (const char c : run.said()) result.trace = sim::mix64(result.trace ^ static_cast<unsigned char>(c));
    if (show) {
      std::cout << result.steps << ' ' << world.now_us() / 1000 << "ms " << run.said() << '\n' << world.describe();
    }
  }
  result.violation = world.violation();
  result.committed = world.checks().committed().value;
  result.reads = world.reads_answered();
  return result;
}

}  // namespace walraft::model
