#!/usr/bin/env python3
"""walbench on real servers: each command briefly, its JSON, and that its counts are what the log holds."""

import json
import os
import pathlib
import signal
import subprocess
import time

import gear
from gear import expect, program, run, scratch, start, stop, wait_until
from node import server

PREFIX = "walbench_test."
BRIEF = ["--duration", "300ms", "--warmup", "100ms", "--limit-time", "50ms"]
LATENCY = {"count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"}


def check_latency(latency, what):
    expect(set(latency) == LATENCY, f"{what}: keys are {sorted(latency)}")
    expect(latency["count"] > 0, f"{what}: nothing was measured")
    ordered = [latency[key] for key in ["p50", "p90", "p99", "p99.9", "p99.99", "max"]]
    expect(0 < ordered[0] and ordered == sorted(ordered), f"{what}: {latency}")


def check_limits(limits):
    for key in ["synced_write_us", "synced_write_three_us", "round_trip_us"]:
        check_latency(limits[key], key)
    for key in ["synced_bytes_per_s", "synced_three_bytes_per_s", "tcp_bytes_per_s"]:
        expect(limits[key] > 0, f"{key} is {limits[key]}")


def check_cell(cell, local):
    check_latency(cell["latency_us"], cell["command"])
    check_limits(cell["limits"])
    expect(cell["records"] > 0 and cell["records_per_s"] > 0 and cell["seconds"] > 0, f"no records: {cell}")
    expect(abs(cell["records"] / cell["seconds"] / cell["records_per_s"] - 1) < 1e-6, f"the rate is not the count's: {cell}")
    expect(cell["tail_after"] - cell["tail_before"] == cell["acknowledged"], f"not what the log holds: {cell}")
    expect(cell["verdict"] and cell["durability"], f"says nothing: {cell}")
    expect((cell["server_rss_peak_bytes"] or 0) > 1 << 20 if local else cell["server_cpu_s"] is None, f"the server's use: {cell}")


def bench(*arguments, folder, check=True):
    return run(program("walbench"), *arguments, cwd=folder, check=check, timeout=100)


