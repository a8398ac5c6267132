#!/usr/bin/env python3
"""Runs the commands of README.md, section "Use", as they stand there, in an empty folder and a network of its own."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WALRAFT_BUILD", ROOT / "build" / "test"))
LINES = [str(n) for n in range(1, 1001)]
# What the commands of the block that runs against a server print besides the append's answer.
EXPECTED = [*LINES[990:], LINES[-1], "1000"]


def check(name, condition, why):
    print(f"ok readme_test.{name}" if condition else f"FAIL readme_test.{name}: {why}", flush=True)
    return condition


def main():
    use = re.search(r"^## Use\n(.*?)^## ", (ROOT / "README.md").read_text(), re.S | re.M)
    blocks = re.findall(r"^```sh\n(.*?)^```", use[1], re.S | re.M) if use else []
    if not check("blocks", len(blocks) == 3, f"README.md 'Use' should have 3 sh blocks (build, run, verify), has {len(blocks)}"):
        return 1
    missing = [p for p in ("wald", "walctl") if not (BUILD / "bin" / p).exists()]
    if missing:
        print(f"NOT RUN readme_test.use: {' and '.join(missing)} not built in {BUILD}")
        return 0
    script = f"""
set -e
ip link set lo up
{blocks[1]}
kill %1
wait %1
{blocks[2]}
"""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(["unshare", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", script], cwd=folder,
                                   env={**os.environ, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}"}, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            output, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            errors += "\n(ended after 60 s)"
    if "unshare failed" in errors:
        print(f"NOT RUN readme_test.use: no network namespaces here ({errors.strip()})")
        return 0
    said = f"exit code {process.returncode}; it printed {output.splitlines()[:40]}, and on stderr {errors.strip()[-800:]}"
    lines = output.splitlines()
    passed = check("commands_work", process.returncode == 0, said)
    passed &= check("offset_is_the_last", lines[:1] == ["999"], f"the append should print 999; {said}")
    passed &= check("reads_back", lines[1:1 + len(EXPECTED)] == EXPECTED, f"expected {EXPECTED}; {said}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
