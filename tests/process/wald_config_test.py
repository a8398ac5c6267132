#!/usr/bin/env python3
"""The configuration of a real wald: every key with what is wrong for it, reloading on SIGHUP, and a port in use."""

import contextlib
import json
import signal
import socket
import subprocess

import gear
from gear import expect, program, run, running, scratch, stop, wait_until
from node import free_port_base, server

PREFIX = "wald_config_test."

# key: values that are wrong, each with what the message must say besides file, line and key.
WRONG = {
    "node.id": [("0", "from 1 to 65535"), ("65536", "from 1 to 65535"), ("-1", "from 1 to 65535"), ('"1"', "number"), ("1.5", "number")],
    "node.data_dir": [('""', "path of a directory"), ("1", "text in quotes")],
    "node.zone": [('"a b"', "letters, digits"), ('"' + "z" * 65 + '"', "at most 64"), (r'"\u0007"', "letters, digits"), ("1", "text in quotes")],
    "cluster.name": [('""', "1 to 128 bytes"), (r'"\n"', "no control characters"), ("[]", "text in quotes")],
    "cluster.members": [('"a"', "list"), ("[]", "does not list this node"), ("[1]", "entries like"), ("[{ id = 1, frob = 2 }]", "known are id, host")],
    "listen.stream": [('"7400"', "address with a port"), ('"127.0.0.1:0"', "address with a port"), ('"0.0.0.0:7400"', "listen.insecure = true"), ("7400", "text in quotes")],
    "listen.control": [('"x"', "address with a port"), ("true", "text in quotes")],
    "listen.http": [('"x:99999"', "address with a port"), ("true", "text in quotes")],
    "listen.http_hosts": [('"a"', "list of host names"), ('["a"]', "not supported by this release")],
    "listen.insecure": [('"yes"', "true or false"), ("1", "true or false")],
    "auth.mode": [('"password"', "allowed are none, token"), ('"token"', "not supported by this release"), ("1", "text in quotes")],
    "storage.segment_bytes": [('"32KiB"', "64KiB to 1GiB"), ('"2GiB"', "64KiB to 1GiB"), ('"96KiB"', "power of two"), ('"1MB"', "like"), ("65536", "size"), ('""', "size")],
    "storage.reserve_bytes": [('"1KiB"', "1MiB to 64GiB or"), ('"some"', '"auto"'), ("1", "size")],
    "storage.sync": [('"never"', "allowed are auto, direct, buffered"), ("true", "text in quotes")],
    "raft.election_timeout": [('"1s"', 'only "auto"'), ("1", "text in quotes")],
    "limits.record_bytes_max": [('"0B"', "1B to 8MiB"), ('"9MiB"', "1B to 8MiB"), ('"5MiB"', "is above limits.batch_bytes_max"), ("1", "size")],
    "limits.batch_bytes_max": [('"0"', "1B to 8MiB"), ('"99999999999999999999"', "1B to 8MiB"), ("1", "size")],
    "limits.inflight_bytes_max": [('"1MiB"', "16MiB to 64GiB"), ('"65GiB"', "16MiB to 64GiB"), ("1", "size")],
    "limits.connections_max": [("0", "from 1 to 1000000"), ("1000001", "from 1 to 1000000"), ('"many"', "number")],
    "logging.level": [('"loud"', "allowed are debug, info, warn, error"), ("1", "text in quotes")],
    "logging.format": [('"xml"', "allowed are text, json"), ("1", "text in quotes")],
}

# Another good value of each key: those that want a restart, and those that are taken over.
OTHER = {
    "node.id": "2",
    "node.data_dir": '"/elsewhere"',
    "node.zone": '"b"',
    "cluster.name": '"other"',
    "cluster.members": '[{ id = 2, host = "wal-2" }]',
    "listen.stream": '"127.0.0.1:1"',
    "listen.control": '"127.0.0.1:2"',
    "listen.http": '"127.0.0.1:3"',
    "listen.insecure": "true",
    "storage.segment_bytes": '"1MiB"',
    "storage.reserve_bytes": '"1MiB"',
    "storage.sync": '"buffered"',
    "logging.format": '"json"',
}
TAKEN_OVER = {
    "limits.record_bytes_max": '"2MiB"',
    "limits.batch_bytes_max": '"3MiB"',
    "limits.inflight_bytes_max": '"32MiB"',
    "limits.connections_max": "5",
    "logging.level": '"debug"',
}
ONE_VALUE = {"listen.http_hosts", "auth.mode", "raft.election_timeout"}  # is all that this release takes


