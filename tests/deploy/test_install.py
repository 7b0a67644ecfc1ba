"""The script that installs the service puts every file where the others look for it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from relay.config import read_environment
from tests.deploy.units import UNIT, read_directives

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = UNIT.parent / "install.sh"


def test_every_file_lands_where_systemd_and_the_admin_look_for_it(tmp_path: Path) -> None:
    done = _install(tmp_path, DESTDIR=str(tmp_path), SKIP_SETUP="1")

    assert (done.returncode, done.stderr) == (0, "")
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert installed == {
        "etc/systemd/system/breakwater.service",
        "usr/lib/sysusers.d/breakwater.conf",
        "usr/local/bin/breakwater",
    }
    assert os.access(tmp_path / "usr/local/bin/breakwater", os.X_OK)
    assert "breakwater init" in done.stdout


def test_a_checkout_elsewhere_is_told_where_to_go(tmp_path: Path) -> None:
    done = _install(tmp_path, SKIP_SETUP="1")

    assert done.returncode == 1
    assert "/opt/breakwater" in done.stderr or "root" in done.stderr


def test_the_user_is_the_one_that_the_service_runs_as() -> None:
    lines = (UNIT.parent / "sysusers.conf").read_text(encoding="utf-8").splitlines()
    (kind, user) = next(line.split()[:2] for line in lines if not line.startswith("#"))

    assert kind == "u"
    assert read_directives(UNIT)["User"] == [user]


def _install(where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)],
        env={**read_environment(), **environment},
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )
