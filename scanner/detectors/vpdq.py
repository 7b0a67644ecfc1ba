"""Known videos: the frames of a video against those of listed ones, by the share that they have in common.

As vPDQ does it: every frame is compared by PDQ, and a video matches where enough of its pictures are found in
a listed one. It also matches where enough of a listed one is found in it, so that a known video does not
vanish by having something harmless put around it. Frames that show the same count once on both sides: a title
or a still that lasts is one picture, not a share.

Single frames that are listed as pictures are the business of `scanner.detectors.pdq`.
Source: vPDQ, "Matching" (github.com/facebook/ThreatExchange, vpdq/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np

from scanner.degenerate import is_degenerate
from scanner.detector import Builder, Detector, DetectorResult, Need, Sample
from scanner.detectors.pdq import MARGIN, QUALITY_MARGIN
from scanner.flatscan import PDQ_BYTES, scan_flat
from scanner.hashlist import HashList, Purpose
from scanner.index import PdqIndex, pack_hashes
from scanner.indexfile import MIN_INDEXED_ROWS
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from scanner.detector import PictureHashes
    from scanner.hashlist import VideoHashes
    from scanner.settings import ScannerSettings

NAME: Final = "vpdq"
VERSION: Final = "1"

MIN_SHARE_PERCENT: Final = 80
"""Of the pictures of one video, what must be found in the other. Source: the query match threshold of vPDQ in
`threatexchange` (vpdq_util.py). Its threshold for the listed side is 0 beside that; here either suffices."""

SAME_BITS: Final = 31
"""Frames of one video this near to each other show the same. Source: VPDQ_DISTANCE_THRESHOLD, ibid."""

MIN_PICTURES: Final = 2
"""A single picture that two videos have in common, a title for instance, makes no share; listed videos that
consist of one picture belong into a list of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frames:
    """Frames, and which of them show the same.

    Attributes:
        bits: uint8 [N, 32].
        pictures: For each frame the picture that it shows, counted from 0, int64 [N].
        is_approximate: bool [N].
    """

    bits: NDArray[np.uint8]
    pictures: NDArray[np.int64]
    is_approximate: NDArray[np.bool_]

    @classmethod
    def of(cls, bits: NDArray[np.uint8], is_approximate: NDArray[np.bool_]) -> _Frames:
        """Group frames by what they show."""
        pictures = np.full(len(bits), -1, dtype=np.int64)
        # The frames that show nothing of what came before, by their places.
        left = np.arange(len(bits))
        words = np.ascontiguousarray(bits).view(np.uint64)
        count = 0
        while len(left):
            is_same = np.bitwise_count(words ^ words[0]).sum(axis=1, dtype=np.int64) <= SAME_BITS
            pictures[left[is_same]] = count
            left, words = left[~is_same], words[~is_same]
            count += 1
        return cls(bits=bits, pictures=pictures, is_approximate=is_approximate)

    @property
    def count(self) -> int:
        """How many different pictures there are."""
        return int(self.pictures.max(initial=-1)) + 1


