"""Known pictures: PDQ against the hash lists.

List makers disagree on whether a large picture is first squeezed to 512 x 512, so both variants are looked
up; a list may ask for mirrored and rotated copies as well. Hashes of a faster decoding are looked up with a
margin, and whatever falls inside it is settled at full resolution: every answer equals that of the
reference hasher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.detector import Builder, Detector, DetectorResult, Need, Sample
from scanner.hashlist import HashKind, HashList
from scanner.indexfile import open_pdq_index
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from scanner.detector import PictureHashes
    from scanner.index import PdqIndex
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

MAX_DISTANCE: Final = 255
"""What the index can be asked for."""

_FARTHEST: Final = MAX_DISTANCE + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    source: HashList
    index: PdqIndex


class PdqDetector:
    """Look the perceptual hashes of every picture up in every list."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.PICTURE_HASHES
    is_costly: Final = False

    def __init__(self, listed: tuple[_Listed, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._listed = listed
        self.state: dict[str, object] = {
            "hasher": "pdq-reference-equal",
            "margin": MARGIN,
            "resized_margin": RESIZED_MARGIN,
            "quality_margin": QUALITY_MARGIN,
            "lists": [one.source.state for one in listed],
        }

    def detect(self, sample: Sample) -> DetectorResult:
        """Report the nearest match in every list that has one."""
        findings: list[Finding] = []
        wants_closer_look = False
        can_tell = False
        for one in self._listed:
            source = one.source
            nearest = _FARTHEST
            for picture in sample.pictures:
                is_good = picture.quality >= source.min_quality
                slack = QUALITY_MARGIN if picture.is_approximate else 0
                can_tell = can_tell or is_good
                if picture.quality + slack < source.min_quality:
                    continue
                found = _nearest(one, picture)
                # A near miss and a near hit of an approximate hash both wait for the exact one.
                wants_closer_look = wants_closer_look or (picture.is_approximate and found < _FARTHEST)
                if is_good:
                    nearest = min(nearest, found)
            if nearest <= source.distance:
                findings.append(self._find(source, nearest))
        return DetectorResult(
            findings=tuple(findings),
            not_applicable=bool(self._listed) and not can_tell,
            wants_closer_look=wants_closer_look,
        )

    def _find(self, source: HashList, distance: int) -> Finding:
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
        )


def _nearest(one: _Listed, picture: PictureHashes) -> int:
    """Find the distance of the nearest entry within the list's reach, margins included."""
    orientations = slice(None) if one.source.dihedral else slice(1)
    nearest = _FARTHEST
    for queries, margin in ((picture.dihedral, MARGIN), (picture.resized, RESIZED_MARGIN)):
        reach = one.source.distance + (margin if picture.is_approximate else 0)
        found = one.index.query_many(queries[orientations], min(reach, MAX_DISTANCE))
        nearest = min(nearest, found[0][1] if found else _FARTHEST)
    return nearest


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    listed = tuple(
        _Listed(
            source=one,
            index=open_pdq_index(rows, digest=one.digest, cache_dir=settings.index_cache),
        )
        for one in lists
        if len(rows := one.table.get_rows(HashKind.PDQ))
    )
    return (PdqDetector(listed, advisory=NAME in settings.advisory),)


BUILDER: Final = Builder(name=NAME, uses_lists=True, build=_build)
