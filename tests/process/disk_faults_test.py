#!/usr/bin/env python3
# limit: 600 s
"""A disk that fails, fills up, stalls or turns read-only under one log (wal_writer).

Two sorts of gear. The shim (tests/preload) fails calls of libc: it reaches the thread method, and the synchronous calls
of every method, but not what io_uring writes. The forgetful disk (tests/fuse) and real file systems fail below the
kernel's block layer: they reach everything. In each test the ledger of acknowledgements is compared with what a
restart reads back."""

import contextlib
import os
import shutil
import signal
import time

import gear
from gear import Fail, ForgetfulDisk, LoopDisk, NotRun, expect, extents, position_on_disk
from wal_log import Ledger, Writer, check, check_twice

FAILED, REFUSED, DAMAGED = 5, 3, 11  # exit codes
SMALL = ["--segment-bytes=1048576"]
METHODS = {"io_uring": ["--method=io_uring"], "thread": ["--method=thread"],
           "buffered": ["--method=thread", "--buffered"]}


def seeded(*options):
    return [*options, *SMALL, f"--seed={gear.OPTIONS.seed}"]


def verify(directory, ledger, *options):
    opened, lines = check_twice(directory, *seeded(*options))
    ledger.verify(opened, lines)


@contextlib.contextmanager
def shimmed(*options, rule):
    """A writer whose system calls obey `rule` once the switch is thrown: (writer, throw, log)."""
    with gear.scratch() as scratch:
        switch, log, directory, ledger = scratch / "switch", scratch / "log", scratch / "data", Ledger()
        shim = {"LD_PRELOAD": gear.library("fault_shim"), "FAULT_SHIM": f"{rule} when={switch}", "FAULT_SHIM_LOG": str(log)}
        with Writer(directory, ledger, *seeded(*options), "--inflight-bytes=65536", environment=shim) as writer:
            expect(writer.wait_for("durable"), f"nothing was acknowledged: {writer.lines}")
            yield writer, switch.touch, lambda: [line.split()[1:] for line in log.read_text().splitlines()]
        if writer.process.returncode is not None:
            verify(directory, ledger, *options)


# --- fault:S5, S6, S7: a sync or a write fails ------------------------------------------------------------------------


def stops_on(*options, rule):
    """The process stops, and the call that failed is never made again on that file."""
    def test():
        with shimmed(*options, rule=rule) as (writer, throw, log):
            throw()
            code = writer.end()
            expect(code == FAILED, f"exit {code}, expected {FAILED}: {writer.errors}")
            failed = [entry for entry in log() if entry[3] != "-"]
            expect(failed, "the fault never happened")
            call, path = failed[0][0], failed[0][1]
            later = log()[log().index(failed[0]) + 1:]
            expect(not any(entry[:2] == [call, path] for entry in later), f"{call} of {path} was tried again: {later}")
    return test


def goes_on_after(*options, rule, hits):
    """A short or interrupted call is completed: nothing is lost, nothing fails."""
    def test():
        with shimmed(*options, rule=rule) as (writer, throw, log):
            throw()
            gear.wait_until(lambda: sum(entry[3] != "-" for entry in log()) >= hits, f"{hits} faults")
            acknowledged = writer.ledger.acknowledged
            gear.wait_until(lambda: writer.ledger.acknowledged > acknowledged + 3, "acknowledgements after the faults")
            code = writer.end(signal.SIGTERM)
            expect(code == 0, f"exit {code}: {writer.errors}")
    return test


