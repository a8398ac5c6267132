#!/usr/bin/env python3
"""Plants one violation after the other in a small tree and sees tools/dev/tidy.py catch each, and nothing else."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TIDY = ROOT / "tools/dev/tidy.py"

CLEAN = {
    "README.md": "# Walraft\n\nSee [the format](wal/FORMAT.md#groups) and `wal/base/ids.h`.\n\n## Use\n",
    "wal/FORMAT.md": "# Format\n\n## Groups\n",
    "wal/base/ids.h": "// Ids.\n#pragma once\n#include <cstdint>\n",
    "wal/log.cc": '#include "wal/base/ids.h"\n',
    "tests/unit/wal/log_test.cc": '#include "wal/base/ids.h"\n',
    "tests/fuzz/batch_fuzz.cc": '#include "wal/base/ids.h"\n',
    "tests/data/fuzz/batch/empty": "",
}
# check, what is planted, a piece of the complaint, which must name the way out
PLANTED = [
    ("layers", {"wal/a.cc": '#include "replication/core/core.h"\n'}, "wal/ must not include replication/core/core.h"),
    ("layers", {"wal/base/a.cc": '#include "wal/log.h"\n'}, "it may include wal/base/"),
    ("layers", {"replication/core/a.cc": '#include "wal/log.h"\n'}, "pass an interface in"),
    ("layers", {"client/a.cc": '#include "replication/core/core.h"\n'}, "it may include client/, rpc/wire/"),
    ("layers", {"rpc/stream/a.cc": '#include "tools/wald/config.h"\n'}, "rpc/stream/ must not include"),
    ("layers", {"tools/wald/a.cc": '#include "tests/sim/sim_filesystem.h"\n'}, "tools/ must not include tests/"),
    ("layers", {"wal/a.cc": '#include "ids.h"\n'}, "by its path from the project root"),
    ("layers", {"wal/a.h": "#pragma once\n#include <boost/asio.hpp>\n"}, "use it in the .cc"),
    ("reached", {"wal/log_test.cc": "int x;\n"}, "move it to tests/unit/FOLDER/"),
    ("reached", {"tests/unit/stray_test.cc": "int x;\n"}, "no program builds it"),
    ("reached", {"tests/sim/a_fuzz.cc": "int x;\n"}, "move it to tests/fuzz/"),
    ("reached", {"tests/fuzz/other_fuzz.cc": "int x;\n"}, "tests/data/fuzz/other/"),
    ("reached", {"tests/data/fuzz/orphan/a": "x"}, "no target reads it"),
    ("reached", {"tests/data/raft/a.txt": "x\n"}, "no test names it"),
    ("reached", {"tools/a_test.sh": "x\n"}, "no stage runs it"),
    ("reached", {"tests/process/helper.py": "x = 1\n"}, "nothing uses it"),
    ("links", {"wal/README.md": "[x](nowhere.md)\n"}, "leads nowhere"),
    ("links", {"wal/README.md": "[x](FORMAT.md#gone)\n"}, "no heading #gone"),
    ("links", {"wal/README.md": "[x](../../other.md)\n"}, "leaves the project"),
    ("links", {"wal/a.h": "// See wal/GONE.md.\n#pragma once\n"}, "names wal/GONE.md"),
    ("marks", {"wal/a.cc": "// TODO: later\n"}, "do it, or say in words"),
    ("marks", {"wal/a.cc": "#if 0\n#endif\n"}, "history keeps it"),
    ("marks", {"tests/unit/wal/a_test.cc": "TEST(A, DISABLED_B) {}\n"}, "run it or delete it"),
    ("marks", {"wal/a.cc": "<<<<<<< one\n"}, "finish the merge"),
    ("marks", {"wal/a.cc": 'printf("here: %d", 1);\n'}, "delete the debugging print"),
    ("top", {"util/a.h": "#pragma once\n"}, "does not belong to the top level"),
    ("machine", {"wal/a.cc": '// built in /home/somebody/walraft\n'}, "path of one machine"),
    ("machine", {"tools/dev/a.sh": "curl https://registry.example.org/x\n"}, "a package host"),
    ("whitespace", {"wal/a.cc": "int x; \n"}, "blanks at the end of the line"),
    ("whitespace", {"wal/a.cc": "\tint x;\n"}, "indent with spaces"),
    ("whitespace", {"wal/a.cc": "int x;"}, "no newline at the end"),
    ("whitespace", {"wal/a.cc": "int x;\r\n"}, "Unix line ends"),
    ("files", {"wal/SegmentWriter.cc": "int x;\n"}, "snake_case"),
    ("files", {"wal/a.h": "int x;\n"}, "#pragma once"),
    ("files", {"tools/dev/a.sh": "#!/bin/sh\n"}, "chmod +x"),
    ("time", {"wal/a.cc": "auto t = std::chrono::steady_clock::now();\n"}, "take a Clock"),
    ("time", {"replication/core/a.cc": "#include <mutex>\n"}, "the core is pure"),
]


def tidy(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        done = subprocess.run([sys.executable, str(TIDY), "--root", folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def main():
    failed = 0
    code, output = tidy(CLEAN)
    if code == 0 and "FAIL" not in output:
        print("ok tidy_test.clean_tree_passes")
    else:
        failed += 1
        print(f"FAIL tidy_test.clean_tree_passes: exit code {code}\n{output}")
    for number, (check, planted, piece) in enumerate(PLANTED):
        name = f"tidy_test.{check}_{number}_{next(iter(planted))}"
        code, output = tidy({**CLEAN, **planted})
        complaints = [line for line in output.splitlines() if line.startswith("FAIL ")]
        caught = [c for c in complaints if c.startswith(f"FAIL tidy.{check}:") and piece in c]
        if code == 1 and caught:
            print(f"ok {name}")
        else:
            failed += 1
            print(f"FAIL {name}: expected a complaint of tidy.{check} with '{piece}', got exit code {code}, {complaints}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
