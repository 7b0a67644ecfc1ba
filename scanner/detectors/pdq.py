"""Known pictures: PDQ against the hash lists.

List makers disagree on whether a large picture is first squeezed to 512 x 512, so both variants are looked
up; a list may ask for mirrored and rotated copies as well. Hashes of a faster decoding are looked up with a
margin, and whatever falls inside it is settled at full resolution: every answer equals that of the
reference hasher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.degenerate import is_degenerate
from scanner.detector import Builder, Detector, DetectorResult, Need, Sample
from scanner.flatscan import PDQ_BYTES, scan_flat
from scanner.hashlist import MAX_DISTANCE, HashKind, HashList, Purpose, name_entry
from scanner.index import pack_hashes
from scanner.indexfile import MIN_INDEXED_ROWS
from scanner.layers import PdqLayers
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from scanner.detector import PictureHashes
    from scanner.settings import ScannerSettings

NAME: Final = "pdq"
VERSION: Final = "1"

MARGIN: Final = 24
"""Bits. A faster decoding moved the hashes of 142 photographs by at most 22."""

RESIZED_MARGIN: Final = 40
"""Bits. Single pixels of a reduced picture stand for many: the squeezed variant moved by up to 20 on 60
pictures."""

QUALITY_MARGIN: Final = 5
"""A faster decoding moved the quality of the same photographs by no more than 2."""

MAX_APPROXIMATE_ROWS: Final = 20_000_000
"""Comparisons of one picture, listed hashes times orientations, for which approximate hashes are looked up.
With its margin each costs 6 ns; beyond it a decoding at full resolution is the cheaper way to know, where the
bytes are at hand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Hit:
    """A listed hash near a question."""

    distance: int
    question: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Questions:
    """The hashes of all pictures of a sample; arrays with one element a hash.

    Attributes:
        bits: uint8 [Q, 32].
        quality: Of the picture, int64 [Q].
        is_turned: The picture was mirrored or rotated, bool [Q].
        margin: How far the hash may be from the exact one, in bits; 0 for exact ones, int64 [Q].
    """

    bits: NDArray[np.uint8]
    quality: NDArray[np.int64]
    is_turned: NDArray[np.bool_]
    margin: NDArray[np.int64]

    @classmethod
    def of(cls, pictures: Iterable[PictureHashes]) -> _Questions:
        """Gather the hashes; those of equal bits, quality and kind are one."""
        # Frames repeat, and small pictures are their own squeezed variant: each is asked about once.
        asked = dict.fromkeys(_list_questions(pictures))
        bits, quality, is_turned, margin = zip(*asked, strict=True) if asked else ((), (), (), ())
        return cls(
            bits=pack_hashes(bits),
            quality=np.array(quality, dtype=np.int64),
            is_turned=np.array(is_turned, dtype=np.bool_),
            margin=np.array(margin, dtype=np.int64),
        )

    def choose(self, source: HashList) -> NDArray[np.bool_]:
        """Choose what a list is asked about, bool [Q]."""
        slack = np.where(self.margin > 0, QUALITY_MARGIN, 0)
        chosen: NDArray[np.bool_] = (self.quality + slack >= source.min_quality) & (
            ~self.is_turned if not source.dihedral else True
        )
        return chosen


def _list_questions(pictures: Iterable[PictureHashes]) -> Iterator[tuple[bytes, int, bool, int]]:
    for picture in pictures:
        for variants, margin in ((picture.dihedral, MARGIN), (picture.resized, RESIZED_MARGIN)):
            for place, bits in enumerate(variants):
                yield bits, picture.quality, place > 0, margin if picture.is_approximate else 0


