"""With each compose file's settings the relay starts, and its self-test is green through every open door."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from relay.config import load_settings, read_environment
from tests.deploy.compose import list_servers, read_stack
from tests.deploy.units import READY, ROOT
from tests.e2e.process import free_ports, scratch_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.e2e

# The table of the self-test, door by door; the first five are those of the inbox.
_DOORS = {
    "mastodon": {"gateway", "gateway, https"},
    "gotosocial": {"gateway", "gateway, https"},
    "piefed": {"gateway", "gateway, https", "hash endpoint"},
    "lemmy": {"gateway", "validator"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commands:
    """Runs the relay's commands in one environment."""

    environment: Mapping[str, str]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *arguments: str) -> str:
        process = await self.start(*arguments)
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()


@pytest.mark.parametrize("server", list_servers())
async def test_the_self_test_is_green_through_every_door_that_the_file_opens(server: str) -> None:
    with scratch_directory() as directory:
        commands = _Commands(environment=_build_environment(server, directory))
        settings = load_settings(None, commands.environment)
        # What the container beside the relay does before it starts.
        command = read_stack(server).services["breakwater-trust"]["command"]
        bundle = directory / "bundle.pem"
        await commands.run("-m", "relay", *command[:-1], str(bundle))
        assert bundle.read_text(encoding="utf-8").count("BEGIN CERTIFICATE") > 1
        relay = await commands.start("-m", "relay", "serve")
        try:
            ready = f"http://127.0.0.1:{settings.server.admin_port}/readyz"
            await commands.run(str(READY), "--wait=90", f"--url={ready}")
            checks = json.loads(await commands.run("-m", "relay", "selftest", "--json"))["checks"]
        finally:
            relay.terminate()
            await relay.communicate()
    assert all(one["passed"] for one in checks)
    assert {one["name"] for one in checks[5:]} == _DOORS[server]


def _build_environment(server: str, directory: Path) -> dict[str, str]:
    """Take what the file says, on ports and in a directory of this test."""
    names = ("SERVER_PORT", "SERVER_ADMIN_PORT", "GATEWAY_PORT", "DOORS_PORT")
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    own = {**ports, "SERVER_DATA_DIR": str(directory / "data"), "SCANNER_CLASSIFIER": "none"}
    return {
        **read_environment(),
        **read_stack(server).environment("breakwater"),
        **{f"BREAKWATER_{name}": value for name, value in own.items()},
    }
