"""The extension point: what a detector is, what it sees, and what it answers.

To add a detector write one file in `scanner/detectors/` and add one line to `scanner.detectors.DETECTORS`;
`docs/adding-a-detector.md` goes through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from scanner.hashlist import HashList
    from scanner.report import Finding, Fingerprints, MediaFacts
    from scanner.settings import ScannerSettings

SAMPLE_SIDE = 256
"""Side in pixels of the square RGB frames given to detectors; the common image classifiers take 224 to
256."""


class Need(IntEnum):
    """How much of a sample a detector needs; scan() leaves out the detectors whose need was not met."""

    DIGESTS = 0
    PICTURE_HASHES = 1
    PIXELS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHashes:
    """Every PDQ variant of one picture.

    Attributes:
        frame: Index of the frame in an animation or a video; -1, -2, … for pictures embedded in the metadata.
        quality: 0 to 100.
        dihedral: The hash of the picture in its eight orientations, each 32 bytes, upright first.
        resized: The same eight for the picture squeezed to 512 x 512 first, as some list makers hash it.
        is_approximate: True where a faster decoding was hashed, which may be some bits off the full one.
        timestamp_ms: Of a frame of a video, when it is shown, counted from the earliest one; None for
            pictures.
    """

    frame: int
    quality: int
    dihedral: tuple[bytes, ...]
    resized: tuple[bytes, ...]
    is_approximate: bool
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What detectors see of one piece of media.

    Attributes:
        fingerprints: Digests of the bytes; the PDQ hashes of the upright pictures.
        facts: Size, type, dimensions, coverage.
        pictures: PDQ variants of each decoded picture; empty where nothing was decoded.
        pixels: `uint8 [F, 256, 256, 3]` RGB, upright, the whole picture squeezed to the square without
            keeping its proportions; F evenly spaced frames of an animation; F is 0 where nothing was decoded.
        is_kept: The bytes are not at hand, only what was kept of them: a closer look costs a fetch.
    """

    fingerprints: Fingerprints
    facts: MediaFacts
    pictures: tuple[PictureHashes, ...]
    pixels: NDArray[np.uint8]
    is_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorResult:
    """The answer of one detector.

    Attributes:
        findings: Its claims; empty where nothing was found.
        failed: Why the detector could not do its work, for health and logs (never anything about the
            content); None where it did.
        not_applicable: True where the sample gave the detector nothing to judge, as a flat picture gives PDQ.
        wants_closer_look: True where approximate hashes came close enough to a decision that the full
            resolution must settle it; scan() then decodes again and calls `detect` with the better sample.
        allows: True where the administrator allowed exactly these bytes; scan() then sets aside what the
            others claim of bytes that merely resemble something.
        scores: What a model made of the sample, fired or not: the name of each label with its score, 0 to
            1000. Two machines with one model agree on them, which is how a relay shows that it looked.
    """

    findings: tuple[Finding, ...] = ()
    failed: str | None = None
    not_applicable: bool = False
    wants_closer_look: bool = False
    allows: bool = False
    scores: tuple[tuple[str, int], ...] = ()


class Detector(Protocol):
    """One technique. Implementations are deterministic and may be called from many threads at once."""

    @property
    def name(self) -> str:
        """A stable name, as it stands in reports and settings."""

    @property
    def version(self) -> str:
        """Changes whenever the same sample may get another answer."""

    @property
    def essential(self) -> bool:
        """Whether bytes count as unscannable when this detector fails."""

    @property
    def advisory(self) -> bool:
        """Whether the findings are reported without deciding the verdict; excludes `essential`."""

    @property
    def need(self) -> Need:
        """What must have been decoded for this detector to be called."""

    @property
    def is_costly(self) -> bool:
        """Whether it takes so long, or so much money, that another's word may spare it; lookups are not."""

    @property
    def state(self) -> dict[str, object]:
        """What decides the answers: digests, versions, integer thresholds; JSON-able, no floats."""

    def detect(self, sample: Sample) -> DetectorResult:
        """Judge a sample. Raising counts as having failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """How the detectors of one file come to exist.

    Attributes:
        name: The file's name, for messages.
        uses_lists: True where the detectors are built anew when the hash lists are replaced.
        build: Settings and lists to detectors; none where the settings do not switch them on.
        compares: False where the detectors look at the lists but compare nothing with them, so that they
            have nothing to say about hashes that were kept.
    """

    name: str
    uses_lists: bool
    build: Callable[[ScannerSettings, tuple[HashList, ...]], tuple[Detector, ...]]
    compares: bool = True
