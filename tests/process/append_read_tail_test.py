#!/usr/bin/env python3
"""The main job on real programs: wald and walctl append, read and tail, across kill -9, with bad input and bad
configurations."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import gear
from gear import expect, program, run, running, scratch, stop, wait_until
from node import free_port_base, server

PREFIX = "append_read_tail_test."


def formats_come_back_byte_for_byte():
    chance = random.Random(gear.OPTIONS.seed)
    with server() as node:
        lines = b"".join(chance.randbytes(chance.randrange(200)).replace(b"\n", b"") + b"\n" for _ in range(3000))
        expect(node.walctl("append", "lines", "--create", stdin=lines).stdout == b"2999\n", "append prints the last offset")
        expect(node.walctl("read", "lines").stdout == lines, "lines differ")
        unfinished = b"a\n\nb"
        node.walctl("append", "unfinished", "--create", stdin=unfinished)
        expect(node.walctl("read", "unfinished").stdout == unfinished + b"\n", "a last line without newline is a record")

        raw = chance.randbytes(700_000)
        node.walctl("append", "raw", "--create", "--format", "raw", stdin=raw)
        expect(node.walctl("read", "raw", "--format", "raw").stdout == raw, "raw differs")
        expect(node.walctl("read", "raw", "-o", "json").stdout.count(b"\n") == 1, "raw is one record")

        prefixed = b"".join(struct.pack("<I", n) + chance.randbytes(n)
                            for n in [0, 1, 0, 65_536, 3, 1 << 20, *(chance.randrange(5000) for _ in range(500))])
        node.walctl("append", "prefixed", "--create", "--format", "length-prefixed", stdin=prefixed)
        expect(node.walctl("read", "prefixed", "--format", "length-prefixed").stdout == prefixed, "length-prefixed differs")
        cut = node.walctl("append", "prefixed", "--format", "length-prefixed", stdin=prefixed[:-1], check=False)
        expect(cut.returncode == 2 and b"cut short" in cut.stderr, f"a record cut short: {cut}")

        objects = [json.loads(line) for line in node.walctl("read", "lines", "--count", "2", "-o", "json").stdout.splitlines()]
        expect([o["offset"] for o in objects] == [0, 1] and set(objects[0]) == {"offset", "timestamp", "term", "size", "data"},
               f"json: {objects}")
        tailed = node.walctl("tail", "lines", "--from", "earliest", "--exit-at-end").stdout
        expect(tailed == lines, "tail differs")
        expect(node.end() == 0, f"SIGTERM: {node.said()}")
        node.start()
        expect(node.walctl("read", "lines").stdout == lines, "lines differ after a restart")


def from_count_until():
    with server() as node:
        node.walctl("append", "log", "--create", "--batch-records", "7", stdin=b"".join(b"%d\n" % i for i in range(100)))

        def read(*arguments):
            return node.walctl("read", "log", *arguments).stdout.split()

        numbers = [b"%d" % i for i in range(100)]
        expect(read("--from", "-10") == numbers[90:], "--from -10")
        expect(read("--from=-10", "--count", "3") == numbers[90:93], "--from=-10 --count 3")
        expect(read("--from", "50", "--until", "55") == numbers[50:55], "--from 50 --until 55")
        expect(read("--from", "latest") == [], "--from latest")
        expect(read("--from", "@2000-01-01T00:00:00Z", "--count", "1") == [b"0"], "--from @time")
        expect(read("--from", "@2100-01-01T00:00:00+01:00") == [], "--from @future")
        expect(read("--bytes", "5") == numbers[:5], "--bytes 5")
        expect(read("--from", str(2**64 - 1)) == [], "an offset beyond the end")
        expect(node.walctl("read", "log", "--from", "soon", check=False).returncode == 2, "--from soon")
        # Numbers that do not fit are refused, not wrapped or clamped; an empty one is a script's unset variable.
        for option in ["--count", "--until", "--from", "--bytes"]:
            for value in ["", "-1x", "18446744073709551616"] + (["-1"] if option != "--from" else []):
                done = node.walctl("read", "log", option, value, check=False)
                expect(done.returncode == 2 and done.stdout == b"", f"read {option} {value!r}: {done}")
        tail = node.walctl("tail", "log", "--from", "-5", "--count", "3").stdout.split()
        expect(tail == numbers[95:98], f"tail --count: {tail}")


def exit_codes():
    with server() as node:
        def code(*arguments, stdin=b"x\n"):
            return node.walctl(*arguments, stdin=stdin, check=False).returncode

        expect(code("read", "none") == 3, "no such log: 3")
        expect(code("append", "none") == 3, "append without --create: 3")
        expect(code("append", "bad name", "--create") == 2, "bad name: 2")
        expect(code("append", "log", "--create") == 0, "append: 0")
        expect(code("append", "log", "--expect-offset", "7") == 4, "condition failed: 4")
        expect(code("append", "log", "--expect-offset", "1") == 0, "condition holds: 0")
        expect(code("append", "log", "--format", "raw", stdin=b"x" * ((1 << 20) + 1)) == 10, "too large: 10")
        expect(code("append", "log", stdin=b"") == 0, "nothing to append: 0")
        expect(code("append", "log", "--producer", "p") == 2, "not supported: 2")
        expect(code("--token-file", "/nowhere", "read", "log") == 2, "not supported: 2")
        expect(code("frobnicate") == 2, "no such command: 2")
        for offset in ["-1", "18446744073709551616", ""]:
            expect(code("append", "log", "--expect-offset", offset) == 2, f"--expect-offset {offset!r}: 2")
        for endpoint in [":0", "127.0.0.1:", f"127.0.0.1:{node.base + 65_536}", "127.0.0.1:x", "[::1]"]:
            expect(code("--endpoints", endpoint, "read", "log") == 2, f"--endpoints {endpoint}: 2")
        expect(node.walctl("read", "log").stdout == b"x\nx\n", "what was refused left something")
        node.kill()
        expect(code("append", "log") == 9, "no server: 9")
        stuck = node.spawn("append", "other", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        expect(stuck.wait(20) == 9, "no server, stdin open: 9")
        stuck.stdin.close()


def interrupt_and_broken_pipe():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"line\n" * 200_000)
        with running([program("walctl"), "tail", "log"], env=node.environment(), stdout=subprocess.DEVNULL) as tail:
            time.sleep(0.3)
            expect(stop(tail, signal.SIGINT) == 130, f"SIGINT: {tail.returncode}")
        with running([program("walctl"), "read", "log"], env=node.environment(), stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE) as read:
            read.stdout.read(100)
            read.stdout.close()
            read.wait(20)
            expect(read.stderr.read() == b"", "a broken pipe is silent")


def closed_standard_descriptors():
    """A closed descriptor stays closed: its number goes to no socket, ring or file of the data."""
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"x\n")
        walctl = [str(program("walctl")), "--endpoints", f"127.0.0.1:{node.base}"]
        for redirection, command in [("<&-", "append log"), (">&-", "read log"), (">&- 2>&-", "read log")]:
            done = subprocess.run(["sh", "-c", f'"$@" {command} {redirection}', "sh", *walctl], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
            expect(done.returncode == 1 and (b"Bad file descriptor" in done.stderr or "2>" in redirection),
                   f"{command} {redirection}: {done}")
        expect(node.walctl("read", "log").stdout == b"x\n", "what was refused left something")
    with scratch() as folder:
        base = free_port_base()
        command = [program("wald"), "--dev", "--data-dir", folder / "data", "--port-base", base]
        with running(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]) as process:
            def answers():
                return subprocess.run([program("walctl"), "--endpoints", f"127.0.0.1:{base}", "append", "log", "--create"],
                                      input=b"x\n", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0
            wait_until(answers, "wald answers")
            names = {n: os.readlink(f"/proc/{process.pid}/fd/{n}") for n in range(3)}
            expect(set(names.values()) == {"/dev/null"}, f"descriptors: {names}")
            expect(stop(process, signal.SIGTERM) == 0, "SIGTERM ends with 0")


def limits_of_records():
    with server() as node:
        largest = os.urandom((1 << 20) - 1) + b"e"
        node.walctl("append", "log", "--create", "--format", "raw", stdin=largest)
        node.walctl("append", "log", stdin=b"\n\n\n")
        node.walctl("append", "log", "--batch-records", "65536", stdin=b"\n" * 65_536)
        read = node.walctl("read", "log", "--format", "length-prefixed").stdout
        expect(read[4:4 + len(largest)] == largest, "the largest record differs")
        expect(len(read) == 4 + len(largest) + 4 * (3 + 65_536), "empty records are records")


def kill_while_appending_and_tailing():
    """Every acknowledged record is there after kill -9; the tail sees each record once, in order, over the restarts."""
    chance = random.Random(gear.OPTIONS.seed)
    with server() as node, scratch() as folder:
        node.walctl("append", "log", "--create", stdin=b"first\n")
        with open(folder / "tailed", "wb") as tailed:
            tail = node.spawn("tail", "log", "--from", "earliest", "--format", "length-prefixed", stdout=tailed)
            acknowledged = [b"first"]
            unknown = 0
            for cycle in range(max(3, int(gear.OPTIONS.cycles))):
                appender = node.spawn("append", "log", "--batch-records", "5", "-o", "json", stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                sent = []

                def feed():
                    with contextlib.suppress(BrokenPipeError):
                        for i in range(200_000):
                            line = b"cycle %d line %d" % (cycle, i)
                            appender.stdin.write(line + b"\n")
                            sent.append(line)
                        appender.stdin.close()

                feeder = threading.Thread(target=feed)
                feeder.start()
                answers = [json.loads(appender.stdout.readline()) for _ in range(chance.randrange(1, 400))]
                node.kill()
                answers += [json.loads(line) for line in appender.stdout.read().splitlines()]
                code = appender.wait(30)
                feeder.join()
                with contextlib.suppress(BrokenPipeError):
                    appender.stdin.close()
                expect(code in (7, 9), f"append when its server is killed: exit {code}: {appender.stderr.read()!r}")
                expect(answers[0]["offset"] == len(acknowledged) + unknown, f"cycle {cycle}: the first answer is {answers[0]}")
                for before, after in zip(answers, answers[1:]):
                    expect(after["offset"] == before["last_offset"] + 1, f"answers have a gap: {before} {after}")
                acknowledged += [None] * unknown + sent[:answers[-1]["last_offset"] - answers[0]["offset"] + 1]
                verified = node.walctl("verify", "--data-dir", node.data, check=False)
                expect(verified.returncode == 0, f"verify: {verified.stdout!r}")
                node.start()
                there = node.walctl("read", "log").stdout.splitlines()
                expect(len(there) >= len(acknowledged), f"LOST: {len(acknowledged)} acknowledged, {len(there)} there")
                for offset, line in enumerate(acknowledged):
                    expect(line is None or there[offset] == line, f"offset {offset}: {line!r} became {there[offset]!r}")
                unknown = len(there) - len(acknowledged)
                tailing = sent[len(sent[:answers[-1]["last_offset"] - answers[0]["offset"] + 1]):]
                expect(there[len(acknowledged):] == tailing[:unknown], "what is past the last answer was not appended")
            expected = b"".join(struct.pack("<I", len(line)) + line for line in there)
            wait_until(lambda: tail.poll() is not None or (folder / "tailed").stat().st_size >= len(expected), "the tail catches up")
            time.sleep(0.2)
            expect(tail.poll() is None, f"the tail ended with {tail.returncode}")
            stop(tail)
            expect((folder / "tailed").read_bytes() == expected, "the tail has a gap or a duplicate")
        return f"{len(there)} records, {int(gear.OPTIONS.cycles)} kills"


def a_slow_append_goes_out_before_its_input_ends():
    with server() as node:
        appender = node.spawn("append", "log", "--create", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        appender.stdin.write(b"now\n")
        appender.stdin.flush()
        wait_until(lambda: node.walctl("read", "log", check=False).stdout == b"now\n", "the line is there", timeout=10)
        appender.stdin.close()
        expect(appender.wait(20) == 0, "append")


def a_failure_is_noticed_while_the_input_rests():
    """Once walctl waited for its next line before it looked whether its server had died."""
    with server() as node:
        appender = node.spawn("append", "log", "--create", "-o", "json", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        appender.stdin.write(b"line\n")
        appender.stdin.flush()
        expect(json.loads(appender.stdout.readline())["offset"] == 0, "the answer")
        node.process.send_signal(signal.SIGSTOP)
        appender.stdin.write(b"line\n")
        appender.stdin.flush()
        expect(appender.wait(20) == 7, f"exit {appender.returncode}: {appender.stderr.read()!r}")  # after --timeout, 5 s
        node.process.send_signal(signal.SIGCONT)
        for pipe in (appender.stdin, appender.stdout, appender.stderr):
            pipe.close()


# --- Bad input --------------------------------------------------------------------------------------------------------


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(kind, payload=b"", channel=0, length=None, version=1):
    header = struct.pack("<IBBHIIQI", 0x4D524657, version, kind, 0, len(payload) if length is None else length, channel, 0, 0)
    return header + struct.pack("<I", crc32c(header)) + payload


def exchange(node, sent, timeout=8):
    """What the server says until it closes."""
    with socket.create_connection(("127.0.0.1", node.base), timeout=timeout) as connection:
        connection.sendall(sent)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                said += piece
        return said


def bad_frames_harm_nobody_else():
    chance = random.Random(gear.OPTIONS.seed)
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"before\n")
        tail = node.spawn("tail", "log", "--from", "earliest", "--count", "2", stdout=subprocess.PIPE)
        for what, sent, says in [
                ("text", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"magic"),
                ("noise", b"\0" + chance.randbytes(5000), b"magic"),
                ("version", frame(1, version=9), b"version 9"),
                ("type", frame(99), b"type 99"),
                ("length", frame(16, length=0xFFFFFFFF), b"claims 4294967295 bytes"),
                ("order", frame(6, b"12345678", 1), b"HELLO"),
                ("hello", frame(1, b"12345678"), b"HELLO"),
                ("unaligned hello", frame(1, b"1"), b"HELLO"),
                ("server's frame", frame(19, b"", 1), b"HELLO")]:
            said = exchange(node, sent)
            expect(len(said) >= 32 and said[5] == 3 and says in said, f"{what}: the server said {said!r}")
        half_open = socket.create_connection(("127.0.0.1", node.base), timeout=10)
        began = time.monotonic()
        said = b""
        while piece := half_open.recv(65_536):
            said += piece
        waited = time.monotonic() - began
        expect(4 < waited < 9 and b"HELLO" in said, f"no HELLO: closed after {waited:.1f} s with {said!r}")
        half_open.close()
        node.walctl("append", "log", stdin=b"after\n")
        expect(tail.wait(20) == 0 and tail.stdout.read() == b"before\nafter\n", "the tail beside them")
        expect(node.process.poll() is None, "the server lives")
        tail.stdout.close()


# --- Start ------------------------------------------------------------------------------------------------------------


def two_servers_on_one_directory():  # fault:P12
    with server() as node:
        other = run(program("wald"), "--dev", "--data-dir", node.data, "--port-base", free_port_base(), check=False)
        expect(other.returncode == 3 and str(node.process.pid) in other.stderr, f"exit {other.returncode}: {other.stderr}")
        node.walctl("append", "log", "--create", stdin=b"still\n")


def port_in_use():
    with server() as node, scratch() as folder:
        other = run(program("wald"), "--dev", "--data-dir", folder / "other", "--port-base", node.base, check=False)
        expect(other.returncode == 4 and str(node.base) in other.stderr, f"exit {other.returncode}: {other.stderr}")


def verify_refuses_a_directory_in_use():
    with server() as node:
        done = node.walctl("verify", "--data-dir", node.data, check=False)
        expect(done.returncode == 9, f"exit {done.returncode}: {done.stderr!r}")


def verify_finds_a_flipped_bit():
    with server() as node:
        segment = node.end_with_a_damaged_record()
        done = node.walctl("verify", "--data-dir", node.data, check=False)
        expect(done.returncode == 11 and b"DAMAGED log log" in done.stdout, f"exit {done.returncode}: {done.stdout!r}")
        dumped = node.walctl("dump", segment, "--records", check=False)
        expect(dumped.returncode == 11 and b"record 24" in dumped.stdout, f"exit {dumped.returncode}: {dumped.stdout!r}")
        node.start()
        read = node.walctl("read", "log", check=False)
        expect(b"record 25" not in read.stdout and read.returncode == 11, f"damage was served: exit {read.returncode}")
        expect(read.stdout == b"".join(b"record %d\n" % i for i in range(25)), f"before the damage: {read.stdout!r}")
        behind = node.walctl("read", "log", "--from", "26").stdout
        expect(behind == b"".join(b"record %d\n" % i for i in range(26, 50)), f"behind the damage: {behind!r}")


def bad_configurations():
    wald = program("wald")
    with scratch() as folder:
        default = run(wald, "--print-default-config").stdout
        path = folder / "wald.toml"

        def check(text):
            path.write_text(text)
            return run(wald, "--check-config", path, check=False)

        expect(check(default).returncode == 0, f"the default configuration: {check(default).stderr}")
        lines = default.splitlines()

        def line_of(text):
            return next(i + 1 for i, line in enumerate(lines) if line.startswith(text))

        for old, new, says in [
                ("id = 1 ", "id = 0 ", "node.id: is 0; it must be a number from 1 to 65535"),
                ("id = 1 ", 'id = "a"', "node.id: must be a number"),
                ("zone = ", "zones = ", "node.zones: there is no such key; known are id, data_dir, zone"),
                ("stream = ", 'stream = "0.0.0.0:7400" # ', "listen.stream: is \"0.0.0.0:7400\""),
                ("stream = ", 'stream = "nowhere" # ', "listen.stream: is \"nowhere\""),
                ("mode = ", 'mode = "token" # ', "auth.mode: \"token\" is not supported by this release"),
                ("segment_bytes = ", 'segment_bytes = "3MiB" # ', "storage.segment_bytes: must be a power of two"),
                ("segment_bytes = ", 'segment_bytes = "1TiB" # ', "storage.segment_bytes: is \"1TiB\"; it must be a size from 64KiB to 1GiB"),
                ("sync = ", 'sync = "never" # ', "storage.sync: is \"never\"; allowed are auto, direct, buffered"),
                ("election_timeout = ", 'election_timeout = "1s" # ', "raft.election_timeout"),
                ("data_dir = ", 'data_dir = "" # ', "node.data_dir: must be the path of a directory"),
                ("data_dir = ", r'data_dir = "/tmp/\u0000" # ', "node.data_dir: must be the path of a directory"),
                ("name = ", 'name = "" # ', "cluster.name: must have 1 to 128 bytes"),
                ("record_bytes_max = ", 'record_bytes_max = "5MiB" # ', "limits.record_bytes_max: is above limits.batch_bytes_max"),
                ("connections_max = ", "connections_max = -1 # ", "limits.connections_max: is -1"),
                ("level = ", "level = info # ", "")]:
            done = check("\n".join(line.replace(old, new, 1) if line.startswith(old) else line for line in lines))
            place = f"{path}:{line_of(old)}: "
            expect(done.returncode == 2 and place in done.stderr and says in done.stderr,
                   f"{new}: exit {done.returncode}: {done.stderr}")
        # Members without a host, or with some of their addresses only.
        member = '{ id = 1, host = "127.0.0.1" }'
        three = 'stream = "127.0.0.1:1", control = "127.0.0.1:2", http = "127.0.0.1:3"'
        for other, good in [("{}", False), ("{ id = 1 }", False), ('{ id = 1, host = "" }', False),
                            ('{ id = 1, stream = "127.0.0.1:1" }', False), ('{ id = 1, stream = "x" }', False),
                            ("{ id = 1, " + three + " }", True)]:
            expect(member in default, "the default configuration has another member")
            done = check(default.replace(member, other))
            expect(done.returncode == (0 if good else 2), f"{other}: exit {done.returncode}: {done.stderr}")
            expect(good or f"{path}:{line_of('members = ') + 1}: cluster.members" in done.stderr, f"{other}: {done.stderr}")
        done = check(default + '\n[tls]\nca = "x"\n')
        expect(done.returncode == 2 and "tls: not supported by this release" in done.stderr, done.stderr)
        two = default.replace('{ id = 1, host = "127.0.0.1" },', '{ id = 1, host = "a" }, { id = 2, host = "b" },')
        done = check(two)
        expect(done.returncode == 2 and "several members: not supported by this release" in done.stderr, done.stderr)
        for arguments in [[], ["--dev", "--config", path], ["--data-dir", folder], ["--frob"], ["--config", folder / "none"],
                          ["--config", folder], ["--check-config", folder], ["--dev", "--data-dir", ""]]:
            done = run(wald, *arguments, check=False)
            expect(done.returncode == 2 and done.stderr.startswith("wald: "), f"{arguments}: {done.returncode} {done.stderr}")
        for argument in ["--version", "--help"]:
            expect(run(wald, argument).returncode == 0, argument)
            expect(run(program("walctl"), argument).returncode == 0, argument)


def a_foreign_directory_is_refused():
    with scratch() as folder:
        data = folder / "data"
        data.mkdir(mode=0o700)
        (data / "precious").write_text("not Walraft's")
        done = run(program("wald"), "--dev", "--data-dir", data, "--port-base", free_port_base(), check=False)
        expect(done.returncode == 3, f"exit {done.returncode}: {done.stderr}")
        expect((data / "precious").read_text() == "not Walraft's", "it was touched")
        # A file in the place of the directory is refused too; no write failed (exit 5).
        done = run(program("wald"), "--dev", "--data-dir", data / "precious", "--port-base", free_port_base(), check=False)
        expect(done.returncode == 3, f"a file: exit {done.returncode}: {done.stderr}")


def a_lost_catalogue_is_no_empty_node():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"x\n")
        time.sleep(1.5)  # the idle group says how far the log was durable
        expect(node.end() == 0, "SIGTERM")
        cluster = json.loads(node.walctl("-o", "json", "verify", "--data-dir", node.data).stdout)["cluster_uuid"]
        for segment in (node.data / "logs" / cluster).iterdir():
            segment.unlink()
        done = run(program("wald"), "--dev", "--data-dir", node.data, "--port-base", free_port_base(), check=False)
        expect(done.returncode == 3 and '"_system"' in done.stderr and "lost acknowledged" in done.stderr,
               f"exit {done.returncode}: {done.stderr}")


def a_config_runs():
    with scratch() as folder:
        base = free_port_base()
        text = run(program("wald"), "--print-default-config").stdout
        text = text.replace("/var/lib/walraft", str(folder / "data")).replace(":7400", f":{base}")
        (folder / "wald.toml").write_text(text)
        with running([program("wald"), "--config", folder / "wald.toml"], stderr=subprocess.PIPE) as process:
            def up():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", base)) == 0
            wait_until(up, "wald listens")
            done = subprocess.run([program("walctl"), "--endpoints", f"127.0.0.1:{base}", "append", "log", "--create"],
                                  input=b"x\n", stdout=subprocess.PIPE, timeout=20)
            expect(done.stdout == b"0\n", f"append: {done}")
            expect(stop(process, signal.SIGINT) == 0, "SIGINT ends with 0")


def systemd_is_told():
    with scratch() as folder:
        path = str(folder / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(path)
            listener.settimeout(20)
            environment = {**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
            environment.pop("WATCHDOG_PID", None)
            with running([program("wald"), "--dev", "--data-dir", folder / "data", "--port-base", free_port_base()],
                         env=environment, stderr=subprocess.DEVNULL) as process:
                said = [listener.recv(100) for _ in range(3)]
                expect(sorted(said) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"], f"it said {said}")
                process.send_signal(signal.SIGTERM)
                while listener.recv(100) != b"STOPPING=1":
                    pass
                expect(process.wait(20) == 0, "SIGTERM ends with 0")


def stopped_reader_costs_bounded_memory():
    """A tail that reads nothing: the server holds its queue, not the log (fault:K1)."""
    with server() as node:
        def resident():
            status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
            return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        line = b"y" * 999 + b"\n"
        node.walctl("append", "log", "--create", stdin=line * 40_000)
        tails = [node.spawn("tail", "log", "--from", "earliest", stdout=subprocess.PIPE) for _ in range(8)]
        time.sleep(1.0)
        for tail in tails:
            tail.send_signal(signal.SIGSTOP)
        before = resident()
        node.walctl("append", "log", stdin=line * 40_000)
        after = resident()
        for tail in tails:
            stop(tail)
            tail.stdout.close()
        expect(after < 300_000, f"{before} KiB resident before, {after} KiB after 40 MB more for 8 stopped readers")
        return f"{after >> 10} MiB resident"


def many_clients_append_at_once():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"")
        texts = {n: b"".join(b"client %d line %d\n" % (n, i) for i in range(5000)) for n in range(8)}
        clients = []
        for text in texts.values():
            client = node.spawn("append", "log", "--batch-records", "50", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            thread = threading.Thread(target=client.communicate, args=(text,))
            thread.start()
            clients.append((client, thread))
        for client, thread in clients:
            thread.join()
            expect(client.wait(30) == 0, "append")
        there = node.walctl("read", "log").stdout.splitlines(keepends=True)
        expect(len(there) == 40_000, f"{len(there)} records")
        for n, text in texts.items():
            own = b"".join(line for line in there if line.startswith(b"client %d " % n))
            expect(hashlib.sha256(own).digest() == hashlib.sha256(text).digest(), f"client {n}'s lines are in another order")


if __name__ == "__main__":
    gear.main(*((PREFIX + test.__name__, test) for test in (
        formats_come_back_byte_for_byte, from_count_until, exit_codes, interrupt_and_broken_pipe,
        closed_standard_descriptors, limits_of_records,
        kill_while_appending_and_tailing, a_slow_append_goes_out_before_its_input_ends,
        a_failure_is_noticed_while_the_input_rests, bad_frames_harm_nobody_else,
        two_servers_on_one_directory, port_in_use, verify_refuses_a_directory_in_use, verify_finds_a_flipped_bit,
        bad_configurations, a_foreign_directory_is_refused, a_lost_catalogue_is_no_empty_node, a_config_runs, systemd_is_told,
        stopped_reader_costs_bounded_memory, many_clients_append_at_once)))
