#!/usr/bin/env python3
# stage: power
# limit: 14000 s
"""The power fails while a log is written; what was acknowledged is there afterwards, byte for byte.

In turn on ext4 and XFS, on a plain loop device (where the cut loses what was only in the page cache) and on a disk
that forgets every unsynced write, the O_DIRECT ones too. The last tests plant the bug "no DSYNC": if they do not find
it, the others prove nothing. (fault:S2, S3 for one node, S4, S10, S19, S20, S21)"""

import random
import shutil
import time

import gear
from gear import Fail, ForgetfulDisk, LoopDisk, NotRun, expect
from wal_log import Ledger, Writer, check_twice, fields

EXIT_REFUSED, EXIT_DISK_FAILED = 3, 5
SEGMENT = "--segment-bytes=1048576"  # small: many segments begin and end
LARGE_SEGMENT = "--segment-bytes=16777216"  # few: syncs of their making would save what the planted bug does not
MUTANT = "m31_no_dsync"


def cycle(disk, directory, ledger, number, rng, options):
    """One run of the writer, one power cut. Returns how often it acknowledged."""
    before = ledger.acknowledged
    options = [*options, SEGMENT, f"--seed={gear.OPTIONS.seed}"]
    inflight = rng.choice([1, 64 << 10, 1 << 20, 8 << 20])
    batch = rng.choice([4096, 1 << 20])
    with Writer(directory, ledger, *options, f"--generation={1000 * (number + 1)}",
                f"--inflight-bytes={inflight}", f"--batch-bytes-max={batch}") as writer:
        if number == 0 or rng.random() < 0.8:
            expect(writer.wait_for("durable"), f"nothing was acknowledged (exit {writer.process.poll()}): {writer.lines}")
            time.sleep(rng.uniform(0, 0.4))
        else:  # while it opens, or begins
            time.sleep(rng.uniform(0, 0.05))
        if not disk.cut_is_one_instant:
            ledger.frozen = True
        disk.cut(seed=rng.randrange(1 << 30), keep=rng.choice([0, 0, 10, 50, 90]), sector=rng.choice([512, 4096]),
                 syncs=rng.choice([0, 1, 1, 2, 5]))
        code = writer.end(timeout=30)
        opened = next((fields(line) for line in writer.lines if line.startswith("opened ")), None)
        # fault:S10: it saw its disk fail, and ended. A disk that goes while the log is being opened gives other errors:
        # what cannot be read is damage to it, and the log then takes no appends. The check below is on a sound disk.
        while_opening = code in (1, 3) and (opened is None or opened["suspect"] == 1)
        expect(code == EXIT_DISK_FAILED or while_opening, f"the writer ended with {code} when its disk failed: "
               f"{writer.errors.strip()}; it said {writer.lines[:8]}")
    disk.restore()
    opened, lines = check_twice(directory, *options, allowed=(0,) if ledger.durable else (0, EXIT_REFUSED))
    if opened:  # else it was cut while it was made, and nothing was ever promised
        ledger.verify(opened, lines)
    return ledger.acknowledged - before


