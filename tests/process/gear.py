"""What the tests on real processes and real file systems share: results, scratch space, processes, disks.

A script calls `main(test, ...)`. Each test is a function; it passes by returning, fails by raising, and raises
`NotRun` where this machine cannot run it. Every test prints one line, `ok NAME`, `FAIL NAME: why` or
`NOT RUN NAME: why`; the script exits 1 if one failed.

Nothing outlives a test, not even after kill -9: processes die with this one, mounts live in a private mount
namespace, and loop devices are attached so that the kernel frees them with their mount. Ports clash with nobody's: the
network is private too.
"""

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class NotRun(Exception):
    """This machine cannot run the test; the text says why."""


class Fail(Exception):
    """The test failed; the text says what was expected and what was there."""


def expect(condition, text):
    if not condition:
        raise Fail(text)


# --- Results ----------------------------------------------------------------------------------------------------------


def options_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=os.environ.get("WALRAFT_BUILD", SOURCE / "build" / "test"),
                        help="the build tree (default: $WALRAFT_BUILD or build/test)")
    parser.add_argument("--seed", type=int, default=None, help="of all chance (default: from the clock; printed)")
    parser.add_argument("--cycles", type=int, default=os.environ.get("WALRAFT_CYCLES", 3),
                        help="of each power-cut test (default: $WALRAFT_CYCLES or 3)")
    parser.add_argument("names", nargs="*", help="run only the tests whose name contains one of these")
    return parser


OPTIONS = None  # set by main()


def program(name):
    path = pathlib.Path(OPTIONS.build).resolve() / "bin" / name
    if not path.exists():
        raise NotRun(f"{name} is not built in {path.parent}")
    return str(path)


def library(name):
    path = pathlib.Path(OPTIONS.build).resolve() / "lib" / f"lib{name}.so"
    if not path.exists():
        raise NotRun(f"{path.name} is not built in {path.parent}")
    return str(path)


def main(*tests):
    """Runs the tests, each given as a function or a (name, function) pair. Never returns."""
    global OPTIONS
    OPTIONS = options_parser().parse_args()
    if OPTIONS.seed is None:
        OPTIONS.seed = time.time_ns() % 1_000_000
    enter_namespaces()
    print(f"# seed {OPTIONS.seed}", flush=True)
    count = {"ok": 0, "FAIL": 0, "NOT RUN": 0}
    for test in tests:
        name, body = test if isinstance(test, tuple) else (test.__name__, test)
        if OPTIONS.names and not any(part in name for part in OPTIONS.names):
            continue
        outcome, why = "ok", ""
        try:
            note = body()
            why = f" ({note})" if note else ""
        except NotRun as reason:
            outcome, why = "NOT RUN", f": {reason}"
        except Fail as failure:
            outcome, why = "FAIL", f": {failure} [--seed {OPTIONS.seed}]"
        except Exception as failure:  # a broken test is a failed one; the rest still runs
            traceback.print_exc()
            outcome, why = "FAIL", f": {type(failure).__name__}: {failure} [--seed {OPTIONS.seed}]"
        count[outcome] += 1
        print(f"{outcome} {name}{why}", flush=True)
    sys.exit(1 if count["FAIL"] else 0)


# --- Processes --------------------------------------------------------------------------------------------------------


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, **options):
    """A process that is killed when this one ends, however it ends."""
    return subprocess.Popen([str(word) for word in command], preexec_fn=die_with_parent, **options)


def run(*command, check=True, timeout=60, **options):
    """Runs a short command to its end. Returns it, with .stdout and .stderr as text."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=die_with_parent, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise Fail(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done


def stop(process, how=signal.SIGKILL, timeout=20):
    """Signals a process unless it has ended; returns its exit code."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Fail(f"pid {process.pid} did not end within {timeout} s of signal {int(how)}") from None


