#!/usr/bin/env python3
"""Administration with real programs: walctl log and status, their outputs and exit codes; deletions across kill -9 and
restarts; what of a log a shell script relies on."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import gear
from gear import NotRun, expect, program, run, running, scratch, stop, wait_until
from node import free_port_base, server

PREFIX = "walctl_admin_test."
LOG_KEYS = ["name", "uuid", "id", "leader", "frontier", "members", "config"]


def said(done):
    return done.stdout.decode(), done.stderr.decode()


def refused(node, code, text, *arguments, **options):
    done = node.walctl(*arguments, check=False, **options)
    errors = done.stderr.decode()
    expect(done.returncode == code, f"walctl {' '.join(arguments)}: exit {done.returncode}, not {code}: {errors}")
    expect(errors.startswith("walctl: ") and text in errors and errors.count("\n") == 1, f"{arguments}: {errors!r}")
    expect(done.stdout == b"", f"{arguments} printed {done.stdout!r}")


def objects(node, *arguments):
    return [json.loads(line) for line in node.walctl("-o", "json", *arguments).stdout.splitlines()]


def make_list_describe_delete():
    with server() as node:
        out, _ = said(node.walctl("log", "create", "orders", "--segment-bytes", "1MiB", "--max-record-bytes", "100"))
        expect(out.startswith('log "orders": made, uuid '), out)
        uuid = re.search(r"uuid (\S+)", out)[1]
        again, _ = said(node.walctl("log", "create", "orders", "--segment-bytes", "1MiB", "--max-record-bytes", "100"))
        expect("already" in again and uuid in again, again)
        refused(node, 12, 'log "orders": it exists with other options', "log", "create", "orders")
        node.walctl("append", "orders", stdin=b"a\nb\n")
        refused(node, 10, "", "append", "orders", stdin=b"x" * 101 + b"\n")
        node.walctl("log", "create", "other")

        [made] = objects(node, "log", "create", "third")
        expect(list(made) == LOG_KEYS, f"log create -o json: {made}")
        log, = objects(node, "log", "describe", "orders")
        expect(list(log) == LOG_KEYS and log["uuid"] == uuid and log["leader"] == 1, f"describe: {log}")
        expect(log["frontier"] == {"commit": 2, "durable": 2, "tail": 2, "trim": 0, "term": 1, "epoch": 0}, f"{log}")
        expect(log["members"] == [{"id": 1, "role": "leader", "durable": 2, "lag": 0, "health": "ok"}], f"{log}")
        expect(log["config"] == {"replicas": 1, "retention_bytes": None, "retention_time": None, "segment_bytes": 1 << 20,
                                 "max_record_bytes": 100, "require_epoch": False}, f"{log}")
        expect([o["name"] for o in objects(node, "log", "list")] == ["orders", "other", "third"], "log list")
        expect([o["name"] for o in objects(node, "log", "list", "o")] == ["orders", "other"], "log list PREFIX")
        expect(objects(node, "log", "list", "none") == [], "log list without any")
        table, _ = said(node.walctl("log", "list"))
        rows = table.splitlines()
        expect(rows[0].split() == ["LOG", "LEADER", "TERM", "TRIM", "TAIL", "REPLICAS", "HEALTH"], table)
        expect(rows[1].split() == ["orders", "1", "1", "0", "2", "1", "ok"] and len(rows) == 4, table)
        whole, _ = said(node.walctl("log", "describe", "orders"))
        expect(uuid in whole and "1.0 MiB" in whole, whole)

        refused(node, 2, "say --yes", "log", "delete", "orders")
        expect(len(objects(node, "log", "list")) == 3, "it deleted without --yes")
        expect(said(node.walctl("log", "delete", "orders", "--yes"))[0] == 'log "orders": deleted\n', "log delete")
        refused(node, 3, 'log "orders": there is no such log', "log", "delete", "orders", "--yes")
        refused(node, 3, 'log "orders": there is no such log', "log", "describe", "orders")
        refused(node, 3, 'log "orders": there is no such log', "read", "orders")
        wait_until(lambda: not (node.data / "logs" / uuid).exists(), "the files of the deleted log are gone")
        expect(node.walctl("append", "orders", "--create", stdin=b"new\n").stdout == b"0\n", "the name is free again")
        expect(objects(node, "log", "describe", "orders")[0]["uuid"] != uuid, "the new log has the old uuid")


def wrong_requests():
    with server() as node:
        for name in ["a b", "", "-x", "a/b", "x" * 129, "\u00e4"]:
            refused(node, 2, "this is no name of a log" if not name.startswith("-") else "", "log", "create", name)
        for name in ["_system", "_x"]:
            refused(node, 2, f'log "{name}": names that start with _ are the system\'s', "log", "create", name)
        refused(node, 2, 'log "_system": names that start with _ are the system\'s', "append", "_system")
        refused(node, 3, "no such log", "log", "delete", "_system", "--yes")
        for options, text in [(["--replicas", "3"], "replicas: is 3; this cluster has 1 node"),
                              (["--retention-bytes", "1GiB"], "retention_bytes: is not supported by this release"),
                              (["--retention-time", "7d"], "retention_time: is not supported by this release"),
                              (["--require-epoch"], "require_epoch: is not supported by this release"),
                              (["--segment-bytes", "3MiB"], "segment_bytes: is 3145728; it must be a power of two"),
                              (["--segment-bytes", "2GiB"], "--segment-bytes: is 2GiB; it must be from 64KiB to 1GiB"),
                              (["--max-record-bytes", "5MiB"], "max_record_bytes: is 5242880; it must be at most 4194304"),
                              (["--max-record-bytes", "x"], "--max-record-bytes"), (["--replicas", "0"], "--replicas")]:
            refused(node, 2, text, "log", "create", "log", *options)
        expect(objects(node, "log", "list") == [], "something was made")
        for arguments in [["log"], ["log", "frob"], ["log", "create"], ["status", "--frob"], ["completion", "tcsh"]]:
            expect(node.walctl(*arguments, check=False).returncode == 2, f"{arguments}")


def status_says_how_it_goes():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"x\n")
        wait_until(lambda: objects(node, "status")[0]["nodes"][0]["disk"]["total_bytes"] > 0, "the disk was looked at")
        cluster, log = objects(node, "status")
        expect(list(cluster) == ["name", "uuid", "nodes"] and cluster["name"] == "dev", f"{cluster}")
        own = cluster["nodes"][0]
        expect([own[k] for k in ("id", "zone", "stream", "control", "http", "state", "health")] ==
               [1, "", *(f"127.0.0.1:{node.base + n}" for n in range(3)), "up", "ok"], f"{own}")
        expect(own["version"].startswith("wald ") and own["disk"]["sync_us"]["max"] > 0, f"{own}")
        expect(log["name"] == "log" and list(log) == LOG_KEYS, f"{log}")
        table, _ = said(node.walctl("status"))
        expect(re.search(r"^log +1 +leader +1 +1 +1 +0 +ok$", table, re.M), table)
        with running([program("walctl"), "status", "--watch", "-o", "json"], env=node.environment(),
                     stdout=subprocess.PIPE) as watch:
            names = [json.loads(watch.stdout.readline())["name"] for _ in range(4)]
            expect(names == ["dev", "log"] * 2, f"--watch: {names}")
            expect(stop(watch, signal.SIGINT) == 130, f"SIGINT: {watch.returncode}")
            watch.stdout.close()
        node.kill()
        refused(node, 9, f"127.0.0.1:{node.base}", "--timeout", "300ms", "status")


def a_log_that_lost_records_is_degraded():
    with server() as node:
        node.end_with_a_damaged_record()
        node.start()
        done = node.walctl("status", "-o", "json", check=False)
        log = json.loads(done.stdout.splitlines()[1])
        expect(done.returncode == 1 and log["members"][0]["health"] == "damaged", f"exit {done.returncode}: {log}")


def diskcheck_measures_and_leaves_nothing():
    with scratch() as folder:
        found = json.loads(run(program("walctl"), "-o", "json", "diskcheck", folder).stdout)
        writes = found["synced_write_us"]
        expect(found["directory"] == str(folder) and writes["bytes"] == 4096 and writes["count"] > 0, f"{found}")
        expect(writes["p50"] <= writes["p90"] <= writes["p99"] <= writes["p99.9"] <= writes["p99.99"], f"{found}")
        expect(found["bandwidth_mb_per_s"] > 0 and found["verdict"], f"{found}")
        expect(not list(folder.iterdir()), f"left behind: {list(folder.iterdir())}")
        done = run(program("walctl"), "diskcheck", folder / "nowhere", check=False)
        expect(done.returncode == 1 and f"{folder}/nowhere: cannot make a file" in done.stderr, f"{done}")


def deleted_under_tail_and_append():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"x\n")
        tail = node.spawn("tail", "log", "--from", "earliest", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        append = node.spawn("append", "log", "-o", "json", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        append.stdin.write(b"y\n")
        append.stdin.flush()
        expect(json.loads(append.stdout.readline())["offset"] == 1, "the append's answer")
        expect(tail.stdout.readline() + tail.stdout.readline() == b"x\ny\n", "the tail")
        node.walctl("log", "delete", "log", "--yes")
        expect(tail.wait(20) == 12, f"tail: exit {tail.returncode}")
        expect(tail.stderr.read() == b'walctl: log "log": it was deleted\n', "what the tail says")
        append.stdin.write(b"z\n")
        append.stdin.close()
        expect(append.wait(20) == 12, f"append: exit {append.returncode}: {append.stderr.read()}")
        for pipe in (tail.stdout, tail.stderr, append.stdout, append.stderr):
            pipe.close()


def killed_between_create_and_delete():
    """kill -9 while logs come and go: what was answered holds, and no file of a deleted log stays."""
    with server() as node:
        there = set()
        for cycle in range(max(2, int(gear.OPTIONS.cycles))):
            unclear = set()
            ended = threading.Event()

            def churn():
                for i in range(10_000):
                    name = f"log-{cycle}-{i}"
                    unclear.add(name)
                    if node.walctl("--timeout", "1s", "log", "create", name, check=False).returncode != 0:
                        break
                    if i % 3 != 0:
                        if node.walctl("--timeout", "1s", "log", "delete", name, "--yes", check=False).returncode != 0:
                            break
                    else:
                        there.add(name)
                    unclear.discard(name)
                ended.set()

            churner = threading.Thread(target=churn)
            churner.start()
            wait_until(lambda: len(there) > 3 * (cycle + 1) or ended.is_set(), "logs come and go", timeout=60)
            node.kill()
            churner.join()
            node.start()
            logs = {o["name"]: o["uuid"] for o in objects(node, "log", "list")}
            expect(there <= set(logs) <= there | unclear, f"made {sorted(there)}, unclear {sorted(unclear)}, found {sorted(logs)}")
            there = set(logs)

            def only_its_files():
                return len(list((node.data / "logs").iterdir())) == len(logs) + 1
            wait_until(only_its_files, "the files of deleted logs are gone")
            expect({p.name for p in (node.data / "logs").iterdir()} >= set(logs.values()), "a log has no files")
        expect(node.end() == 0, "SIGTERM")
        verified = node.walctl("verify", "--data-dir", node.data, check=False)
        expect(verified.returncode == 0, f"verify: {verified.stdout!r}")
        return f"{len(there)} logs"


def a_server_that_starts_later_is_found():
    with scratch() as folder:
        base = free_port_base()
        environment = {**os.environ, "WALRAFT_ENDPOINTS": f"127.0.0.1:{base}"}
        with running([program("walctl"), "--timeout", "60s", "append", "log", "--create"], env=environment,
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE) as append:
            append.stdin.write(b"early\n")
            append.stdin.close()
            time.sleep(1)
            expect(append.poll() is None, f"it did not wait: exit {append.returncode}")
            with running([program("wald"), "--dev", "--data-dir", folder / "data", "--port-base", base],
                         stderr=subprocess.DEVNULL):
                expect(append.wait(60) == 0 and append.stdout.read() == b"0\n", "the append")
            append.stdout.close()


def nothing_lands_behind_a_refused_batch():
    """Once batches behind a refused one were written, and the log had a hole in the middle of the input."""
    with server() as node:
        node.walctl("log", "create", "log", "--max-record-bytes", "100")
        good = b"".join(b"%06d\n" % i for i in range(20_000))
        done = node.walctl("append", "log", "--batch-records", "10", stdin=good + b"x" * 101 + b"\n" + good, check=False)
        expect(done.returncode == 10 and b"101 bytes" in done.stderr, f"exit {done.returncode}: {done.stderr}")
        there = node.walctl("read", "log").stdout
        expect(good.startswith(there), "what landed is no prefix of the input")
        at = there.count(b"\n")
        done = node.walctl("append", "log", "--batch-records", "10", "--expect-offset", str(at + 1), stdin=good, check=False)
        expect(done.returncode == 4 and node.walctl("read", "log").stdout == there, f"exit {done.returncode}: {done.stderr}")
        # Progress is for terminals, and two appenders of a log do not stop each other.
        first = node.spawn("append", "log", "--batch-records", "10", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        feeder = threading.Thread(target=first.communicate, args=(good,))
        feeder.start()
        second = node.walctl("append", "log", "--batch-records", "10", stdin=good)
        feeder.join()
        expect(first.returncode == 0 and second.stderr == b"", f"{first.returncode}, {second.stderr!r}")
        expect(node.walctl("read", "log").stdout.count(b"\n") == at + 40_000, "records of two appenders")


def shells_complete():
    walctl = program("walctl")
    script = f'source <("{walctl}" completion bash); COMP_WORDS=(walctl {{}}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _walctl; echo "${{COMPREPLY[@]}}"'
    for words, wanted in [("log d", {"describe", "delete"}), ("stat", {"status"}), ("log create --seg", {"--segment-bytes"}),
                          ("-o json log list --end", {"--endpoints"})]:
        done = run("bash", "-c", script.replace("{}", words))
        expect(set(done.stdout.split()) == wanted, f"walctl {words}: {done.stdout!r} {done.stderr!r}")
    for shell in ["zsh", "fish"]:
        text = run(walctl, "completion", shell).stdout
        expect("segment-bytes" in text and "describe" in text, f"{shell}: {text[:200]}")
        if shutil.which(shell):
            with scratch() as folder:
                (folder / "script").write_text(text)
                run(shell, "-n", folder / "script")


def zsh_and_fish_parse():
    missing = [shell for shell in ("zsh", "fish") if not shutil.which(shell)]
    if missing:
        raise NotRun(f"no {' and no '.join(missing)} here to parse its script")


def a_broken_pipe_is_silent_even_when_ignored():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b"line\n" * 200_000)
        script = f"trap '' PIPE; '{program('walctl')}' read log 2>'{node.data}.err' | head -n 1"
        done = subprocess.run(["bash", "-c", script], env=node.environment(), stdout=subprocess.PIPE, timeout=60)
        expect(done.stdout == b"line\n", f"{done}")
        expect((node.data.parent / (node.data.name + ".err")).read_bytes() == b"", "a broken pipe is said")


def dump_as_json():
    with server() as node:
        node.walctl("append", "log", "--create", stdin=b'say "hi"\\\n')
        expect(node.end() == 0, "SIGTERM")
        found = []
        for segment in sorted(node.data.glob("logs/*/*.segment")):
            found += [json.loads(line) for line in node.walctl("dump", segment, "--records", "-o", "json").stdout.splitlines()]
        expect(all(set(o) == {"byte", "damaged", "text"} and not o["damaged"] for o in found), f"{found[:5]}")
        expect(any('say "hi"' in o["text"] for o in found) and any(o["byte"] == 8192 for o in found), f"{found}")


if __name__ == "__main__":
    gear.main(*((PREFIX + test.__name__, test) for test in (
        make_list_describe_delete, wrong_requests, status_says_how_it_goes, a_log_that_lost_records_is_degraded,
        deleted_under_tail_and_append, killed_between_create_and_delete, a_server_that_starts_later_is_found,
        nothing_lands_behind_a_refused_batch, shells_complete, zsh_and_fish_parse,
        a_broken_pipe_is_silent_even_when_ignored, diskcheck_measures_and_leaves_nothing, dump_as_json)))
