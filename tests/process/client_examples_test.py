#!/usr/bin/env python3
"""The small examples of the client, as real processes: append, read, follow; kill -9 on either side; what they say of each
append, against the log."""

import collections
import random
import re
import signal
import subprocess
import threading
import time

import gear
from gear import Fail, SOURCE, expect, program, scratch, start, stop, wait_until
from node import server

PREFIX = "client_examples_test."


def example(node, name, *words, stdin=b"", expected=0):
    command = [program(f"example_{name}"), f"127.0.0.1:{node.base}", *map(str, words)]
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          preexec_fn=gear.die_with_parent)
    expect(done.returncode == expected, f"example_{name} {words}: exit {done.returncode}, not {expected}: {done.stderr!r}")
    return done.stdout


def append_then_read():
    lines = [b"line %d" % n for n in range(5000)]
    with server() as node:
        said = example(node, "append", "log", stdin=b"\n".join(lines))
        expect(said.splitlines() == [b"%d ok %d" % (n, n) for n in range(5000)], f"append said {said[:200]}")
        said = example(node, "read", "log", "earliest")
        expect(said.splitlines() == [b"%d %s" % (n, line) for n, line in enumerate(lines)], f"read said {said[:200]}")
        expect(example(node, "read", "log", "-1") == b"4999 line 4999\n", "read -1")


def exit_codes_are_those_of_the_table():
    """Of the examples and of walctl, by the table of client/README.md."""
    rows = re.findall(r"^\| `(\w+)(?:\{\w+\})?` \|.*\| (\d+) \| \d+ \|$", (SOURCE / "client" / "README.md").read_text(), re.M)
    table = {name: int(code) for name, code in rows}
    expect(len(table) > 20, f"the table of client/README.md has {len(table)} rows")
    with server() as node:
        example(node, "append", "log", stdin=b"x", expected=table["ok"])
        example(node, "read", "none", "earliest", expected=table["not_found"])
        example(node, "read", "log", "somewhere", expected=table["invalid"])
        example(node, "append", "bad name", stdin=b"x", expected=table["invalid"])
        said = example(node, "append", "log", stdin=b"a\n" + b"y" * 2_000_000 + b"\nb\n", expected=table["too_large"])
        expect(said.splitlines()[:2] == [b"0 ok 1", b"1 too_large"], f"append said {said!r}")
        for outcome, *command in [("ok", "append", "log"), ("not_found", "read", "none"), ("usage", "read", "log", "--from", "?"),
                                  ("condition_failed", "append", "log", "--expect-offset", "77"),
                                  ("invalid", "append", "bad name", "--create")]:
            code = node.walctl(*command, stdin=b"x\n", check=False).returncode
            expect(code == table[outcome], f"walctl {command}: exit {code}; {outcome} is {table[outcome]}")
        code = node.walctl("append", "log", "--format", "raw", stdin=b"y" * 2_000_000, check=False).returncode
        expect(code == table["too_large"], f"walctl append of 2 MB: exit {code}")
        node.kill()
        example(node, "read", "log", "earliest", expected=table["unavailable"])
        code = node.walctl("--timeout", "500ms", "read", "log", check=False).returncode
        expect(code == table["unavailable"], f"walctl without a server: exit {code}")


