"""Read compose files as Docker Compose merges them, as far as ours need it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES: Final = Path(__file__).parents[2] / "deploy" / "compose"

BASE: Final = "breakwater.yml"

DOT_ENV: Final = {"DOMAIN": "social.example", "BREAKWATER_DOORS_SECRET": "0123456789abcdef" * 4}
"""What an admin writes into `.env`."""

_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What Docker Compose makes of our two files.

    Attributes:
        services: By name.
        networks: By name.
    """

    services: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Any]

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service."""
        return dict(self.services[service]["environment"])


def list_servers() -> list[str]:
    """Name the servers that there is a file for."""
    return sorted(path.stem for path in FILES.glob("*.yml") if path.name != BASE)


def read_stack(server: str) -> Stack:
    """Read the base and a server's file, the latter outweighing the former."""
    base, own = _read(BASE), _read(f"{server}.yml")
    services: dict[str, dict[str, Any]] = {}
    for document in (base, own):
        for name, service in document["services"].items():
            merged = services.setdefault(name, {})
            environment = {**merged.get("environment", {}), **_as_mapping(service.get("environment", {}))}
            merged.update(service, environment=environment)
    return Stack(services=services, networks=base["networks"])


def _read(name: str) -> dict[str, Any]:
    text = (FILES / name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(lambda found: DOT_ENV[found.group(1)], text))
    return document


def _as_mapping(environment: Mapping[str, str] | list[str]) -> dict[str, str]:
    if isinstance(environment, list):
        return dict(line.split("=", 1) for line in environment)
    # YAML reads a bare `true` as a truth value, which Compose refuses.
    assert all(isinstance(value, str) for value in environment.values()), environment
    return dict(environment)
