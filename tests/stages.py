"""The stages behind tests/run, in their order, with their budgets. The machinery is in tests/runner.py."""

import argparse
import re
import sys

from runner import ROOT, Runner, read_exit_code, read_figures, read_gtest, read_lines

# Folders of tests/unit without threads: nothing for TSan to find there.
SINGLE_THREADED = {"base", "core", "core_search", "replication", "dev"}


# --- What there is to run ---------------------------------------------------------------------------------------------
def unit_programs():
    folders = sorted(p.name for p in (ROOT / "tests/unit").glob("*") if p.is_dir() and any(p.rglob("*.cc")))
    return [f"unit_{folder}" for folder in folders if folder != "simulator"]  # it has a stage of its own


def has(pattern):
    return any(ROOT.glob(pattern))


def fuzzers():
    return sorted(p.stem for p in ROOT.glob("tests/fuzz/*_fuzz.cc"))


def process_tests(stage_name):
    """tests/process/*_test.{py,sh} whose header says `# stage: NAME` (process if it says nothing), with time limits."""
    found = []
    for path in sorted(ROOT.glob("tests/process/*_test.*")):
        head = path.read_text(errors="replace")[:2000]
        stage = re.search(r"^# stage: (\S+)", head, re.M)
        limit = re.search(r"^# limit: (\d+) s", head, re.M)
        if (stage[1] if stage else "process") == stage_name:
            found.append((path, int(limit[1]) if limit else 120))
    return found


def run_gtest(stage, tree, programs, env=None):
    for program in programs:
        if (ROOT / "build" / tree / "bin" / program).exists():
            stage.run(program, [f"build/{tree}/bin/{program}"], read_gtest, env=env)
        else:
            stage.counts.failed.append(f"{program}: build/{tree}/bin/{program} was not built")
            print(f"  FAILED {program}: it was not built")


def run_corpus(stage, tree):
    for target in fuzzers():
        corpus = f"tests/data/fuzz/{target.removesuffix('_fuzz')}"
        stage.run(target, [f"build/{tree}/bin/{target}", corpus], read_exit_code)


def run_process_tests(stage, which, tree, cycles):
    tests = process_tests(which)
    env = {"WALRAFT_BUILD": str(ROOT / "build" / tree), "WALRAFT_SOURCE": str(ROOT), "WALRAFT_CYCLES": str(cycles)}
    for path, limit in tests:
        command = ["python3", str(path)] if path.suffix == ".py" else ["bash", str(path)]
        stage.run(path.stem, command, read_lines, limit=limit, env=env)


# --- Stages -----------------------------------------------------------------------------------------------------------
def stage_tidy(stage):
    stage.run("tidy", ["python3", "tools/dev/tidy.py"], read_lines)


def stage_build(stage):
    stage.build("test", ["-DWALRAFT_MUTANTS=ON"], [])


def stage_unit(stage):
    for path in sorted(ROOT.glob("tests/unit/*/*_test.py")):
        stage.run(path.stem, ["python3", str(path)], read_lines)
    if stage.built("test"):
        run_gtest(stage, "test", unit_programs())


def stage_datadriven(stage):
    if has("tests/datadriven/*.cc") and stage.built("test"):
        run_gtest(stage, "test", ["datadriven"])


def stage_crash(stage):
    if has("tests/crash/*.cc") and stage.built("test"):
        run_gtest(stage, "test", ["crash"])


def stage_simulator(stage):
    if has("tests/unit/simulator/*.cc") and stage.built("test"):
        run_gtest(stage, "test", ["unit_simulator"])


def stage_corpus(stage):
    if fuzzers() and stage.built("test"):
        run_corpus(stage, "test")


def stage_process(stage):
    if process_tests("process") and stage.built("test"):
        run_process_tests(stage, "process", "test", cycles=3)


