"""Read units as systemd does: sections, directives that may repeat, groups of system calls."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "deploy" / "systemd" / "breakwater.service"
READY: Final = ROOT / "deploy" / "scripts" / "ready.py"

# In the listings, what no group holds is commented out.
_NAME: Final = re.compile(r"^\s+(@?[a-z0-9_-]+)$", re.MULTILINE)


def read_directives(path: Path) -> dict[str, list[str]]:
    """Read every directive of a unit, in order, whatever its section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            name, separator, value = line.partition("=")
            assert separator, line
            found.setdefault(name, []).append(value)
    return found


def expand_calls(names: set[str], *, systemd_analyze: str) -> set[str]:
    """Name the system calls of a filter, asking this machine's systemd what its groups hold."""
    calls: set[str] = set()
    pending = sorted(names)
    while pending:
        name = pending.pop()
        if not name.startswith("@"):
            calls.add(name)
            continue
        listing = subprocess.run(
            [systemd_analyze, "syscall-filter", name], capture_output=True, text=True, check=True
        )
        pending += _NAME.findall(listing.stdout)
    return calls
