#!/usr/bin/env python3
# limit: 300 s
"""A disk that fails, fills up or turns read-only under a real wald, as its operator and its clients see it.
(fault:S5, S6, S8, S10, S12 of a live node, P12)"""

import os
import random
import signal
import time

import data_files
import gear
from gear import ForgetfulDisk, LoopDisk, expect, position_on_disk
from wald_node import (DISK_FAILED, LOG, NO_SPACE, OK, REFUSED, Append, Appends, Wald, read_all,
                       read_around_damage)


def lines_of(count, name="line", width=100):
    return "".join(f"{name}-{number}-{'x' * width}\n" for number in range(count))


def append(wald, text, check=True):
    return wald.walctl("append", LOG, "--create", "--batch-records", "100", input=text, check=check)


def failed_sync_loses_nothing():
    """fault:S6: what the failed sync should have saved is gone from the medium, though the page cache has it. The process
    ends; the next one reads the medium."""
    rng = random.Random(gear.OPTIONS.seed)
    with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
        directory, appends = disk.mount_point / "data", Appends()
        for number in range(3):
            with Wald(directory) as wald, Append(wald.expect_ready(), appends, f"run{number}", rng) as client:
                expect(client.wait_for_first(), f"nothing was acknowledged; wald: {wald.said[-3:]}")
                time.sleep(0.1)
                disk.command(f"fail_sync={number + 1}")
                code = wald.end()
                expect(code in (DISK_FAILED, REFUSED), f"exit {code}: {wald.said[-3:]}")
                expect(any("storage failed" in line for line in wald.said), f"it did not say why: {wald.said[-3:]}")
                client.process.send_signal(signal.SIGTERM)
            disk.cut()
            disk.restore()
            with Wald(directory) as wald:
                appends.verify(read_all(wald.expect_ready()))
                expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])


def exits_5_then_3():
    """The first failure ends the process with 5, a second one within the hour with 3, which the service manager does not
    restart; one that is older does not count."""
    rng = random.Random(gear.OPTIONS.seed)
    with gear.scratch() as scratch:
        directory, appends, switch = scratch / "data", Appends(), scratch / "switch"
        shim = {"LD_PRELOAD": gear.library("fault_shim"), "FAULT_SHIM_LOG": str(scratch / "log"),
                "FAULT_SHIM": f"sync path=*.segment times=0 error=EIO when={switch}"}
        for number, expected in ((0, DISK_FAILED), (1, REFUSED), (2, DISK_FAILED)):
            if number == 2:
                os.utime(directory / "last_storage_failure", (time.time() - 3700,) * 2)
            with Wald(directory, environment=shim) as wald, Append(wald.expect_ready(), appends, f"run{number}", rng) as client:
                expect(client.wait_for_first(), f"nothing was acknowledged; wald: {wald.said[-3:]}")
                switch.touch()
                code = wald.end()
                expect(code == expected, f"failure {number + 1}: exit {code}, expected {expected}: {wald.said[-3:]}")
                client.process.send_signal(signal.SIGTERM)
            switch.unlink()
            with Wald(directory) as wald:
                appends.verify(read_all(wald.expect_ready()))
                expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])
        failed = [tuple(line.split()[::2]) for line in (scratch / "log").read_text().splitlines() if line[-2:] != " -"]
        failed = [(process, path) for process, path, *_ in failed]
        expect(len(failed) >= 3 and len(set(failed)) == len(failed), f"a failed sync was tried again: {failed}")


def full_disk():
    """24 MiB of ext4: no_space before anything is written, reads go on, and writing resumes without a restart."""
    with gear.scratch() as scratch, LoopDisk(scratch, mebibytes=24) as disk:
        filler = disk.mount_point / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 << 20)
        with Wald(disk.mount_point / "data") as wald:
            wald.expect_ready()
            acknowledged = 0
            for number in range(200):
                done = append(wald, lines_of(1000, f"fill{number}", 300), check=False)
                if done.returncode != 0:
                    break
                acknowledged = int(done.stdout.split()[-1]) + 1
            expect(done.returncode == NO_SPACE and "space" in done.stderr,
                   f"exit {done.returncode}, expected {NO_SPACE}: {done.stderr}")
            tail = len(read_all(wald))
            expect(tail >= acknowledged > 0, f"{acknowledged} were acknowledged, {tail} can be read")
            again = wald.walctl("append", LOG, "--batch-records", "1000", input=lines_of(1000, width=300), check=False)
            expect(again.returncode == NO_SPACE, f"a second try: exit {again.returncode}: {again.stderr}")
            # What the pipe gave first may still have fitted as a batch of its own; walctl then says so.
            kept = int(again.stdout.split()[-1]) + 1 if again.stdout.strip() else tail
            now = len(read_all(wald))
            expect(now == kept, f"{kept} records were acknowledged in all, {now} can be read: a refused one is in the log")
            expect(wald.process.poll() is None, f"wald ended on a full disk: {wald.said[-3:]}")
            filler.unlink()
            answer = gear.wait_until(lambda: append(wald, "there is room\n", check=False).returncode == 0,
                                     "an append after there was room")
            expect(answer and read_all(wald)[-1] == "there is room", "the append after is not in the log")
            expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])
        with Wald(disk.mount_point / "data") as wald:
            expect(len(read_all(wald.expect_ready())) == kept + 1, "a restart found another log")
        return f"{kept} records on 24 MiB"


