#pragma once

// Rare branches, by name: PROBE("a leader is told of a higher term") counts how often it is passed, so that tests can
// say which of them their runs never reached. What a simulator never reaches it cannot find bugs in.
//
//   if (hello.session <= flow->session()) {
//     PROBE("hello of an older session");
//
// Compiled in where the planted bugs are (mutant.h, WALRAFT_MUTANTS=ON); otherwise a PROBE is nothing. The same name in
// two places is one probe. Every probe of a program is listed, also those that were never passed.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace walraft {

class Probe {
 public:
  explicit Probe(const char* name);  // before main(): PROBE makes it
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  const char* name() const { return name_; }
  std::uint64_t passed() const { return passed_.load(std::memory_order_relaxed); }
  void pass() { passed_.fetch_add(1, std::memory_order_relaxed); }  // any thread
  void reset() { passed_.store(0, std::memory_order_relaxed); }

 private:
  const char* name_;
  std::atomic<std::uint64_t> passed_ = 0;
};

// All of this program, in the order of their names; none where they are not compiled in. Any thread, from main() on.
std::vector<Probe*> probes();

#ifdef WALRAFT_MUTANTS
template <std::size_t N>
struct ProbeName {
  char text[N];
  consteval ProbeName(const char (&name)[N]) { std::copy_n(name, N, text); }
};
template <ProbeName name>
inline Probe probe_named{name.text};

#define PROBE(name) ::walraft::probe_named<name>.pass()
#else
#define PROBE(name) static_cast<void>(0)
#endif

}  // namespace walraft
