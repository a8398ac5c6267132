"""The machinery of the test runner: stages with budgets, commands with time limits, counts, one summary.

What the stages are stands in tests/stages.py. A stage runs commands through Stage.run(), which gives each its own process group, a time limit and a log in
build/logs, and afterwards ends whatever the command left running. What a command printed is turned into counts by a
reader: of GoogleTest output, of result lines ("ok NAME", "FAIL NAME: why", "NOT RUN NAME: why"), of exit codes.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "logs"
SCRATCH = ROOT / "build" / "tmp"  # TMPDIR of every command: on the checkout's disk, where O_DIRECT works; emptied after
TAIL_LINES = 40
START_SECONDS_MIN = 30  # a stage is not begun with less than this left before the deadline
KIND_SECONDS = 5        # between SIGTERM and SIGKILL
CORES = len(os.sched_getaffinity(0))


class Counts:
    def __init__(self):
        self.passed = 0
        self.failed = []  # "name: why"
        self.skipped = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


# --- Readers: output of a command -> Counts ---------------------------------------------------------------------------
def read_gtest(name, output, code):
    """Counts tests by their closing line; a NOT RUN line inside a passing test counts as skipped besides it."""
    counts = Counts()
    running, reasons = None, []
    for line in output.splitlines():
        if match := re.match(r"\[ RUN      \] (\S+)", line):
            running, reasons = match[1], []
        elif match := re.match(r"NOT RUN[: ]\s*(.*)", line):  # printed, or streamed into GTEST_SKIP()
            reasons.append(match[1] if line[7] == " " else f"{running}: {match[1]}")
        elif match := re.match(r"\[       OK \] (\S+?)(?:,.*)? \(\d+ ms\)", line):
            counts.passed += 1
            counts.skipped += reasons
            running, reasons = None, []
        elif match := re.match(r"\[  SKIPPED \] (\S+?)(?:,.*)? \(\d+ ms\)", line):
            counts.skipped += reasons or [f"{match[1]}: the test gave no reason"]
            running, reasons = None, []
        elif match := re.match(r"\[  FAILED  \] (\S+?)(?:,.*)? \(\d+ ms\)", line):
            counts.failed.append(f"{name} {match[1]}")
            running, reasons = None, []
    if running:
        counts.failed.append(f"{name} {running}: the program ended inside it ({ending(code)})")
    elif code != 0 and not counts.failed:
        counts.failed.append(f"{name}: {ending(code)}")
    elif code == 0 and counts.passed + len(counts.skipped) == 0:
        counts.failed.append(f"{name}: it ran no test")
    return counts


def read_lines(name, output, code):
    counts = Counts()
    for line in output.splitlines():
        if line.startswith("ok "):
            counts.passed += 1
        elif line.startswith("FAIL "):
            counts.failed.append(f"{name} {line[5:]}")
        elif line.startswith("NOT RUN "):
            counts.skipped.append(line[8:])
    if code != 0 and not counts.failed:
        counts.failed.append(f"{name}: {ending(code)}")
    if code == 0 and counts.passed + len(counts.failed) + len(counts.skipped) == 0:
        counts.failed.append(f"{name}: it printed no result line (ok, FAIL or NOT RUN)")
    return counts


def read_exit_code(name, output, code):
    counts = Counts()
    if code == 0:
        counts.passed = 1
    else:
        counts.failed.append(f"{name}: {ending(code)}")
    return counts


def read_figures(name, output, code):
    """A benchmark must work; how long it takes is not judged."""
    counts = Counts()
    counts.skipped = [f"{name}: {line[7:].lstrip(' :')}" for line in output.splitlines() if line.startswith("NOT RUN")]
    if code is None:
        counts.skipped.append(f"rest of {name}: it took longer than its share of the stage")
    elif code != 0:
        counts.failed.append(f"{name}: {ending(code)}")
    elif not counts.skipped:
        counts.passed = 1
    return counts


def read_build(name, output, code):
    """A build that works is no test passed; one that does not is a failure."""
    counts = Counts()
    if code != 0:
        counts.failed.append(f"{name}: {ending(code)}")
    return counts


def ending(code):
    if code is None:
        return "stopped at its time limit"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exit code {code}"


# --- Running ----------------------------------------------------------------------------------------------------------
class Stopped(Exception):
    """The stage's time is over."""