def each_append_ends_as_the_log_shows():
    """wald is killed in the middle of many appends. Of each: `ok` is there once, at its offset; `unknown` at most once;
    everything else is not there."""
    chance = random.Random(gear.OPTIONS.seed)
    total = collections.Counter()
    with server() as node, scratch() as folder:
        end = 0  # of the log, before the cycle
        for cycle in range(3 * int(gear.OPTIONS.cycles)):
            writers = []
            for writer in range(2):
                path = folder / f"{cycle}.{writer}"
                path.write_bytes(b"".join(b"%d/%d/%d\n" % (cycle, writer, n) for n in range(300_000)))
                with open(path, "rb") as lines, open(f"{path}.said", "wb") as said:
                    writers.append(start([program("example_append"), f"127.0.0.1:{node.base}", "log"], stdin=lines,
                                         stdout=said, stderr=subprocess.DEVNULL))
            wait_until(lambda: all((folder / f"{cycle}.{w}.said").stat().st_size > 0 for w in range(2)), "answers")
            time.sleep(chance.random() * 0.3)
            node.kill()
            codes = [writer.wait(60) for writer in writers]
            expect(set(codes) <= {7, 9}, f"append when its server is killed: exit {codes}")
            node.start()
            offsets = collections.defaultdict(list)
            for line in example(node, "read", "log", end).splitlines():
                offset, text = line.split(b" ")
                expect(int(offset) == end, f"offset {offset} came when {end} was next")
                offsets[text].append(end)
                end += 1
            for writer in range(2):
                answered = 0
                for line in (folder / f"{cycle}.{writer}.said").read_bytes().splitlines():
                    number, outcome, *offset = line.split()
                    there = offsets.pop(b"%d/%d/%d" % (cycle, writer, int(number)), [])
                    expect(int(number) == answered, f"the answer of {number.decode()} came when {answered} was next")
                    answered += 1
                    total[outcome.decode()] += 1
                    if outcome == b"ok":
                        expect(there == [int(offset[0])], f"{line} is at {there} ({'LOST' if not there else 'TWICE'})")
                    elif outcome == b"unknown":
                        expect(len(there) <= 1, f"{line} is at {there}: TWICE")
                        total["unknown, and there"] += len(there)
                    else:
                        expect(there == [], f"{line}: it is at {there}")
            expect(not offsets, f"nobody had an answer for {list(offsets)[:5]}, which are there")
    expect(total["ok"] and total["unknown"], f"nothing was shown: {dict(total)}")
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(total.items()))


def follow_goes_on_where_it_stopped():
    """Killed and started again, as wald is: it leaves out nothing, and repeats only what it had not noted."""
    chance = random.Random(gear.OPTIONS.seed)
    with server() as node, scratch() as folder:
        lines = 0
        ended = threading.Event()

        def write():
            nonlocal lines
            while not ended.is_set():
                text = b"".join(b"line %d\n" % n for n in range(lines, lines + 200))
                done = node.walctl("append", "log", "--create", "--expect-offset", lines, stdin=text, check=False)
                if done.returncode == 0:
                    lines += 200
                else:  # as the tail says: a batch is there as a whole or not at all
                    tail = node.walctl("read", "log", "--from", "-1", "-o", "json", check=False).stdout
                    found = re.search(rb'"offset": ?(\d+)', tail)
                    lines = int(found[1]) + 1 if found else lines

        writer = threading.Thread(target=write)
        writer.start()
        seen = []
        try:
            for cycle in range(3 * int(gear.OPTIONS.cycles)):
                with open(folder / f"out{cycle}", "wb") as out:
                    follow = start([program("example_follow"), f"127.0.0.1:{node.base}", "log", folder / "position"],
                                   stdout=out, stderr=subprocess.PIPE)
                size = (folder / f"out{cycle}").stat
                wait_until(lambda: size().st_size > 0, "records")
                if cycle % 2:
                    node.kill()
                    node.start()
                    before = size().st_size
                    wait_until(lambda: size().st_size > before, "records after wald's restart")
                time.sleep(chance.random() * 0.1)
                if follow.poll() is not None:
                    raise Fail(f"follow ended with {follow.returncode}: {follow.stderr.read()!r}")
                stop(follow, signal.SIGKILL)
                follow.stderr.close()
                text = (folder / f"out{cycle}").read_bytes()
                printed = text[:text.rfind(b"\n") + 1].splitlines()
                first = int(printed[0].split()[0])
                expect(first <= len(seen), f"cycle {cycle} began at {first}; {len(seen)} was next: LOST")
                del seen[first:]
                for line in printed:
                    expect(line == b"%d line %d" % (len(seen), len(seen)), f"cycle {cycle}: {line} came; {len(seen)} was next")
                    seen.append(line)
        finally:
            ended.set()
            writer.join()
        return f"{len(seen)} records"


if __name__ == "__main__":
    tests = [append_then_read, exit_codes_are_those_of_the_table, each_append_ends_as_the_log_shows,
             follow_goes_on_where_it_stopped]
    gear.main(*[(PREFIX + test.__name__, test) for test in tests])