def stage_asan(stage):
    targets = ["all_tests"]
    if stage.build("asan", ["-DWALRAFT_SANITIZE=address", "-DWALRAFT_MUTANTS=ON"], targets):
        run_gtest(stage, "asan", unit_programs())
        run_gtest(stage, "asan", [p for p in ("datadriven", "crash") if has(f"tests/{p}/*.cc")])
        run_gtest(stage, "asan", ["unit_simulator"], env={"WALRAFT_SIM_RUNS": "60", "GTEST_FILTER": "Simulator.*"})
        run_corpus(stage, "asan")


def stage_tsan(stage):
    programs = [p for p in unit_programs() if p.removeprefix("unit_") not in SINGLE_THREADED]
    if programs and stage.build("tsan", ["-DWALRAFT_SANITIZE=thread", "-DWALRAFT_MUTANTS=ON"], programs):
        run_gtest(stage, "tsan", programs, env={"TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1 die_after_fork=0"})


def fuzz(stage, seconds):
    targets = fuzzers()
    if not targets or not stage.build("fuzz", ["-DWALRAFT_SANITIZE=fuzz"], ["all_fuzzers"]):
        return
    for target in targets:
        name = target.removesuffix("_fuzz")
        grown = ROOT / "build" / "fuzz-corpus" / name
        grown.mkdir(parents=True, exist_ok=True)
        _, output = stage.run(target, [
            f"build/fuzz/bin/{target}", str(grown), f"tests/data/fuzz/{name}", f"-max_total_time={seconds}",
            "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix=build/logs/{name}-",
        ], read_exit_code, limit=seconds + 60)
        if match := re.search(r"stat::number_of_executed_units:\s*(\d+)", output):
            print(f"    {match[1]} inputs in {seconds} s", flush=True)


def stage_fuzz(stage):
    fuzz(stage, 20)


def stage_release(stage):
    if stage.build("release", ["-DCMAKE_BUILD_TYPE=Release"], []):
        run_process_tests(stage, "release", "release", cycles=3)


def stage_search(stage):
    """The scopes of the exhaustive search that are too large for every day."""
    if stage.built("test"):
        _, output = stage.run("core_search", ["build/test/bin/unit_core_search", "--gtest_filter=CoreSearch.NothingGoesWrong*"],
                              read_gtest, env={"WALRAFT_SEARCH": "all"})
        for line in output.splitlines():
            if " states, " in line:
                print(f"    | {line}")


def stage_power(stage):
    if process_tests("power") and stage.built("test"):
        run_process_tests(stage, "power", "test", cycles=10)


def stage_bench(stage):
    """Each benchmark runs once, shortly: it must work and print figures. What they are is not judged here.

    A benchmark with a main() of its own takes --quick; the others are Google Benchmark's.
    """
    if not stage.built("release"):
        return
    for source in sorted(ROOT.glob("bench/*.cc")):
        program = ROOT / "build/release/bin" / f"bench_{source.stem}"
        if not program.exists():
            stage.not_run(f"bench_{source.stem}", "not built (libbenchmark-dev is missing)")
            continue
        quick = "--quick" if re.search(r"^int main\(", source.read_text(), re.M) else "--benchmark_min_time=0.05"
        _, output = stage.run(f"bench_{source.stem}", [str(program), quick], read_figures, limit=180)
        for line in output.splitlines()[-60:]:
            print(f"    | {line}")


def stage_demo(stage):
    if (ROOT / "tools/dev/demo").exists() and has("tools/wald/*.cc"):
        stage.run("demo", ["tools/dev/demo", "--no-setup"], read_exit_code)


def stage_long_fuzz(stage):
    fuzz(stage, 600)


def stage_power_cycles(stage):
    if process_tests("power") and stage.built("test"):
        run_process_tests(stage, "power", "test", cycles=300)


def stage_lint(stage):
    """clang-tidy over every source, with the flags of the fuzz tree, which clang understands."""
    if not stage.build("fuzz", ["-DWALRAFT_SANITIZE=fuzz"], ["all_fuzzers"]):
        return
    sources = sorted(p for top in ("wal", "replication", "rpc", "client", "tools") for p in (ROOT / top).rglob("*.cc"))
    for path in sources:
        name = str(path.relative_to(ROOT))
        stage.run(name, ["clang-tidy-19", "-p", "build/fuzz", "--quiet", "--warnings-as-errors=*", name],
                  read_exit_code, limit=300)


