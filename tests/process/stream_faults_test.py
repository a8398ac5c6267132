#!/usr/bin/env python3
# limit: 400 s
"""Clients that speak the stream protocol badly, too much or not at all, against a real wald. (fault:K1, K3, K4, K8, P6)"""

import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import struct
import time

import gear
import stream_peer as sp
from gear import expect
from stream_peer import Peer
from wald_node import LOG, OK, Append, Appends, Wald, read_all, read_from

TOO_LARGE = 10  # of walctl
MIB = 1 << 20


@contextlib.contextmanager
def wald(**options):
    with gear.scratch() as scratch, Wald(scratch / "data", **options) as node:
        yield node.expect_ready()
        expect(node.process.poll() is None, f"wald ended: {node.said[-3:]}")
        expect(node.end(signal.SIGTERM) == OK, node.said[-3:])


def append(node, text, *options, check=True):
    return node.walctl("append", LOG, "--create", *options, input=text, check=check)


def rss(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) << 10


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


# --- fault:K8 ---------------------------------------------------------------------------------------------------------


def fragments_at_each_byte():
    """A connection's bytes in two pieces, cut at each place in turn: nothing is lost, nothing is taken for anything else."""
    with wald() as node:
        append(node, "first\n")
        with Peer(node) as peer:
            log_id, _ = peer.open(1, LOG, sp.READER)
        everything = sp.hello() + sp.open_session(1, LOG, sp.APPENDER) + sp.append(1, 1, log_id, b"in pieces", b"")
        for cut in range(1, len(everything)):
            with Peer(node, greet=False) as peer:
                peer.send(everything[:cut])
                time.sleep(0.001)
                peer.send(everything[cut:])
                kinds = [peer.next()[0] for _ in range(3)]
                expect(kinds == [sp.WELCOME, sp.OPENED, sp.APPENDED], f"cut at byte {cut}: {kinds}")
        lines = read_all(node)
        expect(lines == ["first"] + ["in pieces", ""] * (len(everything) - 1), f"{len(lines)} records, other than were sent")
        return f"{len(everything) - 1} cuts"


def flipped_bytes_write_nothing():
    """Each byte of an APPEND that has a checksum, damaged on its way."""
    rng = random.Random(gear.OPTIONS.seed)
    with wald() as node:
        append(node, "first\n")
        with Peer(node) as peer:
            log_id, _ = peer.open(1, LOG, sp.READER)
        good = sp.append(1, 1, log_id, b"precious")
        stamp = range(32 + 24 + 56, 32 + 24 + 128)  # the server makes it
        places = [place for place in range(len(good)) if place not in stamp and not 32 <= place < 32 + 24]
        for place in places:
            bad = bytearray(good)
            bad[place] ^= 1 << rng.randrange(8)
            with Peer(node) as peer:
                peer.open(1, LOG, sp.APPENDER)
                peer.send(bytes(bad))
                peer.socket.shutdown(socket.SHUT_WR)
                kind, _, payload = peer.next()
                expect(kind in (sp.ERROR, None), f"byte {place}: answered by {kind} {payload!r}")
        expect(read_all(node) == ["first"], "a damaged batch is in the log")
        return f"{len(places)} bytes"


def claims_take_no_memory():
    """Connections that claim the largest frames and send a few bytes of them."""
    with wald() as node, contextlib.ExitStack() as stack:
        append(node, "first\n")
        before = rss(node)
        for _ in range(200):
            peer = stack.enter_context(Peer(node))
            peer.send(sp.frame(sp.APPEND, b"x" * 100, 1, length=8 * MIB))
        append(node, "others\n")
        grown = rss(node) - before
        expect(grown < 48 * MIB, f"200 claims of 8 MiB cost {grown} bytes")
        return f"{grown >> 10} KiB"


# --- fault:K3 ---------------------------------------------------------------------------------------------------------


