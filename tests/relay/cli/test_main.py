from __future__ import annotations

import subprocess
import sys

import click
import pytest

from relay.cli import COMMANDS, LazyGroup, main
from tests.relay.cli.commands import breakwater


def test_the_help_names_every_command() -> None:
    output = breakwater("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    assert isinstance(main, LazyGroup)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    result = breakwater(name, "--help")
    assert result.exit_code == 0
    assert "Usage: main " + name in result.output or f"{name} [OPTIONS]" in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    result = breakwater("skan")
    assert result.exit_code == 2
    assert "skan" in result.output


def test_the_version_is_told_without_an_installed_package() -> None:
    result = breakwater("--version")
    assert result.exit_code == 0
    assert result.output.startswith("breakwater, version ")


def test_asking_for_help_loads_neither_the_models_nor_the_doors() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom relay.cli import main\n"
        "CliRunner().invoke(main, ['--help'])\n"
        "print(sorted({'torch', 'relay.app', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"