def local(folder, *arguments):
    done = bench(*arguments, *BRIEF, "--local", "1", "-o", "json", folder=folder)
    result = json.loads(done.stdout)
    expect(result["format"] == "walbench-1" and result["server"] == "--local 1", f"head: {done.stdout[:300]}")
    expect(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")
    for cell in result["cells"]:
        check_cell(cell, local=True)
    return result["cells"]


def limits():
    with scratch() as folder:
        check_limits(json.loads(bench("limit", "--duration", "50ms", "-o", "json", folder=folder).stdout))
        expect(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def append_in_flight():
    with scratch() as folder:
        cells = local(folder, "append", "--size", "32,1KiB", "--inflight", "1,16", "--connections", "2")
        expect([(c["size"], c["inflight"]) for c in cells] == [(32, 1), (32, 16), (1024, 1), (1024, 16)], "cells")
        for cell in cells:
            expect(cell["durable_on"] == [1], f"durable on {cell['durable_on']}")
            inside, whole = cell["server_sync_us"], cell["latency_us"]
            expect(inside["count"] == whole["count"] and 0 < inside["mean"] < whole["mean"], f"server_sync_us: {inside} of {whole}")
            expect(cell["acknowledged"] >= cell["records"] >= cell["operations"], f"counts: {cell}")


def append_in_batches():
    with scratch() as folder:
        (cell,) = local(folder, "append", "--size", "32", "--batch-bytes", "4KiB", "--inflight", "4")
        expect(cell["records_per_append"] == 128 and cell["records"] == 128 * cell["operations"], f"counts: {cell}")


def append_open_loop():
    with scratch() as folder:
        (cell,) = local(folder, "append", "--rate", "500")
        # Every append that was due in the 300 ms is counted, however late it was answered.
        expect(149 <= cell["latency_us"]["count"] <= 151, f"500/s for 0.3 s: {cell['latency_us']}")
        expect(cell["acknowledged"] == 200, f"500/s for 0.4 s: {cell['acknowledged']}")


def read():
    with scratch() as folder:
        (cell,) = local(folder, "read", "--fill", "1MiB", "--size", "1000")
        expect(cell["acknowledged"] * 1000 >= 1 << 20 and cell["operations"] <= cell["records"], f"counts: {cell}")


def tail():
    with scratch() as folder:
        for more in [["--inflight", "8"], ["--rate", "300"]]:
            local(folder, "tail", "--size", "64", *more)


def mixed():
    with scratch() as folder:
        (cell,) = local(folder, "mixed", "--fill", "2MiB", "--inflight", "8", "--readers", "2")
        beside = cell["mixed"]
        expect(len(beside["alone_records_per_s"]) == len(beside["beside_records_per_s"]) == 3, f"rounds: {beside}")
        expect(beside["reader_records"] > 0 and beside["reader_bytes_per_s"] > 0, f"the readers read nothing: {beside}")


def counts_are_what_another_client_finds():
    with server() as node, scratch() as folder:
        done = bench("append", "--endpoints", f"127.0.0.1:{node.base}", "--log", "bench", "--size", "100", "--inflight", "8",
                     *BRIEF, "--json", "one.json", folder=folder)
        expect("bench (kept)" in done.stdout and "verdict:" in done.stdout, f"table: {done.stdout}")
        (cell,) = json.loads((folder / "one.json").read_text())["cells"]
        check_cell(cell, local=False)
        data = node.walctl("read", "bench", "--format", "length-prefixed").stdout
        expect(len(data) == 104 * cell["acknowledged"], f"{len(data)} bytes in the log, {cell['acknowledged']} acknowledged")

        done = bench("append", "--endpoints", f"127.0.0.1:{node.base}", "--log", "bench", "--size", "100", "--inflight", "8",
                     *BRIEF, "--baseline", "one.json", folder=folder)
        expect("of the baseline" in done.stdout, f"--baseline: {done.stdout}")
        expect("verdict" in bench("report", "one.json", folder=folder).stdout, "report")


def an_append_that_fails_ends_the_run():
    with server() as node, scratch() as folder:
        done = bench("append", "--endpoints", f"127.0.0.1:{node.base}", "--size", "2MiB", *BRIEF, folder=folder, check=False)
        expect(done.returncode == 10 and "1048576" in done.stderr, f"a record that is too large: {done}")
        node.kill()
        done = bench("append", "--endpoints", f"127.0.0.1:{node.base}", *BRIEF, folder=folder, check=False)
        expect(done.returncode == 9 and "refused" in done.stderr, f"no server: {done}")


def wrong_usage():
    with scratch() as folder:
        for arguments in [[], ["append", "--size", "0"], ["append", "--local", "2"], ["append", "--inflight", "x"],
                          ["append", "--duration", "5"], ["tail", "--size", "1"], ["limit", "--data-dir", "nowhere"],
                          ["append", "-o", "xml"], ["failover"]]:
            done = bench(*arguments, folder=folder, check=False)
            expect(done.returncode == 2 and done.stderr.startswith("walbench: ") and done.stdout == "", f"{arguments}: {done}")
        (folder / "bad.json").write_text("{}")
        done = bench("report", "bad.json", folder=folder, check=False)
        expect(done.returncode == 2 and "bad.json" in done.stderr, f"report: {done}")


def an_interrupted_run_leaves_nothing():
    with scratch() as folder:
        process = start([program("walbench"), "append", "--local", "1", "--duration", "1h"], cwd=folder,
                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: list(folder.glob("walbench-*/data/logs/*/*")), "the server holds a log")
        servers = [p for p in pathlib.Path("/proc").glob("[0-9]*/stat") if f" {process.pid} " in text(p)[:200]]
        expect(servers, "the server is a child of walbench")
        time.sleep(0.2)
        expect(stop(process, signal.SIGINT) == 130, "the exit code of an interrupted run")
        expect(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")
        wait_until(lambda: not any(p.exists() for p in servers), "the server ended")


def text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    gear.main(*((PREFIX + test.__name__, test) for test in [
        limits, append_in_flight, append_in_batches, append_open_loop, read, tail, mixed,
        counts_are_what_another_client_finds, an_append_that_fails_ends_the_run, wrong_usage,
        an_interrupted_run_leaves_nothing,
    ]))
