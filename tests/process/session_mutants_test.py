#!/usr/bin/env python3
"""Each planted bug of the stream channel must be found by the corpus of session_fuzz, and nothing where none is planted.
(mutant:C1, C2, C3, C4)"""

import os
import subprocess

import gear
from gear import expect

CORPUS = "tests/data/fuzz/session"
PLANTED = ("c1_body_checksum_unchecked", "c2_refusal_overtakes_answers", "c3_queue_not_bounded", "c4_credit_ignored")


def replay(mutant):
    return subprocess.run([gear.program("session_fuzz"), gear.SOURCE / CORPUS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=100, env={**os.environ, "WALRAFT_MUTANT": mutant})


def is_found(mutant):
    def test():
        done = replay(mutant)
        expect(done.returncode < 0, f"{mutant} survived: exit {done.returncode}")
        inputs = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("run ")]
        failed = [line for line in done.stdout.splitlines() if "CHECK" in line]
        expect(failed, f"it ended otherwise than by a CHECK: {done.stdout[-300:]}")
        return f"by {inputs[-1]}"
    return test


def nothing_is_found():
    done = replay("")
    expect(done.returncode == 0, f"exit {done.returncode}: {done.stdout[-500:]}")


if __name__ == "__main__":
    gear.main(*((f"mutant:{mutant}", is_found(mutant)) for mutant in PLANTED), ("no_mutant", nothing_is_found))
