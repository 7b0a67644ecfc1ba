"""Send mutated files through the scanner, and hold every no-match against the reference."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from scanner.hashlist import HashList
from scanner.hashtable import HashEntry, HashKind, HashTable
from scanner.labels import Category
from scanner.report import Verdict
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.fuzz.mutate import mutate
from tests.fuzz.reference import MAX_DISTANCE, MIN_QUALITY, Reference, luma_hash
from tests.fuzz.seeds import build_seeds, planted
from tests.images import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scanner.scan import Scanner
    from tests.fuzz.seeds import Seed

DECODE_TIMEOUT: Final = timedelta(seconds=5)
"""A mutated file that makes a decoder run for ever costs no more than this."""

_SIDE_BY_SIDE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One mutated file: `seed` and `number` make it again."""

    seed: Seed
    number: int
    data: bytes


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of a run.

    Attributes:
        verdicts: By format and verdict.
        raised: Files at which the scanner raised, which it never must.
        missed: Files with the verdict no-match in which the reference still finds the marker.
        restarts: Decoder processes that crashed or ran out of time, and were replaced.
    """

    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    raised: list[Case] = field(default_factory=list)
    missed: list[Case] = field(default_factory=list)
    restarts: int = 0

    @property
    def files(self) -> int:
        """How many files were scanned."""
        return sum(self.verdicts.values()) + len(self.raised)


def run(*, files: int, seed: int, note: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Mutate so many files, evenly over all formats, and scan them.

    Args:
        files: How many.
        seed: The same number makes the same files.
        note: Called after each file.
    """
    tally = Tally()
    settings = ScannerSettings(
        workers=2, embedded_classifier=False, canary=False, decode_timeout=DECODE_TIMEOUT
    )
    reference = Reference()
    try:
        if not reference.shows_marker(encode(planted(), "PNG")):
            # Whose decoder does not start finds nothing missed.
            raise RuntimeError("the reference does not find the marker in an intact file")
        with open_scanner(settings) as scanner, ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
            scanner.replace_lists([_list_marker()])
            for case, verdict in threads.map(lambda case: (case, _scan(scanner, case)), _make(files, seed)):
                _count(case, verdict, tally, reference)
                note(tally)
            pool = scanner.health().pool
            tally.restarts = pool.crashes + pool.timeouts
    finally:
        reference.close()
    return tally


def _list_marker() -> HashList:
    bits, _ = luma_hash(planted())
    return HashList(
        name="marker",
        version="1",
        category=Category.SPAM,
        table=HashTable.from_entries([HashEntry(kind=HashKind.PDQ, value=bits)]),
        distance=MAX_DISTANCE,
        min_quality=MIN_QUALITY,
    )


def _make(files: int, seed: int) -> Iterator[Case]:
    seeds = build_seeds()
    everything = [one.data for one in seeds]
    for number in range(files):
        chosen = seeds[number % len(seeds)]
        # A file is a function of its number, so that one can be made again without those before it.
        key = hashlib.sha256(f"{seed}/{number}".encode()).digest()
        yield Case(seed=chosen, number=number, data=mutate(chosen.data, Random(key), everything))


def _scan(scanner: Scanner, case: Case) -> Verdict | None:
    try:
        return scanner.scan(case.data).verdict
    except Exception:  # noqa: BLE001 (that is what is counted)
        return None


def _count(case: Case, verdict: Verdict | None, tally: Tally, reference: Reference) -> None:
    if verdict is None:
        tally.raised.append(case)
        return
    tally.verdicts[case.seed.name, verdict.value] += 1
    if verdict is Verdict.NO_MATCH and reference.shows_marker(case.data):
        tally.missed.append(case)
