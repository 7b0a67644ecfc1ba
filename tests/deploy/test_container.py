"""The container holds what the relay needs, runs as nobody in particular, and says how it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from relay.config import Settings

_ROOT: Final = Path(__file__).parents[2]
_FILE: Final = _ROOT / "deploy" / "container" / "Containerfile"
_INSTRUCTION: Final = re.compile(r"^([A-Z]+)\s+(.+)$")


def _read() -> list[tuple[str, str]]:
    text = _FILE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = (_INSTRUCTION.match(line) for line in text.splitlines())
    return [(one.group(1), one.group(2)) for one in found if one]


def _arguments(name: str) -> list[str]:
    return [arguments for instruction, arguments in _read() if instruction == name]


def test_every_package_of_the_project_is_in_it_and_the_builder_is_sent_each() -> None:
    packages = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {name.rstrip("*") for name in packages["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {source for line in _arguments("COPY") if "--from" not in line for source in line.split()[:-1]}
    sent = (_FILE.parent / f"{_FILE.name}.dockerignore").read_text(encoding="utf-8").splitlines()

    assert wanted <= copied
    for source in copied:
        assert (_ROOT / source).exists(), source
        assert f"!{source.split('/')[0]}" in sent


def test_it_runs_as_a_user_of_its_own_and_keeps_everything_in_one_volume() -> None:
    instructions = _read()
    users = [index for index, one in enumerate(instructions) if one[0] == "USER"]

    assert [instructions[index][1] for index in users] == ["breakwater"]
    assert not any(one[0] in {"RUN", "COPY", "ADD"} for one in instructions[users[0] :])
    assert _arguments("VOLUME") == ["/var/lib/breakwater"]


def test_it_names_the_doors_and_not_the_admin_port() -> None:
    settings = Settings()

    (exposed,) = _arguments("EXPOSE")

    assert [int(port) for port in exposed.split()] == [
        settings.server.port,
        settings.gateway_port,
        settings.doors_port,
    ]
    assert str(settings.server.admin_port) not in exposed


def test_its_health_is_asked_by_a_script_that_is_in_it() -> None:
    (check,) = _arguments("HEALTHCHECK")
    script = check.partition('"/opt/breakwater/')[2].partition('"')[0]

    assert (_ROOT / script).is_file()


def test_nothing_is_taken_but_locked_versions() -> None:
    installs = [line for line in _arguments("RUN") if "setup.sh" in line or "pip" in line]

    assert len(installs) == 1
    assert "deploy/scripts/setup.sh .venv run" in installs[0]
