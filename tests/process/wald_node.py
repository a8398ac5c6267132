"""One wald with its clients, for tests that cut its power or break its disk, and the ledger of its appends."""

import base64
import contextlib
import json
import os
import random
import re
import subprocess
import threading
import time

import gear
from gear import Fail, expect

LOG = "orders"
OK, FAILED, BAD_CONFIG, REFUSED, IN_USE, DISK_FAILED = range(6)  # exit codes of wald
NO_SPACE, DAMAGED = 10, 11  # of walctl


class Wald:
    """`wald --dev` on a data directory. It is ready when __init__ returns, or has ended (process.poll())."""

    def __init__(self, directory, *, environment=None, config=None, port=7400, prefix=()):
        self.port = port
        command = [*prefix, gear.program("wald")]
        if config is None:
            command += ["--dev", "--data-dir", directory, "--port-base", self.port]
        else:
            path = directory.parent / f"{directory.name}.toml"
            path.write_text(f'[node]\nid = 1\ndata_dir = "{directory}"\n[cluster]\nname = "dev"\n'
                            f'members = [{{ id = 1, host = "127.0.0.1" }}]\n[listen]\nstream = "127.0.0.1:{self.port}"\n'
                            f'control = "127.0.0.1:{self.port + 1}"\nhttp = "127.0.0.1:{self.port + 2}"\n{config}')
            command += ["--config", path]
        self.process = gear.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env={**os.environ, **(environment or {})})
        self.said = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.hear)
        self.reader.start()
        self.ready.wait(30)

    def hear(self):
        for line in self.process.stderr:
            self.said.append(line.decode(errors="replace").rstrip())
            if "ready: stream on" in self.said[-1]:
                self.ready.set()
        self.process.wait()
        self.ready.set()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def expect_ready(self):
        expect(self.process.poll() is None, f"wald ended with {self.process.poll()}: {self.said[-3:]}")
        return self

    def end(self, how=None, timeout=30):
        """Its exit code; after a signal if one is given."""
        try:
            if how is not None and self.process.poll() is None:
                self.process.send_signal(how)
            code = self.process.wait(timeout)
            self.reader.join(20)  # its last words
            return code
        except subprocess.TimeoutExpired:
            raise Fail(f"wald did not end within {timeout} s: {self.said[-3:]}") from None

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self.reader.join(20)
        self.process.stderr.close()

    def walctl(self, *arguments, check=True, timeout=60, **options):
        return gear.run(gear.program("walctl"), "--endpoints", self.endpoint, *arguments, check=check, timeout=timeout,
                        **options)


class Appends:
    """Which lines of one log were acknowledged at which offset; what a later reader must find."""

    def __init__(self):
        self.acknowledged = {}  # offset -> line
        self.known = 0  # below this, `lines` is all there is: a read after the last crash said so
        self.lines = []
        self.frozen = False

    def verify(self, found):
        """`found`: the lines of the log, from offset 0. Takes them for what is there from now on."""
        expect(found[:self.known] == self.lines, f"what was read below {self.known} before is another now")
        for offset, line in self.acknowledged.items():
            expect(offset < len(found), f"LOST: offset {offset} was acknowledged, the log ends at {len(found)}")
            expect(found[offset] == line, f"offset {offset} holds {found[offset][:40]!r}, acknowledged was {line[:40]!r}")
        self.lines, self.known, self.frozen = found, len(found), False


class Append:
    """`walctl append -o json`, fed with lines as fast as it takes them; its answers go to the ledger."""

    def __init__(self, wald, appends, run, rng, lines=None, batch_records=None):
        self.appends = appends
        self.sent = []
        self.count = lines
        self.answers = 0
        self.run = run
        self.rng = random.Random(rng.random())
        batch_records = batch_records or rng.choice([1, 10, 1000])
        self.process = gear.start([gear.program("walctl"), "--endpoints", wald.endpoint, "-o", "json", "append", LOG,
                                   "--create", "--batch-records", batch_records], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.first = threading.Event()
        self.threads = [threading.Thread(target=self.feed), threading.Thread(target=self.hear)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        with contextlib.suppress(BrokenPipeError, ValueError, OSError):
            while self.count is None or len(self.sent) < self.count:
                line = f"{self.run}-{len(self.sent)}-" + "x" * self.rng.choice([0, 10, 100, 100, 5000])
                self.sent.append(line)
                self.process.stdin.write(line.encode() + b"\n")
                if len(self.sent) % 100 == 0:
                    self.process.stdin.flush()
        with contextlib.suppress(BrokenPipeError, ValueError, OSError):
            self.process.stdin.close()

    def hear(self):
        at = 0  # answers come in order, so they name the lines in order
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
            for offset in range(answer["offset"], answer["last_offset"] + 1):
                if not self.appends.frozen:
                    self.appends.acknowledged[offset] = self.sent[at]
                at += 1
            self.answers += 1
            self.first.set()
        self.first.set()

    def wait_for_first(self):
        self.first.wait(20)
        return self.answers > 0

    def end(self, timeout=30):
        """Its exit code, and what it said."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
            code = None  # it was still trying
        for thread in self.threads:
            thread.join(20)
        errors = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, errors

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stdout.closed:
            self.end()


def read_from(wald, offset, *options):
    """(offset, line) of every record from `offset` on, the exit code, what was said."""
    done = wald.walctl("read", LOG, "--from", offset, "--format", "json", *options, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return [(record["offset"], base64.b64decode(record["data"]).decode()) for record in records], done.returncode, done.stderr


def read_all(wald, missing_ok=False):
    """Every line of the log, from offset 0; [] if there is no log and that is allowed."""
    records, code, errors = read_from(wald, "earliest")
    if missing_ok and code == 3:
        return []
    expect(code == 0, f"read: exit {code}: {errors}")
    expect([offset for offset, _ in records] == list(range(len(records))), "the offsets are not 0, 1, 2, …")
    return [line for _, line in records]


def read_around_damage(wald, end):
    """What can be read of [0, end) and what is said to be lost: {offset: line}, [(from, to)]."""
    got, lost, at = {}, [], 0
    while at < end:
        records, code, errors = read_from(wald, at)
        got.update(records)
        if code == 0:
            break
        expect(code == DAMAGED, f"read from {at}: exit {code}: {errors}")
        said = re.search(r"offsets (\d+) to (\d+)", errors)
        expect(said, f"the message does not say which offsets are lost: {errors}")
        start, stop = int(said[1]), int(said[2]) + 1
        expect(at < stop, f"it says {start} to {stop} is lost when asked for {at}")
        if start > at:  # a read that meets damage gives nothing; what lies before is there
            records, code, errors = read_from(wald, at, "--until", start)
            expect(code == 0, f"read from {at} until {start}: exit {code}: {errors}")
            got.update(records)
        lost.append((start, stop))
        at = stop
    return got, lost