@contextlib.contextmanager
def running(command, **options):
    process = start(command, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def wait_until(condition, what, timeout=20.0):
    """Polls until condition() is true, and returns what it gave."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Fail(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


# --- Disks ------------------------------------------------------------------------------------------------------------


def enter_namespaces():
    """Starts this script again in mount and network namespaces of its own, where the machine lets us."""
    if os.environ.get("WALRAFT_TEST_NAMESPACE") == "1":
        die_with_parent()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
        return
    unshare = ["unshare", "--mount", "--net", "--propagation", "private"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
        os.environ["WALRAFT_TEST_NAMESPACE"] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def need_disks(filesystem="ext4"):
    if os.geteuid() != 0:
        raise NotRun("mounting needs root")
    if os.environ.get("WALRAFT_TEST_NAMESPACE") != "1":
        raise NotRun("no mount namespaces here")
    if not os.path.exists("/dev/loop-control"):
        raise NotRun("no loop devices here")
    for tool in (f"mkfs.{filesystem}", "xfs_io"):
        if not shutil.which(tool):
            raise NotRun(f"{tool} is missing (tools/dev/setup test)")
    if filesystem not in pathlib.Path("/proc/filesystems").read_text().split():
        raise NotRun(f"this kernel has no {filesystem}")


@contextlib.contextmanager
def scratch():
    """A directory for this test, in memory where there is room for the images."""
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    for stale in memory.glob("walraft-test-*"):  # of a test that was killed
        with contextlib.suppress(ValueError):
            if not pathlib.Path("/proc", str(int(stale.name.split("-")[2]))).exists():
                shutil.rmtree(stale, ignore_errors=True)
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"walraft-test-{os.getpid()}-", dir=memory if roomy else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def unmount(path):
    def tried():
        done = run("umount", path, check=False)
        return done.returncode == 0 or "not mounted" in done.stderr
    wait_until(tried, f"umount {path}")


def extents(path):
    """(position in the file, position on the disk, bytes) of each extent of a file."""
    found = []
    for line in run("xfs_io", "-r", "-c", "fiemap -v", path).stdout.splitlines()[2:]:
        words = line.split()
        if len(words) >= 4 and words[2] != "hole":
            (low, high), disk = (map(int, words[1].strip("[]:").split("..")), int(words[2].split("..")[0]))
            found.append((low * 512, disk * 512, (high - low + 1) * 512))
    return found


def position_on_disk(path, position):
    for low, disk, count in extents(path):
        if low <= position < low + count:
            return disk + position - low
    raise Fail(f"{path}: no extent holds byte {position}")


class LoopDisk:
    """A file system in an image file. cut() is a power cut for what went through the page cache; O_DIRECT writes
    survive it, synced or not.

    The cut is not one instant: a sync that runs while ext4 shuts down may still be answered with success, though the
    extents that it should have saved are not (a machine without power answers nothing). So only what was acknowledged
    before cut() was called counts."""

    method = "loop"
    cut_is_one_instant = False

    def __init__(self, directory, filesystem="ext4", mebibytes=None, mkfs=()):
        need_disks(filesystem)
        self.filesystem = filesystem
        self.image = directory / "image"
        self.mount_point = directory / "mnt"
        self.mount_point.mkdir()
        with open(self.image, "wb") as image:
            image.truncate((mebibytes or (320 if filesystem == "xfs" else 200)) << 20)  # XFS wants 300 MiB
        force = "-F" if filesystem == "ext4" else "-f"
        run(f"mkfs.{filesystem}", "-q", force, *mkfs, self.image)
        self.mounted = False

    def __enter__(self):
        self.mount()
        return self

    def __exit__(self, *failure):
        self.unmount()

    def backing(self):
        return self.image

    def mount(self, options=""):
        # The loop option also marks the device to be freed with the mount.
        def tried():
            done = run("mount", "-t", self.filesystem, "-o", ",".join(filter(None, ["loop", options])), self.backing(),
                       self.mount_point, check=False)
            if done.returncode != 0 and "loop device" not in done.stderr:
                raise Fail(f"mount: {done.stderr.strip()}")
            return done.returncode == 0
        try:
            wait_until(tried, "a free loop device", timeout=60)
        except Fail as failure:
            if "free loop" in str(failure):
                raise NotRun("no free loop device for 60 s") from None
            raise
        self.mounted = True

    def unmount(self):
        if self.mounted:
            unmount(self.mount_point)
            self.mounted = False

    def cut(self, **_chance):
        """The power fails, now. Processes that use the disk get errors; end them, then restore()."""
        run("xfs_io", "-x", "-c", "shutdown", self.mount_point)

    def restore(self):
        """The power is back: journal replay, and the disk is there again."""
        self.unmount()
        self.mount()


class ForgetfulDisk(LoopDisk):
    """The same on a disk with a volatile cache (tests/fuse/forgetful.cc): every unsynced write is lost, the direct
    ones too."""

    method = "forgetful"
    cut_is_one_instant = True

    def __init__(self, directory, filesystem="ext4", **options):
        super().__init__(directory, filesystem, **options)
        if not os.path.exists("/dev/fuse"):
            raise NotRun("no /dev/fuse here")
        self.fuse = directory / "fuse"
        self.fuse.mkdir()
        self.server = start([program("forgetful"), self.image, self.fuse], stdout=subprocess.PIPE)
        if self.server.stdout.readline() != b"ready\n":
            raise NotRun(f"FUSE cannot be mounted here (exit {self.server.wait()})")

    def __exit__(self, *failure):
        if self.server.poll() is None:
            self.command("on")
        self.unmount()
        unmount(self.fuse)
        expect(self.server.wait(20) == 0, f"forgetful ended with {self.server.returncode}")
        self.server.stdout.close()

    def backing(self):
        return self.fuse / "disk"

    def command(self, text):
        with open(self.fuse / "control", "wb", buffering=0) as control:
            control.write(text.encode())

    def statistics(self):
        control = os.open(self.fuse / "control", os.O_RDONLY)
        try:
            return json.loads(os.read(control, 4096))  # one read is one instant
        finally:
            os.close(control)

    def cut(self, seed=1, keep=0, sector=512, syncs=0):
        """`keep` percent of the unsynced sectors happen to have reached the medium. With `syncs`, in the middle of the
        syncs-th from now, or now if it does not come."""
        command = f"cut seed={seed} keep={keep} sector={sector}"
        if syncs:
            self.command(f"{command} syncs={syncs}")
            with contextlib.suppress(Fail):
                wait_until(lambda: self.statistics()["mode"] == "cut", "a sync", timeout=2)
                return
        self.command(command)

    def restore(self):
        self.unmount()
        self.command("on")
        self.mount()