# Grouping takes a millisecond a video, and most videos of a list stay when it changes.
_grouped: WeakKeyDictionary[VideoHashes, _Frames] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Listed:
    """The videos of one list, their frames behind each other in one table.

    Attributes:
        source: The list.
        videos: Its videos.
        table: uint8 [N, 32].
        owners: For each row its video, int64 [N].
        pictures: For each row the picture of its video, int64 [N].
        counts: For each video how many pictures it has, int64 [V].
        index: Over the table, where it is large.
    """

    source: HashList
    videos: tuple[VideoHashes, ...]
    table: NDArray[np.uint8]
    owners: NDArray[np.int64]
    pictures: NDArray[np.int64]
    counts: NDArray[np.int64]
    index: PdqIndex | None

    @classmethod
    def of(cls, source: HashList) -> _Listed:
        """Put the videos of a list together, without those that are suspended and what shows nothing."""
        videos: list[VideoHashes] = []
        groups: list[_Frames] = []
        for one in source.videos:
            frames = _grouped.get(one) or _group(row.tobytes() for row in one.frames)
            _grouped[one] = frames
            if one.entry not in source.suspended and frames.count >= MIN_PICTURES:
                videos.append(one)
                groups.append(frames)
        table = np.concatenate([np.empty((0, PDQ_BYTES), np.uint8), *(one.bits for one in groups)])
        empty = np.empty(0, dtype=np.int64)
        return cls(
            source=source,
            videos=tuple(videos),
            table=table,
            owners=np.repeat(np.arange(len(groups)), [len(one.bits) for one in groups]),
            pictures=np.concatenate([empty, *(one.pictures for one in groups)]),
            counts=np.array([one.count for one in groups], dtype=np.int64),
            index=PdqIndex.build(table) if len(table) >= MIN_INDEXED_ROWS else None,
        )

    def find(self, asked: _Frames, *, margin: int) -> tuple[VideoHashes, int] | None:
        """Find the video that has the most in common with the asked one, with the nearest frame's distance.

        Args:
            asked: The frames of the video in question.
            margin: Bits by which the approximate ones may be farther away.
        """
        reach = self.source.distance
        queries = np.ascontiguousarray(asked.bits)
        wide = min(reach + margin, 8 * PDQ_BYTES - 1)
        hits = (
            scan_flat(self.table, queries, wide) if self.index is None else self.index.search(queries, wide)
        )
        allowed = reach + np.where(asked.is_approximate[hits.queries], margin, 0)
        near = np.flatnonzero(hits.distances <= allowed)
        owners = self.owners[hits.rows[near]]
        best: tuple[float, int, int] | None = None
        for owner in sorted(set(owners.tolist())):
            mine = near[owners == owner]
            found = len(set(asked.pictures[hits.queries[mine]].tolist()))
            covered = len(set(self.pictures[hits.rows[mine]].tolist()))
            share = max(found / asked.count, covered / int(self.counts[owner])) * 100
            if min(found, covered) >= MIN_PICTURES and share >= MIN_SHARE_PERCENT:
                distance = int(hits.distances[mine].min())
                best = max(best or (share, -distance, -owner), (share, -distance, -owner))
        return None if best is None else (self.videos[-best[2]], -best[1])


class VideoDetector:
    """Look the frames of a video up among the frames of listed videos."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.PICTURE_HASHES
    is_costly: Final = False

    def __init__(self, lists: tuple[HashList, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._listed = tuple(_Listed.of(one) for one in lists)
        self.state: dict[str, object] = {
            "min_share_percent": MIN_SHARE_PERCENT,
            "same_bits": SAME_BITS,
            "min_pictures": MIN_PICTURES,
            "margin": MARGIN,
            "lists": [one.state for one in lists],
        }

    def detect(self, sample: Sample) -> DetectorResult:
        """Report every list with a video that has enough in common with this one."""
        findings: list[Finding] = []
        wants_closer_look = can_tell = False
        for one in self._listed:
            asked = _choose(sample.pictures, one.source)
            if asked.count < MIN_PICTURES:
                continue
            can_tell = True
            found = one.find(asked, margin=0)
            if found is not None:
                findings.append(self._find(one.source, *found))
            if asked.is_approximate.any():
                # What the margin decides, or approximate hashes found, is settled by the exact ones.
                wants_closer_look = wants_closer_look or one.find(asked, margin=MARGIN) is not None
        return DetectorResult(
            findings=tuple(findings),
            not_applicable=bool(self._listed) and not can_tell,
            wants_closer_look=wants_closer_look,
        )

    def _find(self, source: HashList, video: VideoHashes, distance: int) -> Finding:
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
            entry=video.entry,
        )


def _choose(pictures: tuple[PictureHashes, ...], source: HashList) -> _Frames:
    """Choose the frames that a list is asked about, each once; covers are not frames."""
    chosen: dict[bytes, bool] = {}
    for one in pictures:
        slack = QUALITY_MARGIN if one.is_approximate else 0
        if one.frame >= 0 and one.quality + slack >= source.min_quality:
            chosen[one.dihedral[0]] = one.is_approximate
    return _group(chosen, is_approximate=chosen)


def _group(bits: Iterable[bytes], *, is_approximate: dict[bytes, bool] | None = None) -> _Frames:
    telling = [one for one in dict.fromkeys(bits) if not is_degenerate(one)]
    approximate = [bool(is_approximate and is_approximate[one]) for one in telling]
    return _Frames.of(pack_hashes(telling), np.array(approximate, dtype=np.bool_))


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    listed = tuple(one for one in lists if one.purpose is Purpose.BLOCK and one.videos)
    return (VideoDetector(listed, advisory=NAME in settings.advisory),) if listed else ()


BUILDER: Final = Builder(name=NAME, uses_lists=True, build=_build)
