#!/usr/bin/env python3
"""Each rule P1 to P24 of replication/STREAMING_RAFT.md has a row there and a place in replication/core that names it."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
code = "\n".join(p.read_text() for p in sorted((ROOT / "replication/core").glob("*.[hc]*")))
page = (ROOT / "replication/STREAMING_RAFT.md").read_text()
failed = False
for number in range(1, 25):
    rule = f"P{number}"
    missing = [] if re.search(rf"\bproto:{rule}\b", code) else [f"replication/core names proto:{rule} nowhere"]
    row = re.search(rf"^\| {rule} \|.*$", page, re.M)
    if not row:
        missing.append("STREAMING_RAFT.md has no row for it")
    else:
        for name in re.findall(r"`([a-z_]+\.(?:h|cc))`", row[0]):
            path = ROOT / "replication/core" / name
            if not path.exists():
                missing.append(f"its row names {name}, which is not in replication/core")
            elif not re.search(rf"\bproto:{rule}\b", path.read_text()):
                missing.append(f"its row names {name}, which does not name proto:{rule}")
    failed |= bool(missing)
    print(f"FAIL rules.{rule}: {'; '.join(missing)}" if missing else f"ok rules.{rule}")
sys.exit(failed)
