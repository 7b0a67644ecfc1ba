"""Start a server made with Fedify, software that we did not write, and tell it what to do.

The first use installs the locked packages, Node.js among them, with npm; later ones find them there.
Where they cannot be had, the tests that need them are skipped and say why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HERE = Path(__file__).parent
_LOCK = _HERE / "package-lock.json"
_INSTALLED = _HERE / "node_modules"
_STAMP = _INSTALLED / ".installed-from"

# Megabytes from a registry, once.
_INSTALL_SECONDS = 300
_ANSWER_SECONDS = 30
_LINE_BYTES = 1 << 20

_PLATFORMS = {("Linux", "x86_64"): "linux-x64", ("Linux", "aarch64"): "linux-arm64"}


def require_node() -> Path:
    """Return the Node.js that the packages need, or skip the test with the reason."""
    name = _PLATFORMS.get((platform.system(), platform.machine()))
    if name is None:
        pytest.skip(f"no Node.js package is locked for {platform.system()} on {platform.machine()}")
    node = _INSTALLED / f"node-{name}" / "bin" / "node"
    if node.exists() and _STAMP.exists() and _STAMP.read_bytes() == _LOCK.read_bytes():
        return node
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so Fedify cannot be had")
    try:
        # No package's own scripts are run; Node.js comes as a package that holds the program itself.
        outcome = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=_HERE,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install Fedify within {_INSTALL_SECONDS} s")
    if outcome.returncode != 0 or not node.exists():
        pytest.skip("npm cannot install Fedify: " + outcome.stderr.decode(errors="replace")[-300:])
    _STAMP.write_bytes(_LOCK.read_bytes())
    return node


class Fedify:
    """A running server.

    Attributes:
        origin: Where it listens.
    """

    def __init__(self, process: asyncio.subprocess.Process, origin: str) -> None:
        self.origin = origin
        self._process = process

    def actor(self, name: str) -> str:
        return f"{self.origin}/users/{name}"

    async def do(self, command: str, **parameters: object) -> Any:
        """Carry out one command and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **parameters}).encode() + b"\n")
        answer = await _read_line(self._process)
        assert "error" not in answer, answer
        return answer["answer"]

    async def visits_to(self, url: str) -> list[dict[str, Any]]:
        """Tell how one of its documents was asked for so far, in order."""
        path = url.removeprefix(self.origin)
        return [visit for visit in await self.do("visits") if visit["path"] == path]


@contextlib.asynccontextmanager
async def open_fedify() -> AsyncIterator[Fedify]:
    """Start a server on a free loopback port, and end it with the block."""
    node = await asyncio.to_thread(require_node)
    process = await asyncio.create_subprocess_exec(
        node,
        _HERE / "server.mjs",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    try:
        yield Fedify(process, (await _read_line(process))["origin"])
    finally:
        # The end of its input ends it.
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _read_line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    async with asyncio.timeout(_ANSWER_SECONDS):
        line = await process.stdout.readline()
    assert line, "the server ended"
    return json.loads(line)
