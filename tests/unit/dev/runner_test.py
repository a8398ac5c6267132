#!/usr/bin/env python3
"""The test runner itself: a runner that counts wrong or waits for ever makes every other test worthless."""

import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
import runner  # noqa: E402

runner.START_SECONDS_MIN = 1
runner.KIND_SECONDS = 1

GTEST = """[ RUN      ] Log.appends
[       OK ] Log.appends (3 ms)
[ RUN      ] Log.needs_disk
NOT RUN Log.needs_disk: 10 GiB of disk needed, 3 are free
[  SKIPPED ] Log.needs_disk (0 ms)
[ RUN      ] Log.rows
NOT RUN fault:S10: no loop devices here
[       OK ] Log.rows (0 ms)
[ RUN      ] Sizes/Log.cuts/0
[  FAILED  ] Sizes/Log.cuts/0, where GetParam() = 4 (1 ms)
[  FAILED  ] 1 test, listed below:
[  FAILED  ] Sizes/Log.cuts/0, where GetParam() = 4
"""


def numbers(counts):
    return counts.passed, len(counts.failed), len(counts.skipped)


def test_gtest_output_is_counted_once():
    counts = runner.read_gtest("unit_wal", GTEST, 1)
    assert numbers(counts) == (2, 1, 2), numbers(counts)
    assert counts.failed == ["unit_wal Sizes/Log.cuts/0"], counts.failed
    assert "10 GiB" in counts.skipped[0], counts.skipped


def test_crash_inside_a_test_is_a_failure():
    counts = runner.read_gtest("crash", "[ RUN      ] Log.dies\n", -11)
    assert numbers(counts) == (0, 1, 0) and "SIGSEGV" in counts.failed[0], counts.failed


def test_crash_after_the_last_test_is_a_failure():
    counts = runner.read_gtest("crash", "[ RUN      ] A.b\n[       OK ] A.b (0 ms)\n", 1)
    assert numbers(counts) == (1, 1, 0), numbers(counts)


def test_a_failed_test_is_shown_from_its_beginning():
    later = "".join(f"[ RUN      ] Log.later{i}\n[       OK ] Log.later{i} (1 ms)\n" for i in range(100))
    output = "[ RUN      ] Log.cuts\nreplay: SEED=7\n[  FAILED  ] Log.cuts (1 ms)\n" + later + "[  FAILED  ] 1 test\n"
    blocks = runner.failed_tests(output)
    assert blocks == [output.splitlines()[:3]], blocks
    blocks = runner.failed_tests(output + "[ RUN      ] Log.dies\nCHECK failed\n")
    assert [block[-1] for block in blocks] == ["[  FAILED  ] Log.cuts (1 ms)", "CHECK failed"], blocks
    stages = [("s", "default", 20, lambda s: s.run("x", ["printf", output], runner.read_gtest), "x")]
    _, printed = in_stage(runner.Runner(), stages)
    assert "replay: SEED=7" in printed and "later" not in printed, printed
    assert runner.failed_tests("ninja: build stopped\n") == []


def test_no_test_at_all_is_a_failure():
    assert numbers(runner.read_gtest("unit_wal", "", 0)) == (0, 1, 0)
    assert numbers(runner.read_lines("x_test", "hello\n", 0)) == (0, 1, 0)


def test_a_reason_streamed_into_a_skip_is_kept():
    output = "[ RUN      ] Disk.direct\nx_test.cc:7: Skipped\nNOT RUN: no O_DIRECT here\n\n[  SKIPPED ] Disk.direct (0 ms)\n"
    assert runner.read_gtest("unit_x", output, 0).skipped == ["Disk.direct: no O_DIRECT here"]


def test_result_lines():
    counts = runner.read_lines("x_test", "ok a\nFAIL b: why\nNOT RUN c: reason\nnoise ok\n", 1)
    assert numbers(counts) == (1, 1, 1), numbers(counts)
    assert numbers(runner.read_lines("x_test", "ok a\n", 3)) == (1, 1, 0), "a bad exit code must not be lost"


def test_slow_benchmark_is_no_failure_and_no_pass():
    assert numbers(runner.read_figures("bench_x", "8 us\n", 0)) == (1, 0, 0)
    assert numbers(runner.read_figures("bench_x", "8 us\n", None)) == (0, 0, 1)
    assert numbers(runner.read_figures("bench_x", "NOT RUN: 4 GiB needed\n", 0)) == (0, 0, 1)
    assert numbers(runner.read_figures("bench_x", "", -6)) == (0, 1, 0)


def in_stage(run, stages, deadline=3600):
    """Runs fake stages quietly; returns (runner, what was printed)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = None
        run.run(stages, deadline)
        code = run.summary()
    return code, printed.getvalue()


def alive(marker):
    done = subprocess.run(["pgrep", "-f", marker], capture_output=True, check=False)
    return done.returncode == 0


def test_hanging_command_is_ended_with_its_group():
    marker = f"300.{os.getpid()}1"
    command = ["bash", "-c", f"trap '' TERM; sleep {marker} & sleep {marker}"]
    began = time.monotonic()
    code, printed = in_stage(runner.Runner(), [("s", "default", 2, lambda s: s.run("hang", command, runner.read_lines), "x")])
    assert time.monotonic() - began < 30
    assert code == 1 and "time limit" in printed, printed
    assert not alive(f"sleep {marker}")


def test_what_a_command_leaves_running_is_ended():
    marker = f"300.{os.getpid()}2"
    command = ["bash", "-c", f"echo ok a; setsid sleep {marker} >/dev/null 2>&1 &"]
    code, printed = in_stage(runner.Runner(), [("s", "default", 20, lambda s: s.run("leave", command, runner.read_lines), "x")])
    assert code == 0 and "it left running" in printed, printed
    assert not alive(f"sleep {marker}")


def test_deadline_counts_as_skipped():
    stages = [("one", "default", 100, lambda s: s.run("long", ["bash", "-c", "echo ok a; sleep 60"], runner.read_lines), "x"),
              ("two", "default", 100, lambda s: s.run("never", ["true"], runner.read_exit_code), "x")]
    code, printed = in_stage(runner.Runner(), stages, deadline=3)
    assert printed.splitlines()[-1] == "1 passed, 0 failed, 2 skipped", printed
    assert "NOT RUN two" in printed and code == 0, printed


def test_nothing_run_is_a_failure():
    code, printed = in_stage(runner.Runner(), [("s", "default", 100, lambda s: None, "x")])
    assert code == 1 and printed.splitlines()[-1] == "0 passed, 0 failed, 0 skipped", printed


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            try:
                test()
                print(f"ok runner_test.{name}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAIL runner_test.{name}: {' '.join(str(error).split())}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
