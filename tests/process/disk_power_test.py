#!/usr/bin/env python3
# stage: power
# limit: 3600 s
"""What a disk actor called durable survives a power cut. No log is involved: disk_writer (tests/power) drives the
actors alone, so a failure here is theirs. The planted bug "no DSYNC" must be found, or the rest proves nothing."""

import os
import random
import struct
import subprocess
import threading
import time

import gear
from gear import Fail, ForgetfulDisk, LoopDisk, NotRun, expect

SLOTS, SLOT_BYTES, SECTOR = 1024, 16384, 512
MUTANT = "m31_no_dsync"


def write_until_the_cut(disk, path, options, rng, environment):
    """The last acknowledged write of each slot."""
    acknowledged = {}
    process = gear.start([gear.program("disk_writer"), path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env={**os.environ, **environment})
    first = threading.Event()
    frozen = threading.Event()  # the power is failing: what is said now is no promise

    def hear():
        for line in process.stdout:
            words = line.decode().split()
            if words[0] == "opened" and environment and "mutants=1" not in words:
                acknowledged["no mutants"] = True
            if words[0] == "durable" and line.endswith(b"\n") and not frozen.is_set():
                number = int(words[1])
                acknowledged[number % SLOTS] = max(number, acknowledged.get(number % SLOTS, 0))
                first.set()
    reader = threading.Thread(target=hear)
    reader.start()
    try:
        expect(first.wait(20), "nothing was ever durable")
        time.sleep(rng.uniform(0, 0.3))
        if not disk.cut_is_one_instant:
            frozen.set()
        disk.cut(seed=rng.randrange(1 << 30), keep=rng.choice([0, 0, 50, 90]), sector=rng.choice([512, 4096]),
                 syncs=0 if environment else rng.choice([0, 1, 1, 5]))
        code = process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
        reader.join(20)
        errors = process.stderr.read().decode()
        process.stdout.close()
        process.stderr.close()
    if acknowledged.pop("no mutants", False):
        raise NotRun("the planted bugs are not compiled in (-DWALRAFT_MUTANTS=ON)")
    expect(code == 5, f"disk_writer ended with {code} when its disk failed: {errors}")
    return acknowledged


def lost(path, acknowledged):
    """What is not as it was promised, in words; None if all is there."""
    content = path.read_bytes()
    expect(len(content) == SLOTS * SLOT_BYTES, f"the file has {len(content)} bytes")
    for slot, number in sorted(acknowledged.items()):
        start = slot * SLOT_BYTES
        for at in range(start, start + 4096 * (1 + slot % 4), SECTOR):
            sector = content[at:at + SECTOR]
            value = struct.unpack_from("<Q", sector)[0]
            if sector != struct.pack("<Q", value) * (SECTOR // 8) or value % SLOTS != (slot if value else 0):
                return f"slot {slot}, byte {at}: not a sector that was written there"
            if value < number:
                return f"slot {slot}, byte {at}: write {number} was acknowledged, {value} is there"
    return None


def one_cut(disk, number, options, rng, environment=None):
    path = disk.mount_point / f"file-{number}"
    acknowledged = write_until_the_cut(disk, path, options, rng, environment or {})
    disk.restore()
    loss = lost(path, acknowledged)
    path.unlink()
    return loss, len(acknowledged)


def survives(kind, filesystem, *options):
    def test():
        rng = random.Random(f"{gear.OPTIONS.seed} {kind.method} {filesystem} {options}")
        slots = 0
        with gear.scratch() as scratch, kind(scratch, filesystem) as disk:
            for number in range(int(gear.OPTIONS.cycles)):
                loss, count = one_cut(disk, number, options, rng)
                expect(loss is None, f"cut {number}: LOST: {loss}")
                slots += count
            if kind is ForgetfulDisk:
                expect(disk.statistics()["cuts"] == int(gear.OPTIONS.cycles), "a cut did not come")
        return f"{gear.OPTIONS.cycles} cuts, {slots} acknowledged slots"
    return test


def hunt(kind, cuts, *options):
    rng = random.Random(f"{gear.OPTIONS.seed} {kind.method} {options}")
    with gear.scratch() as scratch, kind(scratch) as disk:
        for number in range(cuts):
            loss, _ = one_cut(disk, number, options, rng, {"WALRAFT_MUTANT": MUTANT})
            if loss:
                return number + 1, loss
    return None


def mutant_dies(kind, *options):
    def test():
        found = hunt(kind, 5, *options)
        expect(found, f"{MUTANT} survived 5 power cuts")
        return f"found by cut {found[0]}: {found[1]}"
    return test


def mutant_on_a_loop_device():
    """No judgement: it records whether a plain loop device would have found the bug in direct mode."""
    found = hunt(LoopDisk, 3, "auto", "direct")
    return f"found by cut {found[0]}" if found else "not found in 3 cuts: blind, as expected"


if __name__ == "__main__":
    gear.main(
        ("power.disk_forgetful_ext4_io_uring_direct", survives(ForgetfulDisk, "ext4", "io_uring", "direct")),
        ("power.disk_forgetful_ext4_io_uring_buffered", survives(ForgetfulDisk, "ext4", "io_uring", "buffered")),
        ("power.disk_forgetful_ext4_thread_direct", survives(ForgetfulDisk, "ext4", "thread", "direct")),
        ("power.disk_forgetful_ext4_thread_buffered", survives(ForgetfulDisk, "ext4", "thread", "buffered")),
        ("power.disk_forgetful_xfs_io_uring_direct", survives(ForgetfulDisk, "xfs", "io_uring", "direct")),
        ("power.disk_loop_ext4_thread_buffered", survives(LoopDisk, "ext4", "thread", "buffered")),
        ("power.disk_loop_xfs_thread_buffered", survives(LoopDisk, "xfs", "thread", "buffered")),
        (f"power.disk_{MUTANT}_dies_io_uring_direct", mutant_dies(ForgetfulDisk, "io_uring", "direct")),
        (f"power.disk_{MUTANT}_dies_thread_direct", mutant_dies(ForgetfulDisk, "thread", "direct")),
        (f"power.disk_{MUTANT}_dies_thread_buffered", mutant_dies(LoopDisk, "thread", "buffered")),
        (f"power.disk_{MUTANT}_on_loop_direct", mutant_on_a_loop_device),
    )
