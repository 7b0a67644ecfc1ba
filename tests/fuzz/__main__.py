"""`python -m tests.fuzz`: a longer run than that of the tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.run import run

if TYPE_CHECKING:
    from tests.fuzz.run import Tally

_EVERY = 500


def main() -> int:
    """Run, print a table, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="how many files (default 20,000)")
    parser.add_argument("--seed", type=int, default=1, help="the same number makes the same files")
    parser.add_argument("--keep", type=Path, help="a folder for the files at which something was wrong")
    options = parser.parse_args()
    tally = run(files=options.files, seed=options.seed, note=_show)
    print(file=sys.stderr)
    for name in sorted({name for name, _ in tally.verdicts}):
        counts = {verdict: count for (one, verdict), count in tally.verdicts.items() if one == name}
        print(f"{name:18} " + "  ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items())))
    print(
        f"{tally.files} files, {tally.restarts} decoders replaced, {len(tally.raised)} times the scanner "
        f"raised, {len(tally.missed)} wrong no-matches"
    )
    for case in (*tally.raised, *tally.missed):
        print(f"wrong: file {case.number} of seed {options.seed}, from {case.seed.name}")
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}-{case.number}-{case.seed.name}").write_bytes(case.data)
    return 1 if tally.raised or tally.missed else 0


def _show(tally: Tally) -> None:
    if tally.files % _EVERY == 0:
        print(f"\r{tally.files} files", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