def failed_sync_drops(method, mutant=None):
    """fault:S6: the sync fails, and what it should have saved is gone though the page cache has it. A second sync would
    say that all is well; the planted bug m26 believes it."""
    def once(nth):
        with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
            directory, ledger = disk.mount_point / "data", Ledger()
            environment = {"WALRAFT_MUTANT": mutant} if mutant else {}
            with Writer(directory, ledger, *seeded(*METHODS[method]), environment=environment) as writer:
                expect(writer.wait_for("durable", 5), f"nothing was acknowledged: {writer.lines}")
                if mutant and not any("mutants=1" in line for line in writer.lines):
                    raise NotRun("the planted bugs are not compiled in (-DWALRAFT_MUTANTS=ON)")
                disk.command(f"fail_sync={nth}")
                if mutant:
                    gear.wait_until(lambda: disk.statistics()["failed_syncs"] > 0, "the failed sync")
                    time.sleep(0.05)
                    writer.end(signal.SIGKILL)
                else:
                    code = writer.end()
                    expect(code == FAILED, f"exit {code}, expected {FAILED}: {writer.errors}")
            expect(disk.statistics()["failed_syncs"] > 0, "no sync failed")
            disk.cut()  # the page cache is empty after it, as after any restart of the machine
            disk.restore()
            verify(directory, ledger, *METHODS[method])

    def test():
        if not mutant:
            for nth in (1, 2, 7):
                once(nth)
            return None
        for number in range(1, 11):
            try:
                once(number % 3 + 1)
            except Fail as loss:
                return f"found by failure {number}: {str(loss)[:100]}"
        raise Fail(f"{mutant} survived 10 failed syncs")
    return test


# --- fault:S8: the disk is full ---------------------------------------------------------------------------------------


def full(*options, method):
    """24 MiB of ext4: refused before anything is written; reads go on; writing resumes by itself when there is room."""
    def test():
        with gear.scratch() as scratch, LoopDisk(scratch, mebibytes=24) as disk:
            directory, filler, ledger = disk.mount_point / "data", disk.mount_point / "filler", Ledger()
            with open(filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 8 << 20)
            with Writer(directory, ledger, *seeded(*METHODS[method], *options)) as writer:
                expect(writer.wait_for("readable"), f"the disk never filled up: {writer.lines[-3:]}")
                full_at, readable = [int(next(line for line in writer.lines if line.startswith(word)).split()[1])
                                     for word in ("full", "readable")]
                expect(full_at > 0 and readable > 0, f"full at {full_at}, {readable} batches readable")
                if "--trim" not in options:
                    time.sleep(0.3)
                    expect(not any(line.startswith("resumed") for line in writer.lines), "it found room on a full disk")
                    expect(readable == ledger.durable, f"{readable} batches of {ledger.durable} could be read")
                    filler.unlink()
                expect(writer.wait_for("resumed"), "writing did not resume when there was room")
                resumed_at = int(next(line for line in writer.lines if line.startswith("resumed")).split()[1])
                expect(resumed_at == full_at, f"resumed at {resumed_at}, was full at {full_at}")
                gear.wait_until(lambda: ledger.durable > resumed_at, "an acknowledgement after the disk was full")
                code = writer.end(signal.SIGTERM)
                expect(code == 0, f"exit {code}: {writer.errors}")
            verify(directory, ledger, *METHODS[method])
            disk.cut()
            disk.restore()
            verify(directory, ledger, *METHODS[method])
    return test