class Stage:
    def __init__(self, runner, name, ends_at, own_limit):
        self.runner = runner
        self.name = name
        self.ends_at = ends_at
        self.own_limit = own_limit  # False: the overall deadline comes before the stage's own budget
        self.counts = Counts()
        self.ran = False

    def run(self, name, command, reader, limit=None, env=None):
        """Runs `command` from the project root; returns (ok, output)."""
        self.ran = True
        now = time.monotonic()
        left = self.ends_at - now
        if left < 1:
            raise Stopped()
        bounded_by_stage = limit is None or left < limit
        seconds = left if bounded_by_stage else limit
        log = LOGS / f"{self.name}.{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.log"
        SCRATCH.mkdir(parents=True, exist_ok=True)
        scratch = {"TMPDIR": str(SCRATCH), "TEST_TMPDIR": str(SCRATCH)}
        with open(log, "wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, start_new_session=True,
                                       env={**os.environ, **scratch, **(env or {})})
            self.runner.current = process
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = None
                end_group(process)
            self.runner.current = None
        left_over = end_orphans()
        subprocess.run(["rm", "-rf", "--one-file-system", str(SCRATCH)], stderr=subprocess.DEVNULL, check=False)
        output = log.read_text(errors="replace")
        counts = reader(name, output, code)
        took = time.monotonic() - now
        if code is None and bounded_by_stage and not self.own_limit:
            # The deadline of the whole run cut it: not its fault, and not a pass either.
            counts.failed = [f for f in counts.failed if "time limit" not in f]
            counts.skipped.append(f"{self.name} {name}: the run's deadline came in the middle of it")
        self.counts.add(counts)
        note = "" if reader is read_build and code == 0 else f": {counts}"
        print(f"  {name}{note} ({took:.1f} s)", flush=True)
        if left_over:
            print(f"    it left running, now ended: {', '.join(left_over)}")
        for reason in counts.skipped:
            print(f"    NOT RUN {reason}")
        if counts.failed:
            for failure in counts.failed:
                print(f"    FAILED {failure}")
            print_log(log, output)
        sys.stdout.flush()
        return code == 0 and not counts.failed, output

    def not_run(self, what, reason):
        self.ran = True
        self.counts.skipped.append(f"{what}: {reason}")
        print(f"  NOT RUN {what}: {reason}", flush=True)

    def build(self, tree, options, targets):
        """Configures and builds `targets` in build/`tree`; the stage ends here if that fails."""
        folder = ROOT / "build" / tree
        self.runner.broken.discard(tree)
        for name, command in (
            (f"configure {tree}", ["cmake", "-S", ".", "-B", str(folder), "-G", "Ninja", *options]),
            (f"build {tree}", ["ninja", "-C", str(folder), f"-j{CORES}", *targets]),
        ):
            ok, _ = self.run(name, command, read_build)
            if not ok:
                self.runner.broken.add(tree)
                return False
        return True

    def built(self, tree):
        """True if build/`tree` is there and the last build of it worked."""
        if tree in self.runner.broken:
            self.not_run(self.name, f"build/{tree} did not build")
            return False
        if not (ROOT / "build" / tree / "build.ninja").exists():
            self.not_run(self.name, f"build/{tree} is not there; run the stage that builds it")
            return False
        return True


def end_group(process):
    """Ends the process group that run() started: first kindly, for clean-up handlers, then for good."""
    for number, patience in ((signal.SIGTERM, KIND_SECONDS), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=patience)
            if number == signal.SIGTERM:
                continue  # the leader is gone; the rest of the group follows by SIGKILL
        except subprocess.TimeoutExpired:
            pass


def children():
    me = str(os.getpid())
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            name, rest = fields[fields.index("(") + 1:].rsplit(")", 1)
            state, parent = rest.split()[:2]
            if parent == me:
                found.append((int(entry), name, state))
    return found


def end_orphans():
    """Ends processes that a finished command left behind. This process is their subreaper, so they are its children."""
    names = []
    for _ in range(100):  # ending one may hand its own children to us
        alive = children()
        for pid, name, state in alive:
            if state != "Z":
                names.append(f"{name} ({pid})")
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for pid, _, _ in alive:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
        if not alive:
            break
    return names


def failed_tests(output):
    """What each failed test of a gtest program printed; of one that the program ended in, the end."""
    blocks, block = [], []
    for line in output.splitlines():
        if line.startswith("[ RUN      ] "):
            block = []
        block.append(line)
        if re.match(r"\[  FAILED  \] .* \(\d+ ms\)", line):
            blocks.append(block)
        if re.match(r"\[ .* \] .* \(\d+ ms\)", line):
            block = []
    if any(line.startswith("[ RUN      ] ") for line in block):
        blocks.append(block[-TAIL_LINES:])
    return blocks


def print_log(log, output):
    """Failed tests from their beginnings (the replay line is there); the end of any other log."""
    print(f"    --- {log.relative_to(ROOT)}")
    for block in failed_tests(output) or [output.splitlines()[-TAIL_LINES:]]:
        for line in block[:TAIL_LINES]:
            print(f"    | {line}")
        if len(block) > TAIL_LINES:
            print(f"    | ... {len(block) - TAIL_LINES} lines more")


class Runner:
    def __init__(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what commands leave behind is ours to end
        signal.signal(signal.SIGINT, self.interrupted)
        signal.signal(signal.SIGTERM, self.interrupted)
        self.current = None  # the process that runs now
        self.broken = set()  # trees whose last build failed
        self.total = Counts()
        self.table = []

    def run(self, stages, deadline):
        started = time.monotonic()
        for name, _, budget, function, text in stages:
            left = deadline - (time.monotonic() - started)
            if left < START_SECONDS_MIN:
                self.total.skipped.append(f"{name}: the run's deadline came first")
                print(f"NOT RUN {name}: the run's deadline came first", flush=True)
                self.table.append((name, "not run", 0))
                continue
            begin = time.monotonic()
            print(f"== {name}: {text} (budget {budget} s)", flush=True)
            stage = Stage(self, name, begin + min(budget, left), own_limit=budget <= left)
            try:
                function(stage)
            except Stopped:
                reason = "its budget was used up" if stage.own_limit else "the run's deadline came in the middle of it"
                stage.not_run(f"rest of {name}", reason)
            if not stage.ran:
                print("  there is nothing of this kind in the tree", flush=True)
            self.total.add(stage.counts)
            self.table.append((name, str(stage.counts), time.monotonic() - begin))

    def interrupted(self, number, _frame):
        if self.current:
            end_group(self.current)
        end_orphans()
        print(f"\ntests/run: stopped by {signal.Signals(number).name}", flush=True)
        self.total.failed.append("tests/run: it was interrupted")
        self.summary()
        os._exit(128 + number)

    def summary(self):
        print("== summary")
        for name, counts, seconds in self.table:
            print(f"  {name:<13} {counts:<40} {seconds:7.1f} s")
        for reason in self.total.skipped:
            print(f"  NOT RUN {reason}")
        for failure in self.total.failed:
            print(f"  FAILED {failure}")
        print(self.total, flush=True)
        return 1 if self.total.failed or self.total.passed == 0 else 0