def read_only(filesystem):
    def test():
        rng = random.Random(gear.OPTIONS.seed)
        with gear.scratch() as scratch, LoopDisk(scratch, filesystem) as disk:
            directory, appends = disk.mount_point / "data", Appends()
            with Wald(directory) as wald, Append(wald.expect_ready(), appends, "run", rng) as client:
                expect(client.wait_for_first(), f"nothing was acknowledged; wald: {wald.said[-3:]}")
                appends.frozen = True
                if filesystem == "ext4":
                    gear.run("mount", "-o", "remount,abort", disk.mount_point)
                else:
                    disk.cut()
                code = wald.end()
                expect(code == DISK_FAILED, f"exit {code}, expected {DISK_FAILED}: {wald.said[-3:]}")
                client.process.send_signal(signal.SIGTERM)
            disk.restore()
            with Wald(directory) as wald:
                appends.verify(read_all(wald.expect_ready()))
    return test


def refuses_a_read_only_start():
    with gear.scratch() as scratch, LoopDisk(scratch) as disk:
        directory = disk.mount_point / "data"
        with Wald(directory) as wald:
            append(wald.expect_ready(), lines_of(10))
            expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])
        gear.run("mount", "-o", "remount,ro", disk.mount_point)
        with Wald(directory) as wald:
            code = wald.end()
            expect(code == REFUSED, f"exit {code}, expected {REFUSED}: {wald.said[-3:]}")
            expect(any("read-only" in line.lower() or "erofs" in line.lower() for line in wald.said),
                   f"it did not say why: {wald.said[-3:]}")


def second_process_is_refused():
    with gear.scratch() as scratch:
        directory = scratch / "data"
        with Wald(directory) as wald:
            append(wald.expect_ready(), lines_of(10))
            with Wald(directory, port=wald.port + 10) as other:  # on its port it would not come to the directory
                code = other.end()
                expect(code == REFUSED, f"exit {code}, expected {REFUSED}: {other.said[-3:]}")
                expect(any(str(wald.process.pid) in line for line in other.said),
                       f"it does not name pid {wald.process.pid}: {other.said[-3:]}")
            verify = gear.run(gear.program("walctl"), "verify", "--data-dir", directory, check=False)
            expect(verify.returncode == 9, f"verify of a running node: exit {verify.returncode}: {verify.stderr}")
            expect(len(read_all(wald)) == 10, "the log changed")


def hung_disk_acknowledges_nothing():
    rng = random.Random(gear.OPTIONS.seed)
    with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
        directory, appends = disk.mount_point / "data", Appends()
        with Wald(directory) as wald, Append(wald.expect_ready(), appends, "run", rng) as client:
            expect(client.wait_for_first(), f"nothing was acknowledged; wald: {wald.said[-3:]}")
            disk.command("hang")
            time.sleep(0.3)
            answers = client.answers
            time.sleep(0.7)
            expect(client.answers == answers, "it acknowledged what the disk never answered")
            disk.command("on")
            gear.wait_until(lambda: client.answers > answers, "answers after the hang")
            client.process.send_signal(signal.SIGTERM)
            client.end()
            expect(wald.process.poll() is None, f"wald ended with {wald.process.poll()}: {wald.said[-3:]}")
            appends.verify(read_all(wald))


def bad_blocks_are_named_and_not_served():
    """A block of an old segment cannot be read any more, under a running server: it says data_loss and where."""
    with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
        directory = disk.mount_point / "data"
        text = lines_of(20000, width=200)
        with Wald(directory) as wald:
            append(wald.expect_ready(), text)
            expect(wald.end(signal.SIGTERM) == OK, wald.said[-3:])
        disk.restore()
        segment = next(segment for segment in data_files.segments(directory) if len(segment.batches) > 5)
        batch = segment.batches[len(segment.batches) // 2]
        block = position_on_disk(segment.path, batch.position // 4096 * 4096)
        disk.restore()  # what we have read is not in the page cache any more
        with Wald(directory) as wald:
            wald.expect_ready()
            disk.command(f"bad={block}+4096")
            lines = text.splitlines()
            got, lost = read_around_damage(wald, len(lines))
            expect(lost and sum(end - start for start, end in lost) < 1000, f"lost {lost} for one block of 4 KiB")
            expect(all(lines[offset] == line for offset, line in got.items()), "it served other bytes than were appended")
            expect(wald.process.poll() is None, f"wald ended: {wald.said[-3:]}")
            expect(append(wald, "goes on\n").returncode == 0, "it takes no appends")
        return f"lost {lost} of {len(lines)}"


if __name__ == "__main__":
    gear.main(
        ("fault:S5.wald_exits_5_then_3", exits_5_then_3),
        ("fault:S6.wald_failed_sync_drops", failed_sync_loses_nothing),
        ("fault:S8.wald_full_disk", full_disk),
        ("fault:S10.wald_ext4_aborted", read_only("ext4")),
        ("fault:S10.wald_xfs_shut_down", read_only("xfs")),
        ("fault:S10.wald_refuses_a_read_only_start", refuses_a_read_only_start),
        ("fault:S11.wald_bad_block", bad_blocks_are_named_and_not_served),
        ("fault:S24.wald_hung_disk", hung_disk_acknowledges_nothing),
        ("fault:P12.wald_second_process", second_process_is_refused),
    )