def offsets_at_and_past_the_end():
    with wald() as node:
        append(node, "".join(f"{number}\n" for number in range(10)))
        for start in (10, 11, 10**6, 2**63, 2**64 - 1):
            records, code, errors = read_from(node, start)
            expect((records, code) == ([], 0), f"read from {start}: {records} exit {code}: {errors}")
        with Peer(node) as peer:
            log_id, start = peer.open(1, LOG, sp.SUBSCRIBER, start=(sp.OFFSET, 12), credit=MIB)
            expect(start == 12, f"a subscription from 12 starts at {start}")
            peer.open(2, LOG, sp.SUBSCRIBER, start=(sp.OFFSET, 2**64 - 1), credit=MIB)
            peer.open(3, LOG, sp.SUBSCRIBER, start=(sp.LATEST, 0), credit=MIB)
            peer.open(5, LOG, sp.APPENDER)
            peer.open(4, LOG, sp.SUBSCRIBER, start=(sp.LAST, 2**64 - 1), credit=MIB)
            seen = {}
            for number in range(10, 15):
                peer.send(sp.append(5, number - 9, log_id, str(number).encode()))
            answers = 0
            while answers < 5 or seen.get(1, (0, 0))[1] < 15 or seen.get(3, (0, 0))[1] < 15 or seen.get(4, (0, 0))[1] < 15:
                kind, channel, payload = peer.next()
                if kind == sp.APPENDED:
                    answers += 1
                    continue
                expect(kind == sp.RECORDS, f"{kind} on channel {channel}: {payload[:80]!r}")
                first, end, _ = sp.records_of(payload)
                expect(channel not in seen or seen[channel][1] == first, f"channel {channel}: {seen.get(channel)} then {first}")
                seen[channel] = (seen.get(channel, (first, 0))[0], end)
            expect(seen == {1: (12, 15), 3: (10, 15), 4: (0, 15)}, f"delivered: {seen}")


# --- fault:K4 ---------------------------------------------------------------------------------------------------------


def sizes_of_records_and_batches():
    """Empty and maximal records and batches are taken; one byte more is refused before anything is written."""
    with wald() as node, gear.scratch() as scratch:
        def raw(size, check=True):
            path = scratch / "record"
            path.write_bytes(b"r" * size)
            return node.walctl("append", LOG, "--create", "--format", "raw", path, check=check)

        def prefixed(sizes, check=True):
            path = scratch / "batch"
            path.write_bytes(b"".join(struct.pack("<I", size) + b"b" * size for size in sizes))
            return node.walctl("append", LOG, "--format", "length-prefixed", "--batch-records", len(sizes), path, check=check)

        raw(0)
        raw(MIB)  # limits.record_bytes_max
        refused = raw(MIB + 1, check=False)
        expect(refused.returncode == TOO_LARGE and str(MIB) in refused.stderr, f"exit {refused.returncode}: {refused.stderr}")
        prefixed([MIB] * 4)  # limits.batch_bytes_max
        prefixed([0] * 65536)  # the most records that a batch may have
        sizes = [len(line) for line in read_all(node)]
        expect(sizes == [0, MIB] + [MIB] * 4 + [0] * 65536, f"{len(sizes)} records of other sizes")
        with Peer(node) as peer:
            log_id, _ = peer.open(1, LOG, sp.APPENDER)
            over = struct.pack("<I", MIB) + b"o" * MIB
            body = over * 4 + struct.pack("<I", 1) + b"1"  # one byte above limits.batch_bytes_max
            head = struct.pack("<IBBHII", 0x54414257, 1, 0x81, 0, len(body), 5)
            fields = struct.pack("<IQQQQ", 0, log_id, 0, 0, 0)
            crc = struct.pack("<I", sp.crc32c(body + head[4:] + fields))
            peer.send(sp.frame(sp.APPEND, struct.pack("<QIIQ", 1, 0, 0, 0) + head + crc + fields + bytes(72) + body, 1))
            peer.send(sp.append(1, 2, log_id, b"after"))
            kind, _, payload = peer.next()
            expect(kind == sp.ERROR and sp.error_of(payload)[2] == "too_large", f"{kind}: {payload[:100]!r}")
            expect(peer.next()[0] == sp.APPENDED, "the session goes on")
        expect(read_all(node)[len(sizes):] == ["after"], "what was refused is in the log")


# --- fault:K1 ---------------------------------------------------------------------------------------------------------


def stopped_readers():
    """Subscribers with all the credit in the world that never read: bounded memory, others unharmed, let go, resumable."""
    rng = random.Random(gear.OPTIONS.seed)
    with wald() as node, contextlib.ExitStack() as stack:
        append(node, "".join("x" * 1000 + "\n" for _ in range(40000)))
        before = rss(node)
        began = time.monotonic()
        stopped = [stack.enter_context(Peer(node, receive_buffer=64 << 10)) for _ in range(40)]
        for peer in stopped:
            peer.open(1, LOG, sp.SUBSCRIBER, credit=1 << 30)
        appends = Appends()
        with Append(node, appends, "beside", rng, batch_records=10) as client:
            expect(client.wait_for_first(), "no append is acknowledged beside stopped readers")
            time.sleep(3)
            client.process.send_signal(signal.SIGTERM)
        grown = rss(node) - before
        # 64 MiB wait for all, what was fetched meanwhile, the tail cache (64 MiB) that the appends filled.
        expect(grown < 250 * MIB, f"40 stopped readers cost {grown >> 20} MiB")
        first, reached, _ = sp.records_of(stopped[0].next()[2])  # one reads a little, and then goes for good
        expect(first == 0 and reached > 0, f"it got {first} to {reached}")
        gear.wait_until(lambda: descriptors(node) < 60, "the stopped readers are let go", timeout=90)
        waited = time.monotonic() - began
        expect(waited > 25, f"they were let go after {waited:.0f} s")
        with Peer(node) as again:
            _, start = again.open(1, LOG, sp.SUBSCRIBER, start=(sp.OFFSET, reached), credit=MIB)
            kind, _, payload = again.next()
            expect(start == reached and kind == sp.RECORDS and sp.records_of(payload)[0] == reached, f"{start} {kind}")
        return f"{grown >> 20} MiB, let go after {waited:.0f} s"


