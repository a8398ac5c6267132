#!/usr/bin/env python3
# limit: 300 s
"""A database engine on Walraft (client/examples/rocksdb_on_walraft.cc), its process and wald killed at random points.

After each kill the engine is opened again and must hold what the log holds, row by row and version by version. The log
must hold every write that was acknowledged, at its offset; none twice; each with the changes that its number stands for,
worked out again here. `--seed N` repeats a run as far as the machine's timing lets it."""

import base64
import contextlib
import json
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import gear
from gear import Fail, expect, program, start, stop, wait_until
from node import server

PREFIX = "rocksdb_example_test."
MASK = 2**64 - 1
MEMTABLE = 65_536  # small, so that kills meet flushes
ROWS, VERSIONS = 2, 3  # column families, in the order of their making


class SplitMix:
    def __init__(self, state):
        self.state = state & MASK

    def __call__(self):
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)


def changes_of(seed, number):
    """What `load SEED` writes under this number: [(key, value or None)]."""
    chance = SplitMix(seed * 1_000_003 + number)
    changes = []
    for _ in range(1 + chance() % 4):
        key = b"key%d" % (chance() % 500)
        if chance() % 5 == 0:
            changes.append((key, None))
        else:
            value = chance()
            changes.append((key, bytes([ord("a") + value % 26]) * (value % 200) + b"%d" % value))
    return changes


