#!/usr/bin/env python3
# limit: 600 s
"""The same damage as in offline_damage_test, to the data directory of a real wald. `walctl verify` finds it, names the
file and the place, exits 11 and changes nothing. wald then starts, or refuses and says why; what it serves is what was
appended, and what it does not serve it says is lost. Nothing needs root."""

import contextlib
import random
import shutil
import signal
import time

import data_files
import gear
from data_files import flip
from gear import expect
from offline_damage_test import CASES
from wald_node import DAMAGED, LOG, OK, REFUSED, Wald, read_around_damage

LINES = [f"line-{number}-{'x' * (number % 600)}" for number in range(20000)]
CONFIG = '[storage]\nsegment_bytes = "256KiB"\nreserve_bytes = "1MiB"\n'
GOLDEN = None  # (directory, an older copy of it)


def write_golden(stack):
    global GOLDEN
    if GOLDEN is None:
        scratch = stack.enter_context(gear.scratch())
        directory, older = scratch / "golden", scratch / "older"
        for lines in (LINES[:10000], LINES[10000:]):
            with Wald(directory, config=CONFIG) as wald:
                wald.expect_ready().walctl("append", LOG, "--create", "--batch-records", "7",
                                           input="".join(line + "\n" for line in lines))
                time.sleep(2.5)  # idle: the disk notes how far the log was durable
                expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])
            if not older.exists():
                shutil.copytree(directory, older)
        GOLDEN = directory, older
    return GOLDEN


@contextlib.contextmanager
def damaged(stack, damage):
    golden, older = write_golden(stack)
    with gear.scratch() as scratch:
        directory = scratch / "data"
        shutil.copytree(golden, directory)
        yield directory, *damage(older, data_files.segments(directory))


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != "LOCK"}


def verify(directory, expected, names):
    before = contents(directory)
    done = gear.run(gear.program("walctl"), "verify", "--data-dir", directory, check=False)
    said = done.stdout + done.stderr
    expect(done.returncode == expected, f"verify: exit {done.returncode}, expected {expected}: {said[-1500:]}")
    for name in names:
        places = [name, *data_files.neighbours(directory, name)]
        expect(any(place in line for place in places for line in said.splitlines()), f"verify does not name {name}: {said}")
    expect(contents(directory) == before, "verify changed a file")
    return said


def starts(directory):
    """Starts wald on it; returns (what came of it, what it said). Whatever it serves is right."""
    with Wald(directory, config=CONFIG) as wald:
        if wald.process.poll() is not None:
            expect(wald.process.returncode == REFUSED, f"wald ended with {wald.process.returncode}: {wald.said[-3:]}")
            return "refused", wald.said
        done = wald.walctl("read", LOG, "--count", "1", check=False)
        if done.returncode not in (0, DAMAGED):
            return f"not served ({done.stderr.strip()})", wald.said
        got, lost = read_around_damage(wald, len(LINES))
        wrong = next((offset for offset, line in got.items() if offset >= len(LINES) or LINES[offset] != line), None)
        expect(wrong is None, f"offset {wrong} holds what was not appended there")
        for offset in range(len(LINES)):
            told = offset in got or any(start <= offset < end for start, end in lost)
            if not told:
                # The log ends before it: then it must take no appends, for it may have lost what it acknowledged.
                done = wald.walctl("append", LOG, input="more\n", check=False)
                expect(done.returncode == DAMAGED, f"offset {offset} is missing, nobody says so, and the log takes "
                       f"appends: exit {done.returncode} {done.stderr}; wald: {wald.said[-3:]}")
                return f"ends at {offset}", wald.said
        done = wald.walctl("append", LOG, input="more\n", check=False)
        what = f"lost {lost}" if lost else "whole"
        if done.returncode != 0:
            expect(done.returncode == DAMAGED, f"append: exit {done.returncode}: {done.stderr}")
            return f"{what}, takes no appends", wald.said
        return what, wald.said


def both(stack, name, damage):
    def test():
        with damaged(stack, damage) as (directory, expected, names, place):
            # An older hard state is valid in itself; without an identity it is no data directory (walctl's "not found").
            code = {"S17.state_older_file": 0, "O9.identity_deleted": 3}.get(name, DAMAGED)
            verify(directory, code, names)
            outcome, said = starts(directory)
            allowed = {"whole": ["whole"], "hole": ["lost"], "suspect": ["ends at", "lost", "whole, takes no appends"],
                       "refused": ["refused", "not served"]}
            expect(any(outcome.startswith(word) for key in expected.split(" or ") for word in allowed[key]),
                   f"{outcome}, expected {expected}: {said[-4:]}")
            if expected == "suspect":
                expect("takes no appends" in outcome or "ends at" in outcome, f"{outcome}, expected no appends: {said[-4:]}")
            return outcome
    return test


def clean(stack):
    def test():
        directory, _ = write_golden(stack)
        verify(directory, 0, [])
    return test


def random_bits(stack):
    """Anywhere in the segments: wald serves no wrong byte, and says what it does not serve."""
    def test():
        golden, _ = write_golden(stack)
        rng = random.Random(gear.OPTIONS.seed)
        count = 2 * int(gear.OPTIONS.cycles)
        for _ in range(count):
            with gear.scratch() as scratch:
                directory = scratch / "data"
                shutil.copytree(golden, directory)
                for segment in rng.choices(data_files.segments(directory), k=3):
                    flip(segment.path, rng.randrange(segment.end), rng.randrange(8))
                done = gear.run(gear.program("walctl"), "verify", "--data-dir", directory, check=False)
                expect(done.returncode == DAMAGED, f"verify: exit {done.returncode}: {done.stdout[-500:]}")
                starts(directory)
        return f"{count} directories"
    return test


if __name__ == "__main__":
    with contextlib.ExitStack() as resources:
        gear.main(
            ("verify.clean", clean(resources)),
            *((f"fault:{name}.wald", both(resources, name, damage)) for name, damage in CASES.items()),
            ("fault:S11.random_bits.wald", random_bits(resources)),
        )