class PdqDetector:
    """Look the perceptual hashes of every picture up in every list."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.PICTURE_HASHES
    is_costly: Final = False

    def __init__(self, lists: tuple[HashList, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._lists = lists
        self._indexed: dict[int, PdqLayers] = {}
        flat: dict[int, NDArray[np.uint8]] = {}
        for place, one in enumerate(lists):
            rows, removed, added = (
                part.get_rows(HashKind.PDQ) for part in (one.table, one.removed, one.added)
            )
            if len(rows) >= MIN_INDEXED_ROWS:
                self._indexed[place] = PdqLayers.of(rows, removed=removed, added=added, index=one.index)
            else:
                flat[place] = one.table.minus(one.removed).union(one.added).get_rows(HashKind.PDQ)
        # All small lists are one table, so that they share a search and each costs its rows alone.
        self._flat = np.concatenate([np.empty((0, PDQ_BYTES), dtype=np.uint8), *flat.values()])
        self._owners = np.repeat(list(flat), [len(rows) for rows in flat.values()]).astype(np.intp)
        self.state: dict[str, object] = {
            "hasher": "pdq-reference-equal",
            "margin": MARGIN,
            "resized_margin": RESIZED_MARGIN,
            "quality_margin": QUALITY_MARGIN,
            "max_approximate_rows": MAX_APPROXIMATE_ROWS,
            "lists": [one.state for one in lists],
        }

    def detect(self, sample: Sample) -> DetectorResult:
        """Report the nearest match in every list that has one."""
        can_tell = any(
            picture.quality >= one.min_quality for one in self._lists for picture in sample.pictures
        )
        questions = _Questions.of(sample.pictures)
        wanted = [questions.choose(one) for one in self._lists]
        is_open = questions.margin > 0
        rows = sum(
            len(layers) * int(np.count_nonzero(wanted[place] & is_open)) // 2
            for place, layers in self._indexed.items()
        )
        if rows > MAX_APPROXIMATE_ROWS * len(sample.pictures) and not sample.is_kept:
            return DetectorResult(not_applicable=not can_tell, wants_closer_look=True)
        findings: list[Finding] = []
        wants_closer_look = False
        hits = self._search(questions, wanted)
        for place, one in enumerate(self._lists):
            for hit in sorted(hits[place], key=lambda hit: (hit.distance, hit.value)):
                entry = name_entry(HashKind.PDQ, hit.value)
                asked = questions.bits[hit.question].tobytes()
                if entry in one.suspended or is_degenerate(hit.value) or is_degenerate(asked):
                    continue
                # A near miss and a near hit of an approximate hash both wait for the exact one.
                wants_closer_look = wants_closer_look or bool(is_open[hit.question])
                if hit.distance <= one.distance and questions.quality[hit.question] >= one.min_quality:
                    findings.append(self._find(one, hit.distance, entry))
                    break
        return DetectorResult(
            findings=tuple(findings),
            not_applicable=bool(self._lists) and not can_tell,
            wants_closer_look=wants_closer_look,
        )

    def _search(self, questions: _Questions, wanted: list[NDArray[np.bool_]]) -> list[list[_Hit]]:
        """Find for every list what lies within its reach of a question, margins included."""
        hits: list[list[_Hit]] = [[] for _ in self._lists]
        for margin in np.unique(questions.margin).tolist():
            is_due = questions.margin == margin
            for place, layers in self._indexed.items():
                chosen = np.flatnonzero(wanted[place] & is_due)
                reach = min(self._lists[place].distance + margin, MAX_DISTANCE)
                near = layers.search(questions.bits.take(chosen, axis=0), reach)
                numbers, distances = chosen.take(near.queries).tolist(), near.distances.tolist()
                for question, distance, value in zip(numbers, distances, near.values, strict=True):
                    hits[place].append(_Hit(distance=distance, question=question, value=value.tobytes()))
            if len(self._flat) == 0:
                continue
            places = set(self._owners.tolist())
            chosen = np.flatnonzero(np.logical_or.reduce([wanted[place] for place in places]) & is_due)
            farthest = max(self._lists[place].distance for place in places)
            found = scan_flat(
                self._flat, questions.bits.take(chosen, axis=0), min(farthest + margin, MAX_DISTANCE)
            )
            numbers = chosen.take(found.queries).tolist()
            for question, row, distance in zip(
                numbers, found.rows.tolist(), found.distances.tolist(), strict=True
            ):
                place = int(self._owners[row])
                if wanted[place][question] and distance <= self._lists[place].distance + margin:
                    value = self._flat[row].tobytes()
                    hits[place].append(_Hit(distance=distance, question=question, value=value))
        return hits

    def _find(self, source: HashList, distance: int, entry: str) -> Finding:
        return Finding(
            detector=NAME,
            version=VERSION,
            category=source.category,
            basis=Basis.NEAR_HASH,
            label=source.label,
            advisory=self.advisory or source.advisory,
            list_name=source.name,
            list_version=source.version,
            distance=distance,
            entry=entry,
        )


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    listed = tuple(
        one
        for one in lists
        if one.purpose is Purpose.BLOCK
        and (len(one.table.get_rows(HashKind.PDQ)) or len(one.added.get_rows(HashKind.PDQ)))
    )
    return (PdqDetector(listed, advisory=NAME in settings.advisory),)


BUILDER: Final = Builder(name=NAME, uses_lists=True, build=_build)
