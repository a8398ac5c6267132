#pragma once

// Faults to come: armed on a SimFilesystem, each strikes one or more of the operations that it fits.

#include <cstdint>
#include <string>

namespace walraft::sim {

enum class FaultKind : std::uint8_t {
  sync_fails,         // File or Directory::sync fails once; all stays unsynced, a later sync works (S5)
  sync_drops,         // it fails, the bytes are dropped and called clean: a later sync lies (S6)
  sync_lies,          // it reports success; all stays unsynced
  write_fails,        // File::write or a disk write fails; a part or some sectors were written (S7)
  write_is_lost,      // reported as done; never on the medium (S16)
  write_is_misdirected,  // reported as done; lands misdirected_by bytes from where it should (S16)
  write_hangs,        // a disk write that does not complete before SimDisk::release_hanging() (S24)
};

struct Fault {
  FaultKind kind = FaultKind::sync_fails;
  std::string path = {};     // files and directories whose path contains this; empty: all
  std::uint64_t skip = 0;    // so many that it fits are let through first
  std::uint64_t times = 1;   // then so many are struck
  std::int64_t misdirected_by = 0;  // bytes; a multiple of kPageBytes; it stays within the file
};

}  // namespace walraft::sim
