#!/usr/bin/env python3
"""The gear breaks what it should: a power cut loses what was not synced, keeps what was, and nothing of the gear
outlives its test. A power-cut test on gear that loses nothing would pass for ever."""

import mmap
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import gear
from gear import Fail, ForgetfulDisk, LoopDisk, expect

BLOCK = 4096
BLOCKS = 256


def pattern(byte, blocks=BLOCKS):
    memory = mmap.mmap(-1, blocks * BLOCK)  # aligned, for O_DIRECT
    memory.write(bytes([byte]) * (blocks * BLOCK))
    return memory


def write_file(path, byte, flags=0, sync=False):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    try:
        expect(os.pwritev(fd, [pattern(byte)], 0) == BLOCKS * BLOCK, f"short write to {path}")
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def prepare(disk):
    """Two files of old bytes, fully durable; then new bytes without a sync, and new ones with."""
    for name in ("unsynced", "synced"):
        write_file(disk.mount_point / name, ord("o"), sync=True)
    directory = os.open(disk.mount_point, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def survivors(path):
    """How many sectors of a file are new, and how many old."""
    content = path.read_bytes()
    expect(len(content) == BLOCKS * BLOCK, f"{path.name} has {len(content)} bytes")
    new = content.count(b"n" * 512)
    old = content.count(b"o" * 512)
    expect((new + old) * 512 == len(content), f"{path.name} holds bytes that were never written")
    return new, old


def power_cut(disk, flags, **chance):
    prepare(disk)
    write_file(disk.mount_point / "unsynced", ord("n"), flags)
    write_file(disk.mount_point / "synced", ord("n"), flags | os.O_DSYNC)
    write_file(disk.mount_point / "unsynced", ord("n"), flags)  # after the last sync of all
    disk.cut(**chance)
    disk.restore()
    new, _ = survivors(disk.mount_point / "synced")
    expect(new == BLOCKS * 8, f"{BLOCKS * 8 - new} synced sectors were lost")
    return survivors(disk.mount_point / "unsynced")


def forgetful_direct(filesystem):
    def test():
        with gear.scratch() as directory, ForgetfulDisk(directory, filesystem) as disk:
            prepare(disk)
            write_file(disk.mount_point / "synced", ord("n"), os.O_DIRECT | os.O_DSYNC)
            write_file(disk.mount_point / "unsynced", ord("n"), os.O_DIRECT)
            disk.cut()
            disk.restore()
            new, _ = survivors(disk.mount_point / "synced")
            expect(new == BLOCKS * 8, f"{BLOCKS * 8 - new} synced sectors were lost")
            new, _ = survivors(disk.mount_point / "unsynced")
            expect(new == 0, f"{new} unsynced sectors survived")
            expect(disk.statistics()["dropped_bytes"] >= BLOCKS * BLOCK, "nothing was dropped")
    return test


def forgetful_keeps_a_random_subset():
    def once(seed):
        with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
            prepare(disk)
            write_file(disk.mount_point / "unsynced", ord("n"), os.O_DIRECT)
            disk.cut(seed=seed, keep=50)
            disk.restore()
            return survivors(disk.mount_point / "unsynced"), (disk.mount_point / "unsynced").read_bytes()
    (new, old), first = once(1)
    expect(new > 500 and old > 500, f"half the sectors should survive: {new} new, {old} old")
    expect(once(1)[1] == first, "the same seed gave another subset")
    expect(once(2)[1] != first, "another seed gave the same subset")


def forgetful_cuts_in_a_sync():
    with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
        prepare(disk)
        disk.command("cut syncs=3")
        fd = os.open(disk.mount_point / "synced", os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
        try:
            for number in range(3):
                try:
                    os.pwritev(fd, [pattern(ord("n"), 8)], number * 8 * BLOCK)
                    expect(number < 2, "the third sync was answered")
                except OSError:
                    expect(number == 2, f"sync {number} failed")
        finally:
            os.close(fd)
        disk.restore()
        new, _ = survivors(disk.mount_point / "synced")
        expect(new == 16 * 8, f"{new} new sectors, expected those of the first two writes")


def forgetful_lie_loses_synced_bytes():
    with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
        prepare(disk)
        disk.command("lie")
        write_file(disk.mount_point / "synced", ord("n"), os.O_DIRECT | os.O_DSYNC)
        disk.cut()
        disk.restore()
        new, _ = survivors(disk.mount_point / "synced")
        expect(new == 0, f"{new} sectors survived a disk that saved nothing")


def forgetful_failed_sync_drops():
    """fault:S6: the sync fails, its bytes are gone, and a second sync says they are fine."""
    with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
        prepare(disk)
        fd = os.open(disk.mount_point / "synced", os.O_RDWR | os.O_DIRECT)
        try:
            os.pwritev(fd, [pattern(ord("n"))], 0)
            disk.command("fail_sync=1")
            try:
                os.fsync(fd)
                raise Fail("the sync did not fail")
            except OSError:
                pass
            memory = mmap.mmap(-1, BLOCK)
            os.preadv(fd, [memory], 0)
            expect(memory[:512] == b"o" * 512, "the failed sync kept its bytes")
        finally:
            os.close(fd)


def forgetful_hang_holds_syncs():
    with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
        prepare(disk)
        disk.command("hang")
        writer = threading.Thread(target=write_file, args=(disk.mount_point / "synced", ord("n"), os.O_DIRECT | os.O_DSYNC))
        writer.start()
        time.sleep(0.3)
        held = writer.is_alive()
        disk.command("on")
        writer.join(20)
        expect(held, "a write went through a hanging disk")
        expect(survivors(disk.mount_point / "synced")[0] == BLOCKS * 8, "the write was lost after the hang")


def forgetful_refuses_unknown_commands():
    with gear.scratch() as directory, ForgetfulDisk(directory) as disk:
        for text in ("cut keep=101", "cut sector=7", "explode", " ", "on now"):
            try:
                disk.command(text)
            except OSError:
                continue
            raise Fail(f"{text!r} was accepted")
        expect(disk.statistics()["mode"] == "on", f"mode {disk.statistics()['mode']}")


def loop_shutdown_loses_buffered(filesystem):
    def test():
        with gear.scratch() as directory, LoopDisk(directory, filesystem) as disk:
            new, _ = power_cut(disk, 0)
            expect(new < BLOCKS * 8, "every unsynced sector survived")
    return test


def loop_shutdown_is_blind_to_direct():
    """Why forgetful exists. If this changes, say so where the tests choose their disk."""
    with gear.scratch() as directory, LoopDisk(directory) as disk:
        new, old = power_cut(disk, os.O_DIRECT)
        expect(old == 0, f"{old} unsynced direct sectors were lost: a plain loop device is not blind here")


def nothing_outlives_a_kill():
    with gear.scratch() as directory:
        gear.need_disks()
        gear.program("forgetful")
        environment = {**os.environ, "WALRAFT_BUILD": str(gear.OPTIONS.build)}
        environment.pop("WALRAFT_TEST_NAMESPACE")
        with gear.running([sys.executable, __file__, "--hold", directory], stdout=subprocess.PIPE,
                          env=environment) as child:
            line = child.stdout.readline().decode()
            expect(line.startswith("held "), f"the child said {line!r}")
            server = int(line.split()[1])
            device = line.split()[2]
            expect(loop_in_use(device), f"{device} of the child is not in use")
            child.send_signal(signal.SIGKILL)
            child.wait()
        gear.wait_until(lambda: not pathlib.Path(f"/proc/{server}/cmdline").exists() or
                        not pathlib.Path(f"/proc/{server}/cmdline").read_bytes(), "the end of forgetful")
        gear.wait_until(lambda: not loop_in_use(device), f"the end of {device}")


def loop_in_use(device):
    """Whether `device` is still the one of this test: another process may take it as soon as it is free."""
    try:
        text = pathlib.Path(f"/sys/block/{os.path.basename(device)}/loop/backing_file").read_text().strip()
    except OSError:
        return False
    return text == "/disk" or "walraft-test-" in text and text.endswith("/fuse/disk")


def hold(directory):
    """What nothing_outlives_a_kill kills."""
    gear.OPTIONS = gear.options_parser().parse_args([])
    gear.enter_namespaces()
    disk = ForgetfulDisk(pathlib.Path(directory)).__enter__()
    (disk.mount_point / "file").write_bytes(b"x" * BLOCK)
    device = gear.run("findmnt", "-n", "-o", "SOURCE", disk.mount_point).stdout.strip()
    print("held", disk.server.pid, device, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--hold"]:
        hold(sys.argv[2])
    gear.main(
        ("gear.forgetful_direct_ext4", forgetful_direct("ext4")),
        ("gear.forgetful_direct_xfs", forgetful_direct("xfs")),
        ("gear.forgetful_keeps_a_random_subset", forgetful_keeps_a_random_subset),
        ("gear.forgetful_cuts_in_a_sync", forgetful_cuts_in_a_sync),
        ("gear.forgetful_lie_loses_synced_bytes", forgetful_lie_loses_synced_bytes),
        ("gear.forgetful_failed_sync_drops", forgetful_failed_sync_drops),
        ("gear.forgetful_hang_holds_syncs", forgetful_hang_holds_syncs),
        ("gear.forgetful_refuses_unknown_commands", forgetful_refuses_unknown_commands),
        ("gear.loop_shutdown_loses_buffered_ext4", loop_shutdown_loses_buffered("ext4")),
        ("gear.loop_shutdown_loses_buffered_xfs", loop_shutdown_loses_buffered("xfs")),
        ("gear.loop_shutdown_is_blind_to_direct", loop_shutdown_is_blind_to_direct),
        ("gear.nothing_outlives_a_kill", nothing_outlives_a_kill),
    )