def stage_root(stage):
    run_process_tests(stage, "nightly", "test", cycles=100)


# name, set, budget in seconds (a hard limit: what runs longer is ended), function, what it is
STAGES = [
    ("tidy", "default", 60, stage_tidy, "layers, links, names: tools/dev/tidy.py"),
    ("build", "default", 1500, stage_build, "the test tree, with the planted bugs compiled in (build/test)"),
    ("unit", "default", 240, stage_unit, "tests/unit: one program a folder"),
    ("datadriven", "default", 120, stage_datadriven, "tests/data scripts with golden output"),
    ("crash", "default", 300, stage_crash, "tests/crash: every crash point on the disk that forgets"),
    ("simulator", "default", 900, stage_simulator, "tests/unit/simulator: clusters in one thread, fresh seeds and planted bugs"),
    ("corpus", "default", 60, stage_corpus, "tests/data/fuzz through the fuzz targets"),
    ("process", "default", 600, stage_process, "tests/process: real processes, real signals"),
    ("asan", "all", 1800, stage_asan, "unit, datadriven, crash, simulator, corpus under ASan and UBSan (build/asan)"),
    ("tsan", "all", 1200, stage_tsan, "unit tests of threaded layers under TSan (build/tsan)"),
    ("fuzz", "all", 1500, stage_fuzz, "libFuzzer, 20 s a target (build/fuzz)"),
    ("release", "all", 1500, stage_release, "the hardened tree that is shipped (build/release)"),
    ("search", "all", 1200, stage_search, "the exhaustive search of the protocol in its larger scopes"),
    ("power", "all", 900, stage_power, "power cuts under real file systems, 10 cycles"),
    ("bench", "all", 600, stage_bench, "every benchmark, briefly; prints figures, judges none"),
    ("demo", "all", 480, stage_demo, "tools/dev/demo"),
    ("lint", "nightly", 7200, stage_lint, "clang-tidy over every source"),
    ("long-fuzz", "nightly", 36000, stage_long_fuzz, "libFuzzer, 10 minutes a target"),
    ("power-cycles", "nightly", 14400, stage_power_cycles, "power cuts, 300 cycles"),
    ("minimal-root", "nightly", 7200, stage_root, "the README's two commands in a bare Debian 12, and other long tests"),
]


def parse_duration(text):
    match = re.fullmatch(r"(\d+)(s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration like 90s, 75m or 8h")
    return int(match[1]) * {"s": 1, None: 1, "m": 60, "h": 3600}[match[2]]


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description="Runs the tests; tests/README.md says what each stage is.")
    parser.add_argument("--all", action="store_true", help="the everyday set and everything a change must pass")
    parser.add_argument("--nightly", action="store_true", help="what takes hours (builds the test tree first)")
    parser.add_argument("--deadline", type=parse_duration, default=10 * 3600, metavar="75m",
                        help="stages that do not fit are printed as NOT RUN")
    parser.add_argument("--stage", action="append", metavar="NAME", help="only this stage; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the stages and end")
    parser.add_argument("--yes", action="store_true", help="install missing packages without asking")
    parser.add_argument("--no-setup", action="store_true", help="install nothing")
    options = parser.parse_args()

    if options.list:
        for name, group, budget, _, text in STAGES:
            print(f"{name:<13} {group:<8} {budget:>6} s  {text}")
        return 0
    names = [s[0] for s in STAGES]
    for name in options.stage or []:
        if name not in names:
            parser.error(f"no stage '{name}'; there are {', '.join(names)}")
    if options.stage:
        chosen = [s for s in STAGES if s[0] in options.stage]
    elif options.nightly:
        chosen = [s for s in STAGES if s[0] == "build" or s[1] == "nightly"]
    else:
        chosen = [s for s in STAGES if s[1] == "default" or (options.all and s[1] == "all")]

    runner = Runner()
    runner.run(chosen, options.deadline)
    return runner.summary()


if __name__ == "__main__":
    sys.exit(main())
