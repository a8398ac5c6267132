#!/usr/bin/env python3
"""Tidiness as a test: what a reviewer would otherwise have to look for in every change.

Each check prints "ok tidy.NAME", or one "FAIL tidy.NAME: file:line: what is wrong; what to write instead" per finding.
Exit code 1 if there is any. Files over 500 lines are listed as notes, not as failures.

  tools/dev/tidy.py              the checkout
  tools/dev/tidy.py --root DIR   another tree (tests plant violations in one)
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

# What a folder may include, longest prefix first: wal <- replication <- rpc <- tools, the client beside them.
# Values are prefixes of the project's own includes.
LAYERS = [
    ("wal/base/", ["wal/base/"]),
    ("wal/", ["wal/"]),
    ("replication/core/", ["replication/core/", "wal/base/"]),
    ("replication/", ["replication/", "wal/"]),
    ("rpc/wire/", ["rpc/wire/", "wal/base/", "wal/batch"]),
    ("rpc/stream/", ["rpc/stream/", "rpc/wire/", "replication/", "wal/"]),
    ("rpc/control/", ["rpc/control/", "rpc/wire/", "replication/", "wal/"]),
    ("rpc/gateway/", ["rpc/", "client/", "replication/", "wal/"]),
    ("client/", ["client/", "rpc/wire/", "wal/base/", "wal/batch"]),
    ("tools/", ["tools/", "client/", "rpc/", "replication/", "wal/"]),
    ("bench/", ["bench/", "tools/", "client/", "rpc/", "replication/", "wal/"]),
    ("tests/fuse/", ["tests/fuse/"]),
    ("tests/preload/", ["tests/preload/"]),
    ("tests/", ["tests/", "tools/", "client/", "rpc/", "replication/", "wal/"]),
]
TOP_LEVEL = {"CMakeLists.txt", "README.md", "LICENSE", "wal", "replication", "rpc", "client", "tools", "tests", "bench",
             "ansible"}
FOLDERS = "wal|replication|rpc|client|tools|tests|bench|ansible"
LINES_MAX = 500
SOURCE = (".h", ".cc", ".c")
TEXT = SOURCE + (".md", ".py", ".sh", ".txt", ".toml", ".yml", ".yaml", ".capnp", ".cmake", ".js", ".css", ".html", "")


class Tree:
    """The files under check: what git tracks or would track, read once."""

    def __init__(self, root):
        self.root = root
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                capture_output=True, check=False) if (root / ".git").exists() else None
        if listed and listed.returncode == 0:
            names = [n for n in listed.stdout.decode().split("\0") if n]
        else:  # an exported tree
            names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]
            names = [n for n in names if not n.startswith(("build/", ".git/")) and "__pycache__" not in n]
        self.names = sorted(n for n in names if (root / n).is_file())
        self.text = {}
        for name in self.names:
            if Path(name).suffix in TEXT and not name.startswith("tests/data/fuzz/"):
                try:
                    self.text[name] = (root / name).read_bytes().decode()
                except UnicodeDecodeError:
                    pass

    def lines(self, *suffixes, under=""):
        for name, text in self.text.items():
            if name.startswith(under) and (not suffixes or name.endswith(suffixes)):
                for number, line in enumerate(text.splitlines(), 1):
                    yield name, number, line


# --- Checks: each yields "file:line: complaint; replacement" ----------------------------------------------------------
def check_layers(tree):
    """Includes follow the direction of the layers, and say the whole path."""
    for name, number, line in tree.lines(*SOURCE):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        target = match[1]
        if not re.match(rf"({FOLDERS})/", target):
            yield f'{name}:{number}: include "{target}" by its path from the project root, like "wal/base/ids.h"'
            continue
        for prefix, allowed in LAYERS:
            if name.startswith(prefix):
                if not target.startswith(tuple(allowed)):
                    yield (f"{name}:{number}: {prefix} must not include {target}; it may include "
                           f"{', '.join(allowed)} (wal <- replication <- rpc <- tools). Move the code down, or pass an "
                           "interface in from above")
                break
    for name, number, line in tree.lines(".h"):
        if name.startswith(("wal/", "replication/", "client/include/")) and \
                (match := re.match(r"\s*#\s*include\s+<((?:boost|kj|capnp)/[^>]+)>", line)):
            yield f"{name}:{number}: <{match[1]}> is slow to compile for all who include this; use it in the .cc"


def check_reached(tree):
    """Every test and every data file is run by something."""
    names = set(tree.names)
    fuzz_targets = {Path(n).stem.removesuffix("_fuzz") for n in names if re.fullmatch(r"tests/fuzz/\w+_fuzz\.cc", n)}
    corpora = {n.split("/")[3] for n in names if re.match(r"tests/data/fuzz/[^/]+/", n)}
    for target in sorted(fuzz_targets - corpora):
        yield f"tests/fuzz/{target}_fuzz.cc:1: no corpus; put at least one input into tests/data/fuzz/{target}/"
    for corpus in sorted(corpora - fuzz_targets):
        yield f"tests/data/fuzz/{corpus}/:1: no target reads it; add tests/fuzz/{corpus}_fuzz.cc or delete it"
    test_code = "\n".join(t for n, t in tree.text.items() if n.startswith(("tests/", "bench/")) and "/data/" not in n)
    scripts_run = any(re.match(r"tests/datadriven/.*\.cc$", n) for n in names)
    for name in tree.names:
        base = Path(name).name
        if re.search(r"_test\.cc$", name) and not re.match(r"tests/(unit/[^/]+/|crash/[^/]+$)", name):
            yield f"{name}:1: no program builds it; move it to tests/unit/FOLDER/ or tests/crash/"
        elif re.search(r"_fuzz\.cc$", name) and not re.match(r"tests/fuzz/[^/]+$", name):
            yield f"{name}:1: no program builds it; move it to tests/fuzz/"
        elif re.search(r"_test\.(py|sh)$", name) and not re.match(r"tests/(unit/[^/]+|process)/[^/]+$", name):
            yield f"{name}:1: no stage runs it; move it to tests/process/ or tests/unit/FOLDER/"
        elif re.match(r"tests/process/[^/]+\.(py|sh)$", name) and not re.search(r"_test\.(py|sh)$", name):
            if not re.search(rf"\b{re.escape(Path(name).stem)}\b", test_code.replace(tree.text.get(name, ""), "")):
                yield f"{name}:1: nothing uses it; name it *_test{Path(name).suffix} to have it run, or delete it"
        elif name.startswith("tests/data/") and not name.startswith("tests/data/fuzz/"):
            folder = name.split("/")[2]
            if not (name.endswith(".txt") and scripts_run) and base not in test_code and f"data/{folder}" not in test_code:
                yield f"{name}:1: no test names it; name it in the test that reads it, or delete it"


def anchor(heading):
    heading = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def check_links(tree):
    """Links in Markdown, and paths named in prose and comments, lead somewhere."""
    known = set(tree.names)
    folders = {str(p) for n in known for p in Path(n).parents}
    anchors = {n: {anchor(h) for h in re.findall(r"^#+\s+(.*)$", t, re.M)} for n, t in tree.text.items()
               if n.endswith(".md")}
    for name, number, line in tree.lines(".md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            file = str((tree.root / name).parent.joinpath(path).resolve()) if path else str((tree.root / name).resolve())
            try:
                file = str(Path(file).relative_to(tree.root.resolve()))
            except ValueError:
                yield f"{name}:{number}: the link ({target}) leaves the project; say it in words"
                continue
            if file not in known and file not in folders:
                yield f"{name}:{number}: the link ({target}) leads nowhere; name a file that exists"
            elif fragment and fragment not in anchors.get(file, set()):
                yield f"{name}:{number}: {file} has no heading #{fragment}; its headings are {', '.join(sorted(anchors.get(file, set()))[:9])}"
    pattern = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w/.-]*\w\.(?:md|h|cc|py|sh|txt|capnp|toml)\b")
    for name, number, line in tree.lines(".md", ".h", ".cc", ".py", ".sh", ".txt", ".capnp"):
        if name.startswith(("tests/unit/dev/", "tools/dev/tidy.py", "CMakeLists.txt")):
            continue
        if re.search(r"https?://", line) or (name.endswith(".cc") and '"' in line):
            continue
        for path in pattern.findall(line):
            real = path[:-2] if path.endswith(".capnp.h") else path
            if real not in known and not re.search(r"\b(FOLDER|NAME)", path):
                yield f"{name}:{number}: it names {path}, which does not exist; name the file that does"


MARKS = [
    (r"\b(TODO|FIXME|XXX|HACK)\b", "do it, or say in words what is so and why"),
    (r"(?i)\bdo not commit\b", "delete it"),
    (r"^\s*#\s*if\s+0\b", "delete the code; history keeps it"),
    (r"\bDISABLED_\w+", "a test that exists and does not run: run it or delete it"),
    (r"^(<<<<<<< |>>>>>>> |=======$)", "finish the merge"),
    (r"(?i)\b(std::cerr|printf)\b.*\b(debug|here|xxx)\b\s*[:\"\\]", "delete the debugging print"),
]


def check_marks(tree):
    """No leftovers of work in progress."""
    for name, number, line in tree.lines():
        if name.startswith(("tests/unit/dev/", "tools/dev/tidy.py")):
            continue
        for pattern, instead in MARKS:
            if match := re.search(pattern, line):
                if match[0].startswith("===") and name.endswith(".md"):
                    continue
                yield f"{name}:{number}: leftover '{match[0].strip()}'; {instead}"


def check_top(tree):
    """The top level holds the layers and nothing else."""
    for top in sorted({n.split("/")[0] for n in tree.names}):
        if top not in TOP_LEVEL and not top.startswith("."):
            yield f"{top}:1: does not belong to the top level; put it beside the code it serves ({', '.join(sorted(TOP_LEVEL))})"


def check_machine(tree):
    """Nothing that holds on one machine only: its paths, its package mirrors."""
    for name, number, line in tree.lines():
        if name.startswith("tests/unit/dev/"):
            continue
        if match := re.search(r"(?<![\w.})])/(work|root|home|Users)/[\w.]+", line):
            yield f"{name}:{number}: '{match[0]}' is a path of one machine; use a path inside the project or mktemp"
        if match := re.search(r"\b(registry|pypi|proxy|mirrors?|artifactory|nexus|deb|packages|security|archive)"
                              r"(\.[a-z0-9-]+)*\.(org|com|net|io|dev|internal)\b", line):
            yield f"{name}:{number}: '{match[0]}' is a package host; use what the system is configured with"


def check_whitespace(tree):
    """No trailing blanks, tabs in code, carriage returns or missing ends of file."""
    for name, text in tree.text.items():
        if name.startswith("tests/data/"):
            continue
        if "\r" in text:
            yield f"{name}:1: carriage returns; save it with Unix line ends"
        if text and not text.endswith("\n"):
            yield f"{name}:{text.count(chr(10)) + 1}: no newline at the end; add one"
        elif text.endswith("\n\n"):
            yield f"{name}:{text.count(chr(10))}: empty lines at the end; delete them"
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip(" \t") and "\r" not in line:
                yield f"{name}:{number}: blanks at the end of the line; delete them"
            if "\t" in line and name.endswith(SOURCE + (".py",)):
                yield f"{name}:{number}: a tab; indent with spaces"


def check_files(tree):
    """File names, include guards, executable bits."""
    for name in tree.names:
        path = Path(name)
        if path.suffix in SOURCE and not re.fullmatch(r"[a-z0-9_]+\.(h|cc|c)", path.name):
            yield f"{name}:1: file names are snake_case with .h and .cc"
        if path.suffix == ".h" and not name.startswith("client/include/") and "#pragma once" not in tree.text.get(name, ""):
            yield f"{name}:1: a header without #pragma once; add it below the first comment"
        executable = (tree.root / name).stat().st_mode & 0o100
        shebang = tree.text.get(name, "").startswith("#!")
        if shebang and not executable:
            yield f"{name}:1: it has a #! line and is not executable; chmod +x it, or delete the line"
        if executable and not shebang and name in tree.text:
            yield f"{name}:1: executable without a #! line; chmod -x it, or say what runs it"


def check_time(tree):
    """Time and chance come in through the door: wal and the core take a Clock and an Rng."""
    pattern = r"(system_clock|steady_clock|high_resolution_clock)::now|\bclock_gettime\(|\bgettimeofday\(|\btime\((nullptr|NULL|0)\)" \
              r"|\brandom_device\b|\bs?rand\(\)|\bgetrandom\("
    for name, number, line in tree.lines(*SOURCE):
        if name.startswith(("wal/", "replication/core/", "replication/replica/")) and not name.startswith("wal/base/clock"):
            code = line.split("//")[0]
            if match := re.search(pattern, code):
                yield f"{name}:{number}: '{match[0]}' reads the machine's own; take a Clock or an Rng (wal/base) from the caller"
            if name.startswith("replication/core/") and re.search(r"#\s*include\s*<(thread|mutex|atomic|condition_variable|fstream|unistd\.h)>", code):
                yield f"{name}:{number}: the core is pure: no threads, no locks, no I/O; make it an event and a Ready"


CHECKS = [check_layers, check_reached, check_links, check_marks, check_top, check_machine, check_whitespace, check_files,
          check_time]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent.parent)
    tree = Tree(parser.parse_args().root)
    if not tree.names:
        print("FAIL tidy: there is no file to check")
        return 1
    failed = False
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        complaints = list(check(tree))
        for complaint in complaints:
            print(f"FAIL tidy.{name}: {complaint}")
        if not complaints:
            print(f"ok tidy.{name}")
        failed |= bool(complaints)
    for name, text in sorted(tree.text.items()):
        if (lines := text.count("\n")) > LINES_MAX and not name.startswith("tests/data/"):
            print(f"note: {name} has {lines} lines; can it be read in one sitting?")
    print(f"{len(tree.names)} files looked at")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