def cycles(kind, filesystem, *options):
    """Power cuts one after another on one file system; a new log begins after six, or when it has grown."""
    def test():
        rng = random.Random(f"{gear.OPTIONS.seed} {kind.method} {filesystem} {options}")
        acknowledged = 0
        count = int(gear.OPTIONS.cycles)
        if filesystem == "xfs":
            count = max(1, count // 3)
        with gear.scratch() as scratch, kind(scratch, filesystem) as disk:
            for number in range(count):
                if number % 6 == 0 or shutil.disk_usage(disk.mount_point).free < 120 << 20:
                    if number:
                        gear.run("rm", "-rf", directory)
                    directory, ledger = disk.mount_point / f"log-{number}", Ledger()
                try:
                    acknowledged += cycle(disk, directory, ledger, number, rng, options)
                except Fail as failure:
                    raise Fail(f"cycle {number}: {failure}") from None
            if kind is ForgetfulDisk and count >= 3:
                expect(disk.statistics()["dropped_bytes"] > 0, "no cut dropped anything: it proved nothing")
        expect(acknowledged > 0, "nothing was ever acknowledged: the cuts proved nothing")
        return f"{count} cuts, {acknowledged} acknowledgements"
    return test


def hunt_mutant(kind, cuts, *options):
    """How many cuts it takes to find the planted bug, or None."""
    rng = random.Random(f"{gear.OPTIONS.seed} {kind.method} {options}")
    with gear.scratch() as scratch, kind(scratch) as disk:
        for number in range(cuts):
            directory, ledger = disk.mount_point / f"log-{number}", Ledger()
            try:
                with Writer(directory, ledger, *options, LARGE_SEGMENT, f"--seed={gear.OPTIONS.seed}",
                            environment={"WALRAFT_MUTANT": MUTANT}) as writer:
                    expect(writer.wait_for("durable"), "the mutant acknowledges nothing")
                    if not any("mutants=1" in line for line in writer.lines):
                        raise NotRun("the planted bugs are not compiled in (-DWALRAFT_MUTANTS=ON)")
                    time.sleep(rng.uniform(0, 0.3))
                    ledger.frozen = not disk.cut_is_one_instant
                    disk.cut(seed=number, keep=rng.choice([0, 50]))
                    writer.end(timeout=30)
            except Fail as failure:  # of the writer, not of the bug
                raise Fail(f"cut {number}: {failure}") from None
            disk.restore()
            try:
                opened, lines = check_twice(directory, *options, LARGE_SEGMENT, f"--seed={gear.OPTIONS.seed}")
                ledger.verify(opened, lines)
            except Fail as loss:
                return number + 1, str(loss)
            gear.run("rm", "-rf", directory)
    return None


def mutant_dies(kind, *options):
    def test():
        found = hunt_mutant(kind, 10, *options)
        expect(found, f"{MUTANT} survived 10 power cuts")
        return f"found by cut {found[0]}: {found[1][:100]}"
    return test


def mutant_on_a_loop_device():
    """No judgement: records whether a plain loop device would have found the bug in direct mode."""
    found = hunt_mutant(LoopDisk, 3)
    return f"found by cut {found[0]}" if found else "not found in 3 cuts: blind, as expected"


if __name__ == "__main__":
    gear.main(
        ("power.forgetful_ext4_direct", cycles(ForgetfulDisk, "ext4")),
        ("power.forgetful_ext4_direct_trim", cycles(ForgetfulDisk, "ext4", "--trim")),
        ("power.forgetful_ext4_direct_truncate", cycles(ForgetfulDisk, "ext4", "--truncate")),
        ("power.forgetful_ext4_thread", cycles(ForgetfulDisk, "ext4", "--method=thread")),
        ("power.forgetful_ext4_buffered", cycles(ForgetfulDisk, "ext4", "--buffered", "--method=thread")),
        ("power.forgetful_xfs_direct", cycles(ForgetfulDisk, "xfs")),
        ("power.loop_ext4_buffered", cycles(LoopDisk, "ext4", "--buffered")),
        ("power.loop_xfs_buffered", cycles(LoopDisk, "xfs", "--buffered")),
        ("power.loop_ext4_direct", cycles(LoopDisk, "ext4")),
        (f"power.{MUTANT}_dies_on_forgetful_direct", mutant_dies(ForgetfulDisk)),
        (f"power.{MUTANT}_dies_on_forgetful_thread", mutant_dies(ForgetfulDisk, "--method=thread")),
        (f"power.{MUTANT}_dies_on_loop_buffered", mutant_dies(LoopDisk, "--buffered", "--method=thread")),
        (f"power.{MUTANT}_on_loop_direct", mutant_on_a_loop_device),
    )