def starts_on_a_full_disk():
    """A restart, and a check, need no room."""
    with gear.scratch() as scratch, LoopDisk(scratch, mebibytes=24) as disk:
        directory, ledger = disk.mount_point / "data", Ledger()
        with Writer(directory, ledger, *seeded()) as writer:
            expect(writer.wait_for("full"), "the disk never filled up")
            writer.end(signal.SIGKILL)
        with open(disk.mount_point / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        with Writer(directory, ledger, *seeded(), "--generation=2") as writer:
            expect(writer.wait_for("opened"), "it did not open")
            time.sleep(0.2)
            writer.end(signal.SIGKILL)
        verify(directory, ledger)


# --- fault:S10: the file system goes away or turns read-only ----------------------------------------------------------


def goes_read_only(filesystem, method):
    def test():
        with gear.scratch() as scratch, LoopDisk(scratch, filesystem) as disk:
            directory, ledger = disk.mount_point / "data", Ledger()
            with Writer(directory, ledger, *seeded(*METHODS[method])) as writer:
                expect(writer.wait_for("durable", 3), f"nothing was acknowledged: {writer.lines}")
                ledger.frozen = True
                if filesystem == "ext4":  # what errors=remount-ro does; a plain remount is refused while files are open
                    gear.run("mount", "-o", "remount,abort", disk.mount_point)
                else:
                    disk.cut()
                code = writer.end()
                expect(code == FAILED, f"exit {code}, expected {FAILED}: {writer.errors}")
            disk.restore()
            verify(directory, ledger, *METHODS[method])
    return test


def refuses_a_read_only_start():
    with gear.scratch() as scratch, LoopDisk(scratch) as disk:
        directory, ledger = disk.mount_point / "data", Ledger()
        with Writer(directory, ledger, *seeded(), "--batches=500") as writer:
            expect(writer.end() == 0, writer.lines)
        gear.run("mount", "-o", "remount,ro", disk.mount_point)
        with Writer(directory, Ledger(), *seeded(), "--generation=2") as writer:
            code = writer.end()
            expect(code == REFUSED and "denied" in writer.errors, f"exit {code}: {writer.errors}")
        gear.run("mount", "-o", "remount,rw", disk.mount_point)
        verify(directory, ledger)


# --- The medium cannot read -------------------------------------------------------------------------------------------


def unreadable_block(method):
    """One block in the middle of an old segment gives EIO: the batches in it are said to be lost, and no others."""
    def test():
        with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
            directory, ledger = disk.mount_point / "data", Ledger()
            with Writer(directory, ledger, *seeded(*METHODS[method]), "--batches=8000",
                        "--batch-bytes-max=4096") as writer:
                expect(writer.end() == 0, writer.lines[-3:])
            disk.restore()
            segment = sorted((directory / "logs").glob("*/*.segment"))[1]
            block = position_on_disk(segment, 400 << 10)
            disk.command(f"bad={block}+4096")
            opened, lines = check(directory, *seeded(*METHODS[method]), allowed=(DAMAGED,))
            lost = [line for line in lines if line.startswith("unreadable ")]
            expect(lost and all("data_loss" in line for line in lost), f"expected data_loss: {lines}")
            expect(any(segment.name in line for line in lost), f"no message names {segment.name}: {lost}")
            ranges = [tuple(map(int, line.split()[2:])) for line in lines if line.startswith("range ")]
            missing = 8000 - sum(end - start for start, end in ranges)
            expect(0 < missing < 200, f"{missing} batches are missing for one block of 4 KiB: {ranges}")
            expect(ranges[0][0] == 0 and ranges[-1][1] == 8000, f"more than the block is missing: {ranges}")
            disk.command("on")
            disk.restore()
            verify(directory, ledger, *METHODS[method])  # the medium recovered, and so must the log
            return f"{missing} batches unreadable"
    return test


def truncated_image():
    """The image of a loop device is cut short under the mounted file system: real I/O errors on reading."""
    with gear.scratch() as scratch, LoopDisk(scratch) as disk:
        directory, ledger = disk.mount_point / "data", Ledger()
        # It idles at the end, so that the disk says how far the log was durable.
        with Writer(directory, ledger, *seeded(), "--batches=8000", "--batch-bytes-max=4096", "--idle-ms=2500") as writer:
            expect(writer.end() == 0, writer.lines[-3:])
        segments = sorted((directory / "logs").glob("*/*.segment"))
        victim = max(segments[:-3], key=lambda path: max(disk_at for _, disk_at, _ in extents(path)))
        low, disk_at, count = extents(victim)[-1]
        disk.restore()  # nothing in the page cache
        whole = disk.image.stat().st_size
        saved = scratch / "saved"
        shutil.copyfile(disk.image, saved)
        os.truncate(disk.image, disk_at + count // 2)
        try:
            opened, lines = check(directory, *seeded(), allowed=(DAMAGED, REFUSED, FAILED))
            expect(opened is None or any(line.startswith("unreadable ") for line in lines) or opened["suspect"] == 1,
                   f"it read what is not there: {lines}")
            for line in lines:
                if line.startswith("range "):
                    expect(int(line.split()[1]) == 1, f"bytes that nobody wrote: {line}")
        finally:
            os.truncate(disk.image, whole)
        return f"{victim.name} from byte {low + count // 2}"


# --- fault:S24, in part: the disk hangs -------------------------------------------------------------------------------


def hangs(method):
    """Nothing is acknowledged while it hangs; all goes on when it comes back."""
    def test():
        with gear.scratch() as scratch, ForgetfulDisk(scratch) as disk:
            directory, ledger = disk.mount_point / "data", Ledger()
            with Writer(directory, ledger, *seeded(*METHODS[method])) as writer:
                expect(writer.wait_for("durable", 3), f"nothing was acknowledged: {writer.lines}")
                disk.command("hang")
                time.sleep(0.2)  # what the disk had answered may still be on its way
                acknowledged = ledger.acknowledged
                time.sleep(0.5)
                expect(ledger.acknowledged == acknowledged, "it acknowledged writes that the disk never answered")
                disk.command("on")
                gear.wait_until(lambda: ledger.acknowledged > acknowledged + 3, "acknowledgements after the hang")
                code = writer.end(signal.SIGTERM)
                expect(code == 0, f"exit {code}: {writer.errors}")
            verify(directory, ledger, *METHODS[method])
    return test


def slow_from_the_start():
    """Regression: the first tick sealed every segment but the last, the ones too whose groups were still on their way to
    a slow disk. Their files were then open for reading only (EBADF), or their footers ended too early."""
    with gear.scratch() as scratch:
        directory, ledger = scratch / "data", Ledger()
        shim = {"LD_PRELOAD": gear.library("fault_shim"), "FAULT_SHIM_LOG": str(scratch / "log"),
                "FAULT_SHIM": "pwritev path=*.segment times=20 delay_ms=250"}
        with Writer(directory, ledger, *seeded("--method=thread"), "--inflight-bytes=8388608", environment=shim) as writer:
            gear.wait_until(lambda: ledger.acknowledged > 30 or writer.process.poll() is not None, "thirty acknowledgements")
            code = writer.end(signal.SIGTERM)
            expect(code == 0, f"exit {code}: {writer.errors}")
        opened, lines = check_twice(directory, *seeded())
        ledger.verify(opened, lines)


if __name__ == "__main__":
    gear.main(
        ("fault:S5.thread_write_answers_eio_after_writing",
         stops_on("--method=thread", rule="pwritev path=*.segment times=0 after=EIO")),
        ("fault:S5.thread_fdatasync_eio", stops_on("--method=thread", rule="sync path=*.segment times=0 error=EIO")),
        ("fault:S5.buffered_fdatasync_eio",
         stops_on("--method=thread", "--buffered", rule="sync path=*.segment times=0 error=EIO")),
        ("fault:S5.hard_state_write_eio", stops_on("--method=thread", rule="any path=*/hard_state times=0 error=EIO")),
        ("fault:S5.sync_of_a_new_segment_eio", stops_on("--method=io_uring", rule="sync path=*.segment times=0 error=EIO")),
        ("fault:S5.sync_of_the_directory_eio", stops_on("--method=io_uring", rule="sync path=*/logs/* times=0 error=EIO")),
        *((f"fault:S6.failed_sync_drops_{method}", failed_sync_drops(method)) for method in METHODS),
        *((f"fault:S6.m26_sync_error_retried_dies_{method}", failed_sync_drops(method, "m26_sync_error_retried"))
          for method in ("io_uring", "thread")),
        ("fault:S7.write_eio", stops_on("--method=thread", rule="pwritev path=*.segment times=0 error=EIO")),
        ("fault:S7.short_writes", goes_on_after("--method=thread", hits=20,
                                                rule="pwritev path=*.segment times=20 short=4096")),
        ("fault:S7.interrupted_writes", goes_on_after("--method=thread", hits=20,
                                                      rule="pwritev path=*.segment times=20 error=EINTR")),
        ("fault:S7.interrupted_syncs", goes_on_after("--method=thread", hits=3,
                                                     rule="sync path=*.segment times=3 error=EINTR")),
        *((f"fault:S8.full_{method}", full(method=method)) for method in METHODS),
        ("fault:S8.full_trim_makes_room", full("--trim", method="io_uring")),
        ("fault:S8.starts_on_a_full_disk", starts_on_a_full_disk),
        ("fault:S10.ext4_aborted_io_uring", goes_read_only("ext4", "io_uring")),
        ("fault:S10.ext4_aborted_buffered", goes_read_only("ext4", "buffered")),
        ("fault:S10.xfs_shut_down", goes_read_only("xfs", "io_uring")),
        ("fault:S10.refuses_a_read_only_start", refuses_a_read_only_start),
        ("fault:S11.unreadable_block_direct", unreadable_block("io_uring")),
        ("fault:S11.unreadable_block_buffered", unreadable_block("buffered")),
        ("fault:S11.truncated_image", truncated_image),
        ("fault:S24.slow_from_the_start", slow_from_the_start),
        ("fault:S24.hang_io_uring", hangs("io_uring")),
        ("fault:S24.hang_thread", hangs("thread")),
    )
