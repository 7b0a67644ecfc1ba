"""Run benchmarks: `python -m tests.bench [--only NAME,NAME] [--lenient]`, one JSON object a line.

Every module of this package that has a `run` is a benchmark. `run()` yields one dictionary a measurement,
with the members below; a `NAMES` in it says which names it measures, so that it need not run where none is
asked for. A measurement with a target says in `holds` whether it was reached, and the exit status is 1 where
one was not.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import tests.bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MEMBERS: Final = ("name", "value", "unit", "peer", "peer_value", "ratio", "target", "holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One module of benchmarks; one that does not say what it measures may measure anything."""

    module: str
    names: frozenset[str]
    run: Callable[[], Iterable[dict[str, object]]]


def find_benches() -> Iterator[Bench]:
    """Find the benchmarks of this package; one whose peer is not installed is named and left out."""
    for info in pkgutil.iter_modules(tests.bench.__path__):
        if info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"tests.bench.{info.name}")
        except ImportError as error:
            tell(f"{info.name} is left out: it needs {error.name or error}, which is not installed")
            continue
        if hasattr(module, "run"):
            yield Bench(module=info.name, names=frozenset(getattr(module, "NAMES", ())), run=module.run)


def choose(benches: list[Bench], wanted: frozenset[str]) -> Iterator[Bench]:
    """Choose the modules to run.

    Those that do not say what they measure run only for names that no other module has.
    """
    named = {name for bench in benches for name in (*bench.names, bench.module)}
    for bench in benches:
        is_asked = not wanted or not wanted.isdisjoint((*bench.names, bench.module))
        if is_asked or (not bench.names and wanted - named):
            yield bench


def measure(bench: Bench, wanted: frozenset[str]) -> Iterator[dict[str, object]]:
    """Run one module and keep what was asked for, every member in its place."""
    for result in bench.run():
        if wanted and result.get("name") not in wanted and bench.module not in wanted:
            continue
        yield {**{member: result.get(member) for member in MEMBERS}, **result}


def tell(message: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(f"bench: {message}\n")


def main(arguments: list[str]) -> int:
    """Run what was asked for.

    Returns:
        0 where every target holds, 1 where one does not, 2 where nothing has a name that was asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Run the benchmarks.")
    parser.add_argument("--only", default="", help="names to run, with commas")
    parser.add_argument("--lenient", action="store_true", help="let unknown names and missed targets pass")
    options = parser.parse_args(arguments)
    wanted = frozenset(name.strip() for name in options.only.split(",") if name.strip())
    missing, failed = set(wanted), False
    for bench in choose(list(find_benches()), wanted):
        missing.discard(bench.module)
        try:
            for result in measure(bench, wanted):
                print(json.dumps(result), flush=True)
                missing.discard(str(result["name"]))
                failed = failed or result["holds"] is False
        except ImportError as error:
            tell(f"{bench.module} stopped: it needs {error.name or error}, which is not installed")
        except Exception:  # noqa: BLE001 (one broken benchmark must not hide the others)
            tell(f"{bench.module} failed:\n{traceback.format_exc()}")
            return 1
    if missing:
        tell(f"nothing was measured under the name {', '.join(sorted(missing))}")
    if options.lenient:
        return 0
    return 2 if missing else int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
