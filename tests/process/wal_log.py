"""A log that wal_writer (tests/power) writes, and the ledger of what it promised: what must be there afterwards."""

import os
import subprocess
import threading

import gear
from gear import expect, Fail


class Ledger:
    """What is known of a log from the lines of its writers, across any number of crashes. All positions half-open."""

    def __init__(self):
        self.ranges = []  # (generation, from): who wrote what follows
        self.durable = 0  # everything below was promised
        self.written_from = None  # where the newest generation began
        self.truncating = None
        self.trim_asked = 0
        self.trimmed = 0
        self.frozen = False  # the power is failing: what is said now is no promise
        self.acknowledged = 0  # how often `durable` grew: a cycle that saw none proved nothing

    def hear(self, line):
        words = line.split()
        if words[0] == "writing":
            generation, start = int(words[1]), int(words[2])
            self.ranges = [r for r in self.ranges if r[1] < start] + [(generation, start)]
        elif words[0] == "durable" and not self.frozen:
            durable = int(words[1])
            if self.truncating is not None:  # what was in flight is finished first
                durable = min(durable, self.truncating)
            expect(durable >= self.durable, f"durable went back from {self.durable}: {line}")
            self.durable = durable
            self.acknowledged += 1
        elif words[0] == "truncating":
            self.truncating = int(words[1])
            self.durable = min(self.durable, self.truncating)
        elif words[0] == "truncated":
            self.ranges = [r for r in self.ranges if r[1] < int(words[1])]
            self.ranges.append((None, int(words[1])))  # nothing may follow until somebody writes
            self.truncating = None
        elif words[0] == "trimming":
            self.trim_asked = max(self.trim_asked, int(words[1]))
        elif words[0] == "trimmed":
            self.trimmed = max(self.trimmed, int(words[1]))

    def verify(self, opened, lines):
        """Compares what `check` found with what was promised, and takes it for what is there from now on."""
        expect(opened["suspect"] == 0, f"the log is SUSPECT: {lines}")
        checked = next((fields(line) for line in lines if line.startswith("checked ")), None)
        expect(checked, f"the check came to no end: {lines}")
        first, tail = checked["first"], checked["tail"]
        expect(not any(line.startswith("unreadable") for line in lines), f"damage after a power cut: {lines}")
        expect(tail >= self.durable, f"LOST: batches below {self.durable} were acknowledged, the log ends at {tail}")
        expect(first <= self.trim_asked, f"LOST: the log begins at {first}, it was never trimmed above {self.trim_asked}")
        expect(first >= self.trimmed, f"the log begins at {first}, its trim to {self.trimmed} was durable")
        found = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("range ")]
        expect(not found or found[0][1] == first and found[-1][2] == tail, f"{found} is not [{first}, {tail})")
        for (_, _, end), (_, start, _) in zip(found, found[1:]):
            expect(start == end, f"a gap between {end} and {start}")
        for generation, start, end in found:
            for writer, low, high in self.expected(start, end):
                expect(writer == generation,
                       f"batches [{low}, {high}) are of generation {generation}, expected {writer}")
        # What survived without having been acknowledged is in the log now, and durable: `check` said so.
        self.durable = tail
        self.frozen = False
        self.truncating = None
        self.trim_asked = max(self.trim_asked, first)

    def expected(self, start, end):
        for i, (generation, low) in enumerate(self.ranges):
            high = self.ranges[i + 1][1] if i + 1 < len(self.ranges) else 1 << 63
            if max(start, low) < min(end, high):
                yield generation, max(start, low), min(end, high)


def fields(line):
    """`word a=1 b=x` as {"a": 1, "b": "x"}."""
    pairs = (word.split("=", 1) for word in line.split()[1:])
    return {key: int(value) if value.isdigit() else value for key, value in pairs}


class Writer:
    """`wal_writer write`, running, its lines heard as they come."""

    def __init__(self, directory, ledger, *options, environment=None):
        self.ledger = ledger
        self.lines = []
        self.heard = threading.Condition()
        self.failure = None
        self.process = gear.start([gear.program("wal_writer"), "write", directory, *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            text = line.decode()
            with self.heard:
                if text.endswith("\n"):  # else it was cut short in the middle
                    self.lines.append(text[:-1])
                    try:
                        self.ledger.hear(text)
                    except Fail as failure:
                        self.failure = self.failure or failure
                self.heard.notify_all()

    def wait_for(self, word, count=1, timeout=20):
        """Until `count` lines begin with `word`; False if the process ended before."""
        def there():
            return sum(line.startswith(word + " ") for line in self.lines) >= count
        with self.heard:
            self.heard.wait_for(lambda: there() or self.process.poll() is not None, timeout)
            return there()

    def end(self, how=None, timeout=20):
        """Waits for the end of the process (after a signal if one is given); returns its exit code."""
        try:
            if how is not None and self.process.poll() is None:
                self.process.send_signal(how)
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
            raise Fail(f"wal_writer did not end within {timeout} s") from None
        finally:
            self.reader.join(20)
            self.errors = self.process.stderr.read().decode()
            self.process.stdout.close()
            self.process.stderr.close()
        if self.failure:
            raise self.failure
        return code

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
            self.reader.join(20)


def check(directory, *options, allowed=(0,)):
    """`wal_writer check`: what opening found, and its lines."""
    done = gear.run(gear.program("wal_writer"), "check", directory, *options, check=False)
    expect(done.returncode in allowed, f"check: exit {done.returncode}: {done.stderr.strip()} {done.stdout[-2000:]}")
    lines = done.stdout.splitlines()
    opened = next((fields(line) for line in lines if line.startswith("opened ")), None)
    return opened, lines


def check_twice(directory, *options, allowed=(0,)):
    """The same, two times: recover(recover(x)) == recover(x)."""
    opened, lines = check(directory, *options, allowed=allowed)
    _, again = check(directory, *options, allowed=allowed)
    kept = [line for line in lines if line.startswith(("range", "checked", "unreadable"))]
    kept_again = [line for line in again if line.startswith(("range", "checked", "unreadable"))]
    expect(kept == kept_again, f"opened twice, two logs: {kept} and {kept_again}")
    return opened, lines