def lines_with(lines, key, value):
    """The lines with another value of the key, and the number of its line."""
    section, name = key.split(".")
    inside = ""
    for i, line in enumerate(lines):
        if line.startswith("["):
            inside = line[1:line.index("]")]
        if inside == section and line.startswith(name + " = "):
            rest = lines[i + 1:]
            if line.split("#")[0].rstrip().endswith("["):  # the list goes on below
                rest = rest[rest.index("]") + 1:]
            return [*lines[:i], f"{name} = {value}", *rest], i + 1
    raise gear.Fail(f"--print-default-config has no {key}")


def keys_of(lines):
    section, keys, in_list = "", [], False
    for line in lines:
        if line.startswith("["):
            section = line[1:line.index("]")]
        elif not in_list and " = " in line and not line.startswith(("#", " ")):
            keys.append(f"{section}.{line.split(' = ')[0]}")
        in_list = line.split("#")[0].rstrip().endswith("= [") or (in_list and line != "]")
    return keys


def every_key_says_what_is_wrong():
    with scratch() as folder:
        lines = run(program("wald"), "--print-default-config").stdout.splitlines()
        expect(sorted(keys_of(lines)) == sorted(WRONG), f"keys without a row, or rows without a key: {set(keys_of(lines)) ^ set(WRONG)}")
        path = folder / "wald.toml"
        count = 0
        for key, rows in WRONG.items():
            for value, says in rows:
                changed, number = lines_with(lines, key, value)
                path.write_text("\n".join(changed) + "\n")
                done = run(program("wald"), "--check-config", path, check=False)
                expect(done.returncode == 2, f"{key} = {value}: exit {done.returncode}")
                expect(done.stderr.startswith(f"wald: {path}:{number}: {key}") and says in done.stderr, f"{key} = {value}: {done.stderr}")
                count += 1
        return f"{len(WRONG)} keys, {count} values"


def configuration(folder, base):
    text = run(program("wald"), "--print-default-config").stdout.replace("/var/lib/walraft", str(folder / "data"))
    for n in range(3):
        text = text.replace(f":{7400 + n}", f":{base + n}")
    return text


@contextlib.contextmanager
def configured(edit=lambda good, base: good):
    """A wald with its configuration file: process, first port, the file, and the file of what it says."""
    with scratch() as folder:
        base = free_port_base()
        path, log = folder / "wald.toml", folder / "log"
        path.write_text(edit(configuration(folder, base), base))
        with open(log, "wb") as errors, running([program("wald"), "--config", path], stderr=errors) as wald:
            wait_until(lambda: "ready: stream" in log.read_text(), "wald is ready")
            yield wald, base, path, log


