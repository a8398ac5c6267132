#!/usr/bin/env python3
# stage: power
# limit: 14000 s
"""The power fails under a real wald while walctl appends; what walctl was told is there when wald starts again, at the
offset that it was told, and all offsets below too. The planted bug "no DSYNC" must be found. (fault:S2, S3 for one
node, S10)"""

import random
import shutil
import signal
import time

import gear
from gear import Fail, ForgetfulDisk, LoopDisk, expect
from wald_node import DISK_FAILED, REFUSED, Append, Appends, Wald, read_all

MUTANT = "m31_no_dsync"
BUFFERED = '[storage]\nsync = "buffered"\nsegment_bytes = "1MiB"\nreserve_bytes = "1MiB"\n'


def cut_once(disk, directory, appends, number, rng, config=None, environment=None):
    """One life of wald, one power cut. Returns how many answers the client got."""
    answers = 0
    with Wald(directory, config=config, environment=environment) as wald:
        wald.expect_ready()
        with Append(wald, appends, f"run{number}", rng) as append:
            if number == 0 or rng.random() < 0.8:
                if not append.wait_for_first():
                    raise Fail(f"nothing was acknowledged: {append.end(1)}, wald: {wald.said[-3:]}")
                time.sleep(rng.uniform(0, 0.4))
            else:
                time.sleep(rng.uniform(0, 0.1))
            appends.frozen = not disk.cut_is_one_instant
            disk.cut(seed=rng.randrange(1 << 30), keep=rng.choice([0, 0, 10, 50, 90]), sector=rng.choice([512, 4096]),
                     syncs=0 if environment else rng.choice([0, 1, 1, 2, 5]))
            code = wald.end()
            # 5, or 3 if the note of an earlier failure is on the disk. It may also fail to make a log just then.
            expect(code in (DISK_FAILED, REFUSED), f"wald ended with {code} when its disk failed: {wald.said[-3:]}")
            expect(any("storage failed" in line for line in wald.said), f"it did not say why: {wald.said[-3:]}")
            append.process.send_signal(signal.SIGTERM)  # it would wait for the server to come back
            append.end()
            answers = append.answers
    disk.restore()
    with Wald(directory, config=config) as wald:
        wald.expect_ready()
        appends.verify(read_all(wald, missing_ok=not appends.acknowledged))
        expect(wald.end(signal.SIGTERM) == 0, f"wald did not end well: {wald.said[-3:]}")
    return answers


def cycles(kind, filesystem, config=None):
    def test():
        rng = random.Random(f"{gear.OPTIONS.seed} {kind.method} {filesystem} {config}")
        count = max(1, int(gear.OPTIONS.cycles) // (3 if filesystem == "xfs" else 1))
        answers = 0
        with gear.scratch() as scratch, kind(scratch, filesystem) as disk:
            for number in range(count):
                if number % 6 == 0 or shutil.disk_usage(disk.mount_point).free < 120 << 20:
                    if number:
                        gear.run("rm", "-rf", directory)
                    directory, appends = disk.mount_point / f"data-{number}", Appends()
                try:
                    answers += cut_once(disk, directory, appends, number, rng, config)
                except Fail as failure:
                    raise Fail(f"cut {number}: {failure}") from None
        expect(answers > 0, "nothing was ever acknowledged: the cuts proved nothing")
        return f"{count} cuts, {answers} answers"
    return test


def mutant_dies():
    rng = random.Random(gear.OPTIONS.seed)
    with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
        for number in range(10):
            directory = disk.mount_point / f"data-{number}"
            try:
                cut_once(disk, directory, Appends(), 0, rng, environment={"WALRAFT_MUTANT": MUTANT})
            except Fail as loss:
                text = str(loss)
                if "LOST" in text or "DAMAGED" in text or "SUSPECT" in text or "read: exit 11" in text:
                    return f"found by cut {number + 1}: {text[:100]}"
                raise
            gear.run("rm", "-rf", directory)
    raise Fail(f"{MUTANT} survived 10 power cuts")


if __name__ == "__main__":
    gear.main(
        ("power.wald_forgetful_ext4_direct", cycles(ForgetfulDisk, "ext4")),
        ("power.wald_forgetful_ext4_buffered", cycles(ForgetfulDisk, "ext4", BUFFERED)),
        ("power.wald_forgetful_xfs_direct", cycles(ForgetfulDisk, "xfs")),
        ("power.wald_loop_ext4_buffered", cycles(LoopDisk, "ext4", BUFFERED)),
        ("power.wald_loop_xfs_buffered", cycles(LoopDisk, "xfs", BUFFERED)),
        (f"power.wald_{MUTANT}_dies_on_forgetful", mutant_dies),
    )
