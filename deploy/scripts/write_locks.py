# noqa: INP001 (a script, not a package)
"""Write the lock files from the packages that are installed beside this interpreter.

    .venv/bin/python deploy/scripts/write_locks.py

Run it after the tests have passed with a changed set of packages. Three files come of it: what the relay
needs to run, what its tests and checks need on top, and the peers that the benchmarks compare with (some of
which need a C++ compiler).
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DEVELOPMENT = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "pytest-cov", "hypothesis"),
    *("ruff", "mypy", "asyncpg-stubs", "import-linter"),
    *("scikit-image", "cryptography-vectors", "fediverse-pasture-inputs", "http-message-signatures"),
    *("moto[s3]", "flask", "flask-cors"),
    *("onnx", "pillow-heif", "pyld"),
)
PEERS = ("threatexchange", "pdqhash")
HEAD = (
    "# {about}\n# Written by deploy/scripts/write_locks.py from a set that passed all tests. Do not edit.\n"
)


def canonical(name: str) -> str:
    """Spell a package's name in the one way that the registry compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_closure(wanted: list[str], installed: dict[str, Distribution]) -> set[str]:
    """Find the packages that some requirements bring with them on this machine."""
    found: set[str] = set()
    pending = [Requirement(text) for text in wanted]
    while pending:
        requirement = pending.pop()
        name = canonical(requirement.name)
        if name in found or name not in installed:
            continue
        found.add(name)
        extras = requirement.extras | {""}
        for text in installed[name].requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append(inner)
    return found


def write_lock(name: str, about: str, packages: set[str], installed: dict[str, Distribution]) -> None:
    """Write one lock file, without local versions, for which build is wanted is up to the machine."""
    lines = [f"{package}=={installed[package].version.split('+')[0]}" for package in sorted(packages)]
    text = HEAD.format(about=about) + "\n".join(lines) + "\n"
    (ROOT / "deploy" / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write all three files."""
    installed = {canonical(one.metadata["Name"]): one for one in distributions()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = find_closure(project["dependencies"], installed)
    development = find_closure(list(DEVELOPMENT), installed) - runtime
    peers = find_closure(list(PEERS), installed) - runtime - development
    write_lock("requirements.lock", "What the relay needs to run.", runtime, installed)
    write_lock("requirements-dev.lock", "What tests and checks need on top.", development, installed)
    write_lock("requirements-peers.lock", "What benchmarks compare with; optional.", peers, installed)


if __name__ == "__main__":
    main()
