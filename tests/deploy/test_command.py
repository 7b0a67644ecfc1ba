"""The command for admins becomes the service's user, and remembers who they are."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from relay.config import read_environment
from tests.deploy.units import UNIT

if TYPE_CHECKING:
    from pathlib import Path

_SHOW = """#!/bin/sh
printf '%s\\n' "$LOGNAME" "$HOME" "$XDG_DATA_HOME" "$PWD" "$#" "$@"
exit 3
"""
# Stands for both ways of becoming another user: it notes whom, and goes on as oneself.
_BECOME = """#!/bin/sh
[ "$1 $2 $3" = "-u breakwater --" ] || exit 99
shift 3
[ "$1" = test ] && exit "${CAN_ENTER:-0}"
exec "$@"
"""


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command, with a program in the place of the relay's and stand-ins for runuser and sudo."""
    shown = _write(tmp_path / "show", _SHOW)
    for name in ("runuser", "sudo"):
        _write(tmp_path / "bin" / name, _BECOME)
    text = (UNIT.parent / "breakwater").read_text(encoding="utf-8")
    return _write(tmp_path / "breakwater", text.replace("/opt/breakwater/.venv/bin/breakwater", str(shown)))


def test_arguments_status_and_files_are_those_of_the_service(command: Path, tmp_path: Path) -> None:
    status, said = _run(command, tmp_path, "cases", "release", "12", "--note", "two words")

    assert status == 3
    assert said[1:3] == ["/var/lib/breakwater", "/var/lib"]
    assert said[4:] == ["5", "cases", "release", "12", "--note", "two words"]


def test_whoever_rules_is_named_behind_sudo_too(command: Path, tmp_path: Path) -> None:
    assert _run(command, tmp_path, SUDO_USER="mira")[1][0] == "mira"


def test_relative_names_mean_what_they_say_where_the_service_may_go(command: Path, tmp_path: Path) -> None:
    assert _run(command, tmp_path)[1][3] == str(tmp_path)
    assert _run(command, tmp_path, CAN_ENTER="1")[1][3] == "/"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def _run(command: Path, where: Path, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    inherited = {name: value for name, value in read_environment().items() if name != "SUDO_USER"}
    done = subprocess.run(
        [str(command), *arguments],
        env={**inherited, "PATH": f"{where / 'bin'}:{os.defpath}", **environment},
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()