def decode(record):
    """(writer, number, [(family, key, value or None)]) of a record: 16 bytes, u64, a WriteBatch."""
    writer, number, count = record[:16], struct.unpack("<Q", record[16:24])[0], struct.unpack("<I", record[32:36])[0]
    at, operations = 36, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = record[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text():
        nonlocal at
        length = varint()
        at += length
        return record[at - length:at]

    while at < len(record):
        tag = record[at]
        at += 1
        expect(tag in (4, 5), f"a WriteBatch with tag {tag}")  # delete, put in a column family
        family = varint()
        key = text()
        operations.append((family, key, text() if tag == 5 else None))
    expect(len(operations) == count, f"a WriteBatch of {count} operations has {len(operations)}")
    return writer, number, operations


class Load:
    """A running `load`, its answers collected: outcomes[number] = (outcome, offset)."""

    def __init__(self, engine, node, seed):
        self.seed = seed
        self.outcomes = {}
        self.process = start(engine(node, "load", seed, 10**9), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break  # cut off by the kill
            outcome, number, offset = line.split()
            self.outcomes[int(number)] = (outcome, int(offset))

    def wait_for(self, answers):
        def there():
            if self.process.poll() is not None:
                raise Fail(f"load ended with {self.process.returncode}: {self.errors()}")
            return len(self.outcomes) >= answers
        wait_until(there, f"{answers} answers; {len(self.outcomes)} are there", timeout=60)

    def errors(self):
        return self.process.stderr.read()[-800:]

    def kill(self):
        stop(self.process, signal.SIGKILL)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


class History:
    """The log as it was read so far, decoded, and the database that it makes."""

    def __init__(self):
        self.records = []
        self.rows = {}  # key: (version, value)
        self.writers = {}  # writer: (the load it is, the number that comes next)

    def read_on(self, node, loads):
        text = node.walctl("read", "engine", "--from", len(self.records), "-o", "json").stdout
        for line in text.splitlines():
            record = json.loads(line)
            expect(record["offset"] == len(self.records), f"offset {record['offset']} came after {len(self.records) - 1}")
            self.take(decode(base64.b64decode(record["data"])), loads)

    def take(self, record, loads):
        writer, number, operations = record
        offset = len(self.records)
        if writer not in self.writers:
            wanted = [load for load in loads if operations == self.expected(load, 0, offset)]
            expect(number == 0 and wanted, f"offset {offset}: number {number} of a writer that nobody knows")
            self.writers[writer] = (wanted[0], 0)
        load, following = self.writers[writer]
        expect(number == following, f"offset {offset}: number {number} of load {load.seed}; {following} was next "
                                    f"({'TWICE' if number < following else 'LOST'})")
        expect(operations == self.expected(load, number, offset), f"offset {offset}: other changes than those of {number}")
        self.writers[writer] = (load, number + 1)
        self.records.append((load.seed, number))
        for key, value in changes_of(load.seed, number):
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = (offset, value)

    @staticmethod
    def expected(load, number, offset):
        operations = []
        for key, value in changes_of(load.seed, number):
            version = None if value is None else b"%d" % offset
            operations += [(ROWS, key, value), (VERSIONS, key, version)]
        return operations

    def check_answers(self, loads):
        offsets = {record: offset for offset, record in enumerate(self.records)}
        for load in loads:
            for number, (outcome, offset) in load.outcomes.items():
                there = offsets.get((load.seed, number))
                if outcome == b"ok":
                    expect(there == offset, f"LOST: write {number} of load {load.seed} was acknowledged at {offset}; "
                                            f"it is at {there}")
                elif outcome != b"unknown":
                    expect(there is None, f"write {number} of load {load.seed} ended {outcome}; it is at {there}")

    def check_dump(self, text, what):
        head, *lines = text.splitlines()
        expect(head.endswith(b"applied %d" % len(self.records)), f"{what}: {head}; the log has {len(self.records)} records")
        rows = {}
        for line in lines:
            key, version, value = line.split(b" ")
            rows[key] = (int(version), value)
        for key in sorted(rows.keys() | self.rows.keys()):
            expect(rows.get(key) == self.rows.get(key), f"{what}: row {key}: it has {rows.get(key)}, the log says "
                                                        f"{self.rows.get(key)}")
        return int(head.split()[2].rstrip(b","))


def engine_in(folder):
    def command(node, *words):
        return [program("example_rocksdb_on_walraft"), "--endpoint", f"127.0.0.1:{node.base}", "--memtable-bytes", MEMTABLE,
                folder, *words]
    return command


def run(command, timeout=60):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          preexec_fn=gear.die_with_parent)
    expect(done.returncode == 0, f"{command[6:]}: exit {done.returncode}: {done.stderr[-500:]!r}")
    return done.stdout


def killed_at_random_points_it_equals_the_log():
    chance = random.Random(gear.OPTIONS.seed)
    with server() as node, gear.scratch() as folder:
        engine = engine_in(folder / "db")
        history, loads = History(), []
        from_a_mark = kills = 0
        for cycle in range(4 * int(gear.OPTIONS.cycles)):
            load = Load(engine, node, chance.randrange(2**32))
            loads.append(load)
            fate = ("engine", "wald", "both", "early")[cycle % 4]
            try:
                if fate == "early":  # while it opens, catches up, or has just begun
                    time.sleep(chance.random() * 0.1)
                else:
                    load.wait_for(chance.randrange(1, 1500))
                if fate in ("wald", "both"):
                    node.kill()
                if fate == "wald":  # the engine lives on and notices nothing but the time
                    time.sleep(chance.random() * 0.3)
                    node.start()
                    load.wait_for(len(load.outcomes) + chance.randrange(100, 800))
            finally:
                load.kill()
            if fate == "both":
                node.start()
            kills += 1
            history.read_on(node, loads)
            history.check_answers(loads)
            opened_at = history.check_dump(run(engine(node, "dump")), f"cycle {cycle}, {fate} killed")
            from_a_mark += 0 < opened_at < len(history.records)
        expect(from_a_mark, "no opening began at a mark between the start and the end: nothing was shown")
        history.check_dump(run(engine_in(folder / "second")(node, "dump")), "a second engine, from the log alone")
        return f"{kills} kills, {len(history.records)} writes, {from_a_mark} openings from a mark in between"


class LateProxy:
    """Between a client and wald. cut() ends the client's connection, and what it had sent last reaches wald all the same,
    after the client has connected again and a while has passed: a network that delivers late."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.cutting = threading.Event()
        self.cuts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                wald = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self.forward, args=(client, wald), daemon=True).start()
                threading.Thread(target=self.back, args=(wald, client), daemon=True).start()
                continue
            return

    def forward(self, client, wald):
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.cutting.is_set():
                    self.cutting.clear()
                    client.shutdown(socket.SHUT_RDWR)
                    time.sleep(0.5)
                    wald.sendall(data)
                    self.cuts += 1
                    time.sleep(0.5)  # wald reads it before it hears of the end
                    return wald.close()
                wald.sendall(data)

    @staticmethod
    def back(wald, client):
        with contextlib.suppress(OSError):
            while data := wald.recv(65_536):
                client.sendall(data)

    def cut(self):
        before = self.cuts
        self.cutting.set()
        wait_until(lambda: self.cuts > before, "the late bytes are delivered")


def what_arrives_late_is_not_written_twice():
    """The engine has looked at the log and sent its writes again when the first copies arrive."""
    with server() as node, gear.scratch() as folder:
        proxy = LateProxy(node.base)
        through = [program("example_rocksdb_on_walraft"), "--endpoint", f"127.0.0.1:{proxy.listener.getsockname()[1]}"]
        load = Load(lambda _, *words: [*through, folder / "db", *words], node, 5)
        try:
            for _ in range(3):
                load.wait_for(len(load.outcomes) + 100)
                proxy.cut()
            load.wait_for(len(load.outcomes) + 100)
        finally:
            load.kill()
            proxy.listener.close()
        history = History()
        history.read_on(node, [load])
        history.check_answers([load])
        return f"{proxy.cuts} cuts, {len(history.records)} writes"


def two_writers_never_mix():
    """Of two engines on one log, each on a folder of its own, one of two writes for one offset is refused, and not written."""
    with server() as node, gear.scratch() as folder:
        one, two = engine_in(folder / "one"), engine_in(folder / "two")
        expect(run(one(node, "put", "k", "1")) == b"0\n", "the first write has offset 0")
        expect(run(two(node, "put", "k", "2")) == b"1\n", "the second engine has seen the first's")
        expect(run(one(node, "get", "k")) == b"2\n", "the first engine sees the second's")
        load = Load(one, node, 1)
        try:
            load.wait_for(50)
            refused = 0
            for _ in range(20):  # it has hardly a chance, or takes it: then the load ends
                done = subprocess.run([str(w) for w in two(node, "put", "k", "3")], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, timeout=60, preexec_fn=gear.die_with_parent)
                expect(done.returncode in (0, 4), f"put: exit {done.returncode}: {done.stderr!r}")
                refused += done.returncode == 4
                if done.returncode == 0:
                    break
            wait_until(lambda: load.process.poll() is not None or refused == 20, "one of the two lost", timeout=60)
            if refused < 20:
                errors = load.errors()
                expect(load.process.returncode == 4, f"load: exit {load.process.returncode}: {errors}")
        finally:
            load.kill()
        there = [decode(base64.b64decode(json.loads(line)["data"]))
                 for line in node.walctl("read", "engine", "-o", "json").stdout.splitlines()]
        writes = {}
        for offset, (writer, number, _) in enumerate(there):
            expect((writer, number) not in writes, f"offset {offset}: number {number} is there TWICE")
            writes[writer, number] = offset
        writer = there[2][0]  # of the load
        numbers = [number for other, number, _ in there if other == writer]
        expect(numbers == list(range(len(numbers))), f"the load's numbers have a gap: {numbers[-70:]}")
        for number, (outcome, offset) in load.outcomes.items():
            if outcome != b"unknown":
                expected = offset if outcome == b"ok" else None
                expect(writes.get((writer, number)) == expected, f"write {number} ended {outcome} {offset}; it is at "
                                                                 f"{writes.get((writer, number))}")
        expect(run(one(node, "dump")).splitlines()[1:] == run(two(node, "dump")).splitlines()[1:], "the engines differ")
        return f"{refused} refused, then {load.process.returncode}"


def a_folder_of_another_log_is_refused():
    with server() as node, gear.scratch() as folder:
        engine = engine_in(folder / "db")
        run(engine(node, "load", 1, 10))
        command = engine(node, "check")
        done = gear.run(*command[:1], "--log", "another", *command[1:], check=False)
        expect(done.returncode == 1 and "of another log" in done.stderr, f"{done}")
        node.kill()
        node.start()
        expect(run(engine(node, "flush")) == b"10\n", "flush says where the log is needed from")
        with contextlib.suppress(ProcessLookupError):
            node.kill()


if __name__ == "__main__":
    tests = [killed_at_random_points_it_equals_the_log, what_arrives_late_is_not_written_twice, two_writers_never_mix,
             a_folder_of_another_log_is_refused]
    gear.main(*[(PREFIX + test.__name__, test) for test in tests])