# --- fault:P6 ---------------------------------------------------------------------------------------------------------


def out_of_descriptors():
    """Connections take all descriptors but those of the log: what is open goes on, through new segments too."""
    limit = 128
    with wald(prefix=["prlimit", f"--nofile={limit}:{limit}"]) as node, contextlib.ExitStack() as stack:
        append(node, "first\n")
        with Peer(node) as peer:
            log_id, _ = peer.open(1, LOG, sp.APPENDER)
            for _ in range(3 * limit):
                flood = stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=20))
                flood.sendall(sp.hello())
            deadline = time.monotonic() + 20
            while descriptors(node) < limit * 3 // 4 - 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            open_now = descriptors(node)
            expect(limit * 3 // 4 - 2 <= open_now <= limit * 3 // 4 + 12, f"{open_now} of {limit} descriptors are open")
            gear.wait_until(lambda: any(re.search(r" warning connections refused: 0 above .*, [1-9]\d* for want of file desc", line)
                                        for line in node.said), "the log says that connections are refused")
            for request in range(1, 101):  # 20 MB: segments are made, sealed and read
                peer.send(sp.append(1, request, log_id, b"g" * 200_000))
                kind, _, payload = peer.next()
                while kind == sp.PING:
                    peer.send(sp.frame(sp.PONG, payload))
                    kind, _, payload = peer.next()
                expect(kind == sp.APPENDED, f"append {request}: {kind} {payload[:100]!r}")
            peer.open(2, LOG, sp.READER)
            peer.send(sp.read(2, 1, 3, 100))
            expect(peer.next()[0] == sp.RECORDS, "no old data is read")
            stack.close()
            gear.wait_until(lambda: node.walctl("append", LOG, input="again\n", check=False).returncode == 0,
                            "a new connection when there is room")
            expect(read_all(node)[-1] == "again", "the append after")
        return f"{open_now} of {limit} were open"


def sealed_segments_stay_closed():
    """Hundreds of segments used to hold a descriptor each."""
    with gear.scratch() as scratch, Wald(scratch / "data") as node:
        node.expect_ready()
        chunk = ("y" * 999 + "\n") * 16000
        for _ in range(12):  # 192 MB
            append(node, chunk, "--batch-records", "500")
        segments = len(list((scratch / "data").glob("logs/*/*.segment")))
        during = descriptors(node)
        expect(segments > 40, f"only {segments} segments: the test shows nothing")
        expect(during < 60, f"{during} descriptors are open with {segments} segments")
        count = node.walctl("read", LOG, "--from", "0", "--format", "raw", timeout=120).stdout.count("y" * 999)
        expect(count == 12 * 16000, f"{count} records")
        after = descriptors(node)
        expect(after < 75, f"{after} descriptors are open after all was read")
        expect(node.end(signal.SIGTERM) == OK, node.said[-3:])
        with Wald(scratch / "data", prefix=["prlimit", "--nofile=96:96"]) as again:
            expect(len(read_from(again.expect_ready(), 0, "--count", "5")[0]) == 5, "it opens all of them at its start")
            expect(again.end(signal.SIGTERM) == OK, again.said[-3:])
        return f"{segments} segments, {during} and {after} descriptors"


if __name__ == "__main__":
    gear.main(
        ("fault:K8.fragments_at_each_byte", fragments_at_each_byte),
        ("fault:K8.flipped_bytes_write_nothing", flipped_bytes_write_nothing),
        ("fault:K8.claims_take_no_memory", claims_take_no_memory),
        ("fault:K3.offsets_at_and_past_the_end", offsets_at_and_past_the_end),
        ("fault:K4.sizes_of_records_and_batches", sizes_of_records_and_batches),
        ("fault:K1.stopped_readers", stopped_readers),
        ("fault:P6.out_of_descriptors", out_of_descriptors),
        ("fault:P6.sealed_segments_stay_closed", sealed_segments_stay_closed),
    )
