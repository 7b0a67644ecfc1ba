"""The unit is one that systemd takes, it is shut tight, and the relay works under its filter."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.config import read_environment
from tests.deploy.units import READY, ROOT, UNIT, expand_calls, read_directives
from tests.e2e.process import build_environment, free_ports, scratch_directory

if TYPE_CHECKING:
    from collections.abc import Mapping


_MAX_EXPOSURE = 20
"""In tenths, as systemd rates units: 0 is the tightest, 100 no protection at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filtered:
    """Runs Python under a filter of system calls."""

    names: Path
    environment: Mapping[str, str]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.deploy.filtered", str(self.names), sys.executable, *arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, command: str) -> Any:
        """Run a command of the relay and return what it answers as JSON."""
        process = await self.start("-m", "relay", command, "--json")
        said, _ = await process.communicate()
        return json.loads(said)


@pytest.fixture(scope="module")
def systemd_analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed, so the unit was only read")
    return program


def test_nobody_gains_privileges_and_nothing_but_its_own_directory_is_written() -> None:
    unit = read_directives(UNIT)

    assert unit["User"] == ["breakwater"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["StateDirectory"] == ["breakwater"]
    assert not {"ReadWritePaths", "PermissionsStartOnly", "SupplementaryGroups"} & set(unit)
    assert not any(value.startswith(("+", "!")) for value in unit["ExecStart"] + unit["ExecStartPost"])


def test_the_service_and_the_command_of_admins_find_the_same_files() -> None:
    wrapper = (UNIT.parent / "breakwater").read_text(encoding="utf-8")
    (environment,) = read_directives(UNIT)["Environment"]

    assert f'environment="{environment}"' in wrapper
    assert "XDG_DATA_HOME=/var/lib" in environment.split()
    assert "/opt/breakwater/.venv/bin/breakwater" in wrapper


def test_systemd_takes_the_unit_without_a_warning(systemd_analyze: str, tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # The programs are not installed here; everything else stays as it is.
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(
        "".join(
            line.replace(line.partition("=")[2].split()[0], sys.executable, 1)
            if line.startswith(("ExecStart=", "ExecStartPost="))
            else line
            for line in text.splitlines(keepends=True)
        ).replace("file:///opt/breakwater/docs/operations.md", "https://breakwater.example/"),
        encoding="utf-8",
    )

    checked = subprocess.run(
        [systemd_analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_systemd_rates_the_unit_as_little_exposed(systemd_analyze: str) -> None:
    rated = subprocess.run(
        [systemd_analyze, "security", "--offline=true", f"--threshold={_MAX_EXPOSURE}", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert rated.returncode == 0, rated.stdout


@pytest.mark.e2e
async def test_under_the_units_filter_the_relay_works_with_every_layer_of_its_sandbox(
    systemd_analyze: str, tmp_path: Path
) -> None:
    """The database is made, the decoders lock themselves in, and pictures pass or are withheld."""
    wanted = set(" ".join(read_directives(UNIT)["SystemCallFilter"]).split())
    names = tmp_path / "calls"
    names.write_text("\n".join(expand_calls(wanted, systemd_analyze=systemd_analyze)), encoding="utf-8")
    with scratch_directory() as directory:
        port, admin_port = free_ports(2)
        settings = {"server_data_dir": str(directory / "data"), "server_port": str(port)}
        environment = read_environment() | build_environment(
            backend_url="", ports=(443,), server_admin_port=str(admin_port), **settings
        )
        under_filter = _Filtered(names=names, environment=environment)
        relay = await under_filter.start("-m", "relay", "serve")
        try:
            ready = await under_filter.start(
                str(READY), "--wait=90", f"--url=http://127.0.0.1:{admin_port}/readyz"
            )
            said, _ = await ready.communicate()
            assert ready.returncode == 0, said.decode()
            assert _is_filtered(relay.pid)
            tested = await under_filter.run("selftest")
            examined = await under_filter.run("doctor")
        finally:
            relay.terminate()
            said, _ = await relay.communicate()
    assert relay.returncode == 0, said.decode()
    assert tested["passed"], tested
    found = {one["check"]: one["detail"] for one in examined["checks"]}
    assert found["sandbox"] == "every layer is in force"


def _is_filtered(pid: int) -> bool:
    return "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


async def test_a_relay_that_is_not_there_is_not_ready() -> None:
    (nobody,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(READY), f"--url=http://127.0.0.1:{nobody}/readyz", stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()

    assert process.returncode == 1
    assert str(nobody) in said.decode()
