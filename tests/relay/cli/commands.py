"""Run commands as a person would, in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from relay.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def breakwater(*arguments: object, data_dir: Path | None = None, typed: str | bytes | None = None) -> Result:
    """Run a command; what it raises beside its exit status is the test's failure."""
    words = [str(argument) for argument in arguments]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    environment = {"BREAKWATER_CONFIG": None, "COLUMNS": "200"}
    return CliRunner(env=environment).invoke(main, words, input=typed, catch_exceptions=False)


def answer(*arguments: object, data_dir: Path | None = None, status: int = 0) -> Any:
    """Run a command with `--json` and return what it says."""
    result = breakwater(*arguments, "--json", data_dir=data_dir)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)
