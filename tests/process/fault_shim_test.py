#!/usr/bin/env python3
"""The shim of tests/preload does what its rules say, and says what it did: a fault that never happens proves nothing."""

import os
import subprocess
import sys
import time

import gear
from gear import expect

# Makes each call once for each word of its arguments, and prints what it returned or its errno.
CALLER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
calls = {
    "fsync": lambda: os.fsync(fd),
    "fdatasync": lambda: os.fdatasync(fd),
    "write": lambda: os.write(fd, b"x" * 300),
    "writev": lambda: os.writev(fd, [b"x" * 100, b"x" * 200]),
    "pwrite": lambda: os.pwrite(fd, b"x" * 300, 0),
    "pwritev": lambda: os.pwritev(fd, [b"x" * 100, b"x" * 200], 0, os.RWF_DSYNC),
    "fallocate": lambda: os.posix_fallocate(fd, 0, 100),
    "ftruncate": lambda: os.ftruncate(fd, 10),
    "size": lambda: os.fstat(fd).st_size,
}
for name in sys.argv[2:]:
    try:
        print(calls[name](), flush=True)
    except OSError as failure:
        print(failure.strerror, flush=True)
"""


def call(directory, rules, *calls, name="file", **options):
    environment = {**os.environ, "LD_PRELOAD": gear.library("fault_shim"), "FAULT_SHIM": rules,
                   "FAULT_SHIM_LOG": str(directory / "log")}
    done = gear.run(sys.executable, "-c", CALLER, directory / name, *calls, env=environment, check=False, **options)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else done


def log(directory):
    return [line.split()[1:2] + line.split()[3:] for line in (directory / "log").read_text().splitlines()]


def fails_at_the_nth_call_and_not_again():
    with gear.scratch() as directory:
        answers = call(directory, "sync path=*/file nth=2 error=EIO", "fsync", "fdatasync", "fsync")
        expect(answers == ["None", "Input/output error", "None"], f"answers {answers}")
        expect(log(directory) == [["fsync", "1", "-"], ["fdatasync", "2", "error=EIO"], ["fsync", "3", "-"]],
               f"log {log(directory)}")


def fails_every_call():
    with gear.scratch() as directory:
        for name in ("fsync", "fdatasync", "write", "writev", "pwrite", "pwritev", "fallocate", "ftruncate"):
            answers = call(directory, "any path=*/file times=0 error=ENOSPC", name, name, "size")
            expect(answers == ["No space left on device"] * 2 + ["0"], f"{name}: {answers}")


def other_paths_are_left_alone():
    with gear.scratch() as directory:
        answers = call(directory, "any path=*/other times=0 error=EIO", "fsync", "write")
        expect(answers == ["None", "300"] and not log(directory), f"answers {answers}, log {log(directory)}")


def writes_less():
    with gear.scratch() as directory:
        for name in ("write", "writev", "pwrite", "pwritev"):
            rule = "write" if name == "writev" else name
            answers = call(directory, f"{rule} path=*/file short=150", name, name)
            expect(answers == ["150", "300"], f"{name}: {answers}")


def drops_and_fails_afterwards():
    with gear.scratch() as directory:
        answers = call(directory, "write path=*/file drop", "write", "size")
        expect(answers == ["300", "0"], f"drop: {answers}")
        answers = call(directory, "write path=*/file after=EIO", "write", "size")
        expect(answers == ["Input/output error", "300"], f"after: {answers}")


def waits_for_its_switch():
    with gear.scratch() as directory:
        rule = f"fsync path=*/file when={directory}/switch error=EIO"
        expect(call(directory, rule, "fsync") == ["None"], "the rule acted before its switch was there")
        (directory / "switch").touch()
        expect(call(directory, rule, "fsync") == ["Input/output error"], "the switch did nothing")


def delays_and_hangs():
    with gear.scratch() as directory:
        began = time.monotonic()
        expect(call(directory, "fsync path=*/file delay_ms=300", "fsync") == ["None"], "a delayed call failed")
        expect(time.monotonic() - began >= 0.3, "no delay")
        try:
            call(directory, "fsync path=*/file hang", "fsync", timeout=1.5)
        except subprocess.TimeoutExpired:
            return
        raise gear.Fail("the call came back")


def refuses_what_it_does_not_know():
    with gear.scratch() as directory:
        for rule in ("sink error=EIO", "fsync error=ENOTHING", "fsync nth=x error=EIO", "fsync nth=2", "fsync explode"):
            done = call(directory, rule, "fsync")
            expect(getattr(done, "returncode", 0) == 97, f"{rule!r}: {done}")


if __name__ == "__main__":
    gear.main(*((f"shim.{test.__name__}", test) for test in (
        fails_at_the_nth_call_and_not_again, fails_every_call, other_paths_are_left_alone, writes_less,
        drops_and_fails_afterwards, waits_for_its_switch, delays_and_hangs, refuses_what_it_does_not_know)))
