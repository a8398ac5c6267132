#include "wal/base/probe.h"

#include <string_view>

namespace walraft {
namespace {

// Filled before main(), by one thread.
std::vector<Probe*>& registered() {
  static std::vector<Probe*> all;
  return all;
}

}  // namespace

Probe::Probe(const char* name) : name_(name) { registered().push_back(this); }

std::vector<Probe*> probes() {
  std::vector<Probe*> all = registered();
  std::sort(all.begin(), all.end(),
            [](const Probe* a, const Probe* b) { return std::string_view(a->name()) < b->name(); });
  return all;
}

}  // namespace walraft
