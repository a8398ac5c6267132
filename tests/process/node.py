"""A real wald --dev, and walctl speaking to it, for tests on real processes."""

import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import gear
from gear import Fail, expect, program, scratch, start, stop, wait_until


def free_port_base():
    """Three free ports in a row on the loopback interface."""
    for _ in range(200):
        base = random.randrange(20000, 32000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + 3):
                    taken = stack.enter_context(socket.socket())
                    taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise Fail("no three free ports in a row")


class Server:
    """One wald --dev on a data directory; kill() and start() as often as wanted."""

    def __init__(self, folder, data=None):
        self.data = data or folder / "data"
        self.base = free_port_base()
        self.log = open(folder / "wald.log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.process = start([program("wald"), "--dev", "--data-dir", self.data, "--port-base", self.base], stderr=self.log)
        wait_until(self.listens, "wald listens")

    def listens(self):
        expect(self.process.poll() is None, f"wald ended with {self.process.returncode}: {self.said()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.base)) == 0

    def said(self):
        return pathlib.Path(self.log.name).read_text()[-800:]

    def kill(self):
        stop(self.process, signal.SIGKILL)

    def end(self):
        return stop(self.process, signal.SIGTERM)

    def end_with_a_damaged_record(self):
        """Appends "record 0" to "record 49" to a new log, ends, and flips a bit of "record 25". Returns its segment."""
        self.walctl("append", "log", "--create", "--batch-records", "1", stdin=b"".join(b"record %d\n" % i for i in range(50)))
        time.sleep(1.5)  # the idle group says how far the log was durable
        expect(self.end() == 0, "SIGTERM")
        segment = next(path for path in sorted(self.data.glob("logs/*/*.segment")) if b"record 25" in path.read_bytes())
        data = bytearray(segment.read_bytes())
        data[data.index(b"record 25")] ^= 1
        segment.write_bytes(data)
        return segment

    def environment(self):
        return {**os.environ, "WALRAFT_ENDPOINTS": f"127.0.0.1:{self.base}"}

    def walctl(self, *arguments, stdin=b"", check=True, timeout=60):
        done = subprocess.run([program("walctl"), *map(str, arguments)], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment(), timeout=timeout,
                              preexec_fn=gear.die_with_parent)
        if check:
            expect(done.returncode == 0, f"walctl {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr!r}")
        return done

    def spawn(self, *arguments, **options):
        return start([program("walctl"), *arguments], env=self.environment(), **options)


@contextlib.contextmanager
def server(data=None):
    """A server that is running; killed at the end. `data` is its directory, in scratch space if not given."""
    program("wald"), program("walctl")
    with scratch() as folder:
        node = Server(folder, data)
        try:
            yield node
        finally:
            with contextlib.suppress(ProcessLookupError):
                node.process.kill()
            node.process.wait(20)
            node.log.close()
