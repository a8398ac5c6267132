#!/usr/bin/env python3
"""The programs that are shipped carry the hardening that the build asks for; a lost flag is silent otherwise."""
# stage: release

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WALRAFT_BUILD", ROOT / "build" / "release"))
# (name, readelf option, what must be in its output, what is wrong without it)
WANTED = [
    ("pie", "-hW", r"Type:\s+DYN", "not position independent: -fPIE -pie"),
    ("relro", "-lW", r"GNU_RELRO", "relocations stay writable: -Wl,-z,relro"),
    ("bind_now", "-dW", r"BIND_NOW|Flags:.*\bNOW\b", "symbols are bound late: -Wl,-z,now"),
    ("stack_not_executable", "-lW", r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s", "the stack is executable"),
    ("stack_protector", "--dyn-syms -W", r"__stack_chk_fail", "no stack protector: -fstack-protector-strong"),
    ("fortify", "--dyn-syms -W", r"__\w+_chk\b(?<!__stack_chk)", "no fortified calls: -D_FORTIFY_SOURCE=3"),
    ("jemalloc", "-dW", r"NEEDED.*libjemalloc", "not linked with jemalloc"),
]


def main():
    programs = [p for p in ("wald", "walctl", "walbench") if any((ROOT / "tools" / p).glob("*.cc"))]
    if not programs:
        print("NOT RUN hardening_test: there is no program in tools yet")
        return 0
    failed = False
    for program in programs:
        path = BUILD / "bin" / program
        for name, option, pattern, why in WANTED:
            done = subprocess.run(["readelf", *option.split(), str(path)], capture_output=True, text=True, check=False)
            good = done.returncode == 0 and re.search(pattern, done.stdout)
            failed |= not good
            print(f"ok hardening.{program}.{name}" if good else f"FAIL hardening.{program}.{name}: {why} ({path})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
