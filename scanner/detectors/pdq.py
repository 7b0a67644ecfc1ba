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

MAX_DISTANCE: Final = 255
"""What the index can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    source: HashList
    index: PdqIndex


class PdqDetector:
    """Look the perceptual hashes of every picture up in every list."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.PICTURE_HASHES

    def __init__(self, listed: tuple[_Listed, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._listed = listed
        self.state: dict[str, object] = {
            "hasher": "pdq-reference-equal",
            "margin": MARGIN,
            "lists": [one.source.state for one in listed],
        }

    def detect(self, sample: Sample) -> DetectorResult:
        """Report the nearest match in every list that has one."""
        findings: list[Finding] = []
        wants_closer_look = False
        can_tell = False
        for one in self._listed:
            source = one.source
            pictures = [picture for picture in sample.pictures if picture.quality >= source.min_quality]
            can_tell = can_tell or bool(pictures)
            nearest = min((_nearest(one, picture) for picture in pictures), default=MAX_DISTANCE + 1)
            if nearest > source.distance + MARGIN:
                continue
            # A near miss and a near hit both come only of approximate hashes.
            wants_closer_look = wants_closer_look or any(picture.is_approximate for picture in pictures)
            if nearest > source.distance:
                continue
            findings.append(
                Finding(
                    detector=NAME,
                    version=VERSION,
                    category=source.category,
                    basis=Basis.NEAR_HASH,
                    label=source.label,
                    advisory=self.advisory or source.advisory,
                    list_name=source.name,
                    list_version=source.version,
                    distance=nearest,
                )
            )
        return DetectorResult(
            findings=tuple(findings),
            not_applicable=bool(self._listed) and not can_tell,
            wants_closer_look=wants_closer_look,
        )


def _nearest(one: _Listed, picture: PictureHashes) -> int:
    """Find the distance of the nearest entry that matters; one more than any distance where there is none."""
    source = one.source
    margin = MARGIN if picture.is_approximate else 0
    reach = min(source.distance + margin, MAX_DISTANCE)
    orientations = slice(None) if source.dihedral else slice(1)
    queries = (*picture.dihedral[orientations], *picture.resized[orientations])
    found = one.index.query_many(queries, reach)
    return found[0][1] if found else MAX_DISTANCE + 1


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