def sighup_takes_over_level_and_limits():
    with configured() as (wald, base, path, log):
        good = path.read_text()

        def said(text):
            return lambda: text in log.read_text()

        def append(size):
            return subprocess.run([program("walctl"), "--endpoints", f"127.0.0.1:{base}", "append", "log", "--create"],
                                  input=b"x" * size + b"\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=60).returncode

        expect(append(100) == 0, "before")
        path.write_text(good.replace('record_bytes_max = "1MiB"', 'record_bytes_max = "10B"').replace('zone = ""', 'zone = "b"'))
        wald.send_signal(signal.SIGHUP)
        wait_until(said("SIGHUP: took over"), "the configuration is taken over")
        expect(said("node.zone has changed")(), f"what wants a restart is not said: {log.read_text()}")
        expect(append(100) == 10 and append(10) == 0, "the new limit")
        path.write_text(good.replace("connections_max = 4096", "connections_max = 0"))
        wald.send_signal(signal.SIGHUP)
        number = next(i + 1 for i, line in enumerate(good.splitlines()) if line.startswith("connections_max"))
        wait_until(said(f"{path}:{number}: limits.connections_max"), "the bad file is said")
        expect(append(100) == 10 and append(10) == 0, "a bad file changed something")
        path.write_text(good.replace('level = "info"', 'level = "error"'))
        wald.send_signal(signal.SIGHUP)
        wait_until(lambda: append(100) == 0, "the old limit is back")
        before = log.read_text()
        expect(stop(wald, signal.SIGTERM) == 0, "SIGTERM")
        expect(log.read_text() == before, f"the level did not change: {log.read_text()[len(before):]}")


def refused_connections_are_said():
    with configured(lambda good, _: good.replace("connections_max = 4096", "connections_max = 1")) as (wald, base, _, log):
        with socket.create_connection(("127.0.0.1", base), timeout=20):
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", base), timeout=20) as refused:
                    expect(b"limits.connections_max" in refused.recv(1000), "it is told")
            wait_until(lambda: " warning connections refused: " in log.read_text(), "it is said")
        expect(stop(wald, signal.SIGTERM) == 0, "SIGTERM")


def sighup_names_every_key_that_wants_a_restart():
    expect(OTHER.keys() | TAKEN_OVER.keys() | ONE_VALUE == WRONG.keys(), f"keys of unknown kind: {WRONG.keys() - OTHER.keys()}")
    with configured() as (wald, _, path, log):
        lines = path.read_text().splitlines()
        for key, value in (OTHER | TAKEN_OVER).items():
            lines, _ = lines_with(lines, key, value)
        path.write_text("\n".join(lines) + "\n")
        wald.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP: took over" in log.read_text(), "the other values are read")
        unsaid = [key for key in OTHER if f"SIGHUP: {key} has changed" not in log.read_text()]
        expect(not unsaid, f"want a restart, and nothing says so: {unsaid}")
        said = [key for key in TAKEN_OVER if f"SIGHUP: {key} has changed" in log.read_text()]
        expect(not said, f"are taken over, and said to want a restart: {said}")
        expect(stop(wald, signal.SIGTERM) == 0, "SIGTERM")


def sighup_leaves_dev_alone():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"x\n")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "no configuration file" in node.said(), "it is said")
        expect(node.walctl("append", "log", stdin=b"y\n").stdout == b"1\n", "it goes on")
        expect(node.end() == 0, "SIGTERM")


def status_says_where_the_member_is_reached():
    """Not where it listens: that may be every address of the machine."""
    def edit(good, base):
        members = ", ".join(f'{name} = "{address}"' for name, address in wanted(base).items())
        return "\n".join(lines_with(good.splitlines(), "cluster.members", f"[{{ id = 1, {members} }}]")[0]) + "\n"

    def wanted(base):
        return {"stream": f"localhost:{base}", "control": "wal-1:7401", "http": "wal-1:7402"}

    with configured(edit) as (wald, base, _, _):
        said = run(program("walctl"), "--endpoints", f"127.0.0.1:{base}", "-o", "json", "status").stdout
        own = json.loads(said.splitlines()[0])["nodes"][0]
        expect({name: own[name] for name in wanted(base)} == wanted(base), f"{own}")
        expect(stop(wald, signal.SIGTERM) == 0, "SIGTERM")


def a_port_in_use_makes_no_data_directory():
    with scratch() as folder, socket.socket() as taken:
        base = free_port_base()
        taken.bind(("127.0.0.1", base))
        taken.listen()
        done = run(program("wald"), "--dev", "--data-dir", folder / "data", "--port-base", base, check=False)
        expect(done.returncode == 4 and f"127.0.0.1:{base}" in done.stderr, f"exit {done.returncode}: {done.stderr}")
        expect(not (folder / "data").exists(), "it made a data directory")


if __name__ == "__main__":
    gear.main(*((PREFIX + test.__name__, test) for test in (
        every_key_says_what_is_wrong, sighup_takes_over_level_and_limits, sighup_names_every_key_that_wants_a_restart,
        refused_connections_are_said, sighup_leaves_dev_alone, status_says_where_the_member_is_reached, a_port_in_use_makes_no_data_directory)))
